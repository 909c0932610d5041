"""Local trees into a lake.

One thread walks, level by level, and makes folders; others read and write files: small ones in
batches, each published whole, large ones as streams of chunks. A file appears with its first byte
and its last at once, so what an interrupted run has done needs no repair, and the next run skips
it. What is there already is compared, and replaced by the mount's own way of committing.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from gridfsmount.core.model import Inode, Kind, Node
from gridfsmount.core.names import decode_name
from gridfsmount.errors import FileSystemError, LakeError
from gridfsmount.places import (
    VERSION_DEPTH,
    LakePath,
    check_new,
    check_open,
    find,
    make_folder,
    resolve,
)
from gridfsmount.repeating import repeating
from gridfsmount.store.lake import Lake
from gridfsmount.store.processes import BEAT_SECONDS
from gridfsmount.transfer.folders import Folder, FolderMaker, Task
from gridfsmount.transfer.lanes import Lanes
from gridfsmount.transfer.local import kind_of, reason
from gridfsmount.transfer.put_files import SMALL_BYTES, FilePutter, PutOptions
from gridfsmount.transfer.report import Halted, Report
from gridfsmount.transfer.uploading import Uploader, renewing

BATCH_FILES: Final = 1000
BATCH_BYTES: Final = 4 << 20
"""Of one transaction: as much as the mount commits in one."""

LOOK_FILES: Final = 1000
"""Names that are looked up with one query."""


class Putter:
    """One run of `put`."""

    def __init__(self, lake: Lake, report: Report, options: PutOptions) -> None:
        """Put into `lake`."""
        self._lake = lake
        self._report = report
        self._options = options
        self._folders = FolderMaker(lake, report, options.owners)
        self._batch: list[Task] = []
        self._batch_bytes = 0
        self._firsts: set[tuple[int, int, Inode]] = set()
        """Files with several names of which one was met."""
        self._linked: dict[tuple[int, int, Inode], Inode] = {}
        """Their inodes in the lake, once they have one."""
        self._links: dict[tuple[int, int, Inode], list[Task]] = {}
        """Their further names."""

    def run(self, sources: Sequence[bytes], path: LakePath) -> None:
        """Put local files and trees to where `rsync -a` would.

        A folder goes into the folder `path`; with a slash at its end its contents do. A file goes
        into `path` too if that is a folder or has a slash at its end, else it gets that name.

        Raises:
            LakeError: the place is none where things can be put.
            Halted: the transfer was stopped; the report says why, if it was not told to.
        """
        path = resolve(self._lake, path)
        with suppress(FileSystemError):  # whoever works on this lake next does it as well
            self._lake.commits.sweep_leases()
            self._lake.versions.end_given_up()
        places = self._places(sources, path)
        uploader = Uploader(self._lake, self._report, self._options.chunk_size)
        try:
            level = self._tasks(places)
            with (
                renewing(self._lake),
                _announced(self._lake, level),
                Lanes(self._options.jobs, self._report) as lanes,
            ):
                self._put = FilePutter(
                    self._lake, self._report, self._options, uploader, self._linked
                )
                while level:
                    level = self._descend(level, lanes)
                self._flush(lanes)
                lanes.drain()
                for key, tasks in self._links.items():
                    lanes.submit(self._put.link, key, tasks)
                lanes.drain()
        finally:
            uploader.close()
            with suppress(FileSystemError):  # else they expire
                self._lake.leases.release_finished()

    def _places(
        self, sources: Sequence[bytes], path: LakePath
    ) -> list[tuple[bytes, os.stat_result, Kind, LakePath]]:
        """What goes where, checked against the rules of the tree."""
        target = find(self._lake, path)
        into = (
            path.folder
            or len(sources) > 1
            or len(path.parts) <= VERSION_DEPTH
            or (target is not None and target.kind is Kind.DIRECTORY)
        )
        places = []
        for source in sources:
            base = os.path.basename(source)
            contents = base in (b"", b".", b"..")
            try:
                status = os.stat(source) if contents else os.lstat(source)
            except OSError as error:
                self._report.fail(source, reason(error))
                continue
            kind = kind_of(status)
            if kind is None:
                self._report.fail(source, _special(status))
                continue
            if contents and kind is not Kind.DIRECTORY:
                self._report.fail(source, "it is no folder")
                continue
            if contents:
                place = path
            else:
                name = decode_name(base)
                place = path.below(name) if into or kind is Kind.DIRECTORY else path
            check_new(place, kind)
            places.append((source, status, kind, place))
        return places

    def _tasks(self, places: Sequence[tuple[bytes, os.stat_result, Kind, LakePath]]) -> list[Task]:
        owners = self._options.owners
        parents: dict[tuple[str, ...], Folder] = {}
        for *_, place in places:
            above = place.parent
            if above.parts in parents:
                continue
            version = find(self._lake, LakePath(place.parts[:VERSION_DEPTH]))
            if version is not None and version.version == version.inode:
                check_open(self._lake, version.inode, place)
            node = make_folder(self._lake, above, owners.uid, owners.gid)
            parents[above.parts] = Folder(node, above, fresh=False)
        if parents:
            now = time.time_ns()
            self._lake.tree.touch({each.node.inode: now for each in parents.values()})
        return [
            Task(parents[place.parent.parts], place.parts[-1], local, kind, status)
            for local, status, kind, place in places
        ]

    def _descend(self, tasks: Sequence[Task], lanes: Lanes) -> list[Task]:
        """Put what lies on one level, and return the folders of the next."""
        folders = [task for task in tasks if task.kind is Kind.DIRECTORY]
        self._sort([task for task in tasks if task.kind is not Kind.DIRECTORY], lanes)
        below: list[Task] = []
        for folder, local in self._folders.make(folders):
            inside = self._list(folder, local)
            below += [task for task in inside if task.kind is Kind.DIRECTORY]
            files = [task for task in inside if task.kind is not Kind.DIRECTORY]
            for at in range(0, len(files), LOOK_FILES):
                self._report.check()
                self._sort(files[at : at + LOOK_FILES], lanes)
        return below

    def _list(self, folder: Folder, local: bytes) -> list[Task]:
        tasks = []
        try:
            with os.scandir(local) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._report.fail(local, reason(error))
            return []
        for entry in found:
            try:
                name = decode_name(entry.name)
                status = entry.stat(follow_symlinks=False)
            except (OSError, LakeError) as error:
                self._report.fail(entry.path, reason(error))
                continue
            kind = kind_of(status)
            if kind is None:
                self._report.fail(entry.path, _special(status))
            else:
                tasks.append(Task(folder, name, entry.path, kind, status))
        return tasks

    def _sort(self, tasks: Sequence[Task], lanes: Lanes) -> None:
        """Decide how each goes: in a batch, as a stream, as a link, or compared."""
        there = self._look([task for task in tasks if not task.folder.fresh])
        known: list[tuple[Task, Node]] = []
        for task in tasks:
            link = task.link
            if link is not None and link in self._firsts:
                self._links.setdefault(link, []).append(task)
                continue
            if link is not None:
                self._firsts.add(link)
            node = there.get((task.folder.node.inode, task.name))
            if node is not None:
                known.append((task, node))
            elif task.kind is Kind.FILE and task.status.st_size > SMALL_BYTES:
                lanes.submit(self._put.stream, task)
            else:
                self._add(task, lanes)
        if known:
            lanes.submit(self._put.compare, known)

    def _look(self, tasks: Sequence[Task]) -> dict[tuple[Inode, str], Node]:
        names: dict[Inode, list[str]] = {}
        for task in tasks:
            names.setdefault(task.folder.node.inode, []).append(task.name)
        found: dict[tuple[Inode, str], Node] = {}
        for parent, group in names.items():
            try:
                nodes = self._lake.tree.find_many(parent, group)
            except LakeError as error:
                self._report.stop(str(error))
                raise Halted from error
            found |= {(name.parent, name.name): node for name, node in nodes.items()}
        return found

    def _add(self, task: Task, lanes: Lanes) -> None:
        self._batch.append(task)
        self._batch_bytes += task.status.st_size if task.kind is Kind.FILE else 0
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush(lanes)

    def _flush(self, lanes: Lanes) -> None:
        if self._batch:
            lanes.submit(self._put.batch, self._batch)
            self._batch, self._batch_bytes = [], 0


def _special(status: os.stat_result) -> str:
    what = "a socket" if stat.S_ISSOCK(status.st_mode) else "a device"
    return f"it is {what}, which is not copied"


@contextmanager
def _announced(lake: Lake, tasks: Sequence[Task]) -> Iterator[None]:
    """Say in which versions things are put, so that nobody seals them meanwhile."""
    versions = {each.folder.node.version for each in tasks}

    def announce() -> None:
        with suppress(FileSystemError):  # an outage only postpones it
            lake.processes.announce("put", writing=[each for each in versions if each is not None])

    announce()
    try:
        with repeating(announce, BEAT_SECONDS, "announce"):
            yield
    finally:
        with suppress(FileSystemError):  # else it counts as dead soon
            lake.processes.leave()


def measure(sources: Sequence[bytes]) -> tuple[int, int]:
    """Number and bytes of what lies in local trees; what cannot be read is told later."""
    count = size = 0
    for source in sources:
        paths = [source]
        if os.path.isdir(source) and (source.endswith(b"/") or not os.path.islink(source)):
            paths = [
                os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names
            ]
        for path in paths:
            with suppress(OSError):
                status = os.lstat(path)
                count += 1
                size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return count, size
