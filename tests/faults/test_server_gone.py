"""The server dies, hangs, and comes back, while programs use the mount."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.lakes import (
    DEADLINE,
    LEASE,
    MIB,
    Copying,
    InThread,
    Lake,
    assert_alive,
    errno_of,
    recovered,
    succeeds,
    wait_for_chunks,
    waits_for_a_mount,
)
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually, mounted

# Seconds. A request may use the deadline more than once, when it consists of several operations.
BOUND = 4 * DEADLINE

OPTIONS = (f"--deadline={DEADLINE}", f"--lease={LEASE}")


@pytest.fixture
def uri(server: Mongod) -> str:
    return server.uri_for("lake")


def test_a_copy_that_loses_the_server_fails_and_the_old_content_stays(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    old, new = os.urandom(5 * MIB), os.urandom(5 * MIB)
    with mounted(uri, tmp_path, *OPTIONS) as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        path.write_bytes(old)
        other = path.with_name("other")
        with Copying(tmp_path, path) as over, Copying(tmp_path, other) as beside:
            for copying in (over, beside):
                copying.feed(new * 4)
            wait_for_chunks(lake, 8)

            server.kill()
            began = time.monotonic()
            for copying in (over, beside):
                copying.feed(new * 4)
            results = [over.finish(), beside.finish()]

        assert time.monotonic() - began < 2 * BOUND
        for code, said in results:
            assert code == 1
            assert "Input/output error" in said
        assert_alive(mount)

        server.start()
        eventually(lambda: recovered(path, old), "the old content is back")
        assert other.read_bytes() == b""
        assert lake.read("datasets/test/v1/file") == old
        assert lake.filenames() == ["datasets/test/v1/file"]

        path.write_bytes(new)
        other.write_bytes(new)
        assert path.read_bytes() == other.read_bytes() == new
        assert lake.read("datasets/test/v1/file") == lake.read("datasets/test/v1/other") == new
        assert_alive(mount)


def test_what_was_uploaded_in_vain_is_removed_when_the_server_is_back(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    # A lease that outlives the outage, so that nobody else sweeps it meanwhile.
    with mounted(uri, tmp_path, "--deadline=1", "--lease=4") as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, bytes(16 * MIB))
        wait_for_chunks(lake, 4)

        server.kill()
        assert errno_of(lambda: os.close(descriptor)) == errno.EIO
        eventually(lambda: "left undone" in mount.log_text(), "its removal failed")
        server.start()

        eventually(lambda: not lake.unpublished_chunks(), "it is removed", 16)
        eventually(lambda: not lake.uploads.count_documents({}), "the lease is gone")


def test_what_could_not_be_committed_can_be_committed_later(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    with mounted(uri, tmp_path, *OPTIONS) as mount, Lake(uri) as lake:
        folder = mount.version()
        (folder / "small").write_bytes(b"old")
        small = os.open(folder / "small", os.O_WRONLY | os.O_TRUNC)
        large = os.open(folder / "large", os.O_WRONLY | os.O_CREAT)
        data = os.urandom(6 * MIB)
        os.write(small, b"new")
        os.write(large, data)

        server.kill()
        assert errno_of(lambda: os.fsync(small)) == errno.EIO
        assert errno_of(lambda: os.fsync(large)) == errno.EIO
        server.start()

        for descriptor in (small, large):
            eventually(partial(succeeds, os.fsync, descriptor), "it is committed")
            os.close(descriptor)
        assert (folder / "small").read_bytes() == b"new"
        assert lake.read("datasets/test/v1/small") == b"new"
        assert (folder / "large").read_bytes() == data
        assert lake.read("datasets/test/v1/large") == data
        assert_alive(mount)


def test_after_a_close_that_fails_no_page_of_what_was_written_is_left(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    with mounted(uri, tmp_path, *OPTIONS) as mount:
        path = mount.version() / "file"
        old = os.urandom(3 * 4096)
        path.write_bytes(old)
        assert path.read_bytes() == old
        descriptor = os.open(path, os.O_WRONLY)
        os.pwrite(descriptor, b"new" * 1000, 4096)  # as long as before, and nobody looks meanwhile

        server.kill()
        assert errno_of(lambda: os.close(descriptor)) == errno.EIO
        server.start()

        eventually(lambda: recovered(path, old), "the old content")
        assert path.read_bytes() == old
        assert_alive(mount)


def test_a_close_that_fails_gives_up_what_was_written(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    with mounted(uri, tmp_path, *OPTIONS) as mount:
        path = mount.version() / "file"
        path.write_bytes(b"old")
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, b"new")

        server.kill()
        assert errno_of(lambda: os.close(descriptor)) == errno.EIO
        server.start()

        eventually(lambda: recovered(path, b"old"), "the old content is back")
        assert_alive(mount)


# Below a directory that is open already, so that each fails by itself and not at its path.
OPERATIONS: dict[str, Callable[[int], object]] = {
    "stat": lambda at: os.stat("never seen", dir_fd=at),
    "list": os.listdir,
    "open": lambda at: os.close(os.open("file", os.O_RDONLY, dir_fd=at)),
    "create": lambda at: os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=at)),
    "rename": lambda at: os.rename("file", "renamed", src_dir_fd=at, dst_dir_fd=at),
    "chmod": lambda at: os.fchmod(at, 0o700),
    "statfs": os.statvfs,
}


def test_every_operation_is_answered_in_time_while_the_server_is_gone(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    with mounted(uri, tmp_path, "--deadline=1") as mount:
        (mount.version() / "file").write_bytes(b"content")
        mount.restart()  # so that nothing is remembered
        folder = os.open(mount.path / "datasets/test/v1", os.O_DIRECTORY)
        try:
            server.kill()
            answers, slowest = {}, 0.0
            for name, call in OPERATIONS.items():
                began = time.monotonic()
                answers[name] = errno_of(partial(call, folder))
                slowest = max(slowest, time.monotonic() - began)
        finally:
            os.close(folder)

        assert answers == dict.fromkeys(OPERATIONS, errno.EIO)
        assert slowest < 4
        server.start()
        path = mount.path / "datasets/test/v1/file"
        eventually(lambda: recovered(path, b"content"), "the mount works again")
        assert_alive(mount)


def test_a_server_that_hangs_for_longer_than_the_deadline_is_an_error_not_a_hang(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    data = os.urandom(5 * MIB)
    with mounted(uri, tmp_path, *OPTIONS) as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        path.write_bytes(data)
        mount.restart()

        server.pause()
        try:
            began = time.monotonic()
            read = errno_of(path.read_bytes)
            written = errno_of(lambda: path.with_name("new").write_bytes(data))
            lasted = time.monotonic() - began
        finally:
            server.resume()

        assert (read, written) == (errno.EIO, errno.EIO)
        assert lasted < 2 * BOUND
        eventually(lambda: recovered(path, data), "the mount works again")
        path.with_name("second").write_bytes(data)
        assert lake.read("datasets/test/v1/second") == data
        assert_alive(mount)


def test_a_server_that_hangs_for_a_moment_goes_unnoticed(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    data = os.urandom(5 * MIB)
    with mounted(uri, tmp_path) as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        path.write_bytes(data)
        mount.restart()

        server.pause()
        with subprocess.Popen(["cp", path, path.with_name("copy")]) as copying:
            eventually(lambda: waits_for_a_mount(copying.pid), "the copy waits for the server")
            server.resume()
            assert copying.wait(60) == 0

        assert path.with_name("copy").read_bytes() == data
        assert lake.read("datasets/test/v1/copy") == data
        assert_healthy_log(mount)
        assert " WARNING " not in mount.log_text()


def test_a_restart_of_the_server_goes_unnoticed(server: Mongod, uri: str, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB)
    with mounted(uri, tmp_path) as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        with Copying(tmp_path, path) as copying:
            copying.feed(data[: 12 * MIB])
            wait_for_chunks(lake, 4)

            server.kill()
            rest = InThread(lambda: copying.feed(data[12 * MIB :]))
            server.start()

            rest.join()
            assert copying.finish() == (0, "")
        assert path.read_bytes() == data
        assert lake.read("datasets/test/v1/file") == data
        assert_alive(mount)


def test_uploads_of_others_are_noticed_again_after_an_outage(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    with mounted(uri, tmp_path, *OPTIONS) as mount, Lake(uri) as lake:
        assert errno_of((mount.version() / "file").touch) is None
        server.kill()
        assert errno_of((mount.path / "models" / "new").mkdir) == errno.EIO
        server.start()

        lake.bucket.upload_from_stream("datasets/test/v1/theirs", b"theirs")

        path = mount.path / "datasets/test/v1/theirs"
        eventually(lambda: recovered(path, b"theirs"), "the upload is adopted")
        assert_alive(mount)


def test_a_mount_waits_for_a_server_that_is_just_starting(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    server.stop()
    mount = Mounted(uri, tmp_path)
    starting = InThread(mount.start)
    try:
        eventually(mount.log.exists, "the command runs")
        server.start()
        starting.join()

        assert (mount.path / "datasets").is_dir()
    finally:
        mount.stop()


@pytest.mark.parametrize("how", ["SIGTERM", "umount"])
def test_a_mount_can_be_ended_while_the_server_is_gone(
    server: Mongod, uri: str, tmp_path: Path, how: str
) -> None:
    with mounted(uri, tmp_path, *OPTIONS) as mount:
        (mount.version() / "file").write_bytes(b"content")
        descriptor = os.open(mount.path / "datasets/test/v1/file", os.O_WRONLY)
        os.write(descriptor, b"lost")
        server.kill()
        assert mount.process is not None
        if how == "SIGTERM":
            mount.process.send_signal(signal.SIGTERM)
        else:
            assert errno_of(lambda: os.close(descriptor)) == errno.EIO
            descriptor = -1
            # Busy for a moment, perhaps, with what the kernel does after the close.
            umount = ["fusermount3", "-u", str(mount.path)]
            eventually(lambda: subprocess.run(umount, check=False).returncode == 0, "it unmounts")
        began = time.monotonic()
        mount.process.wait(60)

        assert mount.process.returncode == 0
        # What was under way, then pending times, then leases: each may wait for the deadline.
        assert time.monotonic() - began < 2 * BOUND
        assert str(mount.path) not in Path("/proc/mounts").read_text()
        assert "Traceback" not in mount.log_text()
        if descriptor >= 0:
            errno_of(lambda: os.close(descriptor))
