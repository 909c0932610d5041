"""On a replica set the server tells each mount what the others change: it shows at once.

"At once" is measured: half of many changes must show in less than half of the time for which the
kernel would have believed the old state by itself.
"""

import errno
import mmap
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from gridfsmount.fuse.adapter import ATTRIBUTE_SECONDS
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually, mounted
from tests.sealing import seal

CHANGES = 11


@pytest.fixture
def mounts(following: list[Mounted]) -> list[Mounted]:
    return following


@contextmanager
def database_of(mongod: Mongod, mount: Mounted) -> Iterator[Database[dict[str, Any]]]:
    with mongod.client() as client:
        yield client[mount.uri.rpartition("/")[2].partition("?")[0]]


def delay(change: Callable[[], object], shows: Callable[[], bool]) -> float:
    """Seconds from a change to where it shows."""
    assert not shows()
    change()
    began = time.monotonic()
    eventually(shows, "the change")
    return time.monotonic() - began


def is_at_once(delays: list[float]) -> bool:
    return statistics.median(delays) < ATTRIBUTE_SECONDS / 2


def test_a_file_s_new_size_shows_at_once(here: Path, there: Path) -> None:
    file, seen = here / "file", there / "file"
    file.write_bytes(b"")
    assert is_at_once(
        [
            delay(lambda: file.write_bytes(b"x" * n), lambda: seen.stat().st_size == n)  # noqa: B023
            for n in range(1, CHANGES)
        ]
    )


def test_new_permissions_show_at_once(here: Path, there: Path) -> None:
    file, seen = here / "file", there / "file"
    file.write_bytes(b"")
    assert is_at_once(
        [
            delay(lambda: file.chmod(n), lambda: seen.stat().st_mode & 0o777 == n)  # noqa: B023
            for n in range(0o700, 0o700 + CHANGES)
        ]
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda each: (each / "file").unlink(), id="removal of a file"),
        pytest.param(lambda each: (each / "file").rename(each / "x"), id="renaming a file"),
        pytest.param(lambda each: (each / "empty").rmdir(), id="removal of a folder"),
        pytest.param(lambda each: each.rename(f"{each} renamed"), id="renaming a folder"),
    ],
)
def test_a_name_that_is_gone_is_gone_at_once(
    here: Path, there: Path, change: Callable[[Path], object]
) -> None:
    delays = []
    for number in range(CHANGES):
        folder, seen = here / f"{number}", there / f"{number}"
        (folder / "empty").mkdir(parents=True)
        (folder / "file").write_bytes(b"")
        delays.append(
            delay(
                lambda: change(folder),  # noqa: B023
                lambda: not ((seen / "file").exists() and (seen / "empty").exists()),  # noqa: B023
            )
        )
    assert is_at_once(delays)


def test_a_version_that_is_removed_or_renamed_is_gone_at_once(
    following: list[Mounted], here: Path, there: Path
) -> None:
    delays = []
    for number in range(CHANGES):
        version, seen = here.parent / f"w{number}", there.parent / f"w{number}"
        (version / "folder").mkdir(parents=True)
        change = version.rename if number % 2 else lambda _, version=version: remove(version)
        delays.append(
            delay(
                lambda: change(here.parent / f"r{number}"),  # noqa: B023
                lambda: not (seen / "folder").exists(),  # noqa: B023
            )
        )
    assert is_at_once(delays)


def remove(version: Path) -> None:
    (version / "folder").rmdir()
    version.rmdir()


def test_a_version_that_is_sealed_takes_no_changes_at_once(
    mongod: Mongod, following: list[Mounted], here: Path, there: Path
) -> None:
    with database_of(mongod, following[0]) as database:
        delays = [sealing_delay(database, here.parent, there.parent, n) for n in range(CHANGES)]
    assert is_at_once(delays)


def sealing_delay(
    database: Database[dict[str, Any]], here: Path, there: Path, number: int
) -> float:
    version, seen = here / f"w{number}", there / f"w{number}" / "file"
    version.mkdir()
    (version / "file").write_bytes(b"")

    def is_sealed() -> bool:
        try:
            seen.chmod(0o640)
        except OSError as error:
            return error.errno == errno.EROFS
        return False

    return delay(lambda: seal(database, here.name, version.name), is_sealed)


def test_what_a_sealed_version_lost_is_forgotten_although_it_was_believed_for_good(
    mongod: Mongod, lake_uri: str, tmp_path: Path
) -> None:
    with mounted(lake_uri, tmp_path / "one") as one, database_of(mongod, one) as database:
        (one.version() / "folder").mkdir()
        (one.version() / "folder" / "file").write_bytes(b"bytes")
        seal(database, "test", "v1")
        with mounted(lake_uri, tmp_path / "other") as other:
            folder = other.path / "datasets/test/v1/folder"
            inodes = [each.stat().st_ino for each in (folder / "file", folder, folder.parent)]
            tree = database["fs.tree"]
            assert (folder / "file").read_bytes() == b"bytes"
            descriptor = os.open(folder, os.O_PATH)  # so that no name above it is looked up
            inside = Path(f"/proc/self/fd/{descriptor}/file")
            assert inside.exists()
            tree.delete_one({"_id": inodes[0]})
            eventually(lambda: not inside.exists(), "the file in the sealed version is gone")
            tree.delete_many({"_id": {"$in": inodes[1:]}})
            eventually(lambda: not folder.exists(), "the version is gone")
            os.close(descriptor)
    assert_healthy_log(other)


def test_what_is_open_has_attributes_although_it_is_renamed_elsewhere(
    here: Path, there: Path
) -> None:
    (here / "folder").mkdir()
    (here / "file").write_bytes(b"")
    descriptors = [
        os.open(there / "folder", os.O_RDONLY | os.O_DIRECTORY),
        os.open(there / "file", os.O_RDONLY),
    ]
    for number in range(3):
        before = [f"folder {number - 1}", f"file {number - 1}"] if number else ["folder", "file"]
        for old, new in zip(before, (f"folder {number}", f"file {number}"), strict=True):
            assert (there / old).exists()
            (here / old).rename(here / new)
        eventually(lambda: not (there / before[0]).exists(), "the new name")  # noqa: B023
        for descriptor in descriptors:
            os.fstat(descriptor)
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_name_that_is_replaced_all_the_time_is_never_missing_elsewhere(
    here: Path, there: Path
) -> None:
    (here / "file").write_bytes(b"0")
    done = threading.Event()
    failures: list[OSError] = []

    def look() -> None:
        while not done.is_set():
            try:
                (there / "file").stat()
            except OSError as error:
                failures.append(error)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for number in range(50):
            (here / "next").write_bytes(b"%d" % number)
            (here / "next").replace(here / "file")
    finally:
        done.set()
        looker.join()
    assert failures == []


@pytest.mark.parametrize("readers", ["here", "there"])
def test_a_file_that_is_replaced_all_the_time_can_be_opened_and_is_never_of_the_past(
    here: Path, there: Path, readers: str
) -> None:
    (here / "file").write_bytes(b"0")
    path = (here if readers == "here" else there) / "file"
    done = threading.Event()
    failures: list[object] = []
    closed = 0

    def look() -> None:
        while not done.is_set():
            at_least = closed
            try:
                with path.open("rb") as file:
                    found = file.read()
                    size = os.fstat(file.fileno()).st_size
                path.stat()
            except OSError as error:
                failures.append(error)
            else:
                if int(found) < at_least or size != len(found):
                    failures.append((found, size, at_least))

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for each in lookers:
        each.start()
    try:
        for number in range(1, 61):
            (here / "next").write_bytes(b"%d" % number)
            (here / "next").replace(here / "file")
            closed = number
    finally:
        done.set()
        for each in lookers:
            each.join()
    assert failures == []


def test_what_is_opened_as_it_is_replaced_can_be_written_and_goes_with_its_name(
    here: Path, there: Path
) -> None:
    done = threading.Event()
    failures: list[OSError] = []
    (here / "file").write_bytes(b"replaced")

    def write() -> None:
        while not done.is_set():
            try:
                with (there / "file").open("ab") as file:
                    file.write(b"appended ")
            except OSError as error:
                failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            (here / "next").write_bytes(b"replaced ")
            (here / "next").replace(here / "file")
    finally:
        done.set()
        writer.join()
    assert failures == []
    assert set((here / "file").read_bytes().split()[1:]) <= {b"appended"}


def test_changes_elsewhere_hold_up_nobody_who_reads_writes_and_maps_the_file(
    here: Path, there: Path
) -> None:
    size = 2 << 20
    (here / "file").write_bytes(bytes(size))
    done = threading.Event()

    def change() -> None:
        number = 0
        while not done.is_set():
            number += 1
            (here / "file").chmod(0o600 + number % 8)
            with (here / "file").open("r+b") as file:
                file.write(b"%d" % number)
            (here / f"link {number}").hardlink_to(here / "file")
            (here / f"link {number}").unlink()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for number in range(30):
            with (there / "file").open("r+b") as file:
                file.write(b"%d" % number)
                file.read()
            with (
                (there / "file").open("rb") as source,
                mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_COPY) as mapped,
            ):
                assert len(mapped[:]) == size
            (there / f"name {number}").write_bytes(b"")
            (there / f"name {number}").rename(there / f"other {number}")
    finally:
        done.set()
        changer.join()


def test_a_mount_catches_up_after_the_stream_was_cut_and_the_server_restarted(
    tmp_path: Path,
) -> None:
    with (
        Mongod() as server,
        mounted(server.uri_for("lake"), tmp_path / "one") as one,
        mounted(server.uri_for("lake"), tmp_path / "other") as other,
    ):
        file = one.version() / "file"
        seen = other.path / file.relative_to(one.path)
        file.write_bytes(b"")
        for size, cut in enumerate((kill_streams, Mongod.kill), 1):
            assert seen.stat().st_size == size - 1
            cut(server)
            if cut is Mongod.kill:
                server.start()
            file.write_bytes(b"x" * size)
            eventually(lambda: seen.stat().st_size == size, "the change meanwhile")  # noqa: B023

            def follows() -> bool:
                mode = 0o600 + uuid.uuid4().int % 0o200
                file.chmod(mode)
                began = time.monotonic()
                eventually(lambda: seen.stat().st_mode & 0o777 == mode, "the new mode")
                return time.monotonic() - began < ATTRIBUTE_SECONDS / 2

            eventually(follows, "it is followed again")
            eventually(follows, "and again")


def kill_streams(server: Mongod) -> None:
    """End all change streams at the server, as an administrator can."""
    with server.client() as client:
        killed = [
            client.admin.command("killOp", op=each["opid"])
            for each in client.admin.aggregate([{"$currentOp": {"idleCursors": True}}])
            if "opid" in each and "$changeStream" in str(each)
        ]
        assert killed
