"""Machines whose clocks are wrong: times of files follow them, promises do not."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.lakes import LEASE, MIB, Lake, wait_for_chunks
from tests.mounting import Mounted, assert_healthy_log, eventually, run_command

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
YEAR = 365 * 86400


@contextmanager
def skewed(uri: str, folder: Path, seconds: int) -> Iterator[Mounted]:
    """A mount whose process has another time than the server; its monotonic clock is right."""
    mount = Mounted(uri, folder, f"--lease={LEASE}")
    wrong = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": f"{seconds:+d}",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wrong.items():
            patch.setenv(name, value)
        mount.start()
    try:
        yield mount
    finally:
        mount.stop()


@pytest.mark.parametrize("seconds", [-2 * YEAR, 2 * YEAR])
def test_a_clock_that_is_wrong_by_years_loses_nothing(
    lake_uri: str, tmp_path: Path, seconds: int
) -> None:
    with (
        Lake(lake_uri) as lake,
        skewed(lake_uri, tmp_path / "wrong", seconds) as wrong,
        Mounted(lake_uri, tmp_path / "right", f"--lease={LEASE}") as right,
    ):
        there, here = wrong.version(), right.version()
        data = os.urandom(10 * MIB)

        # Leases: neither takes the other's upload for one that was left behind.
        with (there / "theirs").open("wb") as theirs, (here / "ours").open("wb") as ours:
            for file in (theirs, ours):
                file.write(data)
                file.flush()
            wait_for_chunks(lake, 10)
            begun = time.monotonic()
            run_command("gc", lake_uri, f"--lease={LEASE}")
            eventually(lambda: time.monotonic() > begun + 3 * LEASE, "leases would have ended")
        for folder in (here, there):
            assert (folder / "theirs").read_bytes() == (folder / "ours").read_bytes() == data

        # Trash: what was removed can be read on, through files that are open on any machine.
        with (here / "theirs").open("rb") as reading, (there / "ours").open("rb") as beside:
            (there / "theirs").unlink()
            (here / "ours").unlink()
            assert run_command("gc", lake_uri).returncode == 0
            assert reading.read() == beside.read() == data

        # Times: those of files are what the machine says that wrote them.
        (there / "file").write_bytes(b"content")
        told = (here / "file").stat().st_mtime
        assert abs(told - time.time() - seconds) < 300
        assert_healthy_log(wrong)
        assert_healthy_log(right)
