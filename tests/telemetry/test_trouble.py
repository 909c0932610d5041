"""What a mount tells while its server is in trouble."""

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod import PASSWORD, Mongod
from tests.mounting import Mounted, eventually, run_command
from tests.telemetry.conftest import stats

DEADLINE = 2.0  # seconds, of one question to the server

FAILPOINTS = ("--setParameter", "enableTestCommands=1")


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod(auth=True, extra=FAILPOINTS) as server:
        yield server


@pytest.fixture(scope="module")
def troubled(server: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount with a password, whose server may be paused."""
    folder = tmp_path_factory.mktemp("troubled")
    with Mounted(server.uri_for("lake"), folder, "--deadline", str(DEADLINE)) as mount:
        yield mount


def test_the_password_is_not_in_it(troubled: Mounted) -> None:
    text = (troubled.path / ".stats").read_text()

    assert "@" not in text
    assert PASSWORD not in text


def test_a_command_that_the_driver_sends_again_is_a_retry(
    server: Mongod, troubled: Mounted
) -> None:
    before = stats(troubled)["database"]
    with server.client() as client:
        client.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": 1},
            data={
                "failCommands": ["find"],
                "closeConnection": True,
                "appName": _name_of_the_program(),
            },
        )

    assert not (troubled.path / "datasets" / "missing").exists()

    after = stats(troubled)["database"]
    assert after["retries"] - before["retries"] == 1
    assert after["commands"]["find"]["errors"] - before["commands"]["find"]["errors"] == 1


def _name_of_the_program() -> str:
    from gridfsmount import __version__

    return f"gridfsmount {__version__}"


def test_it_answers_while_the_server_does_not(server: Mongod, troubled: Mounted) -> None:
    before = stats(troubled)
    server.pause()
    try:
        with pytest.raises(OSError) as failed:  # noqa: PT011 (the errno is what counts)
            (troubled.path / "datasets" / "missing").stat()
        began = time.monotonic()
        report = stats(troubled)
        took = time.monotonic() - began
        status = troubled.path.stat()
        page = run_command("top", troubled.path, "--once", "--json")
    finally:
        server.resume()

    assert failed.value.errno == errno.EIO
    assert took < DEADLINE, "it asked nobody"
    assert status.st_ino == 1
    errors = report["operations"]["lookup"]["errors"]
    assert errors["EIO"] > before["operations"]["lookup"]["errors"].get("EIO", 0)
    assert json.loads(page.stdout)["faults"]["EIO"] >= 1
    eventually((troubled.path / "datasets").is_dir, "the mount recovers")


def test_the_root_shows_what_changed_once_the_server_is_back(
    server: Mongod, troubled: Mounted
) -> None:
    server.pause()
    try:
        troubled.path.stat()
    finally:
        server.resume()
    eventually(lambda: _has_mode(troubled.path, 0o750), "the mode was set")

    assert troubled.path.stat().st_mode & 0o777 == 0o750


def _has_mode(path: Path, mode: int) -> bool:
    try:
        path.chmod(mode)
    except OSError:
        return False
    return True
