"""What a vault is: blobs named by their SHA-256, snapshots, a few notes, and one lease.

A vault knows nothing of lakes but the number of the one it was made for. Every store of vaults
keeps this contract, and passes one suite of tests.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.summary import Summary
from gridfsmount.errors import InvalidArgument

VAULT_FORMAT: Final = 1
"""Version of everything that `docs/format.md` specifies of vaults."""

_NOTE: Final = re.compile(r"[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*")
_SNAPSHOT: Final = re.compile(r"([12]\d{3})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z", re.ASCII)
_FORM: Final = "%Y-%m-%dT%H-%M-%SZ"


@dataclass(frozen=True, slots=True)
class Header:
    """What a vault says of itself."""

    id: str
    """Of the vault, wherever it is moved."""
    lake: str
    """Id of the lake that is backed up in it."""
    created_ns: int
    format: int = VAULT_FORMAT


@dataclass(frozen=True, slots=True)
class Blob:
    """A content in a vault."""

    sha256: bytes
    length: int
    """Bytes; of a damaged one, those that are there."""
    verified_ns: int
    """When it was last read back, or written, and found to be right."""
    damaged: bool = False
    """It was read back and found to be wrong: `present` does not count it, `put` replaces it."""


class Claim(Protocol):
    """The one lease of a vault, while it is held."""

    def renew(self) -> None:
        """Make sure that it is still held; cheap, to be called before each batch of changes.

        Raises:
            InUse: somebody else has it: this process was silent for too long.
        """


class Vault(Protocol):
    """A place that holds backups. Blocking; safe to call from several threads.

    Raises, from every method: NoSpace, AccessDenied, ReadOnly, StoreUnavailable (out of reach, an
    unmounted disk too), StoreFailed, each with the vault's address in its text.
    """

    @property
    def address(self) -> str:
        """Where it is, for people: without secrets."""

    @property
    def header(self) -> Header:
        """What it says of itself; read when it was opened."""

    def claim(self, what: str, by: str) -> AbstractContextManager[Claim]:
        """The lease that whoever changes blobs or snapshots holds; that of a dead process is free.

        Args:
            what: the command, for whoever finds the vault taken.
            by: who runs it, as in "root@server".

        Raises:
            InUse: somebody alive holds it; the text says who, where, and since when.
        """

    # --- blobs ---------------------------------------------------------------------------------

    def present(self, blobs: Sequence[bytes]) -> set[bytes]:
        """Those of some blobs, by SHA-256, that are there and not known to be damaged."""

    def put(self, blob: bytes, length: int, pieces: Iterable[Bytes]) -> None:
        """Add a blob of any size; whole, verified and durable when this returns, else not there.

        One that is there already stays, or is replaced if it is damaged.

        Raises:
            Damaged: the pieces have another SHA-256 or length.
        """

    def put_many(self, blobs: Sequence[tuple[bytes, Bytes]]) -> None:
        """The same for many small blobs at once; the caller has verified them."""

    def read(self, blob: bytes, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at its end. Also of a damaged one.

        Raises:
            Damaged: there is no such blob.
        """

    def blobs(self) -> Iterator[Blob]:
        """All of them, in no order."""

    def note_verified(self, results: Mapping[bytes, bool]) -> None:
        """Remember of some blobs that they were right now, or were found damaged."""

    def remove(self, blobs: Sequence[bytes]) -> None:
        """Remove blobs, damaged ones too; those that are gone do not matter."""

    # --- snapshots -----------------------------------------------------------------------------

    def snapshots(self) -> list[str]:
        """Names of all published snapshots, the oldest first. Cheap: asked every few seconds."""

    def summary(self, snapshot: str) -> Summary:
        """What was said of a snapshot when it was published.

        Raises:
            NotFound: there is none.
            Damaged: it cannot be read as one.
        """

    def manifest(self, snapshot: str, into: Path) -> Path:
        """A local file with the manifest of a snapshot: its own, or a copy in the folder `into`.

        It stays readable through descriptors when the snapshot is removed. A copy that is there
        already, and right, is used again.

        Raises:
            NotFound: there is none.
            Damaged: the snapshot is there, its manifest is missing.
        """

    def publish(self, snapshot: str, manifest: Path, summary: Summary) -> None:
        """Make a snapshot appear, whole and durable. Every blob it names is there already.

        Raises:
            AlreadyExists: there is one of that name.
            Damaged: the manifest is not the one that the summary speaks of.
        """

    def remove_snapshot(self, snapshot: str) -> None:
        """Make a snapshot disappear, whole; its blobs stay. One that is gone does not matter."""

    # --- notes ---------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A note: small, replaced as a whole. Names are paths of [a-zA-Z0-9_-] parts."""

    def set_note(self, name: str, value: bytes | None) -> None:
        """Write a note, durably, or remove it."""

    def notes(self, prefix: str) -> list[str]:
        """Names of all notes that begin with `prefix`, sorted."""

    def close(self) -> None:
        """Let go of what is open; nothing else may be called after."""


def snapshot_name(taken_ns: int, newest: str | None) -> str:
    """Name of a snapshot, by its time in UTC: after `newest`, though a clock was set back."""
    taken = datetime.fromtimestamp(taken_ns // 10**9, UTC)
    if newest is not None:
        taken = max(taken, snapshot_time(newest) + timedelta(seconds=1))
    return taken.strftime(_FORM)


def snapshot_time(name: str) -> datetime:
    """When a snapshot was taken, by its name.

    Raises:
        ValueError: it is no such name.
    """
    parts = _SNAPSHOT.fullmatch(name)
    if parts is None:
        raise ValueError(f"{name!r} is no time like 2026-11-22T03-00-00Z")
    year, month, day, hour, minute, second = map(int, parts.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def is_snapshot_name(name: str) -> bool:
    """Whether a name has the form of a snapshot's, and is a time that there is."""
    try:
        snapshot_time(name)
    except ValueError:
        return False
    return True


def is_note_name(name: str) -> bool:
    """Whether a name has the form of a note's."""
    return _NOTE.fullmatch(name) is not None


def check_note_name(name: str) -> None:
    """Make sure that a name leads nowhere else.

    Raises:
        InvalidArgument: it does not have the form of a note's name.
    """
    if not is_note_name(name):
        raise InvalidArgument(f"{name!r} is no name of a note")
