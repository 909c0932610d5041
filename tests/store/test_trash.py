"""The trash: what no name refers to goes after its time, what one does never."""

from typing import Any

import pytest

from gridfsmount.core.model import Node
from gridfsmount.store.encoding import encode_node
from gridfsmount.store.lake import Lake
from gridfsmount.store.trash import Swept
from tests.store.lakes import Garden, bare, one_deployment

pytestmark = one_deployment

DATA = b"data" * 1000


@pytest.fixture
def version(garden: Garden) -> Node:
    return garden.version()


def count(lake: Lake, name: str) -> int:
    return lake.connection.collection(name).count_documents({})


def trash(lake: Lake) -> list[dict[str, Any]]:
    return list(lake.connection.collection("trash").find())


def test_what_was_removed_is_erased_after_its_time(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    store.commits.unlink(node, node.names[0])
    assert store.trash.sweep(3600) == Swept()
    assert count(store, "chunks") == 4
    assert store.trash.sweep(-1) == Swept(1, len(DATA))  # the clock that counts is the server's
    assert (count(store, "chunks"), count(store, "files"), trash(store)) == (0, 0, [])


def test_the_files_document_is_kept_until_then(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    before = store.connection.collection("files").find_one()
    store.commits.unlink(node, node.names[0])
    (document,) = trash(store)
    assert document["file"] == before
    assert document["name"].endswith("a")


def test_what_was_known_of_a_content_is_known_until_then(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    before = store.contents.get(node.content)
    assert store.trash.find([node.content]) == ([], False)
    store.commits.unlink(node, node.names[0])
    assert store.trash.find([node.content]) == ([before], False)


def test_what_was_hidden_is_in_the_trash_even_if_a_crash_lost_its_entry(
    store: Lake, garden: Garden, version: Node
) -> None:
    # An entry is not awaited by the journal: a server that dies right after it may have lost it.
    node = garden.file(version, "a", DATA)
    before = store.connection.collection("files").find_one()
    assert node.content is not None
    store.tree.delete(node)
    store.trash.settle(node.content)
    (document,) = trash(store)
    assert document["file"] == before
    assert before is not None
    assert document["name"] == before["filename"]
    assert store.trash.sweep(3600) == Swept()
    assert store.trash.sweep(-1).contents == 1
    assert (count(store, "chunks"), count(store, "files"), trash(store)) == (0, 0, [])


def test_what_a_node_shows_is_never_erased(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    store.trash.announce(node.content, "a")  # and then the machine crashed
    assert store.trash.sweep(-1) == Swept()
    assert garden.read(node) == DATA
    assert (count(store, "files"), trash(store)) == (1, [])


def test_what_a_node_shows_again_gets_its_files_document_back(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    before = store.connection.collection("files").find_one()
    store.commits.unlink(node, node.names[0])
    assert count(store, "files") == 0
    store.tree.insert(node)  # as a restore does
    assert store.trash.sweep(-1) == Swept()
    assert store.connection.collection("files").find_one() == before
    assert garden.read(node) == DATA


@pytest.mark.parametrize("broken", [{"kind": "device"}, {"mode": -1}, {"rev": "x"}])
def test_what_a_malformed_node_shows_is_not_erased(
    store: Lake, garden: Garden, version: Node, broken: dict[str, Any]
) -> None:
    # `check` can mend the node, but nobody can bring the bytes back.
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    store.connection.collection("tree").update_one({"_id": node.inode}, {"$set": broken})
    store.trash.announce(node.content, "a")
    assert store.trash.sweep(-1) == Swept()
    assert count(store, "chunks") == 4


def test_settling_spares_what_another_node_shows(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    twin = bare(garden.number(), (version.inode, "b"), content=node.content)
    store.connection.collection("tree").insert_one(encode_node(twin))
    store.commits.unlink(node, node.names[0])
    assert (count(store, "files"), trash(store)) == (1, [])
    assert garden.read(twin) == b"" or store.contents.get(node.content).length == len(DATA)


def test_two_mounts_may_sweep_at_once(store: Lake, garden: Garden, version: Node) -> None:
    for number in range(5):
        node = garden.file(version, f"{number}", DATA)
        store.commits.unlink(node, node.names[0])
    assert (store.trash.sweep(-1), store.trash.sweep(-1)) == (Swept(5, 5 * len(DATA)), Swept())
    assert (count(store, "chunks"), trash(store)) == (0, [])
