"""Trees of a lake onto a local disk.

One thread lists, others fetch: small contents many in one query, large ones in ranges side by
side. Every chunk is checked against its hash. A file is written under a name of its own beside its
place, made durable, and then renamed, so that its name never leads to half of it; the next run
skips what has the size and the time of its node.
"""

import os
from collections import deque
from collections.abc import Iterator
from typing import Final

from gridfsmount.core.model import Inode, Kind, Node
from gridfsmount.errors import NotFound
from gridfsmount.places import LakePath, find, resolve
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.get_files import SMALL_BYTES, FileGetter, GetOptions, Wanted
from gridfsmount.transfer.lanes import Lanes
from gridfsmount.transfer.local_writing import Local, sync
from gridfsmount.transfer.report import Report

BATCH_FILES: Final = 1000
BATCH_BYTES: Final = 4 << 20
"""Of one query: with four at work, their answers stay within a few tens of MiB."""

PAGE: Final = 1000
"""Names of a folder that are listed with one query."""


class Getter:
    """One run of `get`."""

    def __init__(self, lake: Lake, report: Report, options: GetOptions) -> None:
        """Get from `lake`."""
        self._lake = lake
        self._report = report
        self._options = options
        self._local = Local(options.owners, options.umask)
        self._files = FileGetter(lake, report, options, self._local)
        self._batch: list[Wanted] = []
        self._batch_bytes = 0
        self._known: list[Wanted] = []
        self._firsts: dict[Inode, bytes] = {}
        """Files with several names, and where the first of them went."""
        self._links: dict[Inode, list[bytes]] = {}
        self._folders: list[tuple[bytes, Node]] = []
        """Folders that get their attributes when all is in them, those above others first."""

    def run(self, path: LakePath, target: bytes) -> None:
        """Get a file or a tree to where `rsync -a` would.

        A folder goes into the folder `target`; with a slash at its end its contents do. A file goes
        into `target` too if that is a folder or has a slash at its end, else it gets that name.

        Raises:
            NotFound: there is nothing at `path`.
            OSError: `target` cannot be made.
            Halted: the transfer was stopped; the report says why, if it was not told to.
        """
        node = find(self._lake, resolve(self._lake, path))
        if node is None:
            raise NotFound(f"{path}: there is no such file or folder in the lake")
        name = path.parts[-1].encode() if path.parts else b""
        place = target
        if node.kind is Kind.DIRECTORY:
            place = target if path.folder else os.path.join(target, name)
        elif target.endswith(b"/") or os.path.isdir(target):
            place = os.path.join(target, name)
        place = place.rstrip(b"/") or b"/"
        above = os.path.dirname(place)
        if above:
            os.makedirs(above, exist_ok=True)
        try:
            with Lanes(self._options.jobs, self._report) as lanes:
                self._walk(node, place, lanes)
                self._flush(lanes)
                lanes.drain()
                for inode, paths in self._links.items():
                    lanes.submit(self._files.link, self._firsts[inode], paths)
                lanes.drain()
        finally:
            self._files.close()
        for folder, each in reversed(self._folders):
            with self._files.reporting(folder):
                self._local.dress(folder, each)
        self._report.check()
        sync([above or b".", *(folder for folder, _ in self._folders)])

    def _walk(self, root: Node, place: bytes, lanes: Lanes) -> None:
        if root.kind is not Kind.DIRECTORY:
            self._sort(root, place, fresh=False, lanes=lanes)
            return
        waiting = deque([(root, place)])
        while waiting:
            folder, path = waiting.popleft()
            self._report.check()
            with self._files.reporting(path):
                fresh = self._local.make_folder(path)
                self._folders.append((path, folder))
                if not fresh:
                    self._local.clear(path)
                for name, node in self._entries(folder):
                    below = os.path.join(path, name.encode())
                    if node.kind is Kind.DIRECTORY:
                        waiting.append((node, below))
                    else:
                        self._sort(node, below, fresh=fresh, lanes=lanes)
            self._report.check()

    def _entries(self, folder: Node) -> Iterator[tuple[str, Node]]:
        after: str | None = ""
        while after is not None:
            page = self._lake.tree.page(folder.inode, after, PAGE)
            self._report.check()
            yield from page.entries
            after = page.last

    def _sort(self, node: Node, path: bytes, *, fresh: bool, lanes: Lanes) -> None:
        """Decide how one goes: in a batch, as a stream, as a link, or compared."""
        if node.kind is Kind.SOCKET:
            self._report.fail(path, "it is a socket, which is not copied")
            return
        if len(node.names) > 1:
            if node.inode in self._firsts:
                self._links.setdefault(node.inode, []).append(path)
                return
            self._firsts[node.inode] = path
        status = None
        if not fresh:
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                status = None
        wanted = Wanted(node, path, status)
        if status is not None and self._options.checksum and node.kind is Kind.FILE:
            self._known.append(wanted)
            if len(self._known) >= BATCH_FILES:
                self._flush(lanes)
            return
        if self._files.is_same(wanted):
            self._files.keep(wanted)
            return
        if node.size > SMALL_BYTES:
            lanes.submit(self._files.stream, wanted)
            return
        self._batch.append(wanted)
        self._batch_bytes += node.size
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush(lanes)

    def _flush(self, lanes: Lanes) -> None:
        if self._batch:
            lanes.submit(self._files.batch, self._batch)
            self._batch, self._batch_bytes = [], 0
        if self._known:
            lanes.submit(self._files.compare, self._known)
            self._known = []
