"""The manifest of a snapshot: what went in comes out, and what is broken is said to be."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridfsmount.core.model import (
    NO_FOLDER,
    ROOT,
    Content,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
    Origin,
    Record,
    Seal,
    Source,
    State,
)
from gridfsmount.errors import Damaged, NotFound
from gridfsmount.vaults.manifest import Backed, Manifest, ManifestWriter

int64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))
owners = st.none() | st.integers(0, 2**32 - 1)
origins = st.builds(Origin, version=st.integers(1, 2**60), path=texts, digest=texts)
records = st.builds(
    Record,
    by=texts,
    seal=st.none() | st.builds(Seal, int64, texts, texts, int64, int64, texts),
    parent=st.none() | origins,
    sources=st.lists(st.builds(Source, origins, texts, texts, int64), max_size=2).map(tuple),
)
content_ids = st.builds(lambda number, text: ContentId(b"id%d" % number, text), int64, texts)
nodes = st.builds(
    Node,
    inode=st.integers(2, 2**60),
    kind=st.sampled_from(Kind),
    names=st.lists(
        st.builds(Name, st.integers(0, 5).map(Inode), names), min_size=1, max_size=5, unique=True
    ).map(tuple),
    mode=st.none() | st.integers(0, 0o7777),
    uid=owners,
    gid=owners,
    mtime_ns=int64,
    ctime_ns=int64,
    atime_ns=st.none() | int64,
    size=st.integers(0, 2**63 - 1),
    content=st.none() | content_ids,
    target=texts,
    xattrs=st.dictionaries(names, st.binary(max_size=50), max_size=3),
    version=st.none() | st.integers(1, 2**60),
    state=st.none() | st.sampled_from(State),
    created_ns=st.integers(0, 2**63 - 1),
    record=st.none() | records,
)
known = st.tuples(
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**31 - 1),
    st.none() | st.binary(min_size=32, max_size=32),
    st.none() | st.binary(max_size=24),
    st.integers(0, 2**63 - 1),
)


def folder(inode: int, name: str, parent: int = ROOT) -> Node:
    return Node(
        Inode(inode),
        Kind.DIRECTORY,
        (Name(Inode(parent), name),),
        0o755,
        0,
        0,
        mtime_ns=1,
        ctime_ns=2,
    )


def file(inode: int, *at: tuple[int, str], content: ContentId | None = None) -> Node:
    links = tuple(Name(Inode(parent), name) for parent, name in at)
    return Node(Inode(inode), Kind.FILE, links, 0o644, 1, 2, 3, 4, size=5, content=content)


def write(path: Path, all_nodes: Iterable[Node], contents: Sequence[Content] = ()) -> None:
    writer = ManifestWriter(path)
    writer.add_nodes(all_nodes)
    given = {each.id: each for each in contents}
    for batch in writer.contents():
        writer.set_contents(
            [Backed(number, given[each]) for number, each in batch if each in given]
        )
    writer.finish({"lake": "abc"})


def by_name(node: Node) -> Node:
    """A file's names have no order in a manifest."""
    return replace(node, names=tuple(sorted(node.names, key=lambda each: (each.parent, each.name))))


@settings(max_examples=40)
@given(st.lists(nodes, max_size=5, unique_by=lambda node: node.inode), st.data())
def test_nodes_and_contents_come_out_as_they_went_in(
    all_nodes: list[Node], data: st.DataObject
) -> None:
    taken: set[Name] = set()
    unique = []
    for node in all_nodes:  # a name is there once
        free = tuple(each for each in node.names if each not in taken)
        taken.update(free)
        unique.append(replace(node, names=free))
    ids = {node.content: node.content for node in unique if node.content is not None}
    contents = {
        each: Content(each, length, size, sha256, xxh3, uploaded)
        for each, (length, size, sha256, xxh3, uploaded) in (
            (each, data.draw(known)) for each in ids
        )
    }
    with TemporaryDirectory() as top:
        path = Path(top, "manifest.sqlite")
        write(path, unique, list(contents.values()))
        manifest = Manifest(path, "T")

        for node in unique:
            assert by_name(manifest.node(node.inode)) == by_name(node)
            for name in node.names:
                found = manifest.find(name.parent, name.name)
                assert found is not None
                assert by_name(found) == by_name(node)
        contents_there = {node.inode: contents[node.content] for node in unique if node.content}
        assert manifest.contents_of([node.inode for node in unique]) == contents_there
        everything = [by_name(each) for each in manifest.nodes(Inode(0), 100)]
        assert everything == sorted(map(by_name, unique), key=lambda node: node.inode)
        backed = [each for batch in manifest.all_contents() for each in batch]
        assert {each.content.id: each.content for each in backed} == contents
        assert manifest.contents([each.number for each in backed]) == {
            each.number: each for each in backed
        }
        blobs = {each.sha256 for each in contents.values()} - {None}
        assert list(manifest.blobs()) == sorted(filter(None, blobs))
        of_blobs = manifest.contents_of_blobs(filter(None, blobs))
        assert {each.id for each in of_blobs} == {
            each.id for each in contents.values() if each.sha256
        }
        assert manifest.check() == []
        manifest.close()


@settings(max_examples=40)
@given(st.sets(names, max_size=30), st.integers(1, 7))
def test_pages_are_the_names_in_the_order_of_their_bytes(entries: set[str], limit: int) -> None:
    with TemporaryDirectory() as top:
        path = Path(top, "manifest.sqlite")
        write(path, [file(10 + n, (1, name), (2, name)) for n, name in enumerate(entries)])
        manifest = Manifest(path, "T")

        found: list[str] = []
        while page := manifest.page(ROOT, found[-1] if found else "", limit):
            assert len(page) <= limit
            found += [name for name, _ in page]
            assert manifest.find_many(ROOT, [*(name for name, _ in page), "no/name"]) == dict(page)
        manifest.close()
    assert found == sorted(entries, key=lambda name: name.encode())


def test_a_file_with_many_names_and_attributes_has_them_all(tmp_path: Path) -> None:
    many = file(10, *((1, f"name {n}") for n in range(1000)))
    many = replace(many, xattrs={f"user.{n}": b"%d" % n for n in range(1000)})
    write(tmp_path / "m", [many, file(11, (1, "other"))])
    manifest = Manifest(tmp_path / "m", "T")

    page = manifest.page(ROOT, "", 2000)

    assert len(page) == 1001
    assert all(by_name(node) == by_name(many) for name, node in page if name != "other")
    manifest.close()


def test_a_node_knows_its_path(tmp_path: Path) -> None:
    root = folder(1, "", NO_FOLDER)
    write(tmp_path / "m", [root, folder(2, "datasets"), folder(10, "x", 2), file(11, (10, "a b"))])
    manifest = Manifest(tmp_path / "m", "T")

    assert [manifest.path(Inode(each)) for each in (1, 2, 11)] == ["", "datasets", "datasets/x/a b"]
    with pytest.raises(NotFound, match="inode 99"):
        manifest.node(Inode(99))
    assert manifest.find(ROOT, "nothing") is None
    assert manifest.meta() == {"lake": "abc"}
    manifest.close()


def test_folders_that_lie_in_each_other_are_damage(tmp_path: Path) -> None:
    write(tmp_path / "m", [folder(10, "a", 11), folder(11, "b", 10)])
    manifest = Manifest(tmp_path / "m", "T")

    with pytest.raises(Damaged, match="circle"):
        manifest.path(Inode(10))
    manifest.close()


def test_files_that_are_no_manifest_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, " * 100)
    (tmp_path / "empty").touch()
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE node (inode)")
    other.commit()
    other.close()
    write(tmp_path / "newer", [])
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 2")
    newer.commit()
    newer.close()

    for name, words in {
        "text": "not a database",
        "empty": "another program",
        "other": "another program",
        "newer": "upgrade gridfsmount",
        "missing": "unable to open",
    }.items():
        with pytest.raises(Damaged, match=words):
            Manifest(tmp_path / name, "T")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE node SET kind = 'pipe'",
        "UPDATE node SET mode = 'rw'",
        "UPDATE node SET mtime_ns = 'now'",
        "UPDATE node SET size = x'00'",
        "UPDATE node SET state = 'open'",
        "UPDATE node SET record = '{'",
        "UPDATE node SET record = '[]'",
        "UPDATE node SET record = '{}'",
        "UPDATE node SET content = 99",
        "UPDATE node SET size = -1",
        "UPDATE node SET mode = 33188",
        "UPDATE node SET uid = -1",
        "UPDATE node SET gid = 4294967296",
        "UPDATE node SET target = x'00'",
        "UPDATE node SET created_ns = 'then'",
        """UPDATE node SET record = '{"by": "", "seal": null, "sources": [],
        "parent": {"version": "x", "path": "", "digest": ""}}'""",
        """UPDATE node SET record = '{"by": "", "seal": null, "sources": [],
        "parent": {"version": 1, "path": 5, "digest": ""}}'""",
        "UPDATE content SET lake_id = 1099511627776",
        "UPDATE content SET chunk_size = 0",
        "UPDATE content SET length = -1",
        "UPDATE content SET chunk_xxh3 = 'text'",
        "UPDATE name SET name = '../../etc/passwd'",
        "UPDATE name SET name = '..'",
        "UPDATE name SET name = x'ff'; UPDATE node SET links = 2",
        "UPDATE name SET name = 'a' || char(0)",
        "UPDATE name SET name = printf('%0256d', 1)",
        "UPDATE name SET name = x'ff'",
        "UPDATE name SET name = CAST(x'ff' AS TEXT)",
        "INSERT INTO xattr VALUES (10, 'user.x', 5); UPDATE node SET xattrs = 1",
        "DROP TABLE xattr; UPDATE node SET xattrs = 1",
    ],
)
def test_a_malformed_manifest_is_damaged_and_no_crash(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "m", [file(10, (1, "a"), content=ContentId(b"x", "x"))])
    database = sqlite3.connect(tmp_path / "m")
    database.executescript(damage)
    database.close()
    manifest = Manifest(tmp_path / "m", "T")

    with pytest.raises(Damaged, match="manifest of T"):  # whichever of them reads that first
        _ = manifest.page(ROOT, "", 10), list(manifest.all_contents())
    manifest.close()


READS: Final[tuple[Callable[[Manifest], object], ...]] = (
    lambda manifest: manifest.page(ROOT, "", 100),
    lambda manifest: manifest.nodes(Inode(0), 100),
    lambda manifest: manifest.path(Inode(12)),
    lambda manifest: list(manifest.all_contents()),
    lambda manifest: list(manifest.blobs()),
    Manifest.meta,
    Manifest.check,
)


def test_flipped_and_missing_bytes_end_in_words_or_change_nothing_that_crashes(
    tmp_path: Path,
) -> None:
    contents = [ContentId(b"id%d" % n, str(n)) for n in range(40)]
    write(
        tmp_path / "whole",
        [
            folder(1, "", NO_FOLDER),
            *(file(10 + n, (1, f"{n}"), content=each) for n, each in enumerate(contents)),
        ],
        [Content(each, 5, 100, bytes(32)) for each in contents],
    )
    whole = (tmp_path / "whole").read_bytes()
    choose = random.Random(6)

    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(choose.randint(1, 8)):
            broken[choose.randrange(len(broken))] ^= 1 << choose.randrange(8)
        if choose.random() < 0.1:
            del broken[choose.randrange(len(broken)) :]
        (tmp_path / "broken").write_bytes(broken)
        try:
            manifest = Manifest(tmp_path / "broken", "T")
        except Damaged:
            continue
        for read in READS:
            with suppress(Damaged, NotFound):
                read(manifest)
        manifest.close()


def test_a_manifest_stays_readable_when_its_file_is_removed(tmp_path: Path) -> None:
    write(tmp_path / "folder", [file(10, (1, "a"))])
    manifest = Manifest(tmp_path / "folder", "T")

    (tmp_path / "folder").unlink()

    assert [name for name, _ in manifest.page(ROOT, "", 10)] == ["a"]
    manifest.close()


def test_a_manifest_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    write(tmp_path / "m", [file(10, (1, "a"))])
    (tmp_path / "m").chmod(0o444)
    copy = tmp_path / "strange %23?#name"
    shutil.copy(tmp_path / "m", copy)
    manifest = Manifest(copy, "T")

    assert manifest.find(ROOT, "a") is not None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m", copy.name]
    manifest.close()
