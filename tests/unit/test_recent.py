"""What is remembered of nodes: for good only what can change no more."""

import time
from dataclasses import replace
from typing import cast

import pytest

from gridfsmount.core.model import UNSORTED, Inode, Kind, Name, Node, State
from gridfsmount.errors import NotADirectory, ReadOnly, Stale
from gridfsmount.store.tree import Tree
from gridfsmount.vfs import recent as module
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Workers

VERSION = Inode(2000)
FOLDER = Inode(2001)
FILE = Inode(2002)


class MemoryTree:
    """Nodes in memory; counts how often each is asked for."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {node.inode: node for node in nodes}
        self.asked: list[Inode] = []

    def get(self, inode: Inode) -> Node | None:
        self.asked.append(inode)
        return self.nodes.get(inode)


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
