"""What blobs a vault has, which of them snapshots name, and how each was found to be.

In a temporary SQLite database, so that memory stays bounded. For one thread.
"""

import enum
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from gridfsmount.core.batches import batches
from gridfsmount.core.vault import Blob
from gridfsmount.errors import Damaged

BATCH: Final = 1000
"""Rows that are handled together."""


class Fate(enum.IntEnum):
    """What is known of a blob."""

    UNREAD = 0
    RIGHT = 1
    """Read in this run."""
    HEALED = 2
    KNOWN = 3
    """Found damaged in an earlier run."""
    DAMAGED = 4
    """Found damaged in this run."""
    MISSING = 5


_BAD: Final = f"fate >= {int(Fate.KNOWN)}"


class Tally(NamedTuple):
    """The blobs of one snapshot."""

    of: int
    """All."""
    read: int
    """Those that were read in this run, or copied anew, and are right."""
    bad: int


class Inventory:
    """The blobs of a vault."""

    def __init__(self) -> None:
        """Begin with none."""
        self._database = sqlite3.connect("", isolation_level=None, uri=True)
        self._database.executescript(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;"
            "CREATE TABLE blob (sha256 TEXT PRIMARY KEY, length INTEGER, verified_ns INTEGER,"
            " fate INTEGER NOT NULL, wanted INTEGER NOT NULL DEFAULT 0, expected INTEGER,"
            " detail TEXT) WITHOUT ROWID;"
            "CREATE INDEX bad ON blob (fate) WHERE fate >= 3;"
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it."""
        self._database.close()

    def add(self, blobs: Iterable[Blob]) -> None:
        """Take in what a vault has."""
        for batch in batches(blobs, BATCH):
            rows = [
                (
                    each.sha256.hex(),
                    each.length,
                    each.verified_ns,
                    Fate.KNOWN if each.damaged else Fate.UNREAD,
                    "it was found to be damaged before" if each.damaged else None,
                )
                for each in batch
            ]
            self._database.executemany(
                "INSERT INTO blob (sha256, length, verified_ns, fate, detail)"
                " VALUES (?, ?, ?, ?, ?)"
                # One that was replaced may be listed as damaged after it was listed as right.
                " ON CONFLICT DO NOTHING",
                rows,
            )

    def want(self, manifest: Path, name: str) -> None:
        """Take in which blobs a snapshot names; those that are not there are missing.

        Raises:
            Damaged: the manifest cannot be read.
        """
        with _Attached(self._database, manifest, name):
            self._database.execute(
                "INSERT INTO blob (sha256, fate, wanted, expected, detail)"
                f" SELECT sha256, {int(Fate.MISSING)}, 1, MAX(length), 'it is missing'"
                " FROM snapshot.content WHERE sha256 IS NOT NULL GROUP BY sha256"
                " ON CONFLICT DO UPDATE SET wanted = 1, expected = excluded.expected"
            )

    def tally(self, manifest: Path, name: str) -> Tally:
        """How the blobs of a snapshot are.

        Raises:
            Damaged: the manifest cannot be read.
        """
        with _Attached(self._database, manifest, name):
            row = self._database.execute(
                "SELECT COUNT(*),"
                f" TOTAL(fate IN ({int(Fate.RIGHT)}, {int(Fate.HEALED)})), TOTAL({_BAD})"
                " FROM blob WHERE sha256 IN (SELECT sha256 FROM snapshot.content)"
            ).fetchone()
        return Tally(*map(int, row))

    def plan(self, share: float, *, wanted_only: bool) -> tuple[int, int]:
        """Decide what is read: those that were not read for longest, a share of all bytes.

        Those of the wrong length come first, in any case. Returns number and bytes.
        """
        wanted = "AND wanted" if wanted_only else ""
        self._database.execute(
            "CREATE TABLE queue AS SELECT sha256, length, SUM(length) OVER rows AS upto FROM"
            " (SELECT sha256, length, verified_ns, expected IS NOT NULL AND expected <> length"
            f" AS odd FROM blob WHERE fate = {int(Fate.UNREAD)} {wanted})"
            " WINDOW rows AS (ORDER BY odd DESC, verified_ns, sha256 ROWS UNBOUNDED PRECEDING)"
            " ORDER BY odd DESC, verified_ns, sha256"
        )
        total = self._database.execute("SELECT TOTAL(length) FROM queue").fetchone()[0]
        odd = self._database.execute(
            f"SELECT TOTAL(length) FROM blob WHERE fate = {int(Fate.UNREAD)} {wanted}"
            " AND expected IS NOT NULL AND expected <> length"
        ).fetchone()[0]
        # One that reaches beyond the share is read whole, so that every run gets on.
        self._database.execute(
            "DELETE FROM queue WHERE upto - length >= ? AND upto - length >= ? AND length > 0",
            (total * share, odd),
        )
        row = self._database.execute("SELECT COUNT(*), TOTAL(length) FROM queue").fetchone()
        return int(row[0]), int(row[1])

    def planned(self) -> Iterator[tuple[bytes, int]]:
        """What is to be read, in order: blobs and their lengths."""
        last = 0
        while True:
            rows = self._database.execute(
                "SELECT rowid, sha256, length FROM queue WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (last, BATCH),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield from ((bytes.fromhex(sha256), length) for _, sha256, length in rows)

    def set_fates(self, fates: Mapping[bytes, tuple[Fate, str]]) -> None:
        """Remember how some blobs were found to be, and why."""
        self._database.executemany(
            "UPDATE blob SET fate = ?, detail = ? WHERE sha256 = ?",
            [(fate, detail, blob.hex()) for blob, (fate, detail) in fates.items()],
        )

    def bad(
        self, *fates: Fate, wanted_only: bool = False
    ) -> Iterator[list[tuple[bytes, Fate, str]]]:
        """Blobs that are damaged or missing, with reasons, in batches; those of `fates` if given.

        Those that snapshots name, or all of them; what is missing was named.
        """
        last = ""
        marks = ", ".join(str(int(each)) for each in fates or tuple(Fate))
        wanted = "AND wanted" if wanted_only else ""
        while True:
            rows = self._database.execute(
                f"SELECT sha256, fate, detail FROM blob WHERE {_BAD} {wanted}"
                f" AND fate IN ({marks}) AND sha256 > ? ORDER BY sha256 LIMIT ?",
                (last, BATCH),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [(bytes.fromhex(sha256), Fate(fate), detail) for sha256, fate, detail in rows]


class _Attached:
    """A manifest beside the inventory, for joins."""

    def __init__(self, database: sqlite3.Connection, manifest: Path, name: str) -> None:
        self._database = database
        self._manifest = manifest
        self._name = name

    def __enter__(self) -> None:
        address = f"{self._manifest.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._database.execute("ATTACH ? AS snapshot", (address,))
        except sqlite3.Error as error:
            raise Damaged(f"the manifest of {self._name} cannot be read: {error}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.execute("DETACH snapshot")
        if isinstance(error, sqlite3.Error):
            raise Damaged(f"the manifest of {self._name} cannot be read: {error}") from error
