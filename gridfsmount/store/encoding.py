"""Documents to domain values and back.

What the lake writes is exact; what it reads is checked, since any client may have written it: a
document that makes no sense is `Damaged`, never a crash.
"""

import math
import re
from collections.abc import Hashable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import bson
from bson import Binary, Decimal128, Int64, Regex
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from gridfsmount.core.chunks import MAX_CHUNKS, chunk_count
from gridfsmount.core.model import (
    NO_FOLDER,
    Content,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
    Origin,
    Record,
    Seal,
    Sealing,
    Source,
    State,
)
from gridfsmount.core.names import MAX_NAME_BYTES
from gridfsmount.errors import Damaged

Document: TypeAlias = dict[str, Any]

# Legacy UUIDs come back as they were stored; a string that is not UTF-8, or a date that Python
# does not know, must not spoil a batch.
CODEC: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    tz_aware=True,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    unicode_decode_error_handler="surrogateescape",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

CONTENT_FORMAT: Final = 1
"""`metadata.lake.format` of contents: also the marker that tells ours from foreign ones."""

_OBJECT_ID: Final = bson.encode({"": bson.ObjectId()})[:6]
_TYPE_AT: Final = 4  # after the length of the document
_EXACT_TYPES: Final = b"\x02\x05\x07"  # string, binary, ObjectId

EXACT: Final = (str, bytes, bson.ObjectId)
"""Values that equal nothing but themselves, unlike the integer 1 and the double 1.0."""

_KINDS: Final = {kind.value: kind for kind in Kind}
_INTEGERS: Final = frozenset({int, Int64})
_NOT_A_NUMBER: Final = "NaN"
_NO_NAMES: Final = frozenset({"", ".", ".."})
_MAX_INT64: Final = (1 << 63) - 1
_MAX_CHUNK_SIZE: Final = (1 << 31) - 1
_SHA256_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


def content_id(value: object) -> ContentId:
    """Identity of the content whose `_id` is `value`.

    Raises:
        Damaged: no query can name it: it is null, which every missing field equals, has a string
            that is not UTF-8, or is what no `_id` can be and a query takes for something else.
    """
    if value is None:
        raise Damaged("a content's _id is null")
    if value.__class__ is bson.ObjectId:  # the commonest, by its bytes: bsonspec.org
        return ContentId(_OBJECT_ID + value.binary + b"\0", str(value))
    if isinstance(value, Regex | re.Pattern | list) or _is_question(value):
        raise Damaged(f"no content can be called {_printable(value)}")
    try:
        return ContentId(bson.encode({"": value}, codec_options=CODEC), _printable(value))
    except UnicodeEncodeError as error:
        raise Damaged(f"content {_printable(value)}: its _id is not UTF-8") from error


def _is_question(value: object) -> bool:
    """Whether a query would take a document for an operator, as in `{"$gt": ""}`."""
    return isinstance(value, Mapping) and next(iter(value), "").startswith("$")


def content_key(content: ContentId) -> Any:
    """The `_id` that a content identity stands for."""
    return bson.decode(content.bson, codec_options=CODEC)[""]


def is_exact(content: ContentId) -> bool:
    """Whether the `_id` is `EXACT`, of a type whose values equal nothing but themselves."""
    return content.bson[_TYPE_AT] in _EXACT_TYPES


def decode_content(document: Mapping[str, Any]) -> Content:
    """A content from its `fs.files` document.

    Raises:
        Damaged: no usable `_id`, length or chunk size.
    """
    identity = content_id(document.get("_id"))
    length = whole_number(document.get("length"))
    chunk_size = whole_number(document.get("chunkSize"))
    if length is None or not 0 <= length <= _MAX_INT64:
        raise Damaged(f"content {identity}: length is {document.get('length')!r}")
    if length == 0 and chunk_size is None:
        chunk_size = 1
    if chunk_size is None or not 1 <= chunk_size <= _MAX_CHUNK_SIZE:
        raise Damaged(f"content {identity}: chunkSize is {document.get('chunkSize')!r}")
    if chunk_count(length, chunk_size) > MAX_CHUNKS:
        raise Damaged(
            f"content {identity}: a length of {length} has more chunks of {chunk_size} than GridFS "
            "can number"
        )
    lake = lake_metadata(document)
    hashes = _bytes(lake.get("chunk_xxh3"))
    return Content(
        identity,
        length,
        chunk_size,
        _digest(lake.get("sha256")),
        hashes,
        _milliseconds(document.get("uploadDate")) if hashes is None else 0,
    )


def encode_content(content: Content) -> Document:
    """The fields of `metadata.lake` that describe a content's bytes."""
    fields: Document = {}
    if content.sha256 is not None:
        fields["sha256"] = content.sha256.hex()
    if content.chunk_xxh3 is not None:
        fields["chunk_xxh3"] = Binary(content.chunk_xxh3)
    return fields


def same(value: Any) -> Hashable:
    """A value that equals that of every key which the server takes for the same."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, Decimal) and value.is_nan():
        return _NOT_A_NUMBER  # for the server they are all one, and the same as a double's
    if isinstance(value, float) and math.isnan(value):
        return _NOT_A_NUMBER
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value
    if isinstance(value, bson.ObjectId):
        return value
    try:
        return bson.encode({"": value}, codec_options=CODEC)
    except UnicodeEncodeError:
        return repr(value)


def lake_metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Our own fields of an `fs.files` document; empty for a foreign one.

    That is one, too, to which a driver gave the metadata of another content.
    """
    metadata = document.get("metadata")
    lake = metadata.get("lake") if isinstance(metadata, Mapping) else None
    if not isinstance(lake, Mapping):
        return {}
    identity = document.get("_id")
    return lake if same(lake.get("content", identity)) == same(identity) else {}


def encode_name(name: Name) -> Document:
    """One element of `names`."""
    return {"parent": Int64(name.parent), "name": name.name}


def encode_xattrs(xattrs: Mapping[str, bytes]) -> list[Document]:
    """Extended attributes as a list: their names have dots, which field names should not."""
    return [{"name": name, "value": Binary(value)} for name, value in sorted(xattrs.items())]


def encode_node(node: Node) -> Document:
    """The `fs.tree` document of a node; fields that say nothing are left out."""
    document: Document = {
        "_id": Int64(node.inode),
        "names": [encode_name(name) for name in node.names],
        "kind": node.kind.value,
        "mode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
        "mtime_ns": Int64(node.mtime_ns),
        "ctime_ns": Int64(node.ctime_ns),
        "rev": Int64(node.rev),
    }
    if node.atime_ns is not None:
        document["atime_ns"] = Int64(node.atime_ns)
    if node.kind is Kind.FILE:
        document["size"] = Int64(node.size)
    if node.content is not None:
        document["content"] = content_key(node.content)
    if node.kind is Kind.SYMLINK:
        document["target"] = node.target
    if node.xattrs:
        document["xattrs"] = encode_xattrs(node.xattrs)
    if node.version is not None:
        document["version"] = Int64(node.version)
    if node.state is not None:
        document["state"] = node.state.value
        document["created_ns"] = Int64(node.created_ns)
    if node.record is not None:
        document.update(encode_record(node.record))
    if node.frozen:
        document["frozen"] = node.frozen
    return document


def encode_record(record: Record) -> Document:
    """The fields of a version's document that tell of it as a whole, but for `sealing`."""
    document: Document = {}
    if record.by:
        document["by"] = record.by
    if record.seal is not None:
        document["seal"] = encode_seal(record.seal)
    if record.parent is not None:
        document["parent"] = encode_origin(record.parent)
    if record.sources:
        document["sources"] = [encode_source(each) for each in record.sources]
    return document


def encode_seal(seal: Seal) -> Document:
    """What was said when a version was sealed."""
    return {
        "at_ns": Int64(seal.at_ns),
        "by": seal.by,
        "message": seal.message,
        "files": Int64(seal.files),
        "bytes": Int64(seal.bytes),
        "digest": seal.digest,
    }


def encode_origin(origin: Origin) -> Document:
    """A version that another came from."""
    return {"version": Int64(origin.version), "path": origin.path, "digest": origin.digest}


def encode_source(source: Source) -> Document:
    """What a version was made from."""
    return {
        **encode_origin(source.origin),
        "note": source.note,
        "by": source.by,
        "at_ns": Int64(source.at_ns),
    }


def decode_node(document: Mapping[str, Any]) -> Node:
    """A node from its `fs.tree` document.

    Raises:
        Damaged: a field is missing or of the wrong type.
    """
    try:
        content = document.get("content")
        version = document.get("version")
        state = document.get("state")
        return Node(
            inode=Inode(_need(document, "_id", low=1)),
            kind=_KINDS.get(document["kind"]) or Kind(document["kind"]),
            names=_decode_names(document["names"]),
            mode=_optional(document, "mode", 0o7777),
            uid=_optional(document, "uid", 0xFFFFFFFF),
            gid=_optional(document, "gid", 0xFFFFFFFF),
            mtime_ns=_need(document, "mtime_ns", low=-_MAX_INT64),
            ctime_ns=_need(document, "ctime_ns", low=-_MAX_INT64),
            atime_ns=_optional(document, "atime_ns", _MAX_INT64, low=-_MAX_INT64),
            size=_optional(document, "size", _MAX_INT64) or 0,
            content=None if content is None else content_id(content),
            target=_text(document["target"]) if "target" in document else "",
            xattrs=_decode_xattrs(document["xattrs"]) if "xattrs" in document else {},
            version=None if version is None else Inode(_need(document, "version")),
            state=None if state is None else State(state),
            created_ns=_optional(document, "created_ns", _MAX_INT64) or 0,
            record=None
            if state is None and "detached" not in document
            else _decode_record(document),
            frozen=_text(document["frozen"]) if "frozen" in document else "",
            rev=_optional(document, "rev", _MAX_INT64) or 0,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(
            f"node {_printable(document.get('_id'))} of the tree is malformed: {error}"
        ) from error


def _decode_record(document: Mapping[str, Any]) -> Record:
    seal, sealing, parent = (document.get(name) for name in ("seal", "sealing", "parent"))
    return Record(
        by=_text(document.get("by", "")),
        seal=None if seal is None else _decode_seal(seal),
        sealing=None if sealing is None else _decode_sealing(sealing),
        parent=None if parent is None else _decode_origin(parent),
        sources=tuple(_decode_source(each) for each in _list(document.get("sources", []))),
        detached="detached" in document,
    )


def _decode_seal(document: Mapping[str, Any]) -> Seal:
    return Seal(
        at_ns=_need(document, "at_ns"),
        by=_text(document["by"]),
        message=_text(document["message"]),
        files=_need(document, "files"),
        bytes=_need(document, "bytes"),
        digest=_text(document["digest"]),
    )


def _decode_sealing(document: Mapping[str, Any]) -> Sealing:
    return Sealing(
        attempt=_text(document["attempt"]),
        by=_text(document["by"]),
        host=_text(document["host"]),
        pid=_need(document, "pid"),
    )


def _decode_origin(document: Mapping[str, Any]) -> Origin:
    return Origin(
        version=Inode(_need(document, "version")),
        path=_text(document["path"]),
        digest=_text(document["digest"]),
    )


def _decode_source(document: Mapping[str, Any]) -> Source:
    return Source(
        origin=_decode_origin(document),
        note=_text(document["note"]),
        by=_text(document["by"]),
        at_ns=_need(document, "at_ns"),
    )


def _decode_xattrs(value: object) -> dict[str, bytes]:
    return {_text(item["name"]): _need_bytes(item["value"]) for item in _list(value)}


def _decode_names(value: object) -> tuple[Name, ...]:
    names = tuple(_decode_name(each) for each in _list(value))
    if not names:
        raise ValueError("it has no names")
    return names


def _decode_name(document: Mapping[str, Any]) -> Name:
    name, parent = _text(document["name"]), Inode(_need(document, "parent"))
    if parent != NO_FOLDER and (
        name in _NO_NAMES
        or "/" in name
        or "\0" in name
        or (len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES)
    ):
        raise ValueError(f"a name cannot be {name[:300]!r}")
    return Name(parent, name)


def _printable(value: object) -> str:
    text = str(value) if isinstance(value, (str, int, bson.ObjectId)) else repr(value)
    return text.encode("ascii", "backslashreplace").decode()[:200]


def whole_number(value: object) -> int | None:
    """A whole number of any BSON type; None for all else."""
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return int(number) if number.is_finite() and number == int(number) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _need(document: Mapping[str, Any], field: str, *, low: int = 0) -> int:
    value = document[field]
    # As the mount writes it: a listing decodes thousands.
    if value.__class__ in _INTEGERS and low <= value <= _MAX_INT64:
        return value
    value = whole_number(value)
    if value is None or not low <= value <= _MAX_INT64:
        raise ValueError(f"{field} is {document[field]!r}")
    return value


def _optional(document: Mapping[str, Any], field: str, high: int, *, low: int = 0) -> int | None:
    if document.get(field) is None:
        return None
    value = _need(document, field, low=low)
    if value > high:
        raise ValueError(f"{field} is {value}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    if not value.isascii():
        value.encode()  # a lone surrogate is no UTF-8: a ValueError, like the rest
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _bytes(value: object) -> bytes | None:
    return bytes(value) if isinstance(value, bytes) else None


def _need_bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not binary")
    return bytes(value)


def _milliseconds(value: object) -> int:
    """A date as a number; 0 for what is none. Dates beyond Python's come as DatetimeMS."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)  # what a float cuts off is less than that
    return int(value) if isinstance(value, DatetimeMS) else 0


def _digest(value: object) -> bytes | None:
    if not isinstance(value, str) or _SHA256_HEX.fullmatch(value) is None:
        return None
    return bytes.fromhex(value)
