"""What differs between two trees, written down on disk until all of it is known.

A renamed file is one that is missing here and new there with the same bytes. So nothing can be
told before the end, and what waits may be millions of files: an SQLite database holds them, a
temporary one that is gone with the process, whatever happens to that.
"""

import enum
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gridfsmount.core.manifest import path_bytes
from gridfsmount.core.model import ContentId, Inode, Kind
from gridfsmount.errors import StartupError
from gridfsmount.versions.sides import Item

MEMORY_KIB: Final = 16 << 10
"""Pages of the database that are kept in memory."""

BATCH: Final = 1000
"""Rows that are fetched together."""

OLD: Final = 0
NEW: Final = 1
BOTH: Final = 2


class Aspect(enum.Enum):
    """In what something differs that is there on both sides."""

    KIND = "kind"
    CONTENT = "content"
    TARGET = "target"
    MODE = "mode"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    old: Item | None
    """None when it was added."""
    new: Item | None
    """None when it was removed."""
    aspects: frozenset[Aspect] = frozenset()

    @property
    def renamed(self) -> bool:
        """Whether it has the same bytes as before under another path."""
        return self.old is not None and self.new is not None and self.old.path != self.new.path


_SCHEMA: Final = """
CREATE TABLE found (
    key BLOB, side INT, kind TEXT, mode INT, size INT, target BLOB,
    inode INT, content BLOB, content_text TEXT, candidate INT,
    PRIMARY KEY (key, side)
) WITHOUT ROWID;
CREATE TABLE changed (key BLOB PRIMARY KEY, aspects TEXT) WITHOUT ROWID;
CREATE TABLE labelled (
    side INT, label BLOB, key BLOB, PRIMARY KEY (side, label, key)
) WITHOUT ROWID;
CREATE TABLE renamed (new BLOB PRIMARY KEY, old BLOB UNIQUE) WITHOUT ROWID;
"""

_SIZES: Final = "CREATE INDEX sizes ON found (side, size) WHERE candidate = 1"

_FIELDS: Final = "f.key, f.kind, f.mode, f.size, f.target, f.inode, f.content, f.content_text"

_UNHASHED: Final = f"""
SELECT {_FIELDS} FROM found f WHERE f.side = ?1 AND f.candidate = 1
AND NOT EXISTS (SELECT 1 FROM renamed r WHERE r.new = f.key AND ?1 = 1)
AND NOT EXISTS (SELECT 1 FROM renamed r WHERE r.old = f.key AND ?1 = 0)
AND EXISTS (
    SELECT 1 FROM found o WHERE o.side = 1 - ?1 AND o.size = f.size AND o.candidate = 1
)
ORDER BY f.key
"""

_CHANGES: Final = f"""
SELECT {_FIELDS}, f.side, c.aspects, came.old, went.new FROM found f
LEFT JOIN changed c ON c.key = f.key
LEFT JOIN renamed came ON came.new = f.key AND f.side = 1
LEFT JOIN renamed went ON went.old = f.key AND f.side = 0
ORDER BY f.key, f.side
"""


class Ledger:
    """What was found. Of one thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        with _guarded():
            # Without a name it is a file that nobody else sees.
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{MEMORY_KIB};"
            )
            self._database.executescript(_SCHEMA)
            self._database.execute("BEGIN")
        self._rows: list[tuple[Any, ...]] = []

    def close(self) -> None:
        """Forget it all."""
        self._database.close()

    def lone(self, side: int, item: Item) -> None:
        """Something that is only on the old side, or only on the new."""
        self._add(side, item, candidate=item.is_file and item.size > 0)

    def changed(self, old: Item, new: Item, aspects: set[Aspect]) -> None:
        """Something that is on both sides, and not the same."""
        self._add(OLD, old, candidate=False)
        self._add(NEW, new, candidate=False)
        words = ",".join(sorted(each.value for each in aspects))
        with _guarded():
            self._database.execute("INSERT INTO changed VALUES (?, ?)", (old.key, words))

    def match_contents(self) -> None:
        """Find the renamed files that show the same content."""
        self._flush()
        with _guarded():
            self._database.execute(
                "INSERT INTO labelled SELECT side, content, key FROM found "
                "WHERE candidate = 1 AND content IS NOT NULL"
            )
            self._match()
            self._database.execute(_SIZES)

    def unhashed(self, side: int) -> Iterator[list[Item]]:
        """Files that may have been renamed, since one of their size is on the other side alone."""
        with _guarded():
            cursor = self._database.execute(_UNHASHED, (side,))
            while rows := cursor.fetchmany(BATCH):
                yield [_item(row) for row in rows]

    def hashed(self, side: int, files: Sequence[Item], hashes: Sequence[bytes]) -> None:
        """Note the hashes of such files."""
        rows = [(side, sha256, each.key) for each, sha256 in zip(files, hashes, strict=True)]
        with _guarded():
            self._database.executemany("INSERT INTO labelled VALUES (?, ?, ?)", rows)

    def match_hashes(self) -> None:
        """Find the renamed files that have equal hashes."""
        with _guarded():
            self._match()

    def changes(self) -> Iterator[Change]:
        """All differences, ordered by their new paths."""
        old: Item | None = None
        with _guarded():
            for row in self._database.execute(_CHANGES):
                item = _item(row)
                side, aspects, came_from, went_to = row[-4:]
                if aspects is not None and side == OLD:
                    old = item  # the next row is its new side
                elif aspects is not None:
                    yield Change(old, item, frozenset(map(Aspect, aspects.split(","))))
                elif came_from is not None:
                    yield _renamed(self._old(came_from), item)
                elif side == NEW:
                    yield Change(None, item)
                elif went_to is None:
                    yield Change(item, None)

    def _old(self, key: bytes) -> Item:
        query = f"SELECT {_FIELDS} FROM found f WHERE f.key = ? AND f.side = {OLD}"
        return _item(self._database.execute(query, (key,)).fetchone())

    def _add(self, side: int, item: Item, *, candidate: bool) -> None:
        content = item.content
        self._rows.append(
            (
                item.key,
                side,
                item.kind,
                item.mode,
                item.size,
                path_bytes(item.target),
                item.inode,
                None if content is None else content.bson,
                None if content is None else content.text,
                int(candidate),
            )
        )
        if len(self._rows) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        with _guarded():
            marks = ", ".join("?" * 10)
            self._database.executemany(f"INSERT INTO found VALUES ({marks})", self._rows)
        self._rows = []

    def _match(self) -> None:
        """Pair what has equal labels on both sides, the first with the first."""
        query = "SELECT label, key FROM labelled WHERE side = ? ORDER BY label, key"
        olds = self._database.execute(query, (OLD,))
        news = self._database.execute(query, (NEW,))
        old, new = olds.fetchone(), news.fetchone()
        while old is not None and new is not None:
            if old[0] == new[0]:
                self._database.execute("INSERT INTO renamed VALUES (?, ?)", (new[1], old[1]))
            ahead = old[0] > new[0]
            if old[0] >= new[0]:
                new = news.fetchone()
            if not ahead:
                old = olds.fetchone()
        self._database.execute("DELETE FROM labelled")


def _item(row: Sequence[Any]) -> Item:
    key, kind, mode, size, target, inode, content, text = row[:8]
    folder = kind == Kind.DIRECTORY.value
    return Item(
        path=_text(key[:-1] if folder else key),
        kind=kind,
        mode=mode,
        size=size,
        target=_text(target),
        inode=None if inode is None else Inode(inode),
        content=None if content is None else ContentId(content, text),
    )


def _renamed(old: Item, new: Item) -> Change:
    return Change(old, new, frozenset({Aspect.MODE} if modes_differ(old, new) else ()))


def modes_differ(old: Item, new: Item) -> bool:
    """Whether permissions differ, as far as both are known."""
    return old.mode is not None and new.mode is not None and old.mode != new.mode


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StartupError(
            f"the temporary database failed: {error}; TMPDIR may name another folder for it"
        ) from error
