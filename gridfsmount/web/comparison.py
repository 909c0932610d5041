"""Two versions compared for a page: quickly or not at all, and without a byte being read.

`gridfsmount diff` reads what nobody has hashed yet, and notes the hashes. A page must neither
take that long nor write anything: files whose hashes are missing count as changed, and the page
says how many they are.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.manifest import EMPTY_SHA256
from gridfsmount.core.model import Content, Node
from gridfsmount.errors import LakeError
from gridfsmount.store.lake import Lake
from gridfsmount.versions.comparing import Comparison, Summary
from gridfsmount.versions.hashing import Hasher, look_up
from gridfsmount.versions.ledger import Change
from gridfsmount.versions.sides import Item, LakeSide

MOST: Final = 1000
"""Differences that are shown."""

SECONDS: Final = 60.0
"""For both trees: some millions of files."""

_LOOK_EVERY: Final = 1000
"""Entries between two looks at the clock."""


class TakesTooLong(LakeError):
    """A comparison is not for a page."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions, compared."""

    changes: Sequence[Change]
    """The first ones, by path."""
    summary: Summary
    """Of all."""
    total: int
    """How many there are."""
    unhashed: int
    """Files whose bytes nobody has hashed yet, so that they may be the same as before."""


def compare(lake: Lake, old: Node, new: Node, seconds: float = SECONDS) -> Difference:
    """Compare two versions of a lake.

    Raises:
        TakesTooLong: it takes longer than `seconds`.
        FileSystemError: one cannot be read.
    """
    until = time.monotonic() + seconds
    sides = [_KnownSide(lake, old, until), _KnownSide(lake, new, until)]
    with closing(Comparison(*sides)) as comparison:
        comparison.find()
        changes: list[Change] = []
        total = 0
        for change in comparison.changes():
            total += 1
            if len(changes) < MOST:
                changes.append(change)
        return Difference(changes, comparison.summary, total, max(each.unhashed for each in sides))


class _KnownSide:
    """A version, as far as its hashes are known."""

    def __init__(self, lake: Lake, top: Node, until: float) -> None:
        self._lake = lake
        self._side = LakeSide(lake, top, Hasher(lake))
        self._until = until
        self._lacking: set[str] = set()

    @property
    def unhashed(self) -> int:
        """Files of which it is not known what is in them."""
        return len(self._lacking)

    def items(self) -> Iterator[Item]:
        """See `Side`."""
        for number, item in enumerate(self._side.items()):
            if number % _LOOK_EVERY == 0:
                self._check_time()
            yield item

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        """See `Side`; a hash that no other file has, for each that is not known."""
        self._check_time()
        known = look_up(self._lake, [each.content for each in files if each.content is not None])
        found: list[bytes] = []
        for each in files:
            content = None if each.content is None else known[each.content]
            if content is None:
                found.append(EMPTY_SHA256)
            elif isinstance(content, Content) and content.sha256 is not None:
                found.append(content.sha256)
            else:
                self._lacking.add(each.path)
                found.append(b"unknown %d %s" % (id(self), each.path.encode("utf-8", "replace")))
        return found

    def _check_time(self) -> None:
        if time.monotonic() > self._until:
            raise TakesTooLong("these versions are too large to be compared for a page")
