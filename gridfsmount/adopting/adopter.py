"""Contents that other GridFS clients uploaded: given their nodes, and moved when they are renamed.

Blocking code without state between calls; several mounts may run it at once. The node comes
first and the marker on the content last, so an interrupted adoption is simply done again; the
unique index on names decides who is first. Whoever marks a content sees whether it is still called
what its node was made for, and else moves that. A batch of a thousand takes about as many questions
as a single upload.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gridfsmount.adopting.folders import Folders, Parts
from gridfsmount.adopting.revisions import TRIES, Revisions, again, filenames_of, is_newer, size_of
from gridfsmount.core.filing import Place, place_of, unsorted_place
from gridfsmount.core.model import UNSORTED, ContentId, Inode, Kind, Name, Node
from gridfsmount.errors import AlreadyExists, Conflict, ReadOnly
from gridfsmount.store.foreign import LOOK, Upload
from gridfsmount.store.lake import Lake

log = logging.getLogger(__name__)

_UNSORTED: Final = ("unsorted",)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where an upload goes."""

    upload: Upload
    folder: Parts
    parent: Node
    name: Name


class Adopter:
    """Makes nodes for uploads, and moves them."""

    def __init__(self, lake: Lake) -> None:
        """Work on `lake`."""
        self._tree = lake.tree
        self._foreign = lake.foreign
        self._trash = lake.trash
        self._revisions = Revisions(lake)
        self._changed: set[Inode] = set()
        """Folders whose times are to be brought forward."""

    def adopt_batch(self, limit: int = LOOK) -> int:
        """Adopt what came last; returns how many were found, 0 when all have their nodes."""
        uploads = self._foreign.unmarked(limit)
        self.adopt(uploads)
        return len(uploads)

    def adopt_these(self, contents: Sequence[ContentId]) -> None:
        """Adopt some contents, those that are there and have no node yet."""
        found = self._foreign.get_many(contents)
        self.adopt([upload for upload in found if not upload.marked])

    def adopt(self, uploads: Sequence[Upload]) -> None:
        """Give uploads their nodes, and tell."""
        adopted = self.adopt_quietly(uploads)
        self.write_times()
        if adopted:
            log.info("adopted %d contents that other clients uploaded", adopted)

    def write_times(self) -> None:
        """Bring the times of the folders forward that got new entries."""
        changed, self._changed = self._changed, set()
        self._tree.touch(dict.fromkeys(changed, time.time_ns()))

    def adopt_quietly(self, uploads: Sequence[Upload]) -> int:
        """Give uploads their nodes; how many new ones there are. `write_times` is to follow."""
        adopted = 0
        left = uploads
        for _ in range(TRIES):
            if not left:
                break
            made, astray = self._adopt(left)
            adopted += made
            left = [upload for upload in left if upload.id in astray]
        return adopted

    def _adopt(self, uploads: Sequence[Upload]) -> tuple[int, set[ContentId]]:
        """Make nodes; how many, and the uploads whose folder was closed at this moment."""
        # An adoption may have been interrupted before it marked the content.
        shown = self._tree.shown([upload.id for upload in uploads])
        folders = Folders(self._tree)
        homes = self._homes([each for each in uploads if each.id not in shown], folders)
        self._make_nodes(homes, folders)
        astray = self._astray(homes, folders)
        settled = [upload for upload in uploads if upload.id not in astray]
        gone = self._trash.keep_many([upload.id for upload in settled])
        renamed = self._elsewhere([each for each in settled if each.id in shown])
        placed = [upload for upload in settled if upload.id not in renamed]
        if not self._foreign.mark(placed):  # a driver was quick to remove or rename one
            now = {each.id: each for each in self._foreign.get_many([each.id for each in placed])}
            gone |= {upload.id for upload in placed if upload.id not in now}
            renamed |= {
                upload.id: replace(now[upload.id], marked_filename=upload.filename)
                for upload in placed
                if upload.id in now and now[upload.id].filename != upload.filename
            }
        for content in gone:
            self._revisions.let_go(content)
        for upload in renamed.values():
            if upload.id not in gone:
                self.follow_rename(upload)
        self._changed |= {home.parent.inode for home in homes if home.upload.id not in astray}
        return len(homes) - len(astray), astray

    def _elsewhere(self, uploads: Sequence[Upload]) -> dict[ContentId, Upload]:
        """Those of some uploads with nodes of which none is where the filename says."""
        if not uploads:
            return {}
        nodes = {upload.id: self._tree.by_content(upload.id) for upload in uploads}
        paths = self._tree.paths([node.inode for each in nodes.values() for node in each])
        return {
            upload.id: upload
            for upload in uploads
            if nodes[upload.id]
            and _paths_of(upload).isdisjoint(paths.get(node.inode) for node in nodes[upload.id])
        }

    def follow_rename(self, upload: Upload) -> None:
        """Bring the node of a content to where its filename says, and mark it."""
        nodes = self._tree.by_content(upload.id)
        if not nodes:
            # An older revision, which may be the newest of its new name; or a new content.
            self.adopt([upload])
            return
        if len(nodes) > 1:
            nodes = self._known_by_filename(nodes, upload)
        moved = sum(again(partial(self._move, node.inode, upload)) for node in nodes)
        self._foreign.mark([upload])
        if moved:
            older = self._foreign.newest(upload.marked_filename)
            if older is not None and not self._tree.shows(older.id):
                self.adopt([older])

    def _known_by_filename(self, nodes: Sequence[Node], upload: Upload) -> list[Node]:
        """The file that drivers knew under the old name; forks that show the content too stay."""
        paths = self._tree.paths([node.inode for node in nodes])
        return [
            node
            for node in nodes
            if upload.marked_filename in list(filenames_of(node, paths.get(node.inode)))
        ]

    def _move(self, inode: Inode, upload: Upload) -> bool:
        """Bring a node to the place of its upload; whether it left its old one."""
        node = self._tree.get(inode)
        if node is None or node.content != upload.id:
            return False
        if self._revisions.is_sealed(node):
            log.warning("%r was renamed by a driver, in a sealed version: ignored", node.names)
            return False
        folders = Folders(self._tree)
        (home,) = self._homes([upload], folders)
        name = home.name
        if name in node.names or _spare_name(upload) in node.names:
            return False
        log.info("a driver renamed %s to %r", node.names[0].name, upload.filename)
        try:
            self._tree.set_names(
                node, (name, *node.names[1:]), time.time_ns(), version=home.parent.version
            )
        except ReadOnly:
            log.warning("%r was renamed by a driver, in a sealed version: ignored", node.names)
            return False
        except AlreadyExists:
            self._tree.delete(node)
            self._settle(_node_of(node.inode, name, upload, home.parent.version), upload, folders)
        self._revisions.touch((*node.names, name))
        return True

    def _settle(self, node: Node, upload: Upload, folders: Folders) -> None:
        """Find a place for a new node whose name is taken.

        By an older revision of the same file, which then shows the newer; or by something else.
        """
        name = node.names[0]
        for _ in range(TRIES):
            existing = self._tree.find(name.parent, name.name)
            try:
                if existing is None:
                    self._tree.insert(node)
                    return
                if existing.content == upload.id:
                    return  # another mount was faster
                shown = self._foreign.get(existing.content) if existing.content else None
                if not self._revisions.are_of_one_file(existing, shown, upload):
                    break
                if shown is None or is_newer(upload, shown):
                    self._revisions.show(existing, upload)
                return
            except (AlreadyExists, Conflict):
                continue
            except ReadOnly:
                break
        unsorted = folders.get(_UNSORTED)
        if unsorted is None:
            raise Conflict("unsorted/ is gone")
        log.warning("%r is taken by something else: the upload is in unsorted/", name.name)
        spare = _spare_name(upload)
        try:
            self._tree.insert(_node_of(node.inode, spare, upload, unsorted.version))
        except AlreadyExists:
            existing = self._tree.find(spare.parent, spare.name)
            if existing is None or existing.content != upload.id:
                log.error("content %s cannot be shown: %r is taken too", upload.id, spare.name)

    def _homes(self, uploads: Sequence[Upload], folders: Folders) -> list[_Home]:
        """Where uploads go; of several revisions of one file only the newest goes anywhere."""
        places = [place_of(each.filename, str(each.id)) for each in uploads]
        folders.prepare({place.parts[:-1] for place in places})
        homes: dict[object, _Home] = {}
        refused: Counter[Parts] = Counter()
        for upload, place in zip(uploads, places, strict=True):
            home = _home(upload, place, folders)
            if home is None:
                refused[place.parts[:-1]] += 1
                home = _home(upload, unsorted_place(str(upload.filename)), folders)
            if home is None:
                raise Conflict("unsorted/ is gone")
            # What is no string is nobody's revision.
            file = (home.name, upload.filename) if isinstance(upload.filename, str) else upload.id
            other = homes.get(file)
            if other is None or is_newer(upload, other.upload):
                homes[file] = home
        for folder, count in refused.items():
            log.warning(
                "%d uploaded to %s, in a sealed version or below a file: to be found in unsorted/",
                count,
                Place(folder),
            )
        return list(homes.values())

    def _make_nodes(self, homes: Sequence[_Home], folders: Folders) -> None:
        numbers = self._tree.allocate(len(homes)) if homes else range(0)
        nodes = {
            Inode(number): _node_of(Inode(number), home.name, home.upload, home.parent.version)
            for number, home in zip(numbers, homes, strict=True)
        }
        uploads = dict(zip(nodes, (home.upload for home in homes), strict=True))
        refused = self._tree.insert_many(list(nodes.values())) if nodes else set()
        if not refused:
            return
        # Mostly by newer revisions, of which many may come in a batch: those are asked for at once.
        there = self._tree.find_places([nodes[inode].names[0] for inode in refused])
        contents = {node.content for node in there.values() if node.content is not None}
        shown = {each.id: each for each in self._foreign.get_many(contents)}
        for inode in refused:
            upload, existing = uploads[inode], there.get(nodes[inode].names[0])
            other = shown.get(existing.content) if existing and existing.content else None
            if not (other and other.filename == upload.filename and not is_newer(upload, other)):
                self._settle(nodes[inode], upload, folders)

    def _astray(self, homes: Sequence[_Home], folders: Folders) -> set[ContentId]:
        """Uploads whose folder somebody removed or froze meanwhile; their nodes go too.

        But for those that are frozen themselves: they were there before the seal looked.
        """
        closed = folders.closed()
        places = {home.upload.id: home.name for home in homes if home.folder in closed}
        astray = {
            content
            for content, name in places.items()
            for node in self._tree.by_content(content)
            if node.names == (name,) and self._tree.discard(node.inode)
        }
        folders.take_back(closed)
        return astray


def _home(upload: Upload, place: Place, folders: Folders) -> _Home | None:
    folder = place.parts[:-1]
    parent = folders.get(folder)
    if parent is None:
        return None
    return _Home(upload, folder, parent, Name(parent.inode, place.parts[-1]))


def _paths_of(upload: Upload) -> set[str]:
    """Where an upload may be, by its filename."""
    filename, content = str(upload.filename), str(upload.id)
    places = (
        place_of(upload.filename, content),
        unsorted_place(filename),
        unsorted_place(filename, content),
    )
    return {str(place) for place in places}


def _spare_name(upload: Upload) -> Name:
    """Where an upload goes whose place is taken by something else."""
    return Name(UNSORTED, unsorted_place(str(upload.filename), str(upload.id)).parts[-1])


def _node_of(inode: Inode, name: Name, upload: Upload, version: Inode | None) -> Node:
    """A new node for an upload."""
    return Node(
        inode=inode,
        kind=Kind.FILE,
        names=(name,),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=upload.uploaded_ns,
        ctime_ns=time.time_ns(),
        size=size_of(upload),
        content=upload.id,
        version=version,
    )
