"""Trees of a snapshot, built in a lake where nobody sees them until they are complete.

For one thread; the files are put in by a `Planter`, in several.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from gridfsmount.backup.planting import Item, Planter
from gridfsmount.backup.snapshots import digest_of
from gridfsmount.core.manifest import ManifestDigest
from gridfsmount.core.model import Inode, Kind, Name, Node, Seal
from gridfsmount.errors import Conflict, Damaged, FileSystemError, NotFound
from gridfsmount.repeating import repeating
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.manifest import manifest as lines_of

PAGE: Final = 1000
"""Entries of one query, and folders of one insert."""

NUMBERS: Final = 1000
"""Inode numbers that are reserved together."""

BEAT_SECONDS: Final = 5.0
"""Between two signs of life."""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder that is to be built."""

    source: Node
    """In the snapshot."""
    root: Node
    """As it will be, without a name; its version is that of all that is in it."""
    path: str
    """Where it will be."""
    seal: Seal | None = None
    """Of a version that will be sealed."""


@dataclass(slots=True)
class _Work:
    """A tree so far."""

    site: Site
    version: Inode
    attempt: str
    folders: dict[Inode, tuple[Inode, str]] = field(default_factory=dict)
    """Folders and their paths, by what they are copies of."""
    linked: dict[Inode, None] = field(default_factory=dict)
    """Nodes with several names, of the snapshot."""


class Builder:
    """Builds trees."""

    def __init__(self, lake: Lake, manifest: Manifest, planter: Planter, by: str) -> None:
        """Build in `lake` what is in a snapshot; `by` is who does."""
        self._lake = lake
        self._manifest = manifest
        self._planter = planter
        self._by = by
        self._numbers: Iterator[int] = iter(())

    def number(self) -> Inode:
        """A number for a new node."""
        found = next(self._numbers, None)
        if found is None:
            self._numbers = iter(self._lake.tree.allocate(NUMBERS))
            found = next(self._numbers)
        return Inode(found)

    def build(
        self,
        site: Site,
        home: Callable[[], Inode],
        name: str,
        appearing: Callable[[Callable[[], None]], None],
    ) -> str:
        """Build a tree, and let it appear; returns the digest of what is in the lake.

        Args:
            site: what, and where.
            home: finds or makes the folder that it goes into, when it is complete.
            name: that it gets there.
            appearing: calls its argument, which lets it appear, when the name is free.

        Raises:
            Damaged: a blob is missing or wrong, or what is in the lake is not what was backed up.
            AlreadyExists, Conflict, NotFound: somebody else was at the same place.
        """
        wanted = digest_of(self._manifest, site.source.inode)
        attempt = self._lake.detached.make_node(site.root, site.path, self._by)
        version = site.root.version or site.root.inode
        work = _Work(site, version, attempt)
        try:
            with self._renewing(work) as lost:
                self._fill(work, lost)
                digest = self._prove(work, wanted, lost)
            appearing(lambda: self._hang(work, home(), name))
        except BaseException:
            self._planter.stop()
            with suppress(FileSystemError):  # then it is left to the sweep
                folders = [number for number, _ in work.folders.values()]
                self._lake.removals.give_up(work.site.root.inode, work.attempt, folders)
            raise
        return digest

    def node(
        self, source: Node, inode: Inode, names: Sequence[Name], version: Inode | None
    ) -> Node:
        """A node of the snapshot as it will be in the lake."""
        return replace(
            source,
            inode=inode,
            names=tuple(names),
            version=version,
            ctime_ns=time.time_ns(),
            state=None,
            created_ns=0,
            record=None,
            frozen="",
            rev=0,
        )

    def _fill(self, work: _Work, lost: threading.Event) -> None:
        site = work.site
        work.folders[site.source.inode] = (site.root.inode, site.path)
        level = [site.source.inode]
        while level:
            level = [inner for folder in level for inner in self._fill_folder(work, folder)]
            _check(work, lost)
        for inode in work.linked:
            node = self._manifest.node(inode)
            places = [
                (Name(work.folders[each.parent][0], each.name), work.folders[each.parent][1])
                for each in node.names
                if each.parent in work.folders
            ]
            new = self.node(node, self.number(), [name for name, _ in places], work.version)
            self._planter.add(Item(new, f"{places[0][1]}/{places[0][0].name}"))
        self._planter.drain()

    def _fill_folder(self, work: _Work, source: Inode) -> list[Inode]:
        """Put in what lies in one folder; returns the folders in it, which are empty so far."""
        parent, path = work.folders[source]
        inner: list[Inode] = []
        last = ""
        while page := self._manifest.page(source, last, PAGE):
            last = page[-1][0]
            made: list[Node] = []
            for name, node in page:
                if node.kind is Kind.DIRECTORY:
                    if node.inode in work.folders:
                        raise Damaged(f"{path}/{name}: it is in the snapshot twice")
                    number = self.number()
                    work.folders[node.inode] = (number, f"{path}/{name}")
                    inner.append(node.inode)
                    made.append(self.node(node, number, [Name(parent, name)], work.version))
                elif len(node.names) > 1:
                    work.linked[node.inode] = None
                else:
                    new = self.node(node, self.number(), [Name(parent, name)], work.version)
                    self._planter.add(Item(new, f"{path}/{name}"))
            if made and self._lake.tree.insert_many(made):
                raise Conflict(f"{path}: somebody else made folders in it")
        return inner

    def _prove(self, work: _Work, wanted: str | None, lost: threading.Event) -> str:
        """Make sure that what is in the lake now is what was backed up, and sealed."""
        site = work.site
        if site.seal is not None:
            while self._lake.versions.freeze(site.root.inode, work.attempt):
                _check(work, lost)
        digest = ManifestDigest()
        for line in lines_of(self._lake, site.root, Hasher(self._lake)):
            digest.add(line.line)
        _check(work, lost)
        if site.seal is not None:
            wanted = site.seal.digest
        if digest.hex != wanted:
            raise Damaged(f"{site.path}: its digest would be {digest.hex}, and not {wanted}")
        return digest.hex

    def _hang(self, work: _Work, home: Inode, name: str) -> None:
        root, path = work.site.root, work.site.path
        place = Name(home, name)
        node = self._lake.detached.hang(root.inode, work.attempt, place, work.site.seal)
        # As with all that is created: who removes or seals a folder looks for entries after that.
        if not self._lake.tree.open_folders([home]):
            work.attempt = self._lake.detached.detach(node, path, self._by)
            raise NotFound(f"{path}: its folder was removed or sealed meanwhile")

    @contextmanager
    def _renewing(self, work: _Work) -> Iterator[threading.Event]:
        """Give signs of life while a block runs; the event says that somebody ended it."""
        lost = threading.Event()

        def renew() -> None:
            with suppress(FileSystemError):  # an outage only postpones it
                if not self._lake.detached.renew(work.site.root.inode, work.attempt):
                    lost.set()

        with repeating(renew, BEAT_SECONDS, "renew a restore"):
            yield lost


def _check(work: _Work, lost: threading.Event) -> None:
    if lost.is_set():
        raise Conflict(f"{work.site.path} took too long without a sign of life: restore it again")
