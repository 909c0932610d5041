"""What is told of slow operations is in memory, whatever they were about."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gridfsmount.core.model import DATASETS, ROOT, SNAPSHOTS, Inode, Kind, Name, Node
from gridfsmount.store.tree import Tree
from gridfsmount.vfs import slow as module
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG, Part
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.slow import SlowLog
from gridfsmount.vfs.snapshots.slots import Slots
from gridfsmount.workers import Workers

FOLDER, VERSION, FILE, LOOP, LOST = (Inode(each) for each in (1500, 2000, 2001, 3000, 4000))
CLOSED = 7


def node(inode: Inode, parent: Inode, name: str) -> Node:
    return Node(
        inode=inode,
        kind=Kind.FILE,
        names=(Name(parent, name),),
        mode=0o644,
        uid=0,
        gid=0,
        mtime_ns=1,
        ctime_ns=1,
    )


class Keeping(logging.Handler):
    """Appends records to a list."""

    def __init__(self, records: list[Any]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


class NothingOpen:
    """Neither files nor folders have a handle."""

    def about(self, number: int) -> None:
        assert number & ~SNAPSHOTS_FLAG == CLOSED


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=1000.0)


@pytest.fixture
async def slow(clock: SimpleNamespace) -> SlowLog:
    """Some nodes are remembered; a tree that is asked for anything is none."""
    recent = RecentNodes(cast(Tree, None), Workers())
    for each in (
        node(FOLDER, DATASETS, "mnist"),
        node(VERSION, FOLDER, "v1"),
        node(FILE, VERSION, "train.bin"),
        node(LOOP, LOOP, "loop"),
        node(LOST, Inode(9999), "lost"),
    ):
        recent.remember(each)
    part = cast(Part, SimpleNamespace(files=NothingOpen(), directories=NothingOpen()))
    return SlowLog(part, part, recent, Slots(), lambda: clock.now)


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What was told so far."""
    records: list[Any] = []
    handler = Keeping(records)
    module.log.addHandler(handler)
    yield records
    module.log.removeHandler(handler)


@pytest.mark.parametrize(
    ("operation", "arguments", "path"),
    [
        ("getattr", (FILE, None), "/datasets/mnist/v1/train.bin"),
        ("getattr", (ROOT, None), "/"),
        ("getattr", (DATASETS, None), "/datasets"),
        ("lookup", (ROOT, b"models", None), "/models"),
        ("lookup", (FOLDER, b"\xff", None), "/datasets/mnist/\\xff"),
        ("unlink", (VERSION, b"train.bin", None), "/datasets/mnist/v1/train.bin"),
        ("getattr", (LOST, None), ".../lost"),
        ("mkdir", (Inode(5000), b"new", 0, None), ".../inode 5000/new"),
        ("read", (CLOSED, 0, 4096), "..."),
        ("readdir", (CLOSED, 0, None), "..."),
        ("read", (CLOSED | SNAPSHOTS_FLAG, 0, 4096), "..."),
        ("getattr", (SNAPSHOTS, None), "/snapshots"),
        ("getattr", (SNAPSHOTS_FLAG | 1 << 40 | 1, None), "/snapshots/..."),
        ("statfs", (None,), "/"),
        ("statfs", (), "/"),
    ],
)
async def test_the_path_is_told_as_far_as_it_is_remembered(
    slow: SlowLog, told: list[Any], operation: str, arguments: tuple[object, ...], path: str
) -> None:
    slow(operation, arguments, 2.5)
    (record,) = told
    assert (record.operation, record.path, record.seconds) == (operation, path, 2.5)


async def test_a_tree_that_loops_has_a_path_that_ends(slow: SlowLog, told: list[Any]) -> None:
    slow("getattr", (LOOP, None), 2.5)
    assert len(told[0].path) < 1000


async def test_bytes_are_those_that_were_asked_for(slow: SlowLog, told: list[Any]) -> None:
    slow("read", (CLOSED, 0, 4096), 2)
    slow("write", (CLOSED, 0, memoryview(b"12345")), 2)
    slow("flush", (CLOSED,), 2)
    assert [each.bytes for each in told] == [4096, 5, None]


async def test_a_long_outage_does_not_flood_the_log(
    slow: SlowLog, told: list[Any], clock: SimpleNamespace
) -> None:
    for _ in range(module.MOST_A_MINUTE + 23):
        slow("getattr", (FILE, None), 30)
    assert len(told) == module.MOST_A_MINUTE
    clock.now += 61
    slow("getattr", (FILE, None), 30)
    summary, last = told[module.MOST_A_MINUTE :]
    assert summary.getMessage() == "slow: 23 more operations in the minute before"
    assert last.operation == "getattr"
