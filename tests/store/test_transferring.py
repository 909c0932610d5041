"""Trees in and out of a lake, in this process."""

import os
import tempfile
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.core.model import Inode, Node
from gridfsmount.errors import NotFound
from gridfsmount.places import parse
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.get import Getter
from gridfsmount.transfer.get_files import GetOptions
from gridfsmount.transfer.local import Owners
from gridfsmount.transfer.put import Putter
from gridfsmount.transfer.put_files import PutOptions
from gridfsmount.transfer.report import Report, Total
from tests.local_trees import described
from tests.store.lakes import one_deployment, opened

OWNERS = Owners(os.geteuid() == 0, os.geteuid(), os.getegid())
CHUNK = 4096


def put_into(lake: Lake, target: str, *sources: str | Path) -> Total:
    """Put, and expect no failure."""
    report = Report()
    putter = Putter(lake, report, PutOptions(OWNERS, CHUNK, jobs=2))
    putter.run([os.fsencode(each) for each in sources], parse(target))
    assert (report.failures, report.reason) == ([], None)
    return report.total


def get_from(lake: Lake, source: str, target: str | Path) -> Total:
    """Get, and expect no failure."""
    report = Report()
    Getter(lake, report, GetOptions(OWNERS, 0o022, jobs=2)).run(parse(source), os.fsencode(target))
    assert (report.failures, report.reason) == ([], None)
    return report.total


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_bytes(b"bytes")
    (folder / "below" / "other").write_bytes(b"others")
    return folder


def listed(lake: Lake) -> list[str]:
    """Filenames that drivers see."""
    files = lake.connection.collection("files")
    return sorted(each["filename"] for each in files.find({}, {"filename": 1}))


@one_deployment
@pytest.mark.parametrize(
    ("sources", "target", "expected"),
    [
        (["tree"], "datasets/x", ["x/tree/below/other", "x/tree/file"]),
        (["tree"], "datasets/x/v1", ["x/v1/tree/below/other", "x/v1/tree/file"]),
        (["tree/"], "datasets/x/v1", ["x/v1/below/other", "x/v1/file"]),
        (["tree/."], "/datasets/x/v1/", ["x/v1/below/other", "x/v1/file"]),
        (["tree/file"], "datasets/x/v1", ["x/v1/file"]),
        (["tree/file"], "datasets/x/v1/name", ["x/v1/name"]),
        (["tree/file"], "datasets/x/v1/name/", ["x/v1/name/file"]),
        (["tree/file", "tree/below"], "datasets/x/v1/a", ["x/v1/a/below/other", "x/v1/a/file"]),
    ],
    ids=str,
)
def test_put_goes_where_rsync_would_each_time(
    store: Lake, tree: Path, sources: list[str], target: str, expected: list[str]
) -> None:
    given = [f"{tree.parent}/{each}" for each in sources]

    first = put_into(store, target, *given)
    again = put_into(store, target, *given)

    assert listed(store) == [f"datasets/{each}" for each in expected]
    assert (first.files, first.same) == (len(expected), 0)
    assert (again.files, again.same) == (0, len(expected))


@one_deployment
@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("datasets/x/v1", "out", ["v1", "v1/below", "v1/below/other", "v1/file"]),
        ("datasets/x/v1/", "out", ["below", "below/other", "file"]),
        ("datasets/x/latest/below/", "out", ["other"]),
        ("datasets/x/v1/file", "out/name", ["name"]),
        ("datasets/x/v1/file", "out/", ["file"]),
        ("datasets/x/", "out", ["v1", "v1/below", "v1/below/other", "v1/file"]),
    ],
)
def test_get_goes_where_rsync_would_each_time(
    store: Lake, tree: Path, source: str, target: str, expected: list[str]
) -> None:
    put_into(store, "datasets/x/v1", f"{tree}/")

    get_from(store, source, f"{tree.parent}/{target}")
    again = get_from(store, source, f"{tree.parent}/{target}")

    out = tree.parent / "out"
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*")) == expected
    assert again.files == 0


@one_deployment
def test_get_of_nothing_is_refused(store: Lake, tmp_path: Path) -> None:
    for path in ("datasets/x", "datasets/x/latest", "models/x/v1/a/b"):
        with pytest.raises(NotFound):
            get_from(store, path, tmp_path)


@one_deployment
def test_a_link_to_a_file_that_was_put_before_stays_a_link(store: Lake, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"one file")
    put_into(store, "datasets/x/v1", f"{tree}/")
    os.link(tree / "a", tree / "b")
    (tree / "c").write_bytes(b"another, for now")
    put_into(store, "datasets/x/v1", f"{tree}/")
    (tree / "c").unlink()
    os.link(tree / "a", tree / "c")

    assert put_into(store, "datasets/x/v1", f"{tree}/") == Total(1, 0, 2, 0)

    get_from(store, "datasets/x/v1/", tmp_path / "out")
    assert described(tmp_path / "out") == described(tree)
    assert len(node_of(store, "a").names) == 3


@one_deployment
def test_files_that_are_links_no_more_each_have_their_own_bytes(
    store: Lake, tmp_path: Path
) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    (tree / "a").write_bytes(b"one file")
    os.link(tree / "a", tree / "b")
    os.link(tree / "a", tree / "c")
    put_into(store, "datasets/x/v1", f"{tree}/")
    get_from(store, "datasets/x/v1/", out)
    for name in ("a", "b"):
        (tree / name).unlink()
        (tree / name).write_bytes(b"the file " + name.encode())
    status = (tree / "c").stat()
    (tree / "a").unlink()
    (tree / "a").write_bytes(b"one file")
    os.utime(tree / "a", ns=(status.st_mtime_ns, status.st_mtime_ns))
    (tree / "a").chmod(0o640)

    put_into(store, "datasets/x/v1", f"{tree}/")
    get_from(store, "datasets/x/v1/", out)

    assert described(out) == described(tree)


@one_deployment
def test_drivers_see_a_replaced_file_under_its_first_name(store: Lake, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "b").write_bytes(b"one file")
    put_into(store, "datasets/x/v1", f"{tree}/")
    os.link(tree / "b", tree / "a")
    put_into(store, "datasets/x/v1", f"{tree}/")
    (tree / "a").write_bytes(b"other bytes")

    put_into(store, "datasets/x/v1", f"{tree}/")

    first = node_of(store, "a").names[0].name
    assert listed(store) == [f"datasets/x/v1/{first}"]


@one_deployment
def test_links_do_not_reach_from_one_version_to_another(store: Lake, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
    (tmp_path / "v1" / "file").write_bytes(b"shared")
    os.link(tmp_path / "v1" / "file", tmp_path / "v2" / "file")

    put_into(store, "datasets/x", tmp_path / "v1", tmp_path / "v2")

    get_from(store, "datasets/x/", tmp_path / "out")
    for version in ("v1", "v2"):
        assert (tmp_path / "out" / version / "file").read_bytes() == b"shared"
        assert (tmp_path / "out" / version / "file").stat().st_nlink == 1


@one_deployment
def test_a_folder_that_takes_something_in_has_a_new_time(store: Lake, tree: Path) -> None:
    put_into(store, "datasets/x/v1", f"{tree}/")
    before = node_of(store, "v1")
    put_into(store, "datasets/x/v1", f"{tree}/")
    assert node_of(store, "v1").mtime_ns == before.mtime_ns == tree.stat().st_mtime_ns

    put_into(store, "datasets/x/v1", tree / "below")

    assert node_of(store, "v1").mtime_ns > before.mtime_ns


@one_deployment
def test_a_replaced_content_goes_to_the_trash(store: Lake, tree: Path) -> None:
    put_into(store, "datasets/x/v1", f"{tree}/")
    old = node_of(store, "file").content
    (tree / "file").write_bytes(b"other")
    put_into(store, "datasets/x/v1", f"{tree}/")
    (entry,) = store.connection.collection("trash").find()
    assert old is not None
    assert str(entry["_id"]) == str(old)
    assert not store.contents.exists(old)


def node_of(lake: Lake, name: str) -> Node:
    """The node with that name; there is one."""
    (document,) = lake.connection.collection("tree").find({"names.name": name}, {"_id": 1})
    node = lake.tree.get(Inode(document["_id"]))
    assert node is not None
    return node


Tree: TypeAlias = "dict[str, Tree] | bytes | str"
"""A folder, the bytes of a file, or what a link leads to."""

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
files = st.binary(max_size=40) | st.integers(1, 4 * CHUNK).map(bytes)
targets = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
trees = st.recursive(
    files | targets.map(lambda text: text[:200]),
    lambda inner: st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)


def grow(path: Path, tree: Tree, at: int) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            grow(path / name, inner, at + 1)
    elif isinstance(tree, bytes):
        path.write_bytes(tree)
        path.chmod(0o600 + at % 64)
    else:
        path.symlink_to(tree)
    os.utime(path, ns=(at, at), follow_symlinks=False)


@pytest.mark.parametrize("any_uri", ["replica set", "standalone"], indirect=True)
def test_any_tree_comes_out_as_it_went_in(any_uri: str) -> None:
    with opened(any_uri) as lake:
        number = 0

        @settings(max_examples=20, suppress_health_check=list(HealthCheck))
        @given(tree=st.dictionaries(names, trees, max_size=5), at=st.integers(-(10**18), 10**18))
        def comes_out(tree: Tree, at: int) -> None:
            nonlocal number
            number += 1
            path = f"datasets/x/v{number}/"
            with tempfile.TemporaryDirectory() as folder:
                before, after = Path(folder, "before"), Path(folder, "after")
                grow(before, tree, at)
                put_into(lake, path, f"{before}/")
                get_from(lake, path, after)
                assert described(after) == described(before)
                assert put_into(lake, path, f"{before}/").files == 0
                assert get_from(lake, path, after).files == 0

        comes_out()
        assert number >= 10
