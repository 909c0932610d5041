"""Versions that are read again and compared with what is recorded."""

import hashlib
from dataclasses import replace
from typing import Any

import bson
import pytest

from gridfsmount.core.model import Node, Record, Seal
from gridfsmount.versions import verifying
from gridfsmount.versions.hashing import Hasher, look_up
from gridfsmount.versions.manifest import manifest
from gridfsmount.versions.verifying import Fault, Verified, Verifier
from tests.store.lakes import Garden

DATA = {"a": b"one" * 1000, "b/c": b"two" * 1000, "b/d": b"", "e": b"three"}


@pytest.fixture
def version(garden: Garden) -> Node:
    top = garden.version()
    folder = garden.folder(top, "b")
    for path, data in DATA.items():
        parent = folder if "/" in path else top
        garden.file(parent, path.rpartition("/")[2], data or None)
    return top


def sealed(garden: Garden, version: Node) -> Node:
    """As it is when it was sealed."""
    digest = hashlib.sha256()
    for line in manifest(garden.lake, version, Hasher(garden.lake)):
        digest.update(line.line)
    seal = Seal(1, "ana@gpu1", "", len(DATA), sum(map(len, DATA.values())), digest.hexdigest())
    return replace(version, record=Record(seal=seal))


def verified(garden: Garden, version: Node) -> tuple[Verified, list[Fault]]:
    faults: list[Fault] = []
    done = Verifier(garden.lake, faults.append).verify(version)
    assert done.faults == len(faults)
    return done, faults


def chunk(garden: Garden, version: Node, path: str, change: dict[str, Any]) -> None:
    """Do something to the first chunk of a file."""
    node: Node | None = version
    for name in path.split("/"):
        assert node is not None
        node = garden.lake.tree.find(node.inode, name)
    assert node is not None
    assert node.content is not None
    chunks = garden.lake.connection.collection("chunks")
    query = {"files_id": bson.ObjectId(node.content.text), "n": 0}
    assert chunks.update_one(query, change).matched_count == 1


def test_a_version_that_is_right_is_told_to_be(
    garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "BATCH", 2)
    node = sealed(garden, version)
    told: list[tuple[int, int]] = []

    done = Verifier(garden.lake, lambda _: None, 2, lambda *each: told.append(each)).verify(node)

    size = sum(map(len, DATA.values()))
    assert node.record is not None
    assert node.record.seal is not None
    digest = node.record.seal.digest
    assert done == Verified(4, size, digest=digest, recorded=digest)
    assert (sum(each[0] for each in told), sum(each[1] for each in told)) == (4, size)


def test_what_is_wrong_is_told_with_its_path_and_the_rest_is_read(
    garden: Garden, version: Node
) -> None:
    node = sealed(garden, version)
    chunk(garden, version, "a", {"$set": {"data": b"x" * 1024}})
    chunk(garden, version, "b/c", {"$set": {"n": 99}})

    done, faults = verified(garden, node)

    assert [each.path for each in faults] == ["a", "b/c"]
    assert [each.detail.partition(": ")[2] for each in faults] == [
        "chunk 0 was altered",
        "chunk 0 is missing",
    ]
    assert (done.files, done.bytes, done.digest) == (4, len(DATA["e"]), "")


def test_a_hash_and_a_digest_that_are_not_those_of_the_bytes_are_told(
    garden: Garden, version: Node
) -> None:
    node = sealed(garden, version)
    files = garden.lake.connection.collection("files")
    wrong = hashlib.sha256(b"else").hexdigest()
    files.update_one({"filename": {"$regex": "/e$"}}, {"$set": {"metadata.lake.sha256": wrong}})

    _, faults = verified(garden, node)

    right = hashlib.sha256(DATA["e"]).hexdigest()
    assert faults == [Fault("e", f"its SHA-256 is {right}, not {wrong}")]

    assert node.record is not None
    assert node.record.seal is not None
    record = Record(seal=replace(node.record.seal, digest="0" * 64))
    _, faults = verified(garden, replace(node, record=record))

    assert faults[1] == Fault("", f"its digest is {node.record.seal.digest}, not {'0' * 64}")


def test_a_file_without_its_content_or_of_another_size_is_told(
    garden: Garden, version: Node
) -> None:
    files = dict(garden.lake.tree.page(version.inode, "", 10).entries)
    assert files["a"].content is not None
    garden.lake.contents.hide(files["a"].content)
    nodes = garden.lake.connection.collection("tree")
    nodes.update_one({"_id": files["e"].inode}, {"$set": {"size": 7}})

    _, faults = verified(garden, version)

    assert [(each.path, each.detail.partition(": ")[2] or each.detail) for each in faults] == [
        ("a", "its files document is missing"),
        ("e", "its size is 7, but its content has 5 bytes"),
    ]


def test_a_draft_that_is_written_meanwhile_has_no_faults(
    garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = garden.lake.tree.find(version.inode, "a")
    assert file is not None

    def late(*given: Any) -> Any:
        garden.write(file, b"newer")
        monkeypatch.undo()
        return look_up(*given)

    monkeypatch.setattr(verifying, "look_up", late)
    done, faults = verified(garden, version)

    assert faults == []
    assert (done.changed, done.digest) == (1, "")


def test_hashes_that_were_not_known_are_noted(garden: Garden, version: Node) -> None:
    files = garden.lake.connection.collection("files")
    files.update_many({}, {"$unset": {"metadata.lake.sha256": ""}})

    done, faults = verified(garden, version)

    assert (done.noted, faults) == (3, [])
    assert files.count_documents({"metadata.lake.sha256": {"$exists": True}}) == 3
    assert verified(garden, version)[0].noted == 0


def test_an_empty_version_is_right(garden: Garden) -> None:
    done, faults = verified(garden, garden.version())
    assert (done.files, faults) == (0, [])
    assert done.digest == hashlib.sha256().hexdigest()
