"""Where a content that another GridFS client uploaded appears in the tree.

A GridFS filename is any string or nothing at all, and many files may share one. A clean path
below a version is taken as it is; every other clean path goes below `unsorted/`; anything hostile
becomes one percent-encoded name there and is never followed.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.names import MAX_NAME_BYTES, is_shelf_name

MAX_DEPTH: Final = 64
"""Folders deeper than this are more likely an attack than a data set."""

_SHELF_NAMES: Final = ("datasets", "models")
_MIN_SHELF_PARTS: Final = 4  # datasets/<name>/<version>/<file>
_ENCODED: Final = re.compile(rb"[^A-Za-z0-9 ,=@()\[\]+._-]")


@dataclass(frozen=True, slots=True)
class Place:
    """A path from the root, as its names; `unsorted` first when it is outside the scheme."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(self.parts)


def place_of(filename: object, content: str) -> Place:
    """Place for a content with this filename (of whatever type) and this printable `_id`."""
    if not isinstance(filename, str) or not filename:
        return Place(("unsorted", encode(f"untitled-{content}")))
    parts = tuple(filename.split("/"))
    if len(parts) > MAX_DEPTH or not all(map(_is_clean, parts)):
        return unsorted_place(filename)
    if (
        len(parts) >= _MIN_SHELF_PARTS
        and parts[0] in _SHELF_NAMES
        and is_shelf_name(parts[1])
        and is_shelf_name(parts[2])
    ):
        return Place(parts)
    return Place(("unsorted", *parts))


def unsorted_place(filename: str, suffix: str = "") -> Place:
    """One flat, percent-encoded name below `unsorted/`; `suffix` tells apart what would clash."""
    return Place(("unsorted", encode(filename, suffix)))


def encode(text: str, suffix: str = "") -> str:
    """Percent-encode `text` to a harmless name of at most 255 bytes.

    A longer one is cut, and a hash of all of it keeps it apart from others.
    """
    raw = text.encode("utf-8", "surrogatepass")
    encoded = _ENCODED.sub(_percent, raw).decode("ascii")
    if set(encoded) <= {"."}:
        encoded = encoded.replace(".", "%2E")
    tail = f"~{encode(suffix)}" if suffix else ""
    if len(encoded) + len(tail) > MAX_NAME_BYTES:
        digest = hashlib.sha256(raw + suffix.encode("utf-8", "surrogatepass")).hexdigest()
        tail = f"~{digest[:32]}"
        encoded = encoded[: MAX_NAME_BYTES - len(tail)]
    return encoded + tail


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _is_clean(part: str) -> bool:
    if part in ("", ".", "..") or "\0" in part:
        return False
    try:
        return len(part.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False
