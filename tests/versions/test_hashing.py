"""Hashes of contents: known, computed, noted; and what is wrong instead of a hash."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import bson
import gridfs
import pytest
from pymongo.database import Database
from xxhash import xxh3_64_digest

from gridfsmount import scanning
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged
from gridfsmount.store.encoding import content_id
from gridfsmount.store.lake import Lake
from gridfsmount.versions import hashing
from gridfsmount.versions.hashing import Hasher
from tests.store.lakes import Garden, raw

DATA = bytes(range(256)) * 20


@pytest.fixture
def database(lake_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with raw(lake_uri) as database:
        yield database


def upload(
    store: Lake,
    database: Database[dict[str, Any]],
    data: bytes,
    key: object,
    *,
    marked: bool = True,
) -> ContentId:
    """A driver's upload, in chunks of 1000 bytes, that was given its node."""
    bucket = gridfs.GridFSBucket(database)
    with bucket.open_upload_stream_with_id(key, "driver", chunk_size_bytes=1000) as stream:
        stream.write(data)
    identity = content_id(key)
    seen = store.foreign.get(identity)
    assert seen is not None
    if marked:
        store.foreign.mark([seen])
    return identity


def lake_fields(database: Database[dict[str, Any]], key: object) -> dict[str, Any]:
    document = database["fs.files"].find_one({"_id": key})
    assert document is not None
    found: dict[str, Any] = (document.get("metadata") or {}).get("lake", {})
    return found


def sha256_of(hashed: object) -> bytes | None:
    assert isinstance(hashed, Content), hashed
    return hashed.sha256


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many contents were read, at each time that some were."""
    counts: list[int] = []

    def counted(lake: Lake, contents: Sequence[Content], jobs: int) -> Iterator[scanning.Piece]:
        listed = list(contents)
        if listed:
            counts.append(len(listed))
        return scanning.scan(lake, listed, jobs)

    monkeypatch.setattr(hashing, "scan", counted)
    return counts


def test_a_hash_that_is_known_costs_no_reading(garden: Garden, reads: list[int]) -> None:
    nodes = [garden.file(garden.version(), "file", DATA)]
    contents = [each.content for each in nodes if each.content is not None]

    found = Hasher(garden.lake).load(contents)

    assert [sha256_of(found[each]) for each in contents] == [hashlib.sha256(DATA).digest()]
    assert reads == []


@pytest.mark.parametrize("key", [bson.ObjectId("5f" * 12), 7, "text", {"a": [1]}], ids=str)
def test_the_hash_of_a_foreign_upload_is_computed_once_and_noted(
    store: Lake, database: Database[dict[str, Any]], reads: list[int], key: object
) -> None:
    identity = upload(store, database, DATA, key)

    first = Hasher(store).load([identity])
    second = Hasher(store).load([identity])

    assert sha256_of(first[identity]) == hashlib.sha256(DATA).digest()
    assert second == first
    assert reads == [1]
    fields = lake_fields(database, key)
    assert fields["sha256"] == hashlib.sha256(DATA).hexdigest()
    pieces = [DATA[at : at + 1000] for at in range(0, len(DATA), 1000)]
    assert fields["chunk_xxh3"] == b"".join(map(xxh3_64_digest, pieces))
    assert fields["adopted"] is True


def test_a_date_to_the_millisecond_is_no_hindrance(
    store: Lake, database: Database[dict[str, Any]]
) -> None:
    identities = [upload(store, database, DATA, n) for n in range(30)]
    for n in range(30):
        database["fs.files"].update_one(
            {"_id": n}, {"$set": {"uploadDate": bson.DatetimeMS(1_700_000_000_000 + 7 * n)}}
        )

    Hasher(store).load(identities)

    assert database["fs.files"].count_documents({"metadata.lake.sha256": {"$exists": True}}) == 30


def test_nothing_is_noted_of_what_has_no_node_yet(
    store: Lake, database: Database[dict[str, Any]]
) -> None:
    identity = upload(store, database, DATA, 1, marked=False)

    assert sha256_of(Hasher(store).load([identity])[identity]) == hashlib.sha256(DATA).digest()

    assert lake_fields(database, 1) == {}


def test_a_user_who_may_only_read_gets_hashes_and_notes_none(
    store: Lake, database: Database[dict[str, Any]]
) -> None:
    identity = upload(store, database, DATA, 1)
    store.connection.deployment = replace(store.connection.deployment, writable=False)

    assert sha256_of(Hasher(store).load([identity])[identity]) == hashlib.sha256(DATA).digest()

    assert "sha256" not in lake_fields(database, 1)


def test_a_file_that_was_appended_to_keeps_its_chunks_hashes(
    garden: Garden, database: Database[dict[str, Any]]
) -> None:
    node = garden.file(garden.version(), "file", DATA)
    assert node.content is not None
    before = database["fs.files"].find_one({})
    database["fs.files"].update_one({}, {"$unset": {"metadata.lake.sha256": ""}})

    found = Hasher(garden.lake).load([node.content])

    assert sha256_of(found[node.content]) == hashlib.sha256(DATA).digest()
    assert database["fs.files"].find_one({}) == before


@pytest.mark.parametrize("writable", [True, False])
def test_a_content_that_a_driver_replaced_meanwhile_gets_no_hash(
    store: Lake,
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    writable: bool,
) -> None:
    identity = upload(store, database, DATA, 1)
    store.connection.deployment = replace(store.connection.deployment, writable=writable)

    def replaced(*given: Any) -> Iterator[Any]:
        yield from hashing_all(*given)
        gridfs.GridFSBucket(database).delete(1)
        upload(store, database, DATA[::-1], 1)

    hashing_all = hashing.hash_all
    monkeypatch.setattr(hashing, "hash_all", replaced)
    found = Hasher(store).load([identity])

    assert str(found[identity]) == "content 1: it was replaced while it was read"
    assert "sha256" not in lake_fields(database, 1)


def test_a_hash_that_somebody_else_noted_meanwhile_is_the_same(
    store: Lake, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = upload(store, database, DATA, 1)

    def noted(*given: Any) -> Iterator[Any]:
        yield from hashing_all(*given)
        monkeypatch.undo()
        Hasher(store).load([identity])

    hashing_all = hashing.hash_all
    monkeypatch.setattr(hashing, "hash_all", noted)

    assert sha256_of(Hasher(store).load([identity])[identity]) == hashlib.sha256(DATA).digest()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"$set": {"data": b"short"}}, "chunk 2 has 5 bytes, not 1000"),
        ({"$set": {"data": "text"}}, "chunk 2 holds no bytes"),
        ({"$set": {"n": 77}}, "chunk 2 is missing"),
    ],
)
def test_what_is_wrong_comes_in_place_of_the_hash_and_the_others_are_told(
    store: Lake, database: Database[dict[str, Any]], change: dict[str, Any], reason: str
) -> None:
    wrong, right = upload(store, database, DATA, 1), upload(store, database, DATA, 2)
    database["fs.chunks"].update_one({"files_id": 1, "n": 2}, change)
    gone = content_id(3)

    found = Hasher(store).load([wrong, right, gone])

    assert str(found[wrong]) == f"content 1: {reason}"
    assert isinstance(found[gone], Damaged)
    assert str(found[gone]) == "content 3: its files document is missing"
    assert sha256_of(found[right]) == hashlib.sha256(DATA).digest()
    assert "sha256" not in lake_fields(database, 1)


def test_numbers_of_different_types_are_one_content(
    store: Lake, database: Database[dict[str, Any]]
) -> None:
    upload(store, database, DATA, 1)
    identity = content_id(1.0)

    found = Hasher(store).load([identity, content_id(1)])

    assert {sha256_of(each) for each in found.values()} == {hashlib.sha256(DATA).digest()}
    assert len(found) == 2


def test_progress_tells_of_every_content_and_byte_and_may_end_it(
    garden: Garden, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "NOTED_BYTES", 1)
    known = garden.file(garden.version(), "file", DATA).content
    assert known is not None
    contents = [known, *(upload(garden.lake, database, DATA, n) for n in range(3))]
    told: list[tuple[int, int]] = []

    def tell(count: int, size: int) -> None:
        told.append((count, size))
        if sum(count for count, _ in told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hasher(garden.lake, progress=tell).load(contents)

    assert "sha256" in lake_fields(database, 0)
    told.clear()
    Hasher(garden.lake, progress=lambda *done: told.append(done)).load(contents)
    assert (sum(each[0] for each in told), sum(each[1] for each in told)) == (4, 4 * len(DATA))


def test_empty_contents_of_drivers_have_the_hash_of_nothing(
    store: Lake, database: Database[dict[str, Any]]
) -> None:
    identity = upload(store, database, b"", 1)
    assert sha256_of(Hasher(store).load([identity])[identity]) == hashlib.sha256().digest()
    assert Hasher(store).load([]) == {}


@pytest.mark.parametrize("small", [0, 3000, 1 << 20])
def test_contents_of_all_sizes_come_whole_and_in_order(
    store: Lake,
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    small: int,
) -> None:
    monkeypatch.setattr(scanning, "SMALL", small)
    monkeypatch.setattr(scanning, "READ_BYTES", 2500)
    monkeypatch.setattr(scanning, "TOGETHER", 3)
    sizes = [0, 1, 999, 1000, 1001, 2500, 7000, 0, 3, 5000, 1, 1, 1, 1]
    data = [bytes([n]) * size for n, size in enumerate(sizes)]
    identities = [upload(store, database, each, n) for n, each in enumerate(data)]

    found = Hasher(store, jobs=2).load(identities)

    hashes = [sha256_of(found[each]) for each in identities]
    assert hashes == [hashlib.sha256(each).digest() for each in data]
