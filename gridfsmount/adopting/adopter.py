"""Contents that other GridFS clients uploaded, given their nodes.

Blocking code without state between calls; several mounts may run it at once. The node comes
first and the marker on the content last, so an interrupted adoption is simply done again; the
unique index on names decides who is first. A batch of a thousand takes about as many questions
as a single upload.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gridfsmount.adopting.folders import Folders, Parts
from gridfsmount.adopting.revisions import TRIES, Revisions, is_newer, size_of
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
    """Makes nodes for uploads."""

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
        if not self._foreign.mark(settled):  # a driver was quick to remove one
            there = {each.id for each in self._foreign.get_many([each.id for each in settled])}
            gone |= {each.id for each in settled} - there
        for content in gone:
            self._revisions.let_go(content)
        self._changed |= {home.parent.inode for home in homes if home.upload.id not in astray}
        return len(homes) - len(astray), astray

    def home(self, upload: Upload, folders: Folders) -> tuple[Node, Name]:
        """The folder for one upload, made if need be, and its name there."""
        (home,) = self._homes([upload], folders)
        return home.parent, home.name

    def settle(self, node: Node, upload: Upload, folders: Folders) -> None:
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
        spare = spare_name(upload)
        try:
            self._tree.insert(node_of(node.inode, spare, upload, unsorted.version))
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
            Inode(number): node_of(Inode(number), home.name, home.upload, home.parent.version)
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
                self.settle(nodes[inode], upload, folders)

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


def spare_name(upload: Upload) -> Name:
    """Where an upload goes whose place is taken by something else."""
    return Name(UNSORTED, unsorted_place(str(upload.filename), str(upload.id)).parts[-1])


def node_of(inode: Inode, name: Name, upload: Upload, version: Inode | None) -> Node:
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
