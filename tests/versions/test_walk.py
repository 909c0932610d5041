"""Walks over trees, in the order of a manifest, in bounded memory, past whatever is hostile."""

from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.core.manifest import sort_key
from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.errors import Damaged
from gridfsmount.store.encoding import encode_node
from gridfsmount.store.lake import Lake
from gridfsmount.versions import walk as module
from gridfsmount.versions.walk import Entry, walk
from tests.store.lakes import Garden, bare

NAMES = st.lists(st.sampled_from("ab-.0~ü\U0001f600\uffff"), min_size=1, max_size=3).map("".join)
NAMES = NAMES.filter(lambda name: name not in (".", ".."))
TREES = st.recursive(
    st.none(), lambda inner: st.dictionaries(NAMES, inner, max_size=6), max_leaves=30
).filter(lambda tree: tree is not None)


def nodes_of(lake: Lake, top: Node, tree: dict[str, object]) -> dict[str, Node]:
    """Nodes for a nested dictionary, by path, with those of folders in no special order."""
    found: dict[str, Node] = {}
    numbers = iter(lake.tree.allocate(2000))
    waiting: list[tuple[str, Node, dict[str, object]]] = [("", top, tree)]
    while waiting:
        above, folder, inner = waiting.pop()
        for name, below in inner.items():
            kind = Kind.FILE if below is None else Kind.DIRECTORY
            node = bare(next(numbers), (folder.inode, name), kind=kind, version=top.version)
            found[above + name] = node
            if isinstance(below, dict):
                waiting.append((f"{above}{name}/", node, below))
    return found


def insert(lake: Lake, nodes: list[Node]) -> None:
    if nodes:
        collection = lake.connection.collection("tree")
        collection.insert_many([encode_node(each) for each in nodes], ordered=False)


def key(entry: Entry) -> bytes:
    return sort_key(entry.path, folder=entry.node.kind is Kind.DIRECTORY)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=TREES,
    page=st.integers(1, 5),
    together=st.integers(1, 4),
    ahead=st.integers(0, 10),
)
def test_everything_comes_once_in_the_order_of_a_manifest(
    garden: Garden, tree: dict[str, object], page: int, together: int, ahead: int
) -> None:
    top = bare(garden.number(), (2, "x"), kind=Kind.DIRECTORY)
    nodes = nodes_of(garden.lake, top, tree)
    insert(garden.lake, list(nodes.values()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE", page)
        patch.setattr(module, "TOGETHER", together)
        patch.setattr(module, "AHEAD", ahead)
        entries = list(walk(garden.lake, top))

    assert [key(each) for each in entries] == sorted(map(key, entries))
    assert {each.path: each.node.inode for each in entries} == {
        path: node.inode for path, node in nodes.items()
    }
    assert len(entries) == len(nodes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(st.sets(st.tuples(st.integers(0, 3), NAMES), min_size=1, max_size=4), max_size=12))
def test_every_name_of_a_file_has_its_entry(
    garden: Garden, files: list[set[tuple[int, str]]]
) -> None:
    top = bare(garden.number(), (2, "x"), kind=Kind.DIRECTORY)
    numbers = iter(garden.lake.tree.allocate(20))
    folders = [
        bare(next(numbers), (top.inode, f"{number}"), kind=Kind.DIRECTORY) for number in range(4)
    ]
    taken: set[tuple[int, str]] = set()
    nodes = folders.copy()
    for names in files:
        if free := names - taken:
            taken |= free
            places = [(folders[folder].inode, name) for folder, name in free]
            nodes.append(bare(next(numbers), *places))
    insert(garden.lake, nodes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE", 3)
        entries = list(walk(garden.lake, top))

    files_found = [each.path for each in entries if each.node.kind is Kind.FILE]
    assert files_found == sorted((f"{folder}/{name}" for folder, name in taken), key=sort_key)


def test_many_small_folders_cost_few_queries(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = garden.version()
    tree: dict[str, object] = {f"{n:03}": {"a": {"b": {"file": None}}} for n in range(200)}
    insert(garden.lake, list(nodes_of(garden.lake, top, tree).values()))
    seam = garden.lake.connection.seam
    asked: list[str] = []
    operation = seam.operation

    def counted(what: str) -> AbstractContextManager[None]:
        asked.append(what)
        return operation(what)

    monkeypatch.setattr(seam, "operation", counted)

    assert len(list(walk(garden.lake, top))) == 800

    assert len(asked) < 20


@pytest.mark.parametrize("first", [True, False])
def test_folders_that_lie_in_each_other_do_not_hang_it(garden: Garden, first: bool) -> None:
    top = garden.version()
    folder = garden.folder(top, "folder")
    inner = garden.folder(folder, "inner")
    garden.file(inner, "file")
    # As only a hostile client would: both a folder and the version also lie in what is below them.
    for node in (folder, top):
        names = [node.names[0], Name(inner.inode, f"again-{node.inode}")]
        garden.lake.tree.set_names(node, names if not first else names[::-1], 1)

    paths = [each.path for each in walk(garden.lake, top)]

    assert len(paths) < 10
    assert ("folder/inner/file" in paths) is (not first)


def test_folders_without_end_are_an_error(garden: Garden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DEPTH", 5)
    top = node = garden.version()
    for _ in range(6):
        node = garden.folder(node, "deeper")

    with pytest.raises(Damaged, match="more than 5 folders in each other"):
        list(walk(garden.lake, top))


def test_what_is_malformed_is_left_out_as_in_every_listing(
    garden: Garden, caplog: pytest.LogCaptureFixture
) -> None:
    top = garden.version()
    below = garden.folder(top, "below")
    garden.file(below, "good")
    odd = encode_node(bare(garden.number(), (below.inode, "odd")))
    names = [*odd["names"], {"parent": {"no": 1}, "name": "x"}, 7]
    collection = garden.lake.connection.collection("tree")
    collection.insert_one(odd | {"names": names})
    collection.insert_one(encode_node(bare(garden.number(), (below.inode, "bad"))) | {"kind": 5})

    paths = [each.path for each in walk(garden.lake, top)]

    assert paths == ["below", "below/good"]
    assert "left out" in caplog.text


def test_an_empty_version_has_nothing(garden: Garden) -> None:
    assert list(walk(garden.lake, garden.version())) == []


def test_a_folder_in_a_version_is_walked_from_there(garden: Garden) -> None:
    folder = garden.folder(garden.version(), "folder")
    file = garden.file(folder, "file")
    assert list(walk(garden.lake, folder)) == [
        Entry("file", garden.lake.tree.get(file.inode) or file)
    ]


def test_first_pages_tell_no_more_than_they_know(garden: Garden) -> None:
    top = garden.version()
    folders = [garden.folder(top, name) for name in "abc"]
    for folder in folders:
        garden.plant(4, folder.inode)
    numbers = [each.inode for each in folders]

    pages = garden.lake.tree.first_pages([*numbers, Inode(99)], 6)

    assert {inode: len(page.entries) for inode, page in pages.items()} == {
        numbers[0]: 4,
        numbers[1]: 2,
        Inode(99): 0,
    }
    assert pages[numbers[0]].last is None
    assert pages[numbers[1]].last == "file-000001"
