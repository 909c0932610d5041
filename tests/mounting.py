"""Real mounts for tests: the command in a subprocess, as a user runs it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "gridfsmount")
PATIENCE = 30.0


def run_command(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `gridfsmount ARGUMENTS` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Poll `look` until it returns something true; fail with `what` if it never does."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found


class Mounted:
    """One lake, mounted in the foreground in a subprocess."""

    def __init__(self, uri: str, folder: Path, *options: str | Path) -> None:
        self.uri = uri
        self.path = folder / "mnt"
        self.log = folder / "mount.log"
        self.options = options
        self.path.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Mount, and wait until it answers."""
        self.process = subprocess.Popen(
            [
                *COMMAND,
                "mount",
                "--foreground",
                "--log-file",
                str(self.log),
                *map(str, self.options),
                self.uri,
                str(self.path),
            ],
            stdin=subprocess.DEVNULL,
        )
        eventually(self._answers, f"{self.path} is mounted\n{self._tail()}")

    def stop(self) -> None:
        """End it with SIGTERM; whatever happened, nothing stays behind."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        subprocess.run(
            ["fusermount3", "-u", "-z", "-q", self.path], check=False, capture_output=True
        )

    def kill(self) -> None:
        """SIGKILL, and clear the dead mount point away."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.stop()

    def pause(self) -> None:
        """Put it to sleep, as a laptop's lid does: nothing is answered (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Unmount and mount again."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def version(self, name: str = "datasets/test/v1") -> Path:
        """A version to work in, made if need be."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the mount ended:\n{self._tail()}"
        return os.path.ismount(self.path) and (self.path / "datasets").is_dir()

    def _tail(self) -> str:
        return self.log_text()[-3000:]


@contextlib.contextmanager
def mounted(uri: str, folder: Path, *options: str | Path) -> Iterator[Mounted]:
    """A mount of its own for one test."""
    with Mounted(uri, folder, *options) as mount:
        yield mount


def assert_healthy_log(mount: Mounted) -> None:
    """Nothing unforeseen happened: no traceback, no error."""
    text = mount.log_text()
    assert "Traceback" not in text, text[-5000:]
    assert " ERROR " not in text, text[-5000:]
