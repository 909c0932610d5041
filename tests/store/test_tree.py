"""The tree: names, pages, paths, and changes that meet."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.core.model import (
    AREAS,
    DATASETS,
    ROOT,
    Inode,
    Kind,
    Name,
    Node,
)
from gridfsmount.errors import AlreadyExists, Conflict, Damaged, DirectoryNotEmpty, NotFound
from gridfsmount.store.encoding import content_id, encode_node
from gridfsmount.store.lake import Lake
from gridfsmount.store.tree import Tree
from tests.store.lakes import Garden, at_once, bare, one_deployment

pytestmark = one_deployment

FREE = itertools.count(1 << 40)
"""Inode numbers that no other example uses."""

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))


def all_pages(tree: Tree, parent: int, limit: int) -> list[tuple[str, Inode]]:
    found: list[tuple[str, Inode]] = []
    after = ""
    for _ in range(10_000):
        page = tree.page(Inode(parent), after, limit)
        found += [(name, node.inode) for name, node in page.entries]
        if page.last is None:
            return found
        assert page.last > after
        after = page.last
    raise AssertionError("the directory never ends")


# --- pages --------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.lists(NAMES, min_size=1, max_size=5), max_size=12),
    limit=st.integers(1, 7),
)
def test_pages_yield_each_name_once_and_in_order(
    store: Lake, groups: list[list[str]], limit: int
) -> None:
    parent, elsewhere = next(FREE), next(FREE)
    expected: list[tuple[str, int]] = []
    taken: set[str] = set()
    for group in groups:  # the names of one node: hard links in the same folder, and one beyond
        fresh = [name for name in dict.fromkeys(group) if name not in taken]
        if fresh:
            taken.update(fresh)
            inode = next(FREE)
            names = [(parent, name) for name in fresh]
            store.tree.insert(bare(inode, (elsewhere, f"{inode}"), *names))
            expected += [(name, inode) for name in fresh]
    assert all_pages(store.tree, parent, limit) == sorted(expected)


@pytest.mark.parametrize("limit", [1000, 999])
def test_2500_names_with_hard_links_come_once_each(store: Lake, limit: int) -> None:
    random.seed(limit)
    parent = next(FREE)
    names = [f"{number:05}" for number in range(2500)]
    random.shuffle(names)
    documents = []
    left = iter(names)
    while group := list(itertools.islice(left, random.choice([1, 1, 1, 2, 3, 20]))):
        documents.append(encode_node(bare(next(FREE), *((parent, name) for name in group))))
    store.connection.collection("tree").insert_many(documents)
    found = all_pages(store.tree, parent, limit)
    assert [name for name, _ in found] == sorted(names)


def test_a_page_begins_after_the_name_given(store: Lake) -> None:
    parent = next(FREE)
    for name in "abcd":
        store.tree.insert(bare(next(FREE), (parent, name)))
    page = store.tree.page(Inode(parent), "b", 10)
    assert [name for name, _ in page.entries] == ["c", "d"]
    assert page.last is None


def test_names_are_in_the_order_of_their_code_points(store: Lake) -> None:
    parent = next(FREE)
    names = ["Z", "a", "~", "ä", "é", "中", "\ue000", "\uffff", "😀", "10", "9"]
    for name in names:
        store.tree.insert(bare(next(FREE), (parent, name)))
    assert [name for name, _ in all_pages(store.tree, parent, 3)] == sorted(names)


def test_one_malformed_document_hides_only_itself(store: Lake) -> None:
    parent = next(FREE)
    for name in "abc":
        store.tree.insert(bare(next(FREE), (parent, name)))
    broken = encode_node(bare(next(FREE), (parent, "aa"))) | {"kind": "device"}
    store.connection.collection("tree").insert_one(broken)
    assert [name for name, _ in all_pages(store.tree, parent, 1)] == ["a", "b", "c"]


# --- names --------------------------------------------------------------------------------------


def test_a_name_belongs_to_one_node(store: Lake) -> None:
    parent = next(FREE)
    first, second = bare(next(FREE), (parent, "x")), bare(next(FREE), (parent, "x"))
    store.tree.insert(first)
    with pytest.raises(AlreadyExists):
        store.tree.insert(second)
    found = store.tree.find(Inode(parent), "x")
    assert found == first
    assert store.tree.get(second.inode) is None


def test_one_of_many_names_that_is_taken_refuses_the_node(store: Lake) -> None:
    parent = next(FREE)
    store.tree.insert(bare(next(FREE), (parent, "x")))
    with pytest.raises(AlreadyExists):
        store.tree.insert(bare(next(FREE), (parent, "free"), (parent, "x")))
    assert store.tree.find(Inode(parent), "free") is None


def test_the_same_name_elsewhere_is_free(store: Lake) -> None:
    for parent in (next(FREE), next(FREE)):
        store.tree.insert(bare(next(FREE), (parent, "x")))


def test_a_name_and_its_parent_are_looked_up_together(store: Lake) -> None:
    # A node with (1, a) and (2, b) has neither (1, b) nor (2, a).
    one, two = next(FREE), next(FREE)
    store.tree.insert(bare(next(FREE), (one, "a"), (two, "b")))
    assert store.tree.find(Inode(one), "b") is None
    assert store.tree.find(Inode(two), "a") is None
    assert store.tree.find(Inode(one), "a") == store.tree.find(Inode(two), "b") is not None


def test_in_bulk_only_the_taken_names_are_refused(store: Lake) -> None:
    parent = next(FREE)
    store.tree.insert(bare(next(FREE), (parent, "b")))
    nodes = [bare(next(FREE), (parent, name)) for name in "abcda"]
    refused = store.tree.insert_many(nodes)
    assert refused == {nodes[1].inode, nodes[4].inode}
    assert [name for name, _ in all_pages(store.tree, parent, 10)] == list("abcd")


def test_unicode_is_compared_as_it_is(store: Lake) -> None:
    parent = next(FREE)
    for name in ("é", "e\u0301", "É"):  # two spellings of one letter, and its capital
        store.tree.insert(bare(next(FREE), (parent, name)))
    assert len(all_pages(store.tree, parent, 10)) == 3


# --- numbers ------------------------------------------------------------------------------------


def test_numbers_are_never_given_out_twice(store: Lake) -> None:
    def take() -> list[int]:
        return [number for _ in range(25) for number in store.tree.allocate(3)]

    taken = at_once(*[take] * 8)
    numbers = [number for each in taken if isinstance(each, list) for number in each]
    assert len(numbers) == 8 * 25 * 3
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 1024


def test_a_lost_counter_is_damage_and_not_a_second_beginning(store: Lake) -> None:
    store.connection.collection("lake").delete_one({"_id": "inodes"})
    with pytest.raises(Damaged, match="counter"):
        store.tree.allocate(1)


# --- paths --------------------------------------------------------------------------------------


def test_paths_go_up_to_the_root(store: Lake, garden: Garden) -> None:
    version = garden.version("models/bert/v1")
    folder = garden.folder(version, "a b")
    file = garden.file(folder, "ü.bin")
    assert store.tree.path(file.inode) == "models/bert/v1/a b/ü.bin"
    assert store.tree.path(DATASETS) == "datasets"
    assert store.tree.paths([file.inode, version.inode, Inode(1 << 50)]) == {
        file.inode: "models/bert/v1/a b/ü.bin",
        version.inode: "models/bert/v1",
    }


def test_the_path_of_a_hard_link_is_its_first_name(store: Lake, garden: Garden) -> None:
    version = garden.version()
    folder = garden.folder(version, "z")
    file = garden.file(folder, "first")
    store.commits.add_link(file, Name(version.inode, "second"))
    assert store.tree.path(file.inode) == "datasets/test/v1/z/first"


def test_what_hangs_on_nothing_has_no_path(store: Lake) -> None:
    node = bare(next(FREE), (1 << 50, "lost"))
    store.tree.insert(node)
    assert store.tree.path(node.inode) is None
    assert store.tree.path(Inode(1 << 50)) is None
    assert store.tree.path(ROOT) is None


def test_a_loop_in_the_tree_has_no_path_and_ends(store: Lake) -> None:
    one, two = next(FREE), next(FREE)
    store.tree.insert(bare(one, (two, "a"), kind=Kind.DIRECTORY))
    store.tree.insert(bare(two, (one, "b"), kind=Kind.DIRECTORY))
    assert store.tree.path(Inode(one)) is None
    assert store.tree.ancestors(Inode(one)) == {one, two}


def test_ancestors_are_all_directories_above(store: Lake, garden: Garden) -> None:
    version = garden.version()
    outer = garden.folder(version, "outer")
    inner = garden.folder(outer, "inner")
    dataset = version.parent
    assert store.tree.ancestors(inner.inode) == {
        *(outer.inode, version.inode, dataset, DATASETS, ROOT)
    }
    assert store.tree.ancestors(DATASETS) == {ROOT}


# --- changes that meet --------------------------------------------------------------------------

CHANGES: list[Callable[[Tree, Node], object]] = [
    lambda tree, node: tree.set_names(node, [Name(Inode(1 << 50), "new")], 5),
    lambda tree, node: tree.park(node, node.names[0], node.names),
    lambda tree, node: tree.delete(node),
    lambda tree, node: tree.relink(node, content_id(5), 5, 5),
    lambda tree, node: tree.remove_directory(node),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_somebody_changed_meanwhile_is_a_conflict(
    store: Lake, change: Callable[[Tree, Node], object]
) -> None:
    node = bare(next(FREE), (next(FREE), "x"), kind=Kind.DIRECTORY)
    store.tree.insert(node)
    newer = store.tree.update(node.inode, {"mode": 0o700})
    assert newer.rev == node.rev + 1
    with pytest.raises(Conflict):
        change(store.tree, node)
    assert store.tree.get(node.inode) == newer


@pytest.mark.parametrize("change", CHANGES[:-1])
def test_a_change_of_what_is_gone_is_a_conflict(
    store: Lake, change: Callable[[Tree, Node], object]
) -> None:
    node = bare(next(FREE), (next(FREE), "x"))
    with pytest.raises(Conflict):
        change(store.tree, node)


def test_attributes_of_what_is_gone_are_not_found(store: Lake) -> None:
    with pytest.raises(NotFound):
        store.tree.update(Inode(next(FREE)), {"mode": 0})


def test_attributes_keep_their_types(store: Lake) -> None:
    node = bare(next(FREE), (next(FREE), "x"))
    store.tree.insert(node)
    store.tree.update(node.inode, {"mode": 0o600, "uid": 5, "mtime_ns": -1, "ctime_ns": 7})
    document = store.connection.collection("tree").find_one({"_id": node.inode})
    assert document is not None
    assert all(isinstance(document[name], Int64) for name in ("mtime_ns", "ctime_ns", "rev"))
    before = store.tree.get(node.inode)
    assert before is not None
    changed = store.tree.set_xattrs(before, {"user.a.b": b"\0\xff", "user.$x": b""})
    assert changed.xattrs == {"user.a.b": b"\0\xff", "user.$x": b""}
    assert store.tree.get(node.inode) == changed


def test_a_name_that_is_taken_leaves_a_rename_undone(store: Lake) -> None:
    parent = next(FREE)
    node, other = bare(next(FREE), (parent, "a")), bare(next(FREE), (parent, "b"))
    store.tree.insert(node)
    store.tree.insert(other)
    with pytest.raises(AlreadyExists):
        store.tree.set_names(node, other.names, 5)
    assert store.tree.get(node.inode) == node


def test_times_of_directories_only_go_forward(store: Lake) -> None:
    node = replace(bare(next(FREE), (next(FREE), "x"), kind=Kind.DIRECTORY), mtime_ns=100)
    store.tree.insert(node)
    store.tree.touch({node.inode: 50, Inode(1 << 50): 50})
    touched = store.tree.get(node.inode)
    assert touched is not None
    assert (touched.mtime_ns, touched.ctime_ns) == (100, 50)
    store.tree.touch({})


# --- removing directories -----------------------------------------------------------------------


def test_an_empty_directory_is_removed(store: Lake, garden: Garden) -> None:
    folder = garden.folder(garden.version(), "x")
    store.tree.remove_directory(folder)
    assert store.tree.get(folder.inode) is None


def test_a_directory_with_entries_stays(store: Lake, garden: Garden) -> None:
    folder = garden.folder(garden.version(), "x")
    file = garden.file(folder, "y")
    with pytest.raises(DirectoryNotEmpty):
        store.tree.remove_directory(folder)
    assert store.tree.get(folder.inode) == folder
    assert store.tree.get(file.inode) == file


def test_a_hard_link_alone_keeps_a_directory(store: Lake, garden: Garden) -> None:
    version = garden.version()
    folder = garden.folder(version, "x")
    store.commits.add_link(garden.file(version, "y"), Name(folder.inode, "y"))
    with pytest.raises(DirectoryNotEmpty):
        store.tree.remove_directory(folder)


# --- cost ---------------------------------------------------------------------------------------


def planned(store: Lake, call: Callable[[], object]) -> tuple[int, int]:
    """Documents and keys that the server looked at for a call; no collection scan among them."""
    database = store.connection.database
    database.command("profile", 2)
    try:
        call()
    finally:
        database.command("profile", 0)
    profile = database["system.profile"]
    operations = [
        each
        for each in profile.find({"op": {"$in": ["query", "command", "update", "remove"]}})
        if "planSummary" in each
    ]
    profile.drop()
    assert operations, "the call asked the server nothing"
    for each in operations:
        assert "COLLSCAN" not in each["planSummary"], each
    return (
        sum(each.get("docsExamined", 0) for each in operations),
        sum(each.get("keysExamined", 0) for each in operations),
    )


def test_questions_cost_the_same_in_a_larger_tree(store: Lake, garden: Garden) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    file = garden.file(folder, "file-000500x", b"data")
    content = file.content
    assert content is not None
    tree = store.tree
    questions: dict[str, Callable[[], object]] = {
        "get": lambda: tree.get(file.inode),
        "find": lambda: tree.find(folder.inode, "file-000500"),
        "find nothing": lambda: tree.find(folder.inode, "nothing"),
        "first page": lambda: tree.page(folder.inode, "", 100),
        "later page": lambda: tree.page(folder.inode, "file-000500", 100),
        "has children": lambda: tree.has_children(folder.inode),
        "has no children": lambda: tree.has_children(file.inode),
        "versions": lambda: tree.children_of_kind(version.parent, Kind.DIRECTORY),
        "by content": lambda: tree.by_content(content),
        "existing": lambda: tree.existing([folder.inode, version.inode]),
        "path": lambda: tree.path(file.inode),
        "ancestors": lambda: tree.ancestors(folder.inode),
        "rename": lambda: tree.set_names(tree.get(file.inode) or file, file.names, 5),
        "attributes": lambda: tree.update(file.inode, {"mode": 0o600}),
        "touch": lambda: tree.touch({folder.inode: 5}),
        "parked": tree.parked,
        "foreign": store.foreign.unmarked,
        "content": lambda: store.contents.get(content),
        "read": lambda: garden.read(file),
        "leases": store.leases.renew,
    }
    costs: list[dict[str, tuple[int, int]]] = []
    for count in (1_000, 9_000):
        garden.plant(count, folder.inode if count == 1_000 else garden.folder(version, "b").inode)
        costs.append({name: planned(store, question) for name, question in questions.items()})
    assert costs[0] == costs[1]
    assert all(documents <= 105 for documents, _ in costs[0].values()), costs[0]


def test_a_larger_folder_does_not_make_its_pages_slower(store: Lake, garden: Garden) -> None:
    folder = garden.folder(garden.version(), "folder")
    garden.plant(1_000, folder.inode)
    small = planned(store, lambda: store.tree.page(folder.inode, "file-000500", 100))
    other = garden.folder(garden.version("datasets/test/v2"), "folder")
    garden.plant(10_000, other.inode)
    large = planned(store, lambda: store.tree.page(other.inode, "file-000500", 100))
    assert small == large


def test_the_areas_are_what_they_were(store: Lake) -> None:
    assert store.tree.existing(list(AREAS.values())) == set(AREAS.values())
    assert store.tree.count() == len(AREAS) + 1
