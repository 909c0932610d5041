"""What is remembered of nodes: for good only what can change no more."""

import math
import time
from dataclasses import replace
from typing import cast

import pytest

from gridfsmount.core.model import ROOT, UNSORTED, Inode, Kind, Name, Node, State
from gridfsmount.errors import NotADirectory, ReadOnly, Stale
from gridfsmount.store.changes import NodeChange
from gridfsmount.store.tree import Tree
from gridfsmount.vfs import recent as module
from gridfsmount.vfs.recent import UNKNOWN, RecentNodes
from gridfsmount.workers import Workers

VERSION = Inode(2000)
FOLDER = Inode(2001)
FILE = Inode(2002)
OTHER = Inode(2003)


class MemoryTree:
    """Nodes in memory; counts how often each is asked for."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {node.inode: node for node in nodes}
        self.asked: list[Inode] = []

    def get(self, inode: Inode) -> Node | None:
        self.asked.append(inode)
        return self.nodes.get(inode)

    def path(self, inode: Inode) -> str:
        self.asked.append(inode)
        return f"datasets/{inode}"


def node(inode: Inode, kind: Kind = Kind.FILE, *, version: Inode | None = VERSION) -> Node:
    return Node(
        inode=inode,
        kind=kind,
        names=(Name(Inode(1500), f"{inode}"),),
        mode=0o644,
        uid=0,
        gid=0,
        mtime_ns=1,
        ctime_ns=1,
        version=version,
    )


def version(state: State) -> Node:
    return replace(node(VERSION, Kind.DIRECTORY), state=state)


def remembering(*nodes: Node) -> tuple[RecentNodes, MemoryTree]:
    tree = MemoryTree(*nodes)
    return RecentNodes(cast(Tree, tree), Workers()), tree


def later() -> float:
    """A moment that is not the one before."""
    began = now = time.monotonic()
    while now <= began:
        now = time.monotonic()
    return now


async def test_a_node_read_after_its_version_was_known_to_be_sealed_is_settled() -> None:
    recent, tree = remembering(version(State.SEALED), node(FILE))
    await recent.learn(VERSION)
    began = later()
    assert recent.is_sealed(VERSION, began)
    assert recent.is_settled(node(FILE), began)
    assert recent.is_fresh(node(FILE), began)
    found = await recent.get(FILE)
    tree.nodes[FILE] = replace(node(FILE), size=1)  # which cannot be, so that it would show
    assert recent.settled(FILE) is found
    assert await recent.get(FILE) is found
    assert tree.asked == [VERSION, FILE]


async def test_a_node_whose_reading_began_before_that_is_not_settled() -> None:
    recent, _ = remembering(version(State.SEALED), node(FILE))
    began = time.monotonic()
    recent.remember(node(FILE), began)
    await recent.learn(VERSION)
    assert not recent.is_settled(node(FILE), began)
    recent.listed([node(FILE)], began)
    recent.remember(node(FILE), began)
    recent.remember(node(FILE))
    assert recent.settled(FILE) is None


def test_when_a_version_was_first_known_to_be_sealed_is_what_counts() -> None:
    recent, _ = remembering()
    recent.remember(version(State.SEALED))
    began = later()
    recent.remember(version(State.SEALED))
    recent.listed([node(FILE)], began)
    assert recent.settled(FILE) == node(FILE)


async def test_the_node_of_a_version_itself_is_never_settled() -> None:
    recent, _ = remembering(version(State.SEALED))
    for _ in range(3):
        found = await recent.get(VERSION)
        recent.listed([found], later())
        assert not recent.is_settled(found, later())
        assert recent.settled(VERSION) is None


@pytest.mark.parametrize("of", [None, VERSION, UNSORTED, Inode(9999)])
def test_what_lies_in_no_sealed_version_is_never_settled(of: Inode | None) -> None:
    recent, _ = remembering()
    recent.remember(version(State.DRAFT))
    outside = node(FILE, version=of)
    assert not recent.is_sealed(of, later())
    assert not recent.is_settled(outside, later())
    assert not recent.is_fresh(outside, later())
    recent.listed([outside], later())
    assert recent.settled(FILE) is None


def test_what_was_seen_as_a_draft_is_settled_once_sealed_but_never_fresh() -> None:
    recent, _ = remembering()
    recent.remember(version(State.DRAFT))
    recent.remember(version(State.SEALED))
    assert recent.is_settled(node(FILE), later())
    assert not recent.is_fresh(node(FILE), later())


def test_a_version_is_sealed_even_for_who_saw_it_as_a_draft_later() -> None:
    recent, _ = remembering()
    recent.remember(version(State.SEALED))
    recent.remember(version(State.DRAFT), time.monotonic())  # an answer that was on its way
    assert recent.is_sealed(VERSION, later())
    assert not recent.is_fresh(node(FILE), later())


async def test_what_was_forgotten_is_looked_up_anew() -> None:
    recent, tree = remembering(version(State.SEALED), node(FILE), node(FOLDER, Kind.DIRECTORY))
    await recent.learn(VERSION)
    recent.listed([node(FILE), node(FOLDER, Kind.DIRECTORY)], later())
    recent.forget(FILE)
    assert recent.settled(FILE) is None
    assert recent.settled(FOLDER) is not None
    tree.nodes.pop(FILE)
    with pytest.raises(Stale):
        await recent.get(FILE)
    assert recent.peek(FILE) is None


async def test_learning_asks_only_while_the_version_is_not_known_to_be_sealed() -> None:
    recent, tree = remembering(version(State.SEALED))
    for of in (None, UNSORTED, VERSION, VERSION):
        await recent.learn(of)
    assert tree.asked == [VERSION]


def test_only_so_many_settled_nodes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 3)
    recent, _ = remembering()
    recent.remember(version(State.SEALED))
    nodes = [node(Inode(3000 + number)) for number in range(10)]
    recent.listed(nodes, later())
    assert [recent.settled(each.inode) for each in nodes] == [None] * 7 + nodes[7:]


def test_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 3)
    recent, _ = remembering()
    recent.remember(version(State.SEALED))
    nodes = [node(Inode(3000 + number)) for number in range(4)]
    recent.listed(nodes[:3], later())
    assert recent.settled(nodes[0].inode) is not None
    recent.listed(nodes[3:], later())
    assert recent.settled(nodes[0].inode) is not None
    assert recent.settled(nodes[1].inode) is None


async def test_a_node_is_believed_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    recent, tree = remembering(node(FILE))
    await recent.get(FILE)
    await recent.get(FILE)
    assert tree.asked == [FILE]
    monkeypatch.setattr(module, "REMEMBER_SECONDS", 0.0)
    await recent.get(FILE)
    assert tree.asked == [FILE, FILE]


def test_an_older_answer_replaces_no_newer_one() -> None:
    recent, _ = remembering()
    newer = replace(node(FILE), rev=2)
    recent.remember(newer)
    recent.remember(replace(node(FILE), rev=1), time.monotonic())
    assert recent.peek(FILE) == newer


async def test_a_sealed_version_takes_no_changes() -> None:
    recent, _ = remembering(version(State.SEALED))
    with pytest.raises(ReadOnly):
        await recent.check_writable(VERSION)
    recent, _ = remembering(version(State.DRAFT))
    await recent.check_writable(VERSION)
    await recent.check_writable(None)


async def test_a_file_is_no_directory() -> None:
    recent, _ = remembering(node(FILE))
    with pytest.raises(NotADirectory):
        await recent.directory(FILE)


def test_names_that_were_looked_up_together_are_known_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent, _ = remembering()
    (name,) = node(FILE).names
    recent.remember_named({name: node(FILE)}, time.monotonic())
    assert recent.named(name) == node(FILE)
    assert recent.named(Name(name.parent, "other")) is None
    monkeypatch.setattr(module, "REMEMBER_SECONDS", 0.0)
    assert recent.named(name) is None


def test_a_name_that_was_taken_away_or_forgotten_is_not_known_any_more() -> None:
    recent, _ = remembering()
    (name,) = node(FILE).names
    recent.remember_named({name: node(FILE)}, time.monotonic())
    elsewhere = replace(node(FILE), names=(Name(name.parent, "elsewhere"),), rev=1)
    recent.remember(elsewhere)
    assert recent.named(name) is None
    recent.remember_named({elsewhere.names[0]: elsewhere}, time.monotonic())
    recent.forget(FILE)
    assert recent.named(elsewhere.names[0]) is None


def test_a_change_that_is_known_already_is_no_news() -> None:
    recent, _ = remembering()
    recent.remember(replace(node(FILE), rev=2))
    assert not recent.heard(NodeChange(FILE, 2), later())
    assert recent.peek(FILE) is not None
    assert recent.heard(NodeChange(FILE, 3), later())
    assert recent.peek(FILE) is None


@pytest.mark.parametrize("change", [NodeChange(FILE, 2), NodeChange(FILE, None, gone=True)])
def test_an_answer_that_was_on_its_way_when_the_change_was_told_is_not_remembered(
    change: NodeChange,
) -> None:
    recent, _ = remembering()
    recent.remember(version(State.SEALED))
    began = later()
    recent.heard(change, later())
    before = replace(node(FILE), rev=1)
    recent.remember(before, began)
    recent.listed([before], began)
    assert recent.peek(FILE) is recent.settled(FILE) is None
    recent.remember(before, later())  # asked since: it was made anew
    assert recent.peek(FILE) is recent.settled(FILE) is before


def test_an_answer_that_has_the_change_already_is_remembered() -> None:
    recent, _ = remembering()
    began = later()
    recent.heard(NodeChange(FILE, 2), later())
    recent.remember(replace(node(FILE), rev=2), began)
    assert recent.peek(FILE) is not None


async def test_of_a_version_that_is_sealed_what_is_read_from_then_on_is_settled() -> None:
    recent, _ = remembering()
    recent.remember(version(State.DRAFT))
    before = later()
    recent.heard(NodeChange(VERSION, 1, sealed=True), later())
    assert not recent.is_sealed(VERSION, before)
    assert recent.is_sealed(VERSION, later())
    recent.heard(NodeChange(VERSION, None, gone=True), later())
    assert not recent.is_sealed(VERSION, later())


async def test_after_a_gap_everything_is_looked_up_anew() -> None:
    recent, _ = remembering(node(FILE))
    recent.remember(version(State.SEALED))
    began = later()
    recent.listed([node(FILE)], began)
    assert recent.forget_everything() == [FILE]
    recent.listed([node(FILE)], began)  # an answer that was on its way
    recent.remember(node(FILE), began)
    assert recent.settled(FILE) is recent.peek(FILE) is None
    recent.listed([node(FILE)], later())
    assert recent.settled(FILE) is not None


def test_a_node_that_was_renamed_elsewhere_is_told_so_once_and_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent, _ = remembering()
    renamed = NodeChange(FILE, 9, renamed=True)

    def hear() -> None:
        recent.remember(node(FILE))
        assert recent.heard(renamed, time.monotonic())

    recent.heard(renamed, time.monotonic())
    assert not recent.take_renamed(FILE)  # nobody knows a name of it
    hear()
    assert recent.take_renamed(FILE)
    assert not recent.take_renamed(FILE)
    hear()
    recent.remember(replace(node(FILE), rev=9), later())  # looked up since
    assert not recent.take_renamed(FILE)
    recent.forget(FILE)
    hear()
    monkeypatch.setattr(module, "RENAMED_SECONDS", 0.0)
    assert not recent.take_renamed(FILE)


async def test_paths_are_asked_for_again_once_a_folder_was_renamed_elsewhere() -> None:
    recent, tree = remembering()
    recent.remember(node(FILE))
    await recent.path(FOLDER)
    recent.heard(NodeChange(FILE, 2, renamed=True), later())
    recent.heard(NodeChange(Inode(3000), None, gone=True), later())
    await recent.path(FOLDER)
    assert tree.asked == [FOLDER]
    recent.heard(NodeChange(VERSION, 2, renamed=True), later())
    await recent.path(FOLDER)
    assert tree.asked == [FOLDER, FOLDER]


def test_only_so_many_changes_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    recent, _ = remembering()
    began = later()
    changed = [Inode(3000 + number) for number in range(4)]
    for inode in changed:
        recent.heard(NodeChange(inode, 2), later())
    for inode in changed:
        recent.remember(node(inode), began)
    assert [recent.peek(inode) is None for inode in changed] == [False, True, True, True]


async def test_what_was_read_before_this_mount_s_own_change_is_not_believed_after_it() -> None:
    recent, _ = remembering()
    began = later()
    older, newer = replace(node(FILE), size=1), replace(node(FILE), size=2, rev=1)
    assert recent.remember(newer) is newer
    assert recent.remember(older, began) is newer
    assert recent.remember(older) is newer  # of two changes at once the earlier, told of later
    assert await recent.get(FILE) is newer
    recent.forget(FILE)
    assert recent.remember(older, began) is newer
    assert recent.remember(older, later()) is older  # the lake was put back


def test_what_another_mount_made_of_it_since_is_believed() -> None:
    recent, _ = remembering()
    began = later()
    recent.remember(replace(node(FILE), size=1))
    newer = replace(node(FILE), size=2, rev=1)
    assert recent.remember(newer, began) is newer
    assert recent.newest(newer, began) is newer


# What is let go of


async def test_what_was_not_seen_for_long_is_let_go_of() -> None:
    recent, tree = remembering(node(FILE))
    (name,) = node(FILE).names
    began = later()
    recent.remember_named({name: node(FILE)}, began)
    recent.drop(began)  # what was seen from then on stays
    assert recent.peek(FILE) is recent.recall(FILE) is not None
    assert recent.named(name) is not None
    recent.drop(later())
    assert recent.peek(FILE) is recent.recall(FILE) is None
    assert recent.named(name) is None
    assert await recent.get(FILE) == node(FILE)
    assert tree.asked == [FILE]


def test_what_was_seen_since_stays_however_long_it_is_known() -> None:
    recent, _ = remembering()
    recent.remember(node(FILE), later())
    began = later()
    recent.remember(node(FILE), began)
    recent.drop(began)
    assert recent.peek(FILE) is not None


def test_what_this_mount_made_of_a_node_is_known_until_no_answer_can_be_older() -> None:
    recent, _ = remembering()
    began = later()
    made = replace(node(FILE), rev=2)
    recent.remember(made)
    recent.forget(FILE)
    recent.drop(began)
    assert recent.newest(node(FILE), began) is made
    assert recent.remember(node(FILE), began) is made
    recent.drop(later())
    assert recent.newest(node(FILE), began) == node(FILE)


def test_what_the_server_told_is_known_until_no_answer_can_be_older() -> None:
    recent, _ = remembering()
    began = later()
    recent.heard(NodeChange(FILE, 2), later())
    recent.drop(began)
    recent.remember(node(FILE), began)
    assert recent.peek(FILE) is None
    recent.drop(later())
    recent.remember(node(FILE), began)
    assert recent.peek(FILE) is not None


def test_what_this_mount_made_of_the_root_is_shown_through_any_outage() -> None:
    recent, _ = remembering()
    made = replace(node(ROOT, Kind.DIRECTORY, version=None), rev=2)
    recent.remember(made)
    recent.drop(later())
    assert recent.newest(replace(made, rev=1)) is made


def test_that_a_node_was_renamed_elsewhere_is_told_until_it_is_let_go_of() -> None:
    recent, _ = remembering()
    for before, told in ((-math.inf, True), (math.inf, False)):
        recent.remember(node(FILE))
        assert recent.heard(NodeChange(FILE, 9, renamed=True), time.monotonic())
        recent.drop(before)
        assert recent.take_renamed(FILE) is told


def test_nodes_of_sealed_versions_and_that_these_are_sealed_stay() -> None:
    recent, _ = remembering()
    recent.remember(version(State.DRAFT))
    recent.remember(version(State.SEALED))
    recent.listed([node(FILE)], later())
    recent.drop(later())
    assert recent.settled(FILE) is recent.recall(FILE) is not None
    assert recent.is_settled(node(FILE), later())
    assert not recent.is_fresh(node(FILE), later())


async def test_people_are_told_the_path_of_an_open_file_however_long_it_is_open() -> None:
    folder = replace(node(FOLDER, Kind.DIRECTORY), names=(Name(VERSION, "folder"),))
    file = replace(node(FILE), names=(Name(FOLDER, "file"), Name(VERSION, "too")))
    recent, _ = remembering()
    recent.remember(folder)
    recent.remember(file)
    await recent.path(VERSION)
    recent.remember(node(OTHER))
    for _ in range(2):
        recent.drop(later(), [FILE])
    assert recent.known_path(FILE) == f"datasets/{VERSION}/folder/file"
    assert recent.recall(OTHER) is None
    recent.drop(later())
    assert UNKNOWN in recent.known_path(FILE)
    assert recent.known_path(VERSION) == f"datasets/{VERSION}"


def test_a_tree_that_loops_is_let_go_of_as_well() -> None:
    recent, _ = remembering()
    recent.remember(replace(node(FOLDER, Kind.DIRECTORY), names=(Name(FILE, "a"),)))
    recent.remember(replace(node(FILE), names=(Name(FOLDER, "b"),)))
    recent.drop(later(), [FILE])
    recent.drop(later())
    assert recent.recall(FILE) is recent.recall(FOLDER) is None
