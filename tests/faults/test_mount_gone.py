"""The mount dies or hangs in the middle of a write: leases, and what the next mount finds."""

import errno
import os
import time
from pathlib import Path

from tests.faults.lakes import (
    LEASE,
    MIB,
    Copying,
    Lake,
    assert_alive,
    errno_of,
    recovered,
    wait_for_chunks,
)
from tests.mounting import eventually, mounted

PATH = "datasets/test/v1/file"
OPTIONS = (f"--lease={LEASE}",)

# Seconds. A lease expires, two looks of the janitor find it so, its chunks are removed, and a term
# later it goes itself. With a look to spare for each.
SWEPT_WITHIN = 8 * LEASE


def swept(lake: Lake) -> bool:
    return not lake.uploads.count_documents({}) and not lake.unpublished_chunks()


def test_a_mount_that_is_killed_in_a_copy_leaves_the_old_content_whole(
    lake_uri: str, tmp_path: Path
) -> None:
    old = os.urandom(6 * MIB)
    with Lake(lake_uri) as lake, mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "file"
        path.write_bytes(old)
        eventually(lambda: swept(lake), "its lease is given back")
        other = path.with_name("other")
        with Copying(tmp_path, path) as over, Copying(tmp_path, other) as beside:
            for copying in (over, beside):
                copying.feed(bytes(20 * MIB))
            wait_for_chunks(lake, 8)
            assert mount.process is not None
            mount.process.kill()
            for copying in (over, beside):
                code, said = copying.finish()
                assert code == 1
                assert "not connected" in said or "connection abort" in said
        mount.kill()

        assert lake.unpublished_chunks() >= 8
        assert lake.uploads.count_documents({}) == 2
        assert lake.read(PATH) == old
        assert lake.filenames() == [PATH]
        began = time.monotonic()
        mount.options = OPTIONS
        mount.start()
        assert path.read_bytes() == old
        assert other.read_bytes() == b""
        assert sorted(each.name for each in path.parent.iterdir()) == ["file", "other"]

        eventually(lambda: swept(lake), "what was half uploaded is gone", SWEPT_WITHIN)
        assert time.monotonic() - began < SWEPT_WITHIN
        assert path.read_bytes() == lake.read(PATH) == old
        assert mount.log_text().count("expired") == 2
        assert_alive(mount)


def test_a_truncation_that_was_not_committed_is_undone_by_a_crash(
    lake_uri: str, tmp_path: Path
) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "file"
        path.write_bytes(b"old")
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        assert path.stat().st_size == 0

        mount.kill()
        errno_of(lambda: os.close(descriptor))
        mount.start()

        assert path.read_bytes() == b"old"


def test_what_was_synced_survives_a_crash_and_what_came_after_does_not(
    lake_uri: str, tmp_path: Path
) -> None:
    first, second = os.urandom(6 * MIB), os.urandom(6 * MIB)
    with Lake(lake_uri) as lake, mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "file"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, first)
        os.fsync(descriptor)
        for _ in range(3):
            os.write(descriptor, second)

        mount.kill()
        errno_of(lambda: os.close(descriptor))
        mount.start()

        assert path.read_bytes() == lake.read(PATH) == first


def test_the_lease_of_a_writer_that_lives_is_left_alone(lake_uri: str, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB)
    with (
        Lake(lake_uri) as lake,
        mounted(lake_uri, tmp_path / "one", *OPTIONS) as one,
        mounted(lake_uri, tmp_path / "other", *OPTIONS) as other,
    ):
        path = one.version() / "file"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, data)
        wait_for_chunks(lake, 8)
        (begun,) = lake.uploads.find()

        def beats() -> float:
            (lease,) = lake.uploads.find()
            assert lease["mount"] == begun["mount"]
            return float((lease["beat"] - begun["beat"]).total_seconds())

        # Two more sweeps of the other mount have been due by then.
        eventually(lambda: beats() > 3 * LEASE, "the lease is renewed")
        os.close(descriptor)

        assert (other.path / PATH).read_bytes() == data
        assert lake.read(PATH) == data
        eventually(lambda: swept(lake), "the lease is given back")
        assert "expired" not in one.log_text() + other.log_text()


def test_a_writer_that_was_given_up_publishes_nothing(lake_uri: str, tmp_path: Path) -> None:
    old, data = b"old", os.urandom(20 * MIB)
    with (
        Lake(lake_uri) as lake,
        mounted(lake_uri, tmp_path / "one", *OPTIONS) as one,
        mounted(lake_uri, tmp_path / "other", *OPTIONS) as other,
    ):
        path = one.version() / "file"
        path.write_bytes(old)
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, data)
        wait_for_chunks(lake, 8)

        one.pause()
        try:
            eventually(lambda: swept(lake), "the other mount sweeps the lease", SWEPT_WITHIN)
        finally:
            one.resume()

        assert errno_of(lambda: os.close(descriptor)) == errno.EIO
        assert "expired" in other.log_text()
        assert "given up" in one.log_text()
        assert lake.read(PATH) == old
        assert lake.filenames() == [PATH]
        for mount in (one, other):
            eventually(lambda: recovered(mount.path / PATH, old), "the old content")  # noqa: B023
        eventually(lambda: swept(lake), "nothing is left of the upload")
        path.write_bytes(data)
        assert lake.read(PATH) == data
        assert_alive(one)


def test_a_writer_that_uploaded_nothing_yet_survives_a_long_pause(
    lake_uri: str, tmp_path: Path
) -> None:
    with (
        Lake(lake_uri) as lake,
        mounted(lake_uri, tmp_path / "one", *OPTIONS) as one,
        mounted(lake_uri, tmp_path / "other", *OPTIONS),
    ):
        large = os.open(one.version() / "large", os.O_WRONLY | os.O_CREAT)
        os.write(large, bytes(20 * MIB))
        small = os.open(one.version() / "small", os.O_WRONLY | os.O_CREAT)
        os.write(small, b"content")
        wait_for_chunks(lake, 8)

        one.pause()
        try:
            eventually(lambda: swept(lake), "the other mount sweeps the lease", SWEPT_WITHIN)
        finally:
            one.resume()

        os.close(small)
        assert errno_of(lambda: os.close(large)) == errno.EIO
        assert lake.filenames() == ["datasets/test/v1/small"]
        assert lake.read("datasets/test/v1/small") == b"content"
