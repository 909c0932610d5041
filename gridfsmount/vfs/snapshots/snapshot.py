"""One snapshot: its manifest, opened when somebody looks, with nodes numbered for the mount.

Blocking, and safe to call from several threads. Nothing of it ever changes, but it may be pruned:
what was open then stays readable until it is closed.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from gridfsmount.core.model import (
    LATEST_FLAG,
    ROOT,
    SNAPSHOTS,
    Content,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
)
from gridfsmount.core.names import LATEST
from gridfsmount.core.vault import snapshot_time
from gridfsmount.core.versions import latest_link
from gridfsmount.errors import NeverFound, NotFound, Stale
from gridfsmount.reading.blobs import blob_content, sha256_of
from gridfsmount.store.naming import Page
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.vfs.rules import Level, level_of
from gridfsmount.vfs.snapshots.numbers import number, parent_number, split

IDLE_SECONDS: Final = 60.0
"""A manifest that nobody asked for so long is closed: its disk can be unmounted then."""


class Snapshot:
    """One snapshot of one vault."""

    def __init__(
        self, name: str, vault: int, open_manifest: Callable[[str], Manifest], slot: int
    ) -> None:
        """Show the snapshot `name` of the `vault`-th vault below the numbers of `slot`."""
        self.name = name
        self.slot = slot
        self.gone = False
        """It was pruned."""
        taken = snapshot_time(name)
        self.taken_ns = int(taken.timestamp()) * 10**9
        self.vault = vault
        """Number of its vault."""
        self._open_manifest = open_manifest
        self._opening = threading.Lock()
        """Held while it is opened, which may take as long as the vault takes."""
        self._lock = threading.Lock()
        """Guards what follows."""
        self._manifest: Manifest | None = None
        self._users = 0
        self._used = 0.0
        self._links: dict[Inode, Node | None] = {}

    @contextmanager
    def _opened(self) -> Iterator[Manifest]:
        manifest = self._enter()
        if manifest is None:
            with self._opening:
                manifest = self._enter()
                if manifest is None:
                    if self.gone:
                        raise Stale(f"the snapshot {self.name} is gone")
                    opened = self._open_manifest(self.name)
                    with self._lock:
                        manifest = self._manifest = opened
                        self._users += 1
        try:
            yield manifest
        finally:
            with self._lock:
                self._users -= 1
                self._used = time.monotonic()

    def _enter(self) -> Manifest | None:
        with self._lock:
            if self._manifest is not None:
                self._users += 1
            return self._manifest

    def close(self, idle: float = 0.0) -> None:
        """Let go of the manifest, if nobody has asked for it for `idle` seconds."""
        with self._lock:
            unused = self._users == 0 and time.monotonic() - self._used >= idle
            if self._manifest is not None and unused:
                self._manifest.close()
                self._manifest = None
                self._links.clear()

    @property
    def is_open(self) -> bool:
        """Whether the manifest is open."""
        return self._manifest is not None

    # --- nodes ---------------------------------------------------------------------------------

    def find(self, parent: Inode, name: str) -> Node:
        """The node of a name in a folder; `latest` where the lake shows it.

        Raises:
            NeverFound: there is none.
        """
        _, folder = split(parent)
        with self._opened() as manifest:
            if name == LATEST:
                link = self._latest(manifest, folder)
                if link is not None:
                    return link
            found = manifest.find(folder, name)
            if found is None or found.inode == SNAPSHOTS:
                raise NeverFound(name)
            return self._shown(manifest, [found])[0]

    def node(self, inode: Inode) -> Node:
        """A node by its number.

        Raises:
            Stale: there is none.
        """
        _, local = split(inode)
        with self._opened() as manifest:
            if inode & LATEST_FLAG:
                link = self._latest(manifest, local)
                if link is None:
                    raise Stale(f"inode {inode}")
                return link
            try:
                return self._shown(manifest, [manifest.node(local)])[0]
            except NotFound as error:
                raise Stale(str(error)) from error

    def parent(self, inode: Inode) -> Inode:
        """The folder of a folder, its own number for the topmost one."""
        _, local = split(inode)
        return inode if local == ROOT else self.node(inode).parent

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        """A stretch of a folder; without what only a lake has."""
        _, folder = split(parent)
        with self._opened() as manifest:
            found = manifest.page(folder, after, limit)
            entries = [(name, node) for name, node in found if node.inode != SNAPSHOTS]
            nodes = self._shown(manifest, [node for _, node in entries])
        last = found[-1][0] if len(found) == limit else None
        return Page(tuple(zip((name for name, _ in entries), nodes, strict=True)), last)

    def find_many(self, parent: Inode, names: Sequence[str]) -> dict[Name, Node]:
        """The nodes that a folder lists under these names, as far as there are any."""
        with self._opened() as manifest:
            found = manifest.find_many(split(parent)[1], names)
            nodes = self._shown(manifest, found.values())
        return {Name(parent, name): node for name, node in zip(found, nodes, strict=True)}

    def latest(self, folder: Inode) -> Node | None:
        """The link `latest` of a folder that shows one."""
        with self._opened() as manifest:
            return self._latest(manifest, split(folder)[1])

    # --- contents ------------------------------------------------------------------------------

    def content(self, inode: Inode) -> Content | None:
        """The content of a file, as the lake knew it."""
        _, local = split(inode)
        with self._opened() as manifest:
            return manifest.contents_of([local]).get(local)

    def blob_of(self, inode: Inode) -> Content | None:
        """The same as a blob of the vault; None if it was not copied."""
        content = self.content(inode)
        return None if content is None else blob_content(content, self.vault)

    def blobs(self, contents: Sequence[ContentId]) -> list[Content]:
        """What is known of some blobs, as far as this snapshot shows them."""
        with self._opened() as manifest:
            found = manifest.contents_of_blobs(map(sha256_of, contents))
        wanted = set(contents)
        blobs = (blob_content(each, self.vault) for each in found)
        return [each for each in blobs if each is not None and each.id in wanted]

    def path(self, inode: Inode) -> str:
        """A path for people, the name of the snapshot first."""
        with self._opened() as manifest:
            return f"{self.name}/{manifest.path(split(inode)[1])}"

    # --- inner parts ---------------------------------------------------------------------------

    def _latest(self, manifest: Manifest, folder: Inode) -> Node | None:
        if folder not in self._links:
            self._links[folder] = self._newest(manifest, folder)
        return self._links[folder]

    def _newest(self, manifest: Manifest, folder: Inode) -> Node | None:
        node = manifest.node(folder)
        if level_of(node) is not Level.FOLDER:
            return None
        link = latest_link(node, _folders(manifest, folder))
        return None if link is None else self._numbered(link, None)

    def _shown(self, manifest: Manifest, nodes: Collection[Node]) -> list[Node]:
        contents = manifest.contents_of(node.inode for node in nodes if node.content is not None)
        return [self._numbered(node, contents.get(node.inode)) for node in nodes]

    def _numbered(self, node: Node, content: Content | None) -> Node:
        blob = None if content is None else blob_content(content, self.vault)
        flag = node.inode & LATEST_FLAG
        return replace(
            node,
            inode=Inode(number(self.slot, Inode(node.inode & ~LATEST_FLAG)) | flag),
            names=tuple(
                Name(parent_number(self.slot, each.parent), each.name) for each in node.names
            ),
            version=None if node.version is None else number(self.slot, node.version),
            content=None if blob is None else blob.id,
        )


def _folders(manifest: Manifest, folder: Inode) -> Iterator[Node]:
    after = ""
    while True:
        page = manifest.page(folder, after, 1000)
        yield from (node for _, node in page if node.kind is Kind.DIRECTORY)
        if len(page) < 1000:
            return
        after = page[-1][0]
