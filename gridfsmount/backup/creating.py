"""A snapshot of a lake in a vault: the tree at one moment, and every content that it shows.

    claim the vault
    say that a backup begins        so that nothing is erased that goes to the trash from here on
    the tree, at one moment         into a manifest on the local disk
    contents, a batch at a time     known to the vault, or copied
    every blob is there             else once more
    publish                         the snapshot is there, whole, or it is not

What was copied before an interruption stays in the vault, and is not copied again.
"""

import logging
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gridfsmount import __version__
from gridfsmount.backup.copying import Advance, Copied, Copier, Halted, Lanes
from gridfsmount.backup.finding import Previous, find, with_hash
from gridfsmount.backup.pacing import Pace
from gridfsmount.backup.snapshots import manifest_sha256, opened
from gridfsmount.core.model import SNAPSHOTS, Content, Inode, Kind, Node
from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Claim, Vault, snapshot_name
from gridfsmount.errors import Damaged, FileSystemError, NoSpace, NotPermitted, StoreFailed
from gridfsmount.repeating import repeating
from gridfsmount.store.lake import Lake
from gridfsmount.store.processes import BACKUP, BEAT_SECONDS
from gridfsmount.vaults.manifest import Backed, Manifest, ManifestWriter

log = logging.getLogger(__name__)

TOLD: Final = 10_000
"""Sentences about what was skipped; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to make a backup."""

    by: str
    """Who does, as in "root@server"."""
    jobs: int = 4
    """Batches and large contents at once."""
    limit: int | None = None
    """Bytes a second, if not any."""


@dataclass(frozen=True, slots=True)
class Created:
    """A snapshot that was published."""

    snapshot: str
    summary: Summary
    remarks: tuple[str, ...]
    """What else there is to say, in sentences; nothing in them harms the snapshot."""
    lost: bool
    """The lake has lost a content that the vault has from before."""


def nothing(contents: int, size: int) -> None:
    """The progress that nobody wants to know of."""


def create(lake: Lake, vault: Vault, options: Options) -> Created:
    """Make a snapshot, and tell nobody how far it got; raises as `creating` does."""
    with creating(lake, vault, options) as creation:
        creation.read_tree()
        creation.copy()
        return creation.publish()


@contextmanager
def creating(lake: Lake, vault: Vault, options: Options) -> Iterator["Creation"]:
    """A snapshot that is being made, for as long as a block runs.

    Raises:
        NotPermitted: the vault is another lake's.
        InUse: somebody else works on the vault.
        FileSystemError: server, vault or local disk fail; the text says which.
    """
    if vault.header.lake != lake.id:
        raise NotPermitted(
            f"{vault.address} is the vault of another lake: of {vault.header.lake}, and this is "
            f"{lake.id}. Make one for this lake with `gridfsmount backup init`"
        )
    with ExitStack() as stack:
        claim = stack.enter_context(vault.claim(BACKUP, options.by))
        beat = stack.enter_context(_beating(lake, claim))
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="gridfsmount-backup-"))
        )
        try:
            creation = Creation(lake, vault, claim, options, folder, beat)
            stack.callback(creation.close)
            yield creation
        except sqlite3.Error as error:
            full = "full" in str(error)
            raise (NoSpace if full else StoreFailed)(
                f"{folder}: cannot write the manifest: {error}"
                + (": make room there, or set TMPDIR" if full else "")
            ) from error
        except Halted as error:
            if beat.error is not None:
                raise beat.error from error
            raise


class Creation:
    """One snapshot in the making: `read_tree`, `copy` and `publish`, in this order."""

    def __init__(
        self,
        lake: Lake,
        vault: Vault,
        claim: Claim,
        options: Options,
        folder: Path,
        beat: "_Beat",
    ) -> None:
        """Make one in `vault`, with the manifest in `folder` until it is published."""
        self._began = time.monotonic()
        self._lake = lake
        self._vault = vault
        self._claim = claim
        self._options = options
        self._beat = beat
        self._path = folder / "manifest.sqlite"
        self._writer = ManifestWriter(self._path)
        self._previous = Previous(vault, folder)
        self._taken_ns = 0
        self._consistent = False
        self._tally = _Tally()

    def close(self) -> None:
        """Let go of files."""
        self._writer.abandon()
        self._previous.close()

    def read_tree(self, advance: Advance = nothing) -> None:
        """Take the tree into the manifest, as it is at this moment."""
        with self._lake.moments.now() as moment:
            self._taken_ns, self._consistent = moment.taken_ns, moment.consistent
            for page in moment.nodes:
                self._beat.check()
                nodes = [each for each in page if isinstance(each, Node)]
                self._tally.skipped += [str(each) for each in page if isinstance(each, Damaged)]
                self._writer.add_nodes(map(_one_place, filter(_is_shown, nodes)))
                advance(sum(each.kind is Kind.FILE for each in nodes), 0)
        removed = self._writer.keep_reachable()
        if removed:
            log.info("%d nodes that no folder leads to are left out", removed)

    def measure(self) -> tuple[int, int]:
        """How many contents there are, and about how many bytes."""
        ((count, size),) = self._writer.query(
            "SELECT count(*), coalesce(sum(size), 0) FROM"
            " (SELECT max(size) AS size FROM node WHERE content IS NOT NULL GROUP BY content)"
        )
        return count, size

    def copy(self, advance: Advance = nothing) -> None:
        """See to it that the vault has every content that the tree shows."""
        pace = Pace(self._options.limit, self._beat.stop)
        copier = Copier(self._lake, self._vault, self._claim, pace, self._beat.stop, advance)
        with Lanes(copier, self._options.jobs, self._take_in) as lanes:
            try:
                self._copy_all(lanes, advance)
                lanes.drain()
                # What was to come with another content that then was damaged, and what somebody
                # removed from the vault meanwhile.
                self._copy_missing(lanes)
                lanes.drain()
                self._rescue()
            except BaseException:
                self._beat.stop.set()
                raise

    def _copy_all(self, lanes: "Lanes", advance: Advance) -> None:
        for batch in self._writer.contents():
            self._beat.check()
            found = self._find(batch)
            coming = frozenset(lanes.coming)  # before the question: what lands after it is in both
            blobs = {each.content.sha256: each for each in found if each.content.sha256}
            there = self._vault.present([each for each in blobs if each not in coming])
            fresh = {
                each.number
                for blob, each in blobs.items()
                if blob not in there and blob not in coming
            }
            rest = [each for each in found if each.number in fresh or not each.content.sha256]
            done = [each for each in found if each.number not in fresh and each.content.sha256]
            self._writer.set_contents([each for each in found if each.content.sha256])
            advance(len(done), sum(each.content.length for each in done))
            for each in rest:
                lanes.add(each)

    def _find(self, batch: Sequence[tuple[int, Any]]) -> list[Backed]:
        """What is known of a batch of contents; of what nothing is known there is a fault."""
        identities = [identity for _, identity in batch]
        known = find(self._lake, identities)
        wanting = [
            identity
            for identity, each in known.items()
            if isinstance(each, Damaged) or each.sha256 is None
        ]
        before = self._previous.find(wanting) if wanting else {}
        found = []
        for number, identity in batch:
            content = known[identity]
            if isinstance(content, Damaged):
                kept = before.get(identity)
                if kept is None or not self._fits(number, kept):
                    self._tally.faults[number] = str(content)
                    continue
                self._tally.kept[number] = str(content)
                found.append(Backed(number, kept))
            else:
                found.append(Backed(number, with_hash(content, before.get(identity))))
        return found

    def _fits(self, number: int, kept: Content) -> bool:
        """Whether what an earlier snapshot has is what the lake has lost, and is still there."""
        sizes = self._writer.query("SELECT size FROM node WHERE content = ? LIMIT 1", (number,))
        return (
            sizes == [(kept.length,)]
            and kept.sha256 is not None
            and bool(self._vault.present([kept.sha256]))
        )

    def _copy_missing(self, lanes: "Lanes") -> None:
        last = 0
        while rows := self._writer.query(
            "SELECT id, sha256 FROM content WHERE sha256 IS NOT NULL AND id > ?"
            " ORDER BY id LIMIT 10000",
            (last,),
        ):
            self._beat.check()
            last = rows[-1][0]
            blobs = {bytes.fromhex(sha256) for _, sha256 in rows}
            missing = blobs - self._vault.present(list(blobs))
            numbers = [number for number, sha256 in rows if bytes.fromhex(sha256) in missing]
            for number in numbers:
                for each in self._find(self._writer.identities([number])):
                    lanes.add(each)

    def _rescue(self) -> None:
        """What is damaged in the lake may be known to be in the vault, by a hash that was noted."""
        lost = [each for each in self._tally.damaged if each.content.sha256]
        there = self._vault.present([each.content.sha256 for each in lost if each.content.sha256])
        saved = [each for each in lost if each.content.sha256 in there]
        self._writer.set_contents(saved)
        for each in saved:
            self._tally.kept[each.number] = self._tally.faults.pop(each.number)

    def _take_in(self, copied: Sequence[Copied]) -> None:
        """Note what came of some contents."""
        self._tally.add(copied)
        self._writer.set_contents([_backed(each) for each in copied])

    def publish(self) -> Created:
        """Make the snapshot appear."""
        newest = max(self._vault.snapshots(), default=None)
        snapshot = snapshot_name(self._taken_ns, newest)
        self._writer.finish(
            {
                "lake": self._lake.id,
                "snapshot": snapshot,
                "taken_ns": str(self._taken_ns),
                "consistent": str(self._consistent).lower(),
                "by": self._options.by,
                "program": __version__,
            }
        )
        with opened(self._path, snapshot) as manifest:
            summary = self._sum_up(manifest)
            remarks = [
                f"{path}: {why}; the vault has it all the same"
                for path, why in _told(manifest, self._tally.kept)
            ]
        self._beat.check()
        self._claim.renew()
        self._vault.publish(snapshot, self._path, summary)
        if not self._consistent:
            remarks.append(
                "a standalone server has no snapshots: what was changed while the tree was read is "
                "in this one as it was before, or after, each file by itself"
            )
        if self._beat.unheard:
            remarks.append(
                "the user may not write to the lake, so nothing kept what was removed meanwhile "
                "from being erased"
            )
        return Created(snapshot, summary, tuple(remarks), bool(self._tally.kept))

    def _sum_up(self, manifest: Manifest) -> Summary:
        ((files, size),) = manifest.query(
            "SELECT count(*), coalesce(sum(n.size), 0) FROM node AS n JOIN name USING (inode)"
            " WHERE n.kind = 'file'"
        )
        ((folders,),) = manifest.query("SELECT count(*) FROM node WHERE kind = 'dir'")
        ((blobs, blob_bytes),) = manifest.query(
            "SELECT count(*), coalesce(sum(length), 0) FROM (SELECT max(length) AS length"
            " FROM content WHERE sha256 IS NOT NULL GROUP BY sha256)"
        )
        skipped = self._tally.skipped + [
            f"{path}: {why}" for path, why in _told(manifest, self._tally.faults)
        ]
        return Summary(
            lake=self._lake.id,
            taken_ns=self._taken_ns,
            consistent=self._consistent,
            manifest_sha256=manifest_sha256(self._path),
            files=files,
            folders=folders,
            bytes=size,
            blobs=blobs,
            blob_bytes=blob_bytes,
            new_blobs=self._tally.new,
            new_bytes=self._tally.new_bytes,
            seconds=round(time.monotonic() - self._began, 3),
            by=self._options.by,
            program=__version__,
            skipped=tuple(skipped),
        )


def _is_shown(node: Node) -> bool:
    return node.inode != SNAPSHOTS


def _one_place(node: Node) -> Node:
    """A node whose names cannot make a circle: who gave a folder several could."""
    if node.kind is Kind.DIRECTORY and len(node.names) > 1:
        return replace(node, names=node.names[:1])
    return node


@dataclass(slots=True)
class _Tally:
    """What came of the contents so far."""

    new: int = 0
    new_bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    """Sentences about nodes that are malformed."""
    faults: dict[int, str] = field(default_factory=dict)
    """Why contents could not be copied, by their rows."""
    damaged: list[Backed] = field(default_factory=list)
    """Contents that were read and found to be damaged."""
    kept: dict[int, str] = field(default_factory=dict)
    """What is wrong with contents that the vault had all the same, by their rows."""

    def add(self, copied: Sequence[Copied]) -> None:
        for each in copied:
            if each.fault:
                self.faults[each.number] = each.fault
                self.damaged.append(Backed(each.number, each.content))
            elif each.new:
                self.new += 1
                self.new_bytes += each.content.length


def _backed(copied: Copied) -> Backed:
    content = replace(copied.content, sha256=None) if copied.fault else copied.content
    return Backed(copied.number, content)


def _told(manifest: Manifest, reasons: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Paths of the files that show some contents, with what is said of those; the first ones."""
    for number, why in list(reasons.items())[:TOLD]:
        for (inode,) in manifest.query("SELECT inode FROM node WHERE content = ?", (number,)):
            yield manifest.path(Inode(inode)), why
    if len(reasons) > TOLD:
        yield "and", f"{len(reasons) - TOLD:,} more"


class _Beat:
    """Signs of life, to the lake and to the vault, and whether it may go on."""

    def __init__(self, lake: Lake, claim: Claim) -> None:
        self._lake = lake
        self._claim = claim
        self.stop = threading.Event()
        self.error: FileSystemError | None = None
        """Why it must not go on."""
        self.unheard = not self._announce()
        """The lake could not be told of this backup."""

    def check(self) -> None:
        """Raise why it must not go on."""
        if self.error is not None:
            raise self.error

    def beat(self) -> None:
        self._announce()
        try:
            self._claim.renew()
        except FileSystemError as error:
            self.error = error
            self.stop.set()

    def _announce(self) -> bool:
        # Not `writable`: a user for backups may write to fs.lake alone.
        if self._lake.connection.deployment.primary:
            with suppress(FileSystemError):
                self._lake.processes.announce(BACKUP)
                return True
        return False


@contextmanager
def _beating(lake: Lake, claim: Claim) -> Iterator[_Beat]:
    beat = _Beat(lake, claim)
    try:
        with repeating(beat.beat, BEAT_SECONDS, "backup"):
            yield beat
    finally:
        if not beat.unheard:
            with suppress(FileSystemError):  # then others find out
                lake.processes.leave()
