"""What is forgotten when the server tells of a change, and when the kernel is told."""

import time
from dataclasses import replace
from typing import Any, cast

import pytest

from gridfsmount.core.model import LATEST_FLAG, Inode, Kind, Name, Node, State
from gridfsmount.store.changes import Changes, NodeChange, decode_change
from gridfsmount.store.tree import Tree
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.invalidation import GRACE_SECONDS, Invalidation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Workers

DATASET = Inode(1500)
VERSION = Inode(2000)
FILE = Inode(2001)


class Told:
    """Who is told of changes, with a mount's memory beside it."""

    def __init__(self) -> None:
        self.recent = RecentNodes(cast(Tree, None), Workers())
        self.kernel: list[Inode] = []
        self.outdated_files: list[Inode] = []
        self.unlinked_files: list[Inode] = []
        self.questions = 0
        self.invalidation = Invalidation(
            cast(Changes, None),
            Workers(),
            self.recent,
            cast(Files, self),
            self.kernel.append,
            self.asked,
        )

    def asked(self) -> None:
        self.questions += 1

    def outdated(self, inode: Inode) -> None:
        self.outdated_files.append(inode)

    def unlinked(self, inode: Inode, *, elsewhere: bool) -> None:
        assert elsewhere
        self.unlinked_files.append(inode)


@pytest.fixture
async def told() -> Told:
    return Told()


def node(inode: Inode, parent: Inode, kind: Kind = Kind.FILE) -> Node:
    name = Name(parent, f"{inode}")
    return Node(inode, kind, (name,), 0o644, 0, 0, 1, 1, version=VERSION, rev=1)


async def test_of_a_change_of_attributes_the_kernel_hears_at_once(told: Told) -> None:
    told.recent.remember(node(FILE, VERSION))
    told.invalidation.apply(NodeChange(FILE, 2), time.monotonic())
    assert told.kernel == told.outdated_files == [FILE]
    assert told.recent.peek(FILE) is None


async def test_what_this_mount_changed_itself_is_kept(told: Told) -> None:
    told.recent.remember(node(FILE, VERSION))
    told.invalidation.apply(NodeChange(FILE, 1, renamed=True), time.monotonic())
    assert told.kernel == told.outdated_files == []
    assert told.recent.peek(FILE) is not None


@pytest.mark.parametrize(
    "change", [NodeChange(FILE, None, gone=True), NodeChange(FILE, 2, renamed=True)]
)
async def test_a_name_that_was_looked_up_just_now_is_believed_for_a_moment(
    told: Told, change: NodeChange
) -> None:
    now = time.monotonic()
    told.recent.remember(node(FILE, VERSION), now - GRACE_SECONDS / 2)
    told.invalidation.apply(change, now)
    told.invalidation.forget_due(now + GRACE_SECONDS / 2)
    assert told.kernel == []
    told.invalidation.forget_due(now + GRACE_SECONDS)
    assert told.kernel == [FILE]


async def test_one_that_was_looked_up_before_is_not(told: Told) -> None:
    now = time.monotonic()
    told.recent.remember(node(FILE, VERSION), now - 2 * GRACE_SECONDS)
    told.invalidation.apply(NodeChange(FILE, None, gone=True), now)
    assert told.kernel == told.unlinked_files == [FILE]


async def test_with_a_version_the_link_to_the_latest_changes(told: Told) -> None:
    version = replace(node(VERSION, DATASET, Kind.DIRECTORY), state=State.DRAFT)
    told.recent.remember(version)
    told.invalidation.apply(NodeChange(VERSION, 2, sealed=True), time.monotonic())
    assert told.kernel == [VERSION, DATASET | LATEST_FLAG]


@pytest.mark.parametrize(
    ("event", "change"),
    [
        (
            {"operationType": "update", "rev": 3, "fields": ["rev", "size", "content"]},
            NodeChange(FILE, 3),
        ),
        (
            {"operationType": "update", "rev": 3, "fields": ["names", "rev"]},
            NodeChange(FILE, 3, renamed=True),
        ),
        (
            {"operationType": "update", "rev": 3, "fields": ["names.1.name"]},
            NodeChange(FILE, 3, renamed=True),
        ),
        (
            {"operationType": "update", "rev": 3, "state": "sealed", "fields": ["state", "rev"]},
            NodeChange(FILE, 3, sealed=True),
        ),
        ({"operationType": "update", "rev": "?"}, NodeChange(FILE, None)),
        ({"operationType": "replace", "fields": None}, NodeChange(FILE, None, renamed=True)),
        ({"operationType": "delete", "fields": None}, NodeChange(FILE, None, gone=True)),
    ],
)
def test_an_event_tells_what_kind_of_change_it_is(
    event: dict[str, Any], change: NodeChange
) -> None:
    assert decode_change({"documentKey": {"_id": FILE}, **event}) == change


@pytest.mark.parametrize("inode", ["x", -1, 0, True, 5.0, None])
def test_a_document_that_is_no_node_is_passed_over(inode: object) -> None:
    assert decode_change({"documentKey": {"_id": inode}, "operationType": "delete"}) is None
