"""Hostile documents: those of a healthy lake, with values in them that nobody expects."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from hypothesis import strategies as st
from pymongo.database import Database
from pymongo.errors import PyMongoError

from tests.fuzz.template import COLLECTIONS, Document, Template

ABSENT: Final = "\u0001absent"
"""In place of a value: the field is missing."""

_NOT_UTF8: Final = "n#t_utf8_"
"""Stands for bytes that are no UTF-8 until the document is encoded."""


def _nested(depth: int) -> Document:
    document: Document = {}
    for _ in range(depth):
        document = {"x": [document]}
    return document


NUMBERS: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 2, 7, 4096, 0o100644, 0o7777),
    *(Int64(1 << 31), Int64((1 << 31) - 1), Int64(1 << 40), Int64(1 << 60), Int64((1 << 60) + 2)),
    *(Int64((1 << 63) - 1), Int64(-(1 << 63)), 0.5, -0.0, 1e9, 1e300),
    *(float("nan"), float("inf"), float("-inf")),
    *(Decimal128("NaN"), Decimal128("sNaN"), Decimal128("Infinity"), Decimal128("1E+6144")),
    *(Decimal128("0.1"), Decimal128("5"), Decimal128("-1E-6176")),
)

TEXTS: Final[tuple[str, ...]] = (
    *("", ".", "..", "/", "/etc/passwd", "../../../etc/passwd", "a/b", "datasets/d/v1/file"),
    *("datasets/healthy/v1/small", "datasets/healthy/v1/", "latest", "nul\0nul", "line\nbreak"),
    *("\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "\ufeff", "[red]markup[/red]", "%s%n{0}"),
    *("x" * 256, "x" * 5000, "é" * 128, "$where", "a.b", "a\\b", "*", "5"),
    *("file", "dir", "symlink", "fifo", "socket", "draft", "sealed", "mount", "put"),
    *(_NOT_UTF8, f"datasets/d/{_NOT_UTF8}", "0" * 32, "0" * 64),
)

OTHERS: Final[tuple[Any, ...]] = (
    *(None, True, False, [], {}, [None], [[]], {"": ""}, {"$gt": ""}, {"a.b": {"$set": 1}}),
    *(b"", b"bytes", Binary(b"x" * 16, 4), Binary(b"x", 128), b"x" * 10_000),
    *(ObjectId("0" * 24), Regex(".*"), Regex("("), Code("x"), Code("x", {"y": 1})),
    *(MinKey(), MaxKey(), Timestamp(1, 1), DBRef("fs.files", 1), _nested(40)),
    *(DatetimeMS(1 << 61), DatetimeMS(-(1 << 61)), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    *(datetime(1, 1, 1, tzinfo=UTC), "x" * 70_000),
    [{"name": f"user.{number}", "value": b"x" * 1000} for number in range(100)],
    [{"parent": Int64(2), "name": "two"}, {"parent": Int64(3), "name": "parents"}],
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One document, made hostile."""

    collection: str
    which: int
    """Of the documents that may be altered, modulo their number."""
    added: bool
    """A further document beside the good one; else in place of it."""
    changes: tuple[tuple[int, Any], ...]
    """A place in the document, modulo their number, and the value for it."""

    def apply(self, template: Template) -> Document | None:
        """The document; None when there is nothing to alter."""
        good = template.mutable(self.collection)
        if not good:
            return None
        document = copy.deepcopy(good[self.which % len(good)])
        if self.added:
            _make_another(self.collection, document, self.which)
        for place, value in self.changes:
            places = list(_places(document))
            holder, key = places[place % len(places)]
            if isinstance(value, str) and value == ABSENT:
                holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
            else:
                holder[key] = copy.deepcopy(value)
        return document


def values(template: Template) -> st.SearchStrategy[Any]:
    """What may be put into any place: odd values, and such as lead to other documents."""
    known = [
        *(each["_id"] for name in COLLECTIONS for each in template.documents[name][:200]),
        *(each["names"] for each in template.documents["tree"]),
        *(each.get("metadata") for each in template.documents["files"]),
    ]
    scalars = st.one_of(
        st.just(ABSENT),
        st.sampled_from(NUMBERS),
        st.sampled_from(TEXTS),
        st.sampled_from(OTHERS),
        st.sampled_from(known),
    )
    names = st.fixed_dictionaries(
        {"parent": st.one_of(st.sampled_from(NUMBERS), st.sampled_from(known)), "name": scalars}
    )
    return st.one_of(
        scalars, scalars, scalars, st.lists(scalars, max_size=3), st.lists(names, max_size=3)
    )


def mutations(
    template: Template, collections: Sequence[str] = COLLECTIONS
) -> st.SearchStrategy[Mutation]:
    """One hostile document."""
    changes = st.lists(st.tuples(st.integers(0, 63), values(template)), min_size=1, max_size=3).map(
        tuple
    )
    return st.builds(
        Mutation,
        st.sampled_from([*collections, *collections[:3], "tree"]),
        st.integers(0, 255),
        st.booleans(),
        changes,
    )


def plant(database: Database[Document], template: Template, hostile: Sequence[Mutation]) -> None:
    """Put hostile documents into a database that holds the template, as far as it takes them."""
    for mutation in hostile:
        document = mutation.apply(template)
        if document is None:
            continue
        collection = database[f"fs.{mutation.collection}"]
        good = template.mutable(mutation.collection)[
            mutation.which % len(template.mutable(mutation.collection))
        ]
        try:
            raw = RawBSONDocument(encode(document).replace(_NOT_UTF8.encode(), b"n\xfft_utf8_"))
            if not mutation.added and document.get("_id") == good["_id"]:
                collection.replace_one({"_id": good["_id"]}, raw)
                continue
            if not mutation.added:
                collection.delete_one({"_id": good["_id"]})
            collection.insert_one(raw)
        except (PyMongoError, BSONError, ValueError, OverflowError, TypeError):
            continue  # the server, or any client, refuses it


def _make_another(collection: str, document: Document, number: int) -> None:
    """Give a copy what the unique indexes ask for."""
    match collection:
        case "tree":
            document["_id"] = Int64(1_000_000 + number)
            document["names"][0]["name"] += f" {number}"
            del document["names"][1:]
        case "chunks":
            document["_id"] = ObjectId()
            document["n"] += 1000 + number
        case "lake":
            document["_id"] = f"{str(document['_id']).split(maxsplit=1)[0]} {number}"
        case _:
            document["_id"] = ObjectId()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All places in a document at which another value may stand."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return
    for key, inner in items:
        yield value, key
        yield from _places(inner)
    if isinstance(value, dict):
        yield value, "detached"
        yield value, "frozen"
