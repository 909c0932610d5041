"""The manifest of a version: what `sha256sum` prints for its files, in the order of their paths.

So `sha256sum -c` checks a version, and the version's digest, which is the SHA-256 of the manifest,
can be recomputed by anybody. Source of the form: GNU coreutils 9, "cksum output modes".
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

EMPTY_SHA256: Final = hashlib.sha256().digest()
"""Of a file without bytes, which has no content."""

_ODD: Final = re.compile(rb"[\\\n\r]")
_ESCAPES: Final = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}


def manifest_line(sha256: bytes, path: str) -> bytes:
    """The line of one file, with its newline.

    A path with a backslash, a newline or a carriage return has those escaped, and the line begins
    with a backslash.
    """
    name = path_bytes(path)
    escaped = _ODD.sub(lambda found: _ESCAPES[found[0]], name)
    mark = b"\\" if escaped != name else b""
    return b"%b%b  %b\n" % (mark, sha256.hex().encode(), escaped)


def path_bytes(path: str) -> bytes:
    """A path as the kernel has it; names of local files need not be UTF-8."""
    return path.encode("utf-8", "surrogateescape")


def sort_key(path: str, *, folder: bool = False) -> bytes:
    """What entries of a tree are ordered by: files come as `LC_ALL=C sort` has them.

    A folder comes just before what is in it, so it counts as its path and a slash.
    """
    return path_bytes(path) + b"/" if folder else path_bytes(path)


def in_order(
    entries: Iterable[tuple[str, T]], is_folder: Callable[[T], bool]
) -> Iterator[tuple[str, T]]:
    """Entries of one folder, given by their names in byte order, as `sort_key` has them."""
    # A folder waits for the names that come before its own with a slash: "a" for "a.txt". The
    # name of each that waits begins with that of the one before it, so they are few.
    waiting: list[tuple[str, T]] = []
    for name, entry in entries:
        while waiting and f"{waiting[-1][0]}/" < name:
            yield waiting.pop()
        if is_folder(entry):
            waiting.append((name, entry))
        else:
            yield name, entry
    yield from reversed(waiting)


class ManifestDigest:
    """The SHA-256 of a manifest, line by line."""

    def __init__(self) -> None:
        """Begin with the manifest of no files."""
        self._hash = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Take in the next line."""
        self._hash.update(line)

    @property
    def hex(self) -> str:
        """The digest of the lines so far."""
        return self._hash.hexdigest()
