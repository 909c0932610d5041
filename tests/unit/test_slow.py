"""What is told of requests that take long."""

import errno
from collections.abc import Sequence
from typing import cast

import pytest
from pyfuse3 import FileHandleT, FUSEError, InodeT, RequestContext

from gridfsmount.fuse.adapter import LakeOperations, Slow
from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.vfs.parts import STATS
from gridfsmount.vfs.stats import stats_part

CALLER = cast(RequestContext, None)
Told = list[tuple[str, Sequence[object], float]]


def operations(telemetry: Telemetry, slow: Slow | None, seconds: float) -> LakeOperations:
    """A mount of nothing but its own figures."""
    part = stats_part(lambda: {}, (0, 0))
    return LakeOperations(part, part, part, {}, {}, telemetry, slow=slow, slow_seconds=seconds)


async def ask(mount: LakeOperations) -> None:
    """Some requests, one of which fails."""
    inode = cast(InodeT, STATS)
    await mount.getattr(inode, CALLER)
    await mount.fsync(cast(FileHandleT, STATS), datasync=False)
    with pytest.raises(FUSEError):
        await mount.opendir(inode, CALLER)


async def test_what_takes_long_is_told_with_its_arguments() -> None:
    told: Told = []
    mount = operations(Telemetry(), lambda *what: told.append(what), 0.0)

    await ask(mount)

    assert [(name, args[0]) for name, args, _ in told] == [
        ("getattr", STATS),
        ("fsync", STATS),
        ("opendir", STATS),
    ]
    assert all(0 < seconds < 60 for _, _, seconds in told)


async def test_what_does_not_take_long_is_not_told() -> None:
    told: Told = []

    await ask(operations(Telemetry(), lambda *what: told.append(what), 60.0))
    await ask(operations(Telemetry(), None, 0.0))

    assert told == []


async def test_each_request_counts_once_and_its_error_too() -> None:
    telemetry = Telemetry()

    await ask(operations(telemetry, None, 1.0))

    counts = {name: each.count for name, each in telemetry.operations.items() if each.count}
    assert counts == {"getattr": 1, "fsync": 1, "opendir": 1}
    assert telemetry.operations["opendir"].errors == {errno.ENOTDIR: 1}
    assert telemetry.pending == 0
