"""The server's disk is full: the write fails, nothing else is lost, and all goes on afterwards."""

import contextlib
import errno
import os
import re
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gridfsmount import __version__
from gridfsmount.writing.writer import WRITER_BYTES
from tests.faults.lakes import DEADLINE, MIB, Lake, assert_alive, errno_of, recovered
from tests.mongod import Mongod
from tests.mounting import eventually, mounted, run_command

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")

# WiredTiger alone wants 200 MB for its journal, before there are any data.
DISK_MIB = 420
LARGER_MIB = 1024
ROOM_MIB = 60

OUT_OF_DISK_SPACE = 14031  # src/mongo/base/error_codes.yml


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    size = f"size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "gridfsmount-tests", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def leave(disk: Path, room: int) -> None:
    """Fill the disk up to `room` bytes."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        with contextlib.suppress(OSError):
            while filler.write(bytes(MIB)) == MIB:
                pass
        filler.truncate(filler.tell() - room)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={LARGER_MIB}m", disk], check=True)


def test_a_disk_that_runs_full_costs_no_more_than_the_write_that_filled_it(
    disk: Path, tmp_path: Path
) -> None:
    with Mongod(directory=disk, extra=["--oplogSize", "20"]) as server:
        uri = server.uri_for("lake")
        with mounted(uri, tmp_path, f"--deadline={DEADLINE}") as mount:
            folder = mount.version()
            written = {"old": os.urandom(6 * MIB)}
            (folder / "old").write_bytes(written["old"])
            leave(disk, ROOM_MIB * MIB)

            failure = None
            for number in range(10):
                data = os.urandom(ROOM_MIB * MIB // 2)
                began = time.monotonic()
                # Over an older content each second time.
                name = "old" if number % 2 else f"new{number}"
                failure = errno_of(partial((folder / name).write_bytes, data))
                if failure is not None:
                    break
                written[name] = data

            assert failure in {errno.EIO, errno.ENOSPC}
            assert time.monotonic() - began < 10 * DEADLINE
            assert_alive(mount)

            enlarge(disk)
            server.restart()
            eventually(lambda: recovered(folder / "old", written["old"]), "the old content")
            found = {each.name: each.read_bytes() for each in folder.iterdir()}
            if name not in written:
                assert found.pop(name, b"") == b""
            assert found == written
            with Lake(uri) as lake:
                assert {
                    filename: lake.read(filename) == written[filename.rpartition("/")[2]]
                    for filename in lake.filenames()
                } == {f"datasets/test/v1/{each}": True for each in written}
            (folder / "after").write_bytes(written["old"])
            assert (folder / "after").read_bytes() == written["old"]
            assert_alive(mount)


def test_a_lake_that_the_server_has_no_room_for_is_refused_with_the_reason(
    disk: Path, tmp_path: Path
) -> None:
    # The log elsewhere: mongod gives up when it cannot write that.
    (disk / "mongod.log").symlink_to(tmp_path / "mongod.log")
    with Mongod(directory=disk, replica_set=False) as server:
        leave(disk, 8 << 10)
        (tmp_path / "mnt").mkdir()

        done = run_command(
            "mount", "--log-file", tmp_path / "log", server.uri_for("lake"), tmp_path / "mnt"
        )

        assert done.returncode == 1
        assert re.fullmatch(r"gridfsmount: .*the server's disk is full\n", done.stderr)
        enlarge(disk)


def test_a_server_that_says_that_its_disk_is_full_is_believed(tmp_path: Path) -> None:
    failpoint = {
        "failCommands": ["insert"],
        "errorCode": OUT_OF_DISK_SPACE,
        "appName": f"gridfsmount {__version__}",
    }
    with Mongod(extra=["--setParameter", "enableTestCommands=1"]) as server:
        uri = server.uri_for("lake")
        with mounted(uri, tmp_path) as mount, server.client() as client:
            path = mount.version() / "file"
            path.write_bytes(b"old")
            for count in (1, 12, 40):
                descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
                client.admin.command(
                    "configureFailPoint", "failCommand", mode="alwaysOn", data=failpoint
                )
                written = errno_of(partial(write_repeatedly, descriptor, count))
                closed = errno_of(partial(os.close, descriptor))
                client.admin.command("configureFailPoint", "failCommand", mode="off")

                if count * MIB > 2 * WRITER_BYTES:
                    assert written == errno.ENOSPC
                assert closed == errno.ENOSPC
                assert path.read_bytes() == b"old"
            path.write_bytes(b"new")
            assert path.read_bytes() == b"new"
            assert "the server's disk is full" in mount.log_text()
            assert_alive(mount)


def write_repeatedly(descriptor: int, count: int) -> None:
    for _ in range(count):
        os.write(descriptor, bytes(MIB))
