"""Two trees compared: what was added, removed, renamed, and what is not the same.

Blocking, in bounded memory: both trees come in one order, and what differs goes to a ledger on
disk. Bytes are only hashed where nothing else tells whether they are equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gridfsmount.core.model import Kind
from gridfsmount.versions.ledger import NEW, OLD, Aspect, Change, Ledger, modes_differ
from gridfsmount.versions.sides import Item, Side

BATCH: Final = 1000
"""Files whose hashes are compared together."""


@dataclass(slots=True)
class Tally:
    """Numbers of regular files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, item: Item) -> None:
        """Count a file."""
        self.files += 1
        self.bytes += item.size


@dataclass(slots=True)
class Summary:
    """A comparison in numbers. Folders, links and the like are in `other` alone."""

    added: Tally = field(default_factory=Tally)
    removed: Tally = field(default_factory=Tally)
    changed: Tally = field(default_factory=Tally)
    """Other bytes under the same path; by their new size."""
    changed_from: int = 0
    """Their bytes before."""
    renamed: Tally = field(default_factory=Tally)
    modes: int = 0
    """Files and folders with other permissions; they may be changed or renamed as well."""
    other: int = 0
    """Other things that were added, removed or lead elsewhere, or are of another kind now."""
    same: Tally = field(default_factory=Tally)
    """Files with the same bytes under the same path, whatever their permissions."""

    @property
    def differ(self) -> bool:
        """Whether there is any difference."""
        tallies = (self.added, self.removed, self.changed, self.renamed)
        return bool(any(each.files for each in tallies) or self.modes or self.other)

    def count(self, change: Change) -> None:
        """Take in one difference."""
        old, new = change.old, change.new
        if Aspect.MODE in change.aspects:
            self.modes += 1
        if new is None or old is None:
            lone = new or old
            if lone is not None and lone.is_file:
                (self.removed if new is None else self.added).add(lone)
            else:
                self.other += 1
        elif change.renamed:
            self.renamed.add(new)
        elif Aspect.CONTENT in change.aspects:
            self.changed.add(new)
            self.changed_from += old.size
        elif change.aspects & {Aspect.KIND, Aspect.TARGET}:
            self.other += 1


class Comparison:
    """One comparison of two trees, the old one and the new one."""

    def __init__(self, old: Side, new: Side) -> None:
        """Compare `old` with `new`."""
        self._old = old
        self._new = new
        self._ledger = Ledger()
        self._unsure: list[tuple[Item, Item]] = []
        self.summary = Summary()
        """Complete when all changes were told."""

    def close(self) -> None:
        """Forget what was found."""
        self._ledger.close()

    def find(self) -> None:
        """Look at all of both trees.

        Raises:
            LakeError: one of them cannot be read; the text says where.
        """
        for old, new in _joined(self._old.items(), self._new.items()):
            if old is not None and new is not None:
                self._compare(old, new)
            elif new is not None:
                self._ledger.lone(NEW, new)
            elif old is not None:
                self._ledger.lone(OLD, old)
        self._settle()
        self._find_renamed()

    def changes(self) -> Iterator[Change]:
        """What was found, ordered by path: the new one, if there are two."""
        for change in self._ledger.changes():
            self.summary.count(change)
            yield change

    def _compare(self, old: Item, new: Item) -> None:
        if not (old.is_file and new.is_file):
            self._note(old, new, equal=True)
        elif old.size != new.size:
            self._note(old, new, equal=False)
        elif old.size == 0 or (old.content is not None and old.content == new.content):
            self._note(old, new, equal=True)
        else:
            self._unsure.append((old, new))
            if len(self._unsure) >= BATCH:
                self._settle()

    def _settle(self) -> None:
        """Compare the hashes of those of which nothing else tells whether they are equal."""
        olds = self._old.hashes([old for old, _ in self._unsure])
        news = self._new.hashes([new for _, new in self._unsure])
        for (old, new), one, other in zip(self._unsure, olds, news, strict=True):
            self._note(old, new, equal=one == other)
        self._unsure = []

    def _note(self, old: Item, new: Item, *, equal: bool) -> None:
        aspects: set[Aspect] = set()
        if old.kind != new.kind:
            aspects.add(Aspect.KIND)
        elif modes_differ(old, new):
            aspects.add(Aspect.MODE)
        if old.kind == new.kind == Kind.SYMLINK.value and old.target != new.target:
            aspects.add(Aspect.TARGET)
        if not equal:
            aspects.add(Aspect.CONTENT)
        elif old.is_file and new.is_file:
            self.summary.same.add(new)
        if aspects:
            self._ledger.changed(old, new, aspects)

    def _find_renamed(self) -> None:
        self._ledger.match_contents()
        for number, side in ((OLD, self._old), (NEW, self._new)):
            for files in self._ledger.unhashed(number):
                self._ledger.hashed(number, files, side.hashes(files))
        self._ledger.match_hashes()


def _joined(
    olds: Iterator[Item], news: Iterator[Item]
) -> Iterator[tuple[Item | None, Item | None]]:
    """Pair what has the same key on both sides, which are ordered by it."""
    ours, theirs = ((each.key, each) for each in olds), ((each.key, each) for each in news)
    old, new = next(ours, None), next(theirs, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            yield old and old[1], None
            old = next(ours, None)
        elif old is None or new[0] < old[0]:
            yield None, new[1]
            new = next(theirs, None)
        else:
            yield old[1], new[1]
            old, new = next(ours, None), next(theirs, None)
