"""What happened between two reports."""

import copy
import errno
import time
from typing import Any

from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.telemetry.rates import is_same_mount, rates
from gridfsmount.telemetry.report import About, report


def told(telemetry: Telemetry, uptime: float) -> dict[str, Any]:
    """A report as it is after some seconds."""
    about = About("1.0", 7, "/mnt", "id", "host/db.fs", False, 0.0, time.monotonic())
    return {**report(telemetry, about), "uptime": uptime}


def test_rates_are_of_the_time_in_between() -> None:
    telemetry = Telemetry()
    read = telemetry.operation("read")
    read.note(10.0)
    read.bytes = 1000
    before = told(telemetry, 5.0)
    for _ in range(4):
        read.note(0.001)
    read.bytes += 300
    telemetry.database.answered("find", 0.5, failed=False)
    telemetry.database.answered("find", 0.1, failed=True)

    now = rates(before, told(telemetry, 7.0))

    assert (now.seconds, now.read_bytes, now.requests, now.commands) == (2.0, 150.0, 2.0, 1.0)
    assert (now.command_seconds, now.command_errors) == (0.3, 1)
    (operation,) = now.operations
    assert (operation.name, operation.per_second) == ("read", 2.0)
    assert 0.0008 < operation.p50 <= operation.p99 < 0.0013, "the first one is of the past"


def test_shares_are_of_what_was_looked_for() -> None:
    telemetry = Telemetry()
    telemetry.reading.looked(hits=100, waits=0, misses=0)
    before = told(telemetry, 1.0)
    assert rates(before, told(telemetry, 2.0)).found is None
    telemetry.reading.looked(hits=6, waits=3, misses=1)

    now = rates(before, told(telemetry, 2.0))

    assert (now.found, now.awaited, now.missed) == (0.6, 0.3, 0.1)


def test_faults_are_what_tells_of_trouble() -> None:
    telemetry = Telemetry()
    lookup = telemetry.operation("lookup")
    for code in (errno.ENOENT, errno.EIO, errno.EIO, errno.ENOSPC):
        lookup.note(0.1)
        lookup.failed(code)
    before = told(telemetry, 1.0)
    lookup.note(0.1)
    lookup.failed(errno.EIO)

    now = rates(before, told(telemetry, 2.0))

    assert now.faults == {"EIO": 3, "ENOSPC": 1}
    assert now.new_faults == now.operations[0].faults == 1


def test_counters_of_another_mount_are_not_compared() -> None:
    one = told(Telemetry(), 1.0)
    other = copy.deepcopy(one)
    assert is_same_mount(one, other)
    other["pid"] += 1
    assert not is_same_mount(one, other)
