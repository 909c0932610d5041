"""`gridfsmount top`, as a person and as a program use it."""

import json
import os
import pty
import select
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mongod import Mongod
from tests.mounting import COMMAND, Mounted, eventually, mounted, run_command


@contextmanager
def work(folder: Path) -> Iterator[None]:
    """A program that writes and reads as long as a block runs."""
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            (folder / "file").write_bytes(bytes(100_000))
            (folder / "file").read_bytes()

    worker = threading.Thread(target=go_on)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def test_a_page_of_text_where_there_is_no_terminal(watched: Mounted, version: Path) -> None:
    with work(version):
        done = run_command("top", watched.path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24, "it fits on any terminal"
    assert str(watched.path) in lines[0]
    for label in ("read", "written", "requests", "memory", "disk", "server", "ahead", "database"):
        assert any(line.startswith(label) for line in lines), label
    assert "none since it was mounted" in done.stdout


def test_figures_for_programs(watched: Mounted, version: Path) -> None:
    with work(version):
        done = run_command("top", version, "--once", "--json", "--interval", "2s")

    figures = json.loads(done.stdout)
    assert figures["mountpoint"] == str(watched.path)
    assert 2 <= figures["seconds"] < 30
    assert figures["written_bytes"] > 0
    assert figures["commits"] > 0
    writes = next(each for each in figures["operations"] if each["name"] == "write")
    assert 0 < writes["p50"] <= writes["p99"]


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_on_a_terminal_it_goes_on_until_it_is_told_to_end(watched: Mounted, key: bytes) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        # With a terminal of its own, whose keys make signals.
        ["setsid", "--ctty", "--wait", *COMMAND, "top", str(watched.path)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    shown = b""

    def shows_twice() -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 1 << 16)
        return shown.count(b"waiting for an answer") >= 2

    try:
        eventually(shows_twice, "it shows two pages")
        os.write(ours, key)
        eventually(lambda: _drained(ours, process) is not None, "it ends")
        assert process.returncode == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def _drained(terminal: int, process: subprocess.Popen[bytes]) -> int | None:
    if select.select([terminal], [], [], 0)[0]:
        os.read(terminal, 1 << 16)
    return process.poll()


def test_it_says_that_the_mount_has_ended(mongod: Mongod, tmp_path: Path) -> None:
    with mounted(mongod.uri_for("ended"), tmp_path) as mount:
        process = subprocess.Popen(
            [*COMMAND, "top", "--json", str(mount.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["mountpoint"] == str(mount.path)
            mount.stop()
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    with mongod.client() as client:
        client.drop_database("ended")

    assert (process.returncode, errors) == (
        1,
        f"gridfsmount: the mount on {mount.path} has ended\n",
    )


def test_where_nothing_is_mounted_it_says_so(tmp_path: Path) -> None:
    done = run_command("top", tmp_path)

    assert (done.returncode, done.stderr) == (
        1,
        f"gridfsmount: {tmp_path} lies in no mounted lake\n",
    )


def test_an_interval_of_nothing_is_refused(watched: Mounted) -> None:
    done = run_command("top", "--interval", "0s", watched.path)

    assert done.returncode == 2
    assert "--interval is a second at least" in done.stderr
