"""What other GridFS clients did to the bucket, brought into the tree.

Blocking code without state between calls; several mounts may run it at once. The node comes
first and the marker on the content last, so an interrupted adoption is simply done again; the
unique index on names decides who is first.
"""

import logging
import time
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gridfsmount.core.filing import Place, place_of, unsorted_place
from gridfsmount.core.model import AREAS, ROOT, UNSORTED, ContentId, Inode, Kind, Name, Node, State
from gridfsmount.errors import AlreadyExists, Conflict
from gridfsmount.store.foreign import Foreign, Upload
from gridfsmount.store.lake import Lake
from gridfsmount.store.tree import Tree

log = logging.getLogger(__name__)

_TRIES = 5
_VERSION_DEPTH = 3  # datasets/<name>/<version>


class Adopter:
    """Keeps the tree in step with what drivers do."""

    def __init__(self, lake: Lake) -> None:
        """Work on `lake`."""
        self._tree: Tree = lake.tree
        self._foreign: Foreign = lake.foreign
        self._lake = lake

    def adopt_batch(self) -> int:
        """Give a batch of foreign contents their nodes; returns their number, 0 when all have."""
        uploads = self._foreign.unmarked()
        if uploads:
            self._adopt(uploads)
        return len(uploads)

    def reconcile(self) -> int:
        """Look once for what drivers renamed and removed; returns how much was followed.

        Reads all of the lake's documents.
        """
        renamed = self._foreign.renamed()
        for upload in renamed:
            self._follow_rename(upload)
        # What a sealed version lacks stays missing, and counts as nothing.
        removed = sum(self._follow_removal(content) for content in self._foreign.missing())
        return len(renamed) + removed

    def follow(self, content: ContentId) -> None:
        """Something happened to one content: bring the tree in step."""
        upload = self._foreign.get(content)
        if upload is None:
            self._follow_removal(content)
        elif not upload.marked and not self._tree.by_content(content, limit=1):
            while self.adopt_batch():
                pass
        elif upload.renamed or not upload.marked:  # or a driver's replacement has no marker
            self._follow_rename(upload)

    # --- uploads -------------------------------------------------------------------------------

    def _adopt(self, uploads: Sequence[Upload]) -> None:
        folders: dict[tuple[str, ...], Node | None] = {}
        inodes = iter(self._tree.allocate(len(uploads)))
        nodes: dict[Inode, Upload] = {}
        batch: list[Node] = []
        for upload in uploads:
            if self._tree.by_content(upload.id, limit=1):
                continue  # an adoption that was interrupted before it marked the content
            parent, name = self._home(upload, place_of(upload.filename, str(upload.id)), folders)
            node = _node(Inode(next(inodes)), Name(parent.inode, name), upload, parent.version)
            batch.append(node)
            nodes[node.inode] = upload
        refused = self._tree.insert_many(batch) if batch else set()
        for node in batch:
            if node.inode in refused:
                self._settle_clash(node, nodes[node.inode], folders)
        self._foreign.mark(uploads)
        parents = {node.parent for node in batch}
        self._tree.touch(dict.fromkeys(parents, time.time_ns()))
        log.info("adopted %d contents that other clients uploaded", len(batch))

    def _home(
        self, upload: Upload, place: Place, folders: dict[tuple[str, ...], Node | None]
    ) -> tuple[Node, str]:
        """The folder for an upload, made if need be, and its name there."""
        *above, name = place.parts
        parent = self._folder(tuple(above), folders)
        if parent is not None:
            return parent, name
        log.warning(
            "%s was uploaded into a sealed version or below a file: it is in unsorted/", place
        )
        unsorted = self._folder(("unsorted",), folders)
        if unsorted is None:
            raise Conflict("unsorted/ is gone")
        return unsorted, unsorted_place(str(upload.filename)).parts[-1]

    def _folder(
        self, parts: tuple[str, ...], folders: dict[tuple[str, ...], Node | None]
    ) -> Node | None:
        """The directory at `parts`, made if need be; None when nothing can be put there."""
        if parts not in folders:
            folders[parts] = self._find_folder(parts, folders)
        return folders[parts]

    def _find_folder(
        self, parts: tuple[str, ...], folders: dict[tuple[str, ...], Node | None]
    ) -> Node | None:
        if len(parts) == 1:
            return self._tree.get(AREAS[parts[0]])
        parent = self._folder(parts[:-1], folders)
        if parent is None:
            return None
        node = self._tree.find(parent.inode, parts[-1])
        if node is None:
            (inode,) = self._tree.allocate(1)
            node = _directory(Inode(inode), Name(parent.inode, parts[-1]), parts, parent.version)
            try:
                self._tree.insert(node)
            except AlreadyExists:
                node = self._tree.find(parent.inode, parts[-1])
        if node is None or node.kind is not Kind.DIRECTORY or node.state is State.SEALED:
            return None
        return node

    def _settle_clash(
        self, node: Node, upload: Upload, folders: dict[tuple[str, ...], Node | None]
    ) -> None:
        """The name is taken: by an older revision of the same file, or by something else."""
        name = node.names[0]
        for _ in range(_TRIES):
            existing = self._tree.find(name.parent, name.name)
            try:
                if existing is None:
                    self._tree.insert(node)
                    return
                if existing.content == upload.id:
                    return  # another mount was faster
                if not self._is_revision(existing, upload):
                    break
                self._show_newest(existing, upload)
                return
            except (AlreadyExists, Conflict):
                continue
        unsorted = self._folder(("unsorted",), folders)
        if unsorted is None:
            raise Conflict("unsorted/ is gone")
        log.warning("%r is taken by something else: the upload is in unsorted/", name.name)
        spare = _spare_name(upload)
        try:
            self._tree.insert(_node(node.inode, spare, upload, unsorted.version))
        except AlreadyExists:
            existing = self._tree.find(spare.parent, spare.name)
            if existing is None or existing.content != upload.id:
                log.error("content %s cannot be shown: %r is taken too", upload.id, spare.name)

    def _is_revision(self, existing: Node, upload: Upload) -> bool:
        if existing.kind is not Kind.FILE or not isinstance(upload.filename, str):
            return False
        if existing.content is None:
            return existing.version != UNSORTED
        shown = self._foreign.get(existing.content)
        return shown is None or shown.filename == upload.filename

    def _show_newest(self, node: Node, upload: Upload) -> None:
        shown = None if node.content is None else self._foreign.get(node.content)
        if shown is None or (upload.uploaded_ns, str(upload.id)) >= (
            shown.uploaded_ns,
            str(shown.id),
        ):
            self._tree.relink(node, upload.id, _size(upload), upload.uploaded_ns)

    # --- renames and removals ------------------------------------------------------------------

    def _follow_rename(self, upload: Upload) -> None:
        nodes = self._tree.by_content(upload.id)
        if not nodes:
            self._adopt([upload])  # an older revision, which may be the newest of its new name
            return
        moved = sum(_again(partial(self._move, node.inode, upload)) for node in nodes)
        self._foreign.mark([upload])
        if moved:
            older = self._foreign.newest(upload.marked_filename)
            if older is not None and not self._tree.by_content(older.id, limit=1):
                self._adopt([older])

    def _move(self, inode: Inode, upload: Upload) -> bool:
        """Bring a node to the place of its upload; whether it left its old one."""
        node = self._tree.get(inode)
        if node is None or node.content != upload.id:
            return False
        if self._is_sealed(node):
            log.warning("%r was renamed by a driver, in a sealed version: ignored", node.names)
            return False
        folders: dict[tuple[str, ...], Node | None] = {}
        place = place_of(upload.filename, str(upload.id))
        parent, leaf = self._home(upload, place, folders)
        name = Name(parent.inode, leaf)
        if name in node.names or _spare_name(upload) in node.names:
            return False
        log.info("a driver renamed %s to %s", node.names[0].name, place)
        try:
            self._tree.set_names(
                node, (name, *node.names[1:]), time.time_ns(), version=parent.version
            )
        except AlreadyExists:
            self._tree.delete(node)
            self._settle_clash(_node(node.inode, name, upload, parent.version), upload, folders)
        self._touch((*node.names, name))
        return True

    def _follow_removal(self, content: ContentId) -> int:
        """Take away the nodes that show a content that is gone; how many did."""
        nodes = self._tree.by_content(content)
        if not nodes or self._lake.contents.exists(content):
            return 0
        return sum(_again(partial(self._let_go, node.inode, content)) for node in nodes)

    def _let_go(self, inode: Inode, content: ContentId) -> bool:
        """Let a node show the revision before its content, which is gone; or remove it."""
        node = self._tree.get(inode)
        if node is None or node.content != content:
            return False
        path = self._tree.path(inode)
        if self._is_sealed(node):
            log.error("%s, of a sealed version: its content %s is gone", path, content)
            return False
        older = self._older_revision(node, path)
        if older is not None:
            self._tree.relink(node, older.id, _size(older), older.uploaded_ns)
        else:
            self._tree.delete(node)
        log.info("a driver removed %s (content %s)", path, content)
        self._touch(node.names)
        return True

    def _older_revision(self, node: Node, path: str | None) -> Upload | None:
        for filename in _filenames(node, path):
            upload = self._foreign.newest(filename)
            if upload is not None:
                return upload
        return None

    def _is_sealed(self, node: Node) -> bool:
        if node.version is None:
            return False
        version = self._tree.get(node.version)
        return version is not None and version.state is State.SEALED

    def _touch(self, names: Iterable[Name]) -> None:
        now = time.time_ns()
        self._tree.touch({name.parent: now for name in names if name.parent != ROOT})


def _again(change: Callable[[], bool]) -> bool:
    """Do a change, once more when another mount changed the node meanwhile."""
    for _ in range(_TRIES - 1):
        try:
            return change()
        except Conflict as error:
            log.debug("once more: %s", error)
    return change()


def _spare_name(upload: Upload) -> Name:
    """Where an upload goes whose place is taken by something else."""
    return Name(UNSORTED, unsorted_place(str(upload.filename), str(upload.id)).parts[-1])


def _node(inode: Inode, name: Name, upload: Upload, version: Inode | None) -> Node:
    return Node(
        inode=inode,
        kind=Kind.FILE,
        names=(name,),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=upload.uploaded_ns,
        ctime_ns=time.time_ns(),
        size=_size(upload),
        content=upload.id,
        version=version,
    )


def _directory(inode: Inode, name: Name, parts: tuple[str, ...], version: Inode | None) -> Node:
    now = time.time_ns()
    is_version = parts[0] != "unsorted" and len(parts) == _VERSION_DEPTH
    return Node(
        inode=inode,
        kind=Kind.DIRECTORY,
        names=(name,),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=now,
        ctime_ns=now,
        version=inode if is_version else version,
        state=State.DRAFT if is_version else None,
        created_ns=now if is_version else 0,
    )


def _size(upload: Upload) -> int:
    return 0 if upload.content is None else upload.content.length


def _filenames(node: Node, path: str | None) -> Iterable[str]:
    """Filenames that a node at `path` may have been adopted from."""
    if path is None:
        return
    if node.version != UNSORTED:
        yield path
        return
    below = path.removeprefix("unsorted/")
    yield below
    yield urllib.parse.unquote(below)
