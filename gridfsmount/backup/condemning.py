"""Blobs that no snapshot names: condemned first, and removed when their grace is over.

What a backup copied before it was interrupted is such a blob until the next one publishes it: the
grace is for that, and for who still reads a snapshot that was just removed. The lease is held all
the time, so that no backup is being made.

Condemned blobs are noted below `condemned/`, by the first two digits of their names, as a JSON
object of names and nanoseconds since 1970. Everything is counted in a temporary SQLite database,
so that memory is bounded however many blobs there are.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from gridfsmount.backup.snapshots import manifest_sha256, opened
from gridfsmount.core.batches import batches
from gridfsmount.core.vault import Blob, Claim, Vault
from gridfsmount.errors import Damaged, NotFound, StartupError

CONDEMNED: Final = "condemned/"

BATCH: Final = 10_000
"""Rows that are handled together."""

REMOVED: Final = 500
"""Blobs that are removed before the lease is looked at again."""

MEMORY_KIB: Final = 32 << 10
"""Pages of the database that are kept in memory."""

_SHARD: Final = re.compile("[0-9a-f]{2}")
"""The part of a blob's name that says which note it is in: ten million make notes of 4 MB."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Some blobs."""

    blobs: int = 0
    bytes: int = 0

    def plus(self, blobs: Iterable[int]) -> "Amount":
        """And more, by their lengths."""
        lengths = list(blobs)
        return Amount(self.blobs + len(lengths), self.bytes + sum(lengths))


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of the blobs that no snapshot names."""

    condemned: Amount = Amount()
    """Found in this run; they wait."""
    waiting: Amount = Amount()
    """Found earlier, and waiting still."""
    removed: Amount = Amount()


def check_manifest(vault: Vault, snapshot: str, folder: Path) -> Path:
    """A local file with the manifest of a snapshot, proven to be what was published.

    Raises:
        Damaged: it is not, or cannot be read.
    """
    try:
        summary = vault.summary(snapshot)
        path = vault.manifest(snapshot, folder)
        found = manifest_sha256(path)
    except NotFound as error:
        raise Damaged(f"{snapshot} is not whole: {error}") from error
    except OSError as error:
        raise Damaged(f"the manifest of {snapshot} cannot be read: {error.strerror}") from error
    if found != summary.manifest_sha256:
        raise Damaged(f"the manifest of {snapshot} is not what was published: it was altered")
    return path


def sweep(
    vault: Vault,
    snapshots: Sequence[str],
    folder: Path,
    *,
    grace: float,
    now_ns: int,
    claim: Claim | None,
    tell: Callable[[str], None],
) -> Swept:
    """Condemn and remove what none of `snapshots`, which are all there are, names.

    Args:
        vault: where.
        snapshots: names.
        folder: for copies of manifests.
        grace: seconds from condemned to removed.
        now_ns: the time.
        claim: the lease; None only tells what would be done.
        tell: told what is going on.

    Raises:
        Damaged: a manifest cannot be read, which may name any blob; nothing was removed.
        InUse: the lease was lost.
    """
    with _Census() as census:
        for number, name in enumerate(snapshots, 1):
            tell(f"reading what snapshots name, {number:,} of {len(snapshots):,}")
            path = check_manifest(vault, name, folder)
            with opened(path, name) as manifest:
                census.name(manifest.blobs())
            if path.is_relative_to(folder):  # a copy; hundreds would fill the disk
                path.unlink()
        tell("looking for blobs that none names")
        census.add(vault.blobs())
        swept = Swept()
        noted = (each.removeprefix(CONDEMNED) for each in vault.notes(CONDEMNED))
        for shard in sorted({*census.shards(), *filter(_SHARD.fullmatch, noted)}):
            tell(f"removed {swept.removed.blobs:,} blobs")
            swept = _sweep_shard(vault, shard, census.loose(shard), swept, grace, now_ns, claim)
        return swept


def _sweep_shard(
    vault: Vault,
    shard: str,
    loose: Mapping[str, int],
    swept: Swept,
    grace: float,
    now_ns: int,
    claim: Claim | None,
) -> Swept:
    """One note: blobs and their lengths by their names."""
    noted = _noted(vault, shard)
    # No moment to come: a clock that was wrong once must not keep them for ever.
    since = {name: min(noted.get(name, now_ns), now_ns) for name in loose}
    due = [name for name in loose if now_ns - since[name] >= grace * 1e9]
    left = {name: since[name] for name in sorted(loose.keys() - set(due))}
    if claim is not None:
        # First the note: who is interrupted now has what was due wait once more, and what is
        # copied anew later has a grace of its own.
        claim.renew()
        if left != noted:
            text = json.dumps(left, separators=(",", ":")).encode()
            vault.set_note(CONDEMNED + shard, text if left else None)
        for first in range(0, len(due), REMOVED):
            claim.renew()
            vault.remove([bytes.fromhex(name) for name in due[first : first + REMOVED]])
    return Swept(
        condemned=swept.condemned.plus(loose[name] for name in left if name not in noted),
        waiting=swept.waiting.plus(loose[name] for name in left if name in noted),
        removed=swept.removed.plus(loose[name] for name in due),
    )


def _noted(vault: Vault, shard: str) -> dict[str, int]:
    """When blobs were condemned; nothing if the note cannot be read, which only takes longer."""
    try:
        note: Any = json.loads(vault.note(CONDEMNED + shard) or b"{}")
        return {str(name): int(since) for name, since in note.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


class _Census:
    """The blobs of a vault that are not named; for one thread."""

    def __init__(self) -> None:
        with _temporary():
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{MEMORY_KIB};"
                "CREATE TABLE named (sha256 BLOB PRIMARY KEY) WITHOUT ROWID;"
                "CREATE TABLE loose (sha256 BLOB PRIMARY KEY, length INTEGER) WITHOUT ROWID;"
                "BEGIN;"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def name(self, blobs: Iterator[bytes]) -> None:
        """Take in what a snapshot names; all of that before anything is added."""
        for batch in batches(((each,) for each in blobs), BATCH):
            with _temporary():
                self._database.executemany("INSERT OR IGNORE INTO named VALUES (?)", batch)

    def add(self, blobs: Iterator[Blob]) -> None:
        """Take in what a vault has."""
        rows = ((each.sha256, each.length, each.sha256) for each in blobs)
        for batch in batches(rows, BATCH):
            with _temporary():
                self._database.executemany(
                    "INSERT INTO loose SELECT ?, ?"
                    " WHERE NOT EXISTS (SELECT 1 FROM named WHERE sha256 = ?)"
                    # A damaged one may be there beside the one that took its place.
                    " ON CONFLICT DO UPDATE SET length = length + excluded.length",
                    batch,
                )

    def shards(self) -> list[str]:
        """The first digits of those that are not named."""
        query = "SELECT DISTINCT lower(hex(substr(sha256, 1, 1))) FROM loose"
        with _temporary():
            return [row[0] for row in self._database.execute(query)]

    def loose(self, shard: str) -> dict[str, int]:
        """Lengths of those that begin with `shard` and are not named, by their names."""
        first = bytes.fromhex(shard)
        bounds = (first, first + b"\xff" * hashlib.sha256().digest_size)
        query = "SELECT sha256, length FROM loose WHERE sha256 BETWEEN ? AND ?"
        with _temporary():
            return {row[0].hex(): row[1] for row in self._database.execute(query, bounds)}


@contextmanager
def _temporary() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StartupError(
            f"the temporary database failed: {error}; TMPDIR may name another folder for it"
        ) from error
