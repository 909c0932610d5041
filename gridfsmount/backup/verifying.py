"""A vault read again: manifests, what they name, and the bytes of blobs.

Those blobs come first that were not read for longest. What was found right is noted as it goes on,
so that an interrupted run is gone on with by the next one, and samples cover everything in time.
The lease is held only while damage is noted or healed: backups may be made meanwhile. Blocking.
"""

import hashlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from types import TracebackType
from typing import Final, Self, TypeAlias

from gridfsmount.backup.healing import heal
from gridfsmount.backup.inventory import Fate, Inventory, Tally
from gridfsmount.backup.snapshots import (
    digest_of,
    fetched,
    manifest_sha256,
    opened,
    paths_of,
    sources_of,
    versions_in,
)
from gridfsmount.core.model import Content, ContentId, State
from gridfsmount.core.vault import Claim, Vault
from gridfsmount.errors import AccessDenied, Damaged, InUse, NotFound, ReadOnly, StoreFailed
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.manifest import Manifest

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many blobs and bytes are done, in addition to what was; from any thread."""

_Group: TypeAlias = list[tuple[bytes, int]]
"""Blobs, and their lengths."""

_Flight: TypeAlias = tuple[_Group, Future[dict[bytes, str | None]]]

READ_BYTES: Final = 4 << 20
"""Bytes of one read."""

TOGETHER_BYTES: Final = 8 << 20
"""Small blobs that one thread reads in turn."""

TOGETHER: Final = 256

NOTED: Final = 1000
"""Blobs that are noted together."""

NOTE_SECONDS: Final = 5.0
"""What an interruption costs at most, but for blobs that are under way."""

KEPT: Final = 100_000
"""Faults that are told one by one; more are only counted."""

WHOLE: Final = ""
"""The path of what is wrong with all of a snapshot."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a snapshot that is not as it was."""

    snapshot: str
    path: str
    """In the snapshot; `WHOLE` for what is wrong with all of it."""
    detail: str
    blob: str = ""
    """In hex."""
    healed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a snapshot is: what the note `verified/<snapshot>` says."""

    snapshot: str
    good: bool
    """Its manifest is right, and all of its blobs are there and not known to be damaged."""
    blobs: int
    """Those of its blobs that were read in this run, and are right."""
    of: int
    """All of its blobs."""
    damaged: int
    """Those that are damaged or missing."""


@dataclass(slots=True)
class Verified:
    """What was found."""

    snapshots: list[Verdict] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    found: int = 0
    """Faults, also those beyond the ones that are kept."""
    blobs: int = 0
    bytes: int = 0
    damaged: int = 0
    """Blobs that are damaged or missing, or were."""
    healed: int = 0
    left: int = 0
    """Blobs that were to be read and were not, since the time was up."""
    unnoted: str = ""
    """Why not all of this could be noted in the vault; empty when it was."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be verified, and how."""

    snapshots: tuple[str, ...] | None = None
    """Only these, and their blobs; None for all, and all blobs."""
    sample: float = 1.0
    """Share of the bytes, in (0, 1]."""
    seconds: float | None = None
    """After that no blob is read any more."""
    jobs: int = 4


class Verifier:
    """Verifies one vault."""

    def __init__(self, vault: Vault, wanted: Wanted, by: str, lake: Lake | None = None) -> None:
        """Verify `vault`, and heal from `lake` if there is one; `by` holds the lease."""
        self._vault = vault
        self._wanted = wanted
        self._by = by
        self._lake = lake
        self._stack = ExitStack()
        self._deadline = None if wanted.seconds is None else time.monotonic() + wanted.seconds
        self._over = threading.Event()
        self._done = Verified()
        self._results: dict[bytes, str] = {}
        """Blobs that were read and not noted yet; with what is wrong, or nothing."""
        self._noted_at = time.monotonic()
        self._may_note = True
        self._healed: dict[bytes, str] = {}
        """Blobs that were copied anew, and what was wrong with them."""
        self._progress: Progress = lambda blobs, size: None

    def __enter__(self) -> Self:
        """Begin."""
        self._inventory = self._stack.enter_context(Inventory())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what is temporary."""
        self._stack.close()

    # --- manifests -----------------------------------------------------------------------------

    def survey(self) -> tuple[int, int]:
        """Check the manifests, and decide which blobs to read; their number and bytes.

        Raises:
            FileSystemError: the vault gives no answer.
        """
        names = self._vault.snapshots()  # before the blobs: those of later ones may not be there
        chosen = names if self._wanted.snapshots is None else list(self._wanted.snapshots)
        self._inventory.add(self._vault.blobs())
        self._whole: list[str] = []
        self._broken: list[str] = []
        for name in chosen:
            with suppress(NotFound):  # it was pruned meanwhile
                good = self._check_manifest(name)
                (self._whole if good else self._broken).append(name)
        self._others = [each for each in names if each not in chosen]
        self._look_again_for_missing()
        wanted_only = self._wanted.snapshots is not None
        return self._inventory.plan(self._wanted.sample, wanted_only=wanted_only)

    def _check_manifest(self, name: str) -> bool:
        wrong: list[str] = []
        try:
            summary = self._vault.summary(name)
            with fetched(self._vault, name) as path:
                found = manifest_sha256(path)
                if found != summary.manifest_sha256:
                    known = summary.manifest_sha256
                    wrong.append(f"its manifest's SHA-256 is {found}, not {known}")
                with opened(path, name) as manifest:
                    wrong += manifest.check()
                    wrong += self._wrong_digests(manifest)
                if not wrong:
                    self._inventory.want(path, name)
        except Damaged as error:
            wrong.append(str(error))
        for each in wrong:
            self._tell(Fault(name, WHOLE, each))
        return not wrong

    def _wrong_digests(self, manifest: Manifest) -> Iterator[str]:
        for version in versions_in(manifest):
            seal = None if version.record is None else version.record.seal
            if version.state is not State.SEALED or seal is None:
                continue
            digest = digest_of(manifest, version.inode)
            if digest not in (None, seal.digest):
                path = manifest.path(version.inode)
                yield f"{path}: its digest is {digest}, but it was sealed with {seal.digest}"

    def _look_again_for_missing(self) -> None:
        for batch in self._inventory.bad(Fate.MISSING):
            there = self._vault.present([blob for blob, _, _ in batch])
            self._inventory.set_fates(dict.fromkeys(there, (Fate.UNREAD, "")))

    # --- blobs ---------------------------------------------------------------------------------

    def read(self, progress: Progress) -> None:
        """Read the blobs that were decided on, as long as there is time.

        Raises:
            FileSystemError: the vault gives no answer.
        """
        self._progress = progress
        flights: deque[_Flight] = deque()
        with ThreadPoolExecutor(self._wanted.jobs, thread_name_prefix="verify") as pool:
            try:
                for group in _groups(self._inventory.planned()):
                    if len(flights) >= 2 * self._wanted.jobs:
                        self._take(*flights.popleft())
                    if self._is_over():
                        self._done.left += len(group)
                        continue
                    flights.append((group, pool.submit(self._examine, group)))
                while flights:
                    self._take(*flights.popleft())
            finally:
                self._over.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._note_results()

    def _is_over(self) -> bool:
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._over.set()
        return self._over.is_set()

    def _examine(self, group: _Group) -> dict[bytes, str | None]:
        """What is wrong with some blobs, or nothing; None for those that were not read to the end.

        Read twice before one is called damaged: memory and cables err as well.
        """
        found: dict[bytes, str | None] = {}
        for blob, length in group:
            found[blob] = self._wrong(blob, length, self._progress)
            if found[blob]:
                found[blob] = self._wrong(blob, length, lambda blobs, size: None)
        return found

    def _wrong(self, blob: bytes, length: int, progress: Progress) -> str | None:
        digest, size = hashlib.sha256(), 0
        while True:
            if self._is_over():
                return None
            try:
                piece = self._vault.read(blob, size, READ_BYTES)
            except (Damaged, StoreFailed) as error:  # it is missing, or the disk cannot read it
                return str(error)
            digest.update(piece)
            size += len(piece)
            progress(0, len(piece))
            if len(piece) < READ_BYTES:
                break
        progress(1, 0)
        if digest.digest() == blob:
            return ""
        longer = "" if size == length else f", and it has {size:,} bytes"
        return f"its SHA-256 is {digest.hexdigest()}{longer}"

    def _take(self, group: _Group, reading: Future[dict[bytes, str | None]]) -> None:
        found = reading.result()
        for blob, length in group:
            wrong = found[blob]
            if wrong is None:
                self._done.left += 1
            else:
                self._done.bytes += length
                self._results[blob] = wrong
        late = time.monotonic() - self._noted_at > NOTE_SECONDS
        if len(self._results) >= NOTED or late:
            self._note_results()

    def _note_results(self) -> None:
        self._noted_at = time.monotonic()
        results, self._results = self._results, {}
        bad = [blob for blob, wrong in results.items() if wrong]
        gone = set(bad) - self._vault.present(bad) if bad else set()
        fates = {
            blob: (Fate.RIGHT, "")
            if not wrong
            else (Fate.MISSING if blob in gone else Fate.DAMAGED, wrong)
            for blob, wrong in results.items()
        }
        self._inventory.set_fates(fates)
        self._done.blobs += len(results)
        self._note({blob: True for blob, wrong in results.items() if not wrong})

    def _note(self, results: Mapping[bytes, bool]) -> bool:
        """Note in the vault how blobs were found, if it can be written to; whether it was."""
        if not self._may_note or not results:
            return False
        try:
            self._vault.note_verified(results)
        except (ReadOnly, AccessDenied) as error:
            self._refuse(str(error))
            return False
        return True

    def _refuse(self, reason: str) -> None:
        self._may_note = False
        self._done.unnoted = reason

    # --- what comes of it ----------------------------------------------------------------------

    def finish(self) -> Verified:
        """Note damage, heal it if there is a lake, and tell what is wrong where."""
        self._drop_pruned()
        with ExitStack() as stack:
            if self._may_note:
                try:
                    claim = stack.enter_context(self._vault.claim("backup verify", self._by))
                    self._note_damage(claim)
                    if self._lake is not None:
                        self._heal(self._lake, claim)
                except (ReadOnly, AccessDenied) as error:
                    self._refuse(str(error))
                except InUse as error:
                    self._done.unnoted = str(error)
            self._tell_damage()
            for name in sorted((*self._whole, *self._broken)):
                self._judge(name)
        return self._done

    def _drop_pruned(self) -> None:
        left = set(self._vault.snapshots())
        self._whole = [each for each in self._whole if each in left]
        self._broken = [each for each in self._broken if each in left]
        self._others = [each for each in self._others if each in left]

    def _note_damage(self, claim: Claim) -> None:
        for batch in self._inventory.bad(Fate.DAMAGED):
            claim.renew()
            self._note(dict.fromkeys((blob for blob, _, _ in batch), False))

    def _heal(self, lake: Lake, claim: Claim) -> None:
        sources: dict[bytes, dict[ContentId, Content]] = {}
        for _, manifest in self._manifests():
            with suppress(Damaged):  # it was told of
                for blob, _, _ in self._bad():
                    for each in sources_of(manifest, blob):
                        sources.setdefault(blob, {})[each.id] = each
        for blob, _, detail in list(self._bad()):
            if blob not in sources:
                continue
            claim.renew()
            try:
                heal(self._vault, lake, blob, list(sources[blob].values()))
            except Damaged as error:
                fate = (Fate.DAMAGED, f"{detail}; the lake cannot heal it: {error}")
                self._inventory.set_fates({blob: fate})
            else:
                self._healed[blob] = detail
                self._inventory.set_fates({blob: (Fate.HEALED, detail)})

    def _bad(self) -> Iterator[tuple[bytes, Fate, str]]:
        wanted_only = self._wanted.snapshots is not None
        for batch in self._inventory.bad(wanted_only=wanted_only):
            yield from batch

    def _manifests(self) -> Iterator[tuple[str, Manifest]]:
        """All that can be read, also those that were not asked for."""
        for name in sorted((*self._whole, *self._broken, *self._others)):
            with (
                suppress(NotFound, Damaged),
                fetched(self._vault, name) as path,
                opened(path, name) as manifest,
            ):
                yield name, manifest

    def _tell_damage(self) -> None:
        named: set[bytes] = set()
        for name, manifest in self._manifests():
            bad = ((blob, detail, False) for blob, _, detail in self._bad())
            healed = ((blob, detail, True) for blob, detail in self._healed.items())
            with suppress(Damaged):  # it was told of
                for blob, detail, is_healed in chain(bad, healed):
                    for path in paths_of(manifest, blob):
                        named.add(blob)
                        self._tell(Fault(name, path, detail, blob.hex(), is_healed))
        self._done.healed = len(self._healed)
        self._done.damaged = len(named)

    def _judge(self, name: str) -> None:
        """Say how a snapshot is, here and in its note."""
        good = name in self._whole
        tally = Tally(0, 0, 0)
        with suppress(NotFound, Damaged), fetched(self._vault, name) as path:
            tally = self._inventory.tally(path, name)
        verdict = Verdict(name, good and not tally.bad, tally.read, tally.of, tally.bad)
        self._done.snapshots.append(verdict)
        if not self._may_note:
            return
        note = {"at_ns": time.time_ns(), **asdict(verdict)}
        del note["snapshot"]
        try:
            self._vault.set_note(f"verified/{name}", json.dumps(note).encode())
        except (ReadOnly, AccessDenied) as error:
            self._refuse(str(error))

    def _tell(self, fault: Fault) -> None:
        self._done.found += 1
        if len(self._done.faults) < KEPT:
            self._done.faults.append(fault)


def _groups(planned: Iterator[tuple[bytes, int]]) -> Iterator[_Group]:
    """Blobs for one thread: a large one, or some small ones."""
    group: _Group = []
    size = 0
    for blob, length in planned:
        if group and (size + length > TOGETHER_BYTES or len(group) >= TOGETHER):
            yield group
            group, size = [], 0
        group.append((blob, length))
        size += length
    if group:
        yield group
