"""Documents to values and back: exact for ours, checked for everybody's."""

import datetime
import uuid
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import (
    DATASETS,
    NO_FOLDER,
    Content,
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
from gridfsmount.errors import Damaged
from gridfsmount.store.encoding import (
    CODEC,
    content_id,
    content_key,
    decode_content,
    decode_node,
    encode_content,
    encode_name,
    encode_node,
)

MAX_INT64 = (1 << 63) - 1

INODES = st.integers(1, MAX_INT64).map(Inode)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FILE_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))
NANOSECONDS = st.integers(-MAX_INT64, MAX_INT64)

SCALARS = (
    st.booleans()
    | st.integers(-(1 << 63), MAX_INT64)
    | st.integers(-(1 << 63), MAX_INT64).map(Int64)
    | st.floats()
    | TEXT
    | st.binary(max_size=40)
    | st.builds(Binary, st.binary(max_size=40), st.sampled_from([0, 2, 3, 4, 5, 128]))
    | st.binary(min_size=12, max_size=12).map(ObjectId)
    | st.decimals(allow_nan=True, places=3, min_value=-(10**9), max_value=10**9).map(Decimal128)
    | st.sampled_from([Decimal128("NaN"), Decimal128("Infinity"), Decimal128("1E+6144")])
    | st.integers(-(1 << 63), MAX_INT64).map(DatetimeMS)
    | st.builds(Timestamp, st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
    | st.sampled_from([MinKey(), MaxKey(), Code("x")])
)
IDS = SCALARS | st.dictionaries(st.sampled_from(["a", "b"]), SCALARS, max_size=2)
VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "parent", "value", "lake", "sha256", "chunk_xxh3"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """A document as it comes back from the server."""
    return bson.decode(bson.encode(document, codec_options=CODEC), codec_options=CODEC)


ORIGINS = st.builds(Origin, version=INODES, path=TEXT, digest=TEXT)
RECORDS = st.builds(
    Record,
    by=TEXT,
    seal=st.none()
    | st.builds(
        Seal,
        at_ns=st.integers(0, MAX_INT64),
        by=TEXT,
        message=TEXT,
        files=st.integers(0, MAX_INT64),
        bytes=st.integers(0, MAX_INT64),
        digest=TEXT,
    ),
    parent=st.none() | ORIGINS,
    sources=st.lists(
        st.builds(Source, origin=ORIGINS, note=TEXT, by=TEXT, at_ns=st.integers(0, MAX_INT64)),
        max_size=2,
    ).map(tuple),
)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    kind = draw(st.sampled_from(Kind))
    names = draw(st.lists(st.builds(Name, INODES, FILE_NAMES), min_size=1, max_size=4, unique=True))
    state = draw(st.none() | st.sampled_from(State))
    return Node(
        inode=draw(INODES),
        kind=kind,
        names=tuple(names),
        mode=draw(st.none() | st.integers(0, 0o7777)),
        uid=draw(st.none() | st.integers(0, 0xFFFFFFFF)),
        gid=draw(st.none() | st.integers(0, 0xFFFFFFFF)),
        mtime_ns=draw(NANOSECONDS),
        ctime_ns=draw(NANOSECONDS),
        atime_ns=draw(st.none() | NANOSECONDS),
        size=draw(st.integers(0, MAX_INT64)) if kind is Kind.FILE else 0,
        content=draw(st.none() | IDS.map(content_id)),
        target=draw(TEXT) if kind is Kind.SYMLINK else "",
        xattrs=draw(st.dictionaries(TEXT, st.binary(max_size=20), max_size=3)),
        version=draw(st.none() | INODES),
        state=state,
        created_ns=draw(st.integers(0, MAX_INT64)) if state else 0,
        record=draw(RECORDS) if state else None,
        frozen=draw(TEXT),
        rev=draw(st.integers(0, MAX_INT64)),
    )


@given(nodes())
def test_a_node_survives_the_database(node: Node) -> None:
    assert decode_node(stored(encode_node(node))) == node


@given(nodes())
def test_numbers_that_grow_are_stored_as_int64(node: Node) -> None:
    document = encode_node(node)
    for field in ("_id", "mtime_ns", "ctime_ns", "rev", "version", "atime_ns", "size"):
        assert isinstance(document.get(field, Int64(0)), Int64)
    assert all(isinstance(name["parent"], Int64) for name in document["names"])


def test_what_says_nothing_is_left_out() -> None:
    node = Node(
        inode=Inode(2000),
        kind=Kind.DIRECTORY,
        names=(Name(DATASETS, "x"),),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=0,
        ctime_ns=0,
    )
    assert set(encode_node(node)) == {
        *("_id", "names", "kind", "mode", "uid", "gid", "mtime_ns", "ctime_ns", "rev")
    }


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "_id": st.integers(-5, 5000) | VALUES,
            "kind": st.sampled_from([kind.value for kind in Kind]) | VALUES,
            "names": st.lists(
                st.fixed_dictionaries({"parent": INODES | VALUES, "name": FILE_NAMES | VALUES})
                | VALUES,
                max_size=3,
            )
            | VALUES,
            "mode": st.integers(0, 0o7777) | VALUES,
            "uid": VALUES,
            "gid": VALUES,
            "mtime_ns": NANOSECONDS | VALUES,
            "ctime_ns": NANOSECONDS | VALUES,
            "atime_ns": VALUES,
            "size": VALUES,
            "content": VALUES,
            "target": VALUES,
            "xattrs": st.lists(st.fixed_dictionaries({"name": VALUES, "value": VALUES}), max_size=2)
            | VALUES,
            "version": VALUES,
            "state": st.sampled_from(["draft", "sealed"]) | VALUES,
            "created_ns": VALUES,
            "by": VALUES,
            "seal": VALUES,
            "sealing": VALUES,
            "parent": VALUES,
            "sources": st.lists(VALUES, max_size=2) | VALUES,
            "frozen": VALUES,
            "rev": VALUES,
            "unknown": VALUES,
        },
    )
)
def test_any_document_of_the_tree_decodes_or_is_damaged(document: dict[str, Any]) -> None:
    try:
        node = decode_node(stored(document))
    except Damaged:
        return
    assert node.names
    encode_node(node)
    assert all(isinstance(value, bytes) for value in node.xattrs.values())


GOOD = {
    "_id": 2000,
    "kind": "file",
    "names": [{"parent": 1500, "name": "a"}],
    "mode": None,
    "uid": None,
    "gid": None,
    "mtime_ns": 0,
    "ctime_ns": 0,
}


def test_the_least_that_a_node_needs() -> None:
    node = decode_node(stored(GOOD))
    assert (node.inode, node.kind, node.names) == (2000, Kind.FILE, (Name(Inode(1500), "a"),))


@pytest.mark.parametrize("field", [*("_id", "kind", "names", "mtime_ns", "ctime_ns")])
def test_a_node_that_lacks_a_field_is_damaged(field: str) -> None:
    document = {key: value for key, value in GOOD.items() if key != field}
    with pytest.raises(Damaged):
        decode_node(document)


@pytest.mark.parametrize(
    "change",
    [
        {"_id": 0},
        {"_id": -1},
        {"_id": "x"},
        {"_id": True},
        {"_id": 2000.5},
        {"kind": "device"},
        {"kind": None},
        {"kind": []},
        {"names": []},
        {"names": None},
        {"names": {"parent": 1500, "name": "a"}},
        {"names": ["a"]},
        {"names": [{"parent": 1500}]},
        {"names": [{"parent": 1500, "name": ""}]},
        {"names": [{"parent": 1500, "name": "."}]},
        {"names": [{"parent": 1500, "name": ".."}]},
        {"names": [{"parent": 1500, "name": "a/b"}]},
        {"names": [{"parent": 1500, "name": "a\0b"}]},
        {"names": [{"parent": 1500, "name": "x" * 256}]},
        {"names": [{"parent": 1500, "name": "é" * 128}]},
        {"names": [{"parent": 1500, "name": "\udcff"}]},
        {"names": [{"parent": 1500, "name": b"a"}]},
        {"names": [{"parent": -1, "name": "a"}]},
        {"mode": 0o10000},
        {"mode": -1},
        {"uid": 1 << 32},
        {"size": -1},
        {"size": "5"},
        {"target": 5},
        {"target": "\udcff"},
        {"content": {"a": "\udcff"}},
        {"state": "lost"},
        {"xattrs": {}},
        {"xattrs": [{"name": "user.a"}]},
        {"xattrs": [{"name": "user.a", "value": 5}]},
        {"xattrs": [{"name": "user.a", "value": 1 << 62}]},
        {"xattrs": [{"name": "user.a", "value": [1, 2]}]},
        {"xattrs": [{"name": "user.\udcff", "value": b""}]},
        {"mtime_ns": None},
        {"mtime_ns": 1 << 63},
        {"version": "v1"},
        {"rev": -1},
    ],
)
def test_a_node_that_makes_no_sense_is_damaged(change: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        decode_node({**GOOD, **change})


def test_a_node_that_was_set_aside_may_have_no_proper_name() -> None:
    names = [{"parent": NO_FOLDER, "name": "x" * 300}]
    assert decode_node({**GOOD, "names": names}).names[0].parent == NO_FOLDER


@given(IDS)
def test_an_id_of_any_type_comes_back_as_it_is(value: Any) -> None:
    identity = content_id(value)
    again = content_id(content_key(identity))
    assert again == identity
    assert bson.encode({"": content_key(identity)}, codec_options=CODEC) == identity.bson


def test_ids_of_different_types_are_different() -> None:
    as_uuid = Binary.from_uuid(uuid.UUID(int=5))
    legacy = Binary.from_uuid(uuid.UUID(int=5), UuidRepresentation.JAVA_LEGACY)
    ids = [5, Int64(5), 5.0, "5", as_uuid, legacy, bytes(as_uuid), {"a": 5}, {"a": Int64(5)}]
    assert len({content_id(value) for value in ids}) == len(ids)


@given(IDS)
def test_an_ids_text_is_short_printable_ascii(value: Any) -> None:
    text = str(content_id(value))
    assert text.isascii()
    assert len(text) <= 200


@pytest.mark.parametrize(
    "value", [None, "\udcff", {"a": "\udcff"}, Regex("a"), [], [1], {"$gt": ""}], ids=repr
)
def test_an_id_that_no_query_can_name_is_damaged(value: object) -> None:
    with pytest.raises(Damaged):
        content_id(value)


def test_a_length_of_more_chunks_than_can_be_numbered_is_damaged() -> None:
    most = (1 << 31) - 1
    good = {"_id": 1, "length": Int64(most * 4096), "chunkSize": 4096}
    assert decode_content(good).length == most * 4096
    with pytest.raises(Damaged):
        decode_content({**good, "length": Int64(most * 4096 + 1)})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "_id": IDS,
            "length": st.integers(0, 1 << 40) | VALUES,
            "chunkSize": st.integers(1, 1 << 24) | VALUES,
            "metadata": st.fixed_dictionaries({"lake": VALUES}) | VALUES,
        },
    )
)
def test_any_files_document_decodes_or_is_damaged(document: dict[str, Any]) -> None:
    try:
        content = decode_content(stored(document))
    except Damaged:
        return
    assert content.length >= 0
    assert content.chunk_size >= 1
    assert content.sha256 is None or len(content.sha256) == 32


@pytest.mark.parametrize(
    "number", [7, Int64(7), 7.0, Decimal128("7"), Decimal128("7.00"), Decimal128("70E-1")]
)
def test_numbers_of_any_type_are_read(number: object) -> None:
    content = decode_content(stored({"_id": 1, "length": number, "chunkSize": number}))
    assert (content.length, content.chunk_size) == (7, 7)
    assert isinstance(content.length, int)
    assert isinstance(content.chunk_size, int)


@pytest.mark.parametrize(
    ("length", "chunk_size"),
    [
        (None, 7),
        (-1, 7),
        (7.5, 7),
        (float("nan"), 7),
        (float("inf"), 7),
        (True, 7),
        ("7", 7),
        (Decimal128("NaN"), 7),
        (Decimal128("7.5"), 7),
        (Decimal128("1E+6144"), 7),
        (1e300, 7),
        (7, None),
        (7, 0),
        (7, -1),
        (7, 1 << 31),
        (7, "7"),
        (7, 0.5),
    ],
)
def test_a_content_without_usable_sizes_is_damaged(length: object, chunk_size: object) -> None:
    with pytest.raises(Damaged):
        decode_content({"_id": 1, "length": length, "chunkSize": chunk_size})


def test_an_empty_content_needs_no_chunk_size() -> None:
    assert decode_content({"_id": 1, "length": 0}).length == 0


@given(st.binary(min_size=32, max_size=32), st.binary())
def test_what_we_know_of_a_content_survives(sha256: bytes, chunk_xxh3: bytes) -> None:
    content = Content(content_id(ObjectId()), 5, 4096, sha256, chunk_xxh3)
    document = {
        "_id": content_key(content.id),
        "length": Int64(5),
        "chunkSize": 4096,
        "metadata": {"lake": encode_content(content)},
    }
    assert decode_content(stored(document)) == content


@pytest.mark.parametrize(
    "digest", [None, 5, b"x" * 64, "ab", "g" * 64, "ab " * 21 + "a", "é" * 64, "٣" * 64]
)
def test_a_digest_that_makes_no_sense_counts_as_unknown(digest: object) -> None:
    document = {"_id": 1, "length": 0, "metadata": {"lake": {"sha256": digest}}}
    assert decode_content(document).sha256 is None


@pytest.mark.parametrize("metadata", [None, 5, "x", [], [{"lake": {}}], {"lake": 5}, {"lake": []}])
def test_metadata_of_any_type_is_read(metadata: object) -> None:
    document = {"_id": 1, "length": 0, "metadata": metadata}
    assert decode_content(document) == Content(content_id(1), 0, 1)


def test_a_date_beyond_pythons_spoils_nothing() -> None:
    document = stored({"_id": 1, "length": 0, "uploadDate": DatetimeMS(1 << 62)})
    assert decode_content(document).length == 0
    assert stored({"at": DatetimeMS(0)})["at"] == datetime.datetime.fromtimestamp(0, datetime.UTC)


def test_a_name_is_stored_with_its_parent_as_int64() -> None:
    document = encode_name(Name(Inode(5), "a"))
    assert document == {"parent": 5, "name": "a"}
    assert isinstance(document["parent"], Int64)
