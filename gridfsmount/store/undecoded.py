"""Values of documents that are looked at without being decoded, and so may be anything. Pure.

Whoever needs but a field or two of many documents asks here; `encoding` makes whole ones into
domain values.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gridfsmount.core.model import Inode
from gridfsmount.store.encoding import whole_number

_MAX_INT64: Final = (1 << 63) - 1


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
