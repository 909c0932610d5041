"""What a mount tells systemd: that it is ready, how it is, that it lives, and that it ends."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from gridfsmount.mount.notify import Notifier
from gridfsmount.mount.probe import Probe
from gridfsmount.mount.supervision import Supervision
from tests.faults.lakes import succeeds
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually
from tests.systemd.listening import Listener

WATCHDOG = 1.2
"""Seconds; pings come at least every 0.9."""


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    """A server that tests may pause and kill."""
    with Mongod() as server:
        yield server


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "notify") as listener:
        yield listener


@pytest.fixture
def watched(
    server: Mongod, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mounted]:
    """A mount with a watchdog."""
    for name, value in listener.environment(WATCHDOG).items():
        monkeypatch.setenv(name, value)
    with Mounted(server.uri_for("watched"), tmp_path) as mount:
        for name in listener.environment(WATCHDOG):
            monkeypatch.delenv(name)
        yield mount


def test_a_mount_says_that_it_is_ready_what_it_serves_and_that_it_ends(
    watched: Mounted, server: Mongod, listener: Listener
) -> None:
    status = listener.wait_for("STATUS=")
    assert listener.heard.index("READY=1") < listener.heard.index(status)
    assert status == (f"STATUS=127.0.0.1:{server.port}/watched.fs, read-write, on {watched.path}")
    listener.wait_for("WATCHDOG=1")
    watched.stop()
    listener.wait_for("STOPPING=1")


def test_a_stopped_mount_shows_no_life_until_it_goes_on(
    watched: Mounted, listener: Listener
) -> None:
    listener.wait_for("WATCHDOG=1")
    watched.pause()
    assert listener.hears_nothing(3 * WATCHDOG)
    watched.resume()
    listener.wait_for("WATCHDOG=1")


def test_a_mount_whose_server_is_gone_lives_and_says_since_when(
    watched: Mounted, server: Mongod, listener: Listener
) -> None:
    serving = listener.wait_for("STATUS=")
    server.kill()
    try:
        trouble = listener.wait_for("STATUS=the server 127.0.0.1:")
        assert " does not answer since 20" in trouble
        for _ in range(5):
            listener.wait_for("WATCHDOG=1")
    finally:
        server.start()
    assert listener.wait_for("STATUS=") == serving
    eventually(lambda: succeeds(os.listdir, watched.path / "datasets"), "it answers again")


def test_a_mount_that_is_killed_while_it_is_asked_ends(
    watched: Mounted, listener: Listener
) -> None:
    listener.wait_for("WATCHDOG=1")
    watched.pause()
    assert listener.hears_nothing(2 * WATCHDOG)  # so the question waits
    watched.kill()
    assert not os.path.ismount(watched.path)


def test_an_event_loop_that_turns_is_not_enough(
    watched: Mounted, listener: Listener, tmp_path: Path
) -> None:
    """The mount that is asked is another process's, which hangs; the loop is this test's."""
    reachable = True

    async def supervise(other: Listener) -> None:
        supervision = Supervision(
            Notifier(other.address, WATCHDOG),
            Probe(watched.path),
            serving="well",
            reachable=lambda: reachable,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervision.run)
            await trio.to_thread.run_sync(judge, other)
            nursery.cancel_scope.cancel()

    def judge(other: Listener) -> None:
        nonlocal reachable
        other.wait_for("WATCHDOG=1")
        watched.pause()
        try:
            assert other.hears_nothing(3 * WATCHDOG)
            reachable = False
            other.wait_for("WATCHDOG=1")
            reachable = True
        finally:
            watched.resume()
        other.wait_for("WATCHDOG=1")

    with Listener(tmp_path / "other") as other:
        trio.run(supervise, other)


def test_nobody_is_told_without_a_socket(tmp_path: Path) -> None:
    notifier = Notifier.take({"WATCHDOG_USEC": "1000000"})
    assert (notifier.heard, notifier.watchdog) == (False, None)
    notifier.tell(READY=1)


def test_sockets_in_the_abstract_name_space_are_spoken_to() -> None:
    with Listener(f"@gridfsmount-tests-{os.getpid()}") as listener:
        Notifier(listener.address).tell(READY=1, STATUS="two\nlines")
        assert listener.wait_for("STATUS=") == "STATUS=two lines"
        assert listener.heard == ["READY=1", "STATUS=two lines"]


def test_a_socket_that_is_gone_or_full_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(str(tmp_path / "nowhere")).tell(READY=1)
    assert "systemd was not told READY: " in caplog.text


def test_what_systemd_says_is_taken_out_of_the_environment() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    assert Notifier.take(environment).watchdog == 60.0
    assert environment == {"HOME": "/"}


def test_a_watchdog_of_another_process_is_none_of_ours() -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000"}
    assert Notifier.take({**environment, "WATCHDOG_PID": "1"}).watchdog is None
