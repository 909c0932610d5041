"""The manifest of a version in a lake."""

import hashlib
from dataclasses import replace

import pytest

from gridfsmount.core.manifest import manifest_line
from gridfsmount.core.model import Inode, Kind, Name
from gridfsmount.errors import Conflict, Damaged
from gridfsmount.versions import manifest as module
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.manifest import manifest
from tests.store.lakes import Garden, bare


def lines(garden: Garden, version: Inode) -> list[bytes]:
    top = garden.lake.tree.get(version)
    assert top is not None
    return [each.line for each in manifest(garden.lake, top, Hasher(garden.lake))]


def expected(**files: bytes) -> list[bytes]:
    return [
        manifest_line(hashlib.sha256(data).digest(), path) for path, data in sorted(files.items())
    ]


def test_every_file_has_its_line_and_nothing_else_has(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    top = garden.version()
    below = garden.folder(top, "a")
    file = garden.file(below, "file", b"x" * 5000)
    garden.file(top, "a.b", b"dot")
    garden.file(top, "empty")
    linked = [*file.names, Name(top.inode, "link")]
    garden.lake.tree.set_names(file, linked, 1)
    symlink = bare(garden.number(), (top.inode, "s"), kind=Kind.SYMLINK, version=top.inode)
    garden.lake.commits.create(replace(symlink, target="a.b"))

    found = list(manifest(garden.lake, top, Hasher(garden.lake)))

    large = b"x" * 5000
    files = {"a.b": b"dot", "a/file": large, "empty": b"", "link": large}
    assert [each.line for each in found] == expected(**files)
    assert [each.entry.path for each in found] == list(files)
    assert [each.content.length if each.content else 0 for each in found] == [3, 5000, 0, 5000]


def test_a_version_without_files_has_an_empty_manifest(garden: Garden) -> None:
    top = garden.version()
    garden.folder(top, "folder")
    assert lines(garden, top.inode) == []


def test_a_file_whose_content_is_gone_is_named(garden: Garden) -> None:
    top = garden.version()
    file = garden.file(garden.folder(top, "a"), "file", b"data")
    assert file.content is not None
    garden.lake.contents.hide(file.content)

    with pytest.raises(Damaged, match=r"^a/file: content \w+: its files document is missing$"):
        lines(garden, top.inode)


def test_a_file_that_is_written_meanwhile_is_no_damage(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = garden.version()
    file = garden.file(top, "file", b"data")
    load = Hasher.load

    def late(*given: object) -> object:
        garden.write(file, b"newer")
        return load(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Hasher, "load", late)

    with pytest.raises(Conflict, match="file: it was changed meanwhile; try again"):
        lines(garden, top.inode)
