"""Atomic, durable, visible when and where: what is promised of a file's bytes."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from bson import Binary
from gridfs import GridFSBucket
from pymongo.database import Database

from tests.mongod import Mongod
from tests.mounting import Mounted, eventually
from tests.semantics.refusals import refused

MIB = 1 << 20
SECOND = 1.5  # and some time for a busy machine to answer

OLD = b"old" * MIB
NEW = b"new" * MIB


def test_a_rewritten_file_shows_its_old_or_its_new_content_whole(here: Path, there: Path) -> None:
    (here / "file").write_bytes(OLD)
    with (here / "file").open("r+b", buffering=0) as file:
        for start in range(0, len(NEW), MIB):
            file.write(NEW[start : start + MIB])
            assert (there / "file").read_bytes() == OLD
    assert (there / "file").read_bytes() == NEW


def test_fsync_publishes_what_was_written_so_far(here: Path, there: Path) -> None:
    with (here / "file").open("wb", buffering=0) as file:
        file.write(b"first")
        os.fsync(file.fileno())
        file.write(b" second")
        assert (there / "file").read_bytes() == b"first"
    assert (there / "file").read_bytes() == b"first second"


def test_a_crash_before_close_leaves_the_old_content(lake: Mounted) -> None:
    file = lake.version() / "file"
    file.write_bytes(OLD)
    descriptor = os.open(file, os.O_WRONLY)
    os.write(descriptor, NEW)
    lake.kill()
    with contextlib.suppress(OSError):
        os.close(descriptor)
    lake.start()
    assert file.read_bytes() == OLD


def test_a_name_that_is_replaced_by_rename_is_never_missing(here: Path) -> None:
    (here / "file").write_bytes(b"0")
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add((here / "file").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        (here / "next").write_bytes(b"%d" % number)
        (here / "next").rename(here / "file")
    done.set()
    reader.join()
    assert seen <= {b"%d" % number for number in range(30)}
    assert (here / "file").read_bytes() == b"29"


def test_an_open_finds_what_another_mount_has_put_in_place_by_rename(
    here: Path, there: Path
) -> None:
    (here / "file").write_bytes(b"old")
    for number in range(20):
        assert (there / "file").stat().st_size > 0  # the kernel remembers the name from here on
        (here / "next").write_bytes(b"%d" % number)
        (here / "next").rename(here / "file")
        assert (there / "file").read_bytes() == b"%d" % number


def test_a_replaced_or_removed_file_stays_readable_through_open_handles(
    here: Path, there: Path
) -> None:
    for name in ("replaced", "removed"):
        (here / name).write_bytes(OLD)
    with (there / "replaced").open("rb") as replaced, (there / "removed").open("rb") as removed:
        (here / "next").write_bytes(NEW)
        (here / "next").rename(here / "replaced")
        (here / "removed").unlink()
        assert replaced.read() == OLD
        assert removed.read() == OLD


def test_a_handle_keeps_the_content_it_opened_and_a_new_one_gets_the_new(
    here: Path, there: Path
) -> None:
    (here / "file").write_bytes(OLD)
    with (there / "file").open("rb") as old:
        assert old.read(3) == b"old"
        (here / "file").write_bytes(NEW)
        assert (there / "file").read_bytes() == NEW
        assert old.read() == OLD[3:]
    assert (there / "file").read_bytes() == NEW


def test_truncate_by_path_is_committed_at_once(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"0123456789")
    os.truncate(here / "file", 4)
    assert (there / "file").read_bytes() == b"0123"


def test_what_was_closed_survives_the_server_s_power_cut(tmp_path: Path) -> None:
    with Mongod() as server, Mounted(server.uri_for("lake"), tmp_path) as mount:
        version = mount.version()
        (version / "gone").write_bytes(b"")
        (version / "before").write_bytes(OLD)
        (version / "gone").unlink()
        (version / "before").rename(version / "after")
        server.kill()
        server.start()
        mount.restart()
        assert (version / "after").read_bytes() == OLD
        assert sorted(each.name for each in version.iterdir()) == ["after"]


def test_an_open_sees_what_was_closed_before_on_another_mount(here: Path, there: Path) -> None:
    for number in range(20):
        (here / "file").write_text(str(number))
        assert (there / "file").read_text() == str(number)


def test_an_open_that_meets_a_commit_has_one_of_the_two_contents(here: Path, there: Path) -> None:
    contents = [b"%d" % number * 1000 for number in range(10)]
    (here / "file").write_bytes(contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(150):
            with (here / "file").open("r+b") as file:
                file.write(contents[number % 10])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert (there / "file").read_bytes() in contents
    finally:
        writer.join()


def test_other_mounts_see_names_and_attributes_within_a_second(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"1")
    assert (there / "file").stat().st_size == 1
    (here / "file").write_bytes(b"22")
    eventually(lambda: (there / "file").stat().st_size == 2, "the new size", seconds=SECOND)
    (here / "file").unlink()
    eventually(lambda: not (there / "file").exists(), "the removal", seconds=SECOND)


def test_processes_of_one_mount_see_writes_at_once(here: Path) -> None:
    with (here / "file").open("wb", buffering=0) as file:
        file.write(b"first")
        assert (here / "file").read_bytes() == b"first"
        assert (here / "file").stat().st_size == 5
        file.write(b" second")
        assert (here / "file").read_bytes() == b"first second"


def test_an_open_that_truncates_shares_its_file_with_all_others_of_the_mount(here: Path) -> None:
    for _ in range(50):
        (here / "file").write_bytes(b"old content")
        handles: dict[int, int] = {}

        def open_it(flags: int, handles: dict[int, int] = handles) -> None:
            handles[flags] = os.open(here / "file", flags)

        threads = [
            threading.Thread(target=open_it, args=(flags,))
            for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDONLY)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.write(handles[os.O_WRONLY | os.O_TRUNC], b"new")
        assert os.pread(handles[os.O_RDONLY], 100, 0) == b"new"
        for handle in handles.values():
            os.close(handle)


def test_a_new_file_is_empty_elsewhere_until_it_is_closed(
    here: Path, there: Path, path: str, database: Database[dict[str, Any]]
) -> None:
    with (here / "file").open("wb", buffering=0) as file:
        file.write(b"bytes")
        assert (there / "file").read_bytes() == b""
        assert database["fs.files"].find_one({"filename": f"{path}/file"}) is None
    assert (there / "file").read_bytes() == b"bytes"
    assert database["fs.files"].find_one({"filename": f"{path}/file"}) is not None


def test_appends_of_one_mount_do_not_overwrite_each_other(here: Path) -> None:
    with (here / "log").open("ab", buffering=0) as one, (here / "log").open("ab", 0) as other:
        for _ in range(50):
            one.write(b"1")
            other.write(b"2")
    assert sorted((here / "log").read_bytes()) == sorted(b"12" * 50)


def test_of_two_mounts_that_write_one_file_the_last_to_close_wins(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"base")
    with (here / "file").open("r+b") as one:
        one.write(b"here")
        (there / "file").write_bytes(b"there")
    assert (there / "file").read_bytes() == b"here"


@pytest.mark.parametrize("damage", ["altered", "short", "long", "missing"])
def test_a_damaged_chunk_is_an_error_and_never_wrong_bytes(
    here: Path, there: Path, path: str, database: Database[dict[str, Any]], damage: str
) -> None:
    (here / "file").write_bytes(OLD)
    found = database["fs.files"].find_one({"filename": f"{path}/file"})
    assert found is not None
    chunk = {"files_id": found["_id"], "n": 1}
    data = OLD[MIB : 2 * MIB]
    if damage == "missing":
        database["fs.chunks"].delete_one(chunk)
    else:
        bad = {"altered": b"?" + data[1:], "short": data[1:], "long": data + b"?"}[damage]
        database["fs.chunks"].update_one(chunk, {"$set": {"data": Binary(bad)}})
    with (there / "file").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 0) == OLD[:4096]
        with refused(errno.EIO):
            os.pread(file.fileno(), 4096, MIB)


def test_a_foreign_content_s_chunks_are_checked_for_number_and_length(
    here: Path, path: str, bucket: GridFSBucket, database: Database[dict[str, Any]]
) -> None:
    key = bucket.upload_from_stream(f"{path}/file", bytes(1000), chunk_size_bytes=300)
    eventually((here / "file").exists, "it is adopted")
    database["fs.chunks"].delete_one({"files_id": key, "n": 2})
    with refused(errno.EIO):
        (here / "file").read_bytes()


def test_a_silent_server_is_an_error_within_the_deadline_and_the_mount_recovers(
    tmp_path: Path,
) -> None:
    with Mongod() as server, Mounted(server.uri, tmp_path, "--deadline", "2") as mount:
        version = mount.version()
        (version / "file").write_bytes(b"old")
        server.pause()
        with refused(errno.EIO):
            (version / "other").read_bytes()
        server.resume()
        assert eventually((version / "file").read_bytes, "it answers again") == b"old"
        (version / "file").write_bytes(b"new")
        assert (version / "file").read_bytes() == b"new"


def test_after_a_failed_close_the_old_content_is_there(tmp_path: Path) -> None:
    with Mongod() as server, Mounted(server.uri, tmp_path, "--deadline", "2") as mount:
        file = mount.version() / "file"
        file.write_bytes(b"old")
        descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, b"new")
        server.pause()
        with refused(errno.EIO):
            os.close(descriptor)
        server.resume()
        mount.restart()
        assert file.read_bytes() == b"old"


def test_a_failed_fsync_may_be_tried_again(tmp_path: Path) -> None:
    with Mongod() as server, Mounted(server.uri, tmp_path, "--deadline", "2") as mount:
        file = mount.version() / "file"
        file.write_bytes(b"old")
        with file.open("wb", buffering=0) as handle:
            handle.write(b"new")
            server.pause()
            with refused(errno.EIO):
                os.fsync(handle.fileno())
            server.resume()
            os.fsync(handle.fileno())
        mount.restart()
        assert file.read_bytes() == b"new"


def test_after_a_failed_write_nothing_is_committed(tmp_path: Path) -> None:
    with Mongod() as server, Mounted(server.uri, tmp_path, "--deadline", "2") as mount:
        file = mount.version() / "file"
        file.write_bytes(b"old")
        descriptor = os.open(file, os.O_WRONLY)
        server.pause()
        with refused(errno.EIO):
            for _ in range(32):  # more than a writer keeps in memory
                os.write(descriptor, NEW)
        server.resume()
        with refused(errno.EIO):
            os.fsync(descriptor)
        with refused(errno.EIO):
            os.close(descriptor)
        mount.restart()
        assert file.read_bytes() == b"old"


def test_holes_read_as_zeros_and_take_the_space_of_zeros(here: Path) -> None:
    with (here / "file").open("wb") as file:
        file.seek(2 * MIB)
        file.write(b"end")
    assert (here / "file").read_bytes() == bytes(2 * MIB) + b"end"
    assert (here / "file").stat().st_blocks * 512 >= 2 * MIB


def test_fallocate_is_not_supported(here: Path) -> None:
    (here / "file").write_bytes(b"")
    with (here / "file").open("r+b") as file:
        library = ctypes.CDLL(None, use_errno=True)
        length = ctypes.c_long(10_000)
        assert library.fallocate(file.fileno(), 0, ctypes.c_long(0), length) != 0
        assert ctypes.get_errno() == errno.EOPNOTSUPP
        os.posix_fallocate(file.fileno(), 0, 10_000)  # the C library writes zeros instead
    assert (here / "file").read_bytes() == bytes(10_000)


def test_a_nameless_file_is_not_supported(here: Path) -> None:
    with refused(errno.EOPNOTSUPP):
        os.open(here, os.O_TMPFILE | os.O_RDWR)


def test_shared_mappings_are_committed_when_unmapped(here: Path, there: Path) -> None:
    (here / "file").write_bytes(bytes(10_000))
    with (here / "file").open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 10_000)
    mapping[5000:5005] = b"bytes"
    assert (here / "file").read_bytes()[5000:5005] == b"bytes"
    assert (there / "file").read_bytes() == bytes(10_000)
    mapping.close()
    eventually(
        lambda: (there / "file").read_bytes()[5000:5005] == b"bytes", "the mapping is committed"
    )


def test_msync_publishes_what_was_mapped_and_written(here: Path, there: Path) -> None:
    (here / "file").write_bytes(bytes(10_000))
    with (here / "file").open("r+b") as file, mmap.mmap(file.fileno(), 10_000) as mapping:
        mapping[5000:5005] = b"bytes"
        mapping.flush()
        assert (there / "file").read_bytes()[5000:5005] == b"bytes"


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_locks_hold_among_the_processes_of_one_mount_only(
    here: Path, there: Path, lock: Any
) -> None:
    (here / "file").write_bytes(b"")
    with (
        (here / "file").open("r+b") as mine,
        (here / "file").open("r+b") as same,
        (there / "file").open("r+b") as other,
    ):
        lock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is fcntl.flock:  # fcntl's locks belong to the process, not to the descriptor
            with refused(errno.EAGAIN):
                lock(same, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
