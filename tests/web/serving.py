"""The page as it is served, by the command in a subprocess; and a browser to look at it with."""

import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.mounting import COMMAND, PATIENCE, eventually

CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: Message
    text: str


class Served:
    """`gridfsmount web` in a subprocess."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        """Start it on a free port; what it says on standard error goes to a file in `folder`."""
        self.log = folder / "web.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "web", "--listen", "127.0.0.1:0", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"http://\S+/", self.said)
        if not found:
            self.end()
        assert found, f"it said {self.said!r}\n{self.log.read_text()}"
        self.url = found[0].rstrip("/")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> int:
        """End it with SIGTERM; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask it for a page."""
        request = urllib.request.Request(
            self.url + path, method=method, headers=dict(headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())


@contextmanager
def served(folder: Path, *arguments: str | Path) -> Iterator[Served]:
    """The page, for as long as a block runs; its end must be a good one."""
    page = Served(folder, *arguments)
    try:
        yield page
    finally:
        code = page.end()
    assert code == 0
    assert "Traceback" not in page.log.read_text()


@contextmanager
def browser(*flags: str, width: int = 1280, height: int = 900) -> Iterator[Chrome]:
    """A headless Chromium that notes all that it asks for."""
    with tempfile.TemporaryDirectory(prefix="gridfsmount-tests-") as profile:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (
            *FLAGS,
            *flags,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = Chrome(options, ChromeService(CHROMEDRIVER))
        try:
            yield driver
        finally:
            driver.quit()
            # It ends a moment after its driver, and writes until then.
            eventually(lambda: _is_free(profile), "the browser has ended")


def _is_free(profile: str) -> bool:
    return not any(Path(profile).glob("Singleton*"))
