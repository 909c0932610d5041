"""Values of documents that are looked at without being decoded, and so may be anything. Pure.

Whoever needs but a field or two of many documents asks here; `encoding` makes whole ones into
domain values.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import bson
from bson import Decimal128, ObjectId

from gridfsmount.core.model import Inode
from gridfsmount.store.encoding import CODEC, whole_number

_MAX_INT64: Final = (1 << 63) - 1
_NOT_A_NUMBER: Final = "NaN"


def usable_inode(value: object) -> Inode | None:
    """The number of a node, from its `_id`; None for one that no folder can list."""
    number = whole_number(value)
    return None if number is None or not 1 <= number <= _MAX_INT64 else Inode(number)


def usable_inodes(documents: Iterable[Mapping[str, Any]]) -> list[Inode]:
    """The numbers of those documents of the tree that have one."""
    found = (usable_inode(each.get("_id")) for each in documents)
    return [each for each in found if each is not None]


def total(value: object) -> int:
    """A number, or a sum that the server made, without its fraction; 0 for what is none."""
    number = whole_number(value)
    if number is None and isinstance(value, float) and math.isfinite(value):
        number = int(value)
    return 0 if number is None else number


def text(value: object) -> str:
    """A string; nothing for what is none."""
    return value if isinstance(value, str) else ""


def is_utf8(value: str) -> bool:
    """Whether a string can be sent back to the server; one that was read may be no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    if isinstance(value, ObjectId):
        return value
    try:
        return bson.encode({"": value}, codec_options=CODEC)
    except UnicodeEncodeError:
        return repr(value)
