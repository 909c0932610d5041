"""One vault in a mount: which snapshots it has, and all that is needed to read them.

It has threads, a reader and a memory for what was seen of its own, so that a vault that hangs is
nobody else's trouble. It is looked at every few seconds; while that fails, what was known stays.
Used on the event loop, but for what says otherwise.
"""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import Content, ContentId, Inode, Name, Node
from gridfsmount.core.vault import Vault
from gridfsmount.errors import (
    Damaged,
    FileSystemError,
    LakeError,
    NotFound,
    Stale,
    StoreUnavailable,
    WrongVault,
)
from gridfsmount.reading.blobs import Blobs, Hashing, is_verifiable
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.naming import Page
from gridfsmount.telemetry.counters import Reading
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.vfs.snapshots.copies import ManifestCopies
from gridfsmount.vfs.snapshots.slots import Slots
from gridfsmount.vfs.snapshots.snapshot import IDLE_SECONDS, Snapshot
from gridfsmount.workers import Errands, Workers

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
"""Between looks at what a vault has."""

RETRY_SECONDS: Final = 10.0
"""Between attempts to open one that was not there."""

PATIENCE: Final = 30.0
"""Seconds for one call to a vault: a file system that hangs has no deadline of its own."""

NODES: Final = 20_000
"""Nodes that are remembered of each vault: about a kilobyte each."""


@dataclass(frozen=True, slots=True)
class Place:
    """A vault as it was chosen."""

    number: int
    """Which one of those of the mount."""
    label: str
    """Short name, as in `T@label`."""
    open: Callable[[], Vault] = field(repr=False)
    """Blocking; raises StartupError."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What all vaults of a mount share to read with."""

    cache: ChunkCache
    disk: DiskCache | None
    errands: Errands
    fill: Callable[[Inode, Sequence[Bytes]], bool]
    """Gives the kernel all of a file; blocking."""
    copies: Path
    """Folder for copies of manifests."""
    lake: str | None
    """Id of the lake that vaults must be of; None for any."""
    counts: Reading = field(default_factory=Reading)
    """Counts where chunks come from."""


class Shelf:
    """The snapshots of one vault."""

    def __init__(self, place: Place, slots: Slots, engine: Engine) -> None:
        """Show the vault at `place`, numbered by `slots`; it is opened later."""
        self.place = place
        self.workers = Workers(PATIENCE)
        self.snapshots: dict[str, Snapshot] = {}
        """Those that are there, by name, as far as is known."""
        source = Source(Blobs(self.vault), engine.disk)
        self.reader = Reader(source, self.workers, engine.cache, engine.errands, engine.counts)
        self.folders = FolderAhead(
            self,
            self,
            source,
            self.reader,
            self.workers,
            engine.errands,
            budget=engine.cache.capacity // 4,
            settled=lambda node, began: True,
            fill=engine.fill,
            filled=lambda inode, content: None,
        )
        self._engine = engine
        self._slots = slots
        self._vault: Vault | None = None
        self._trouble = ""
        self._nodes: OrderedDict[Inode, Node] = OrderedDict()
        self._known: list[Snapshot] = []
        """All that were there once, and may still be open."""

    # --- the vault -----------------------------------------------------------------------------

    def vault(self) -> Vault:
        """The vault; from any thread.

        Raises:
            StoreUnavailable: it could not be opened yet.
        """
        if self._vault is None:
            raise StoreUnavailable(f"the vault {self.place.label} is out of reach")
        return self._vault

    async def open(self) -> None:
        """Open the vault, and see what is there.

        Raises:
            WrongVault: it is another lake's.
            LakeError: it is out of reach, or none.
        """
        vault = await self.workers.background(self.place.open)
        wanted = self._engine.lake
        if wanted not in (None, vault.header.lake):
            await self.workers.background(vault.close)
            raise WrongVault(
                f"{vault.address} is the vault of another lake: of {vault.header.lake}, and this "
                f"one is {wanted}"
            )
        self._vault = vault
        await self.look()

    async def look(self) -> None:
        """See which snapshots there are.

        Raises:
            FileSystemError: the vault is out of reach.
        """
        names = await self.workers.background(_names, self.vault())
        if self.snapshots.keys() == set(names):
            return
        for name in self.snapshots.keys() - set(names):
            log.info("snapshot %s of the vault %s is gone", name, self.place.label)
            self.snapshots.pop(name).gone = True
        for name in names:
            if name not in self.snapshots:
                make = partial(Snapshot, name, self.place.number, self._manifest)
                self.snapshots[name] = self._slots.add(make)
                self._known.append(self.snapshots[name])
        await self.workers.background(self._copies().drop_unused, set(names))

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await trio.sleep(RETRY_SECONDS if self._vault is None else POLL_SECONDS)
            try:
                await (self.open() if self._vault is None else self.look())
            except LakeError as error:
                self.note_trouble(error)
            else:
                if self._trouble:
                    log.info("the vault %s answers again", self.place.label)
                self._trouble = ""
            await self._close_idle()

    def note_trouble(self, error: LakeError) -> None:
        """Say once what is wrong with the vault."""
        if str(error) != self._trouble:
            log.warning("the vault %s: %s", self.place.label, error)
            self._trouble = str(error)

    async def _close_idle(self) -> None:
        for snapshot in self._known:
            if snapshot.is_open:
                with contextlib.suppress(FileSystemError):
                    await self.workers.background(snapshot.close, IDLE_SECONDS)
        self._known = [each for each in self._known if each.is_open or not each.gone]

    def close(self) -> None:
        """Let go of everything, for the end of the mount. Blocking."""
        for snapshot in self._known:
            snapshot.close()
        if self._vault is not None:
            self._vault.close()

    # --- nodes ---------------------------------------------------------------------------------

    def known(self, inode: Inode) -> Node | None:
        """A node that was seen not long ago."""
        node = self._nodes.get(inode)
        if node is not None:
            self._nodes.move_to_end(inode)
        return node

    def remember(self, node: Node) -> Node:
        """Remember a node for a while."""
        self._nodes[node.inode] = node
        if len(self._nodes) > NODES:
            self._nodes.popitem(last=False)
        return node

    async def node(self, snapshot: Snapshot, inode: Inode) -> Node:
        """A node of one of the snapshots.

        Raises:
            Stale: it is gone.
        """
        return self.known(inode) or self.remember(
            await self.workers.foreground(snapshot.node, inode)
        )

    async def content(self, snapshot: Snapshot, node: Node) -> Content | None:
        """The content of a file, in which each chunk can be checked; None of an empty one.

        Where the vault knows the whole only, all of it is read and hashed first.

        Raises:
            Damaged: it was not copied, or is not what it was.
        """
        content = None if node.content is None else self.folders.content(node.content)
        if content is None:
            content = await self.workers.foreground(snapshot.blob_of, node.inode)
        if content is None and node.size:
            raise Damaged("it could not be read when the snapshot was taken")
        if content is None or content.length != node.size:
            if node.size == 0:
                return None
            raise Damaged(f"it has {node.size:,} bytes, its blob other ones")
        if not is_verifiable(content):
            hashing = Hashing(self.vault, content)
            done = None
            while done is None:
                done = await self.workers.foreground(hashing.step)
            content = done
        self.folders.remember(content)
        return content

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        """A stretch of a folder; from any thread."""
        return self._slots.of(parent).page(parent, after, limit)

    def find_many(self, parent: Inode, names: Sequence[str]) -> dict[Name, Node]:
        """Some names of a folder; from any thread."""
        return self._slots.of(parent).find_many(parent, names)

    def get_many(self, contents: Sequence[ContentId]) -> list[Content]:
        """What is known of some contents; from any thread."""
        found: dict[ContentId, Content] = {}
        for snapshot in reversed(self._known):
            missing = [each for each in contents if each not in found]
            if snapshot.is_open and missing:
                found |= {content.id: content for content in snapshot.blobs(missing)}
        return list(found.values())

    # --- inner parts, in threads ---------------------------------------------------------------

    def _manifest(self, name: str) -> Manifest:
        vault, copies = self.vault(), self._copies()
        try:
            path = vault.manifest(name, copies.place(name))
        except NotFound as error:
            if name in _names(vault):
                raise Damaged(f"the snapshot {name} has no manifest") from error
            raise Stale(f"the snapshot {name} is gone") from error
        return Manifest(path, name)

    def _copies(self) -> ManifestCopies:
        return ManifestCopies(self._engine.copies / self.vault().header.id)


def _names(vault: Vault) -> list[str]:
    try:
        return vault.snapshots()
    except NotFound as error:  # its disk is not mounted
        raise StoreUnavailable(f"the vault is gone: {error}") from error
