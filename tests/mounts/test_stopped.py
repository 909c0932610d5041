"""A mount whose process was stopped for a while, as a laptop that sleeps, or a machine that swaps.

`GRIDFSMOUNT_TEST_LEASE=60` stops it for minutes rather than seconds.
"""

import errno
import os
from pathlib import Path

import pytest

from tests.faults.lakes import LEASE, MIB, Lake, errno_of, wait_for_chunks
from tests.mounting import assert_healthy_log, eventually, mounted

SECONDS = float(os.environ.get("GRIDFSMOUNT_TEST_LEASE", LEASE))
VERSION = "datasets/test/v1"
SHOWN = b"shown before"
NEW = b"made while the other one was stopped"


@pytest.mark.parametrize("uri", ["lake_uri", "standalone_uri"])
def test_a_mount_that_was_stopped_sees_the_newest_and_tears_no_file(
    request: pytest.FixtureRequest, uri: str, tmp_path: Path
) -> None:
    uri, lease = request.getfixturevalue(uri), f"--lease={SECONDS:g}"
    with (
        Lake(uri) as lake,
        mounted(uri, tmp_path / "one", lease) as one,
        mounted(uri, tmp_path / "other", lease) as other,
    ):
        here, there = one.version(VERSION), other.path / VERSION
        for name in ("rewritten", "replaced", "renamed", "removed", "small", "large"):
            (here / name).write_bytes(SHOWN)
            assert (there / name).read_bytes() == SHOWN
        small = os.open(there / "small", os.O_WRONLY | os.O_TRUNC)
        large = os.open(there / "large", os.O_WRONLY | os.O_TRUNC)
        os.write(small, b"kept in memory")
        os.write(large, os.urandom(20 * MIB))
        wait_for_chunks(lake, 8)

        other.pause()
        try:
            (here / "rewritten").write_bytes(NEW)
            (here / "next").write_bytes(NEW)
            (here / "next").replace(here / "replaced")
            (here / "renamed").rename(here / "new name")
            (here / "removed").unlink()
            (here / "small").write_bytes(NEW)
            eventually(
                lambda: not lake.uploads.count_documents({}), "the lease expires", 10 * SECONDS
            )
        finally:
            other.resume()

        assert [(there / name).stat().st_size for name in ("rewritten", "replaced")] == [
            len(NEW)
        ] * 2
        assert (there / "rewritten").read_bytes() == (there / "replaced").read_bytes() == NEW
        assert sorted(each.name for each in there.iterdir()) == [
            "large",
            "new name",
            "replaced",
            "rewritten",
            "small",
        ]
        assert not (there / "renamed").exists()
        assert not (there / "removed").exists()
        os.close(small)
        assert errno_of(lambda: os.close(large)) == errno.EIO
        for place in (here, there):
            assert (place / "small").read_bytes() == b"kept in memory"
            assert (place / "large").read_bytes() == SHOWN
        (there / "large").write_bytes(NEW)
        assert (here / "large").read_bytes() == NEW
    assert_healthy_log(one)
