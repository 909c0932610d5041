"""Many new files at once: chunks, files documents and nodes in a few commands.

A batch is published whole. Where there are transactions it is one; elsewhere it goes the way of
a large commit: leases, chunks, files documents, nodes, so that a crash after any step leaves
nothing in the tree, and the rest to the sweep of leases. A new node shows its content at once, and
cannot be told before not to, as a file that is there can (`Tree.give_up`). So who slept for longer
than the lease looks for it once more when the nodes are there, and takes them back if it is gone.
Safe to call from several threads.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import bson
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gridfsmount.core.model import Content, Inode, Node
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    FileSystemError,
    ReadOnly,
    Stale,
)
from gridfsmount.store.commits import Commits
from gridfsmount.store.connection import DURABLE, Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.encoding import Document, content_key, encode_node
from gridfsmount.store.leases import Leases
from gridfsmount.store.seam import is_duplicate
from gridfsmount.store.tree import Tree
from gridfsmount.store.undecoded import total

_GIVEN_UP: Final = "the upload was idle for too long and was given up; put it again"

_TRIES: Final = 10
"""A batch that meets others' names that often meets a fault, not a coincidence."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is not in the tree yet, with all of its bytes."""

    node: Node
    """It shows `content` already."""
    path: str
    """The filename that drivers will see."""
    content: Content | None = None
    """None when it is empty, or no file."""
    chunks: tuple[bytes, ...] = ()


class Bulk:
    """Publishes batches of new files, and tells how much there is."""

    def __init__(
        self,
        connection: Connection,
        tree: Tree,
        contents: Contents,
        leases: Leases,
        commits: Commits,
    ) -> None:
        """Combine the collections of one lake."""
        self._connection = connection
        self._seam = connection.seam
        self._tree = tree
        self._contents = contents
        self._leases = leases
        self._commits = commits
        self._nodes = connection.collection("tree")
        self._files = connection.collection("files")
        self._chunks = connection.collection("chunks")
        # The files documents that follow are awaited, and what came before with them.
        self._relaxed_chunks = connection.acknowledged("chunks")

    def publish(self, files: Sequence[NewFile]) -> set[Inode]:
        """Make new files appear, durable when this returns.

        Returns those that were refused, since their name was taken or their folder is gone.

        Raises:
            Damaged: the leases expired meanwhile; nothing was published.
        """
        if not files:
            return set()
        if self._connection.deployment.transactions:
            refused = self._publish_at_once(files)
        else:
            refused = self._publish_in_order(files)
        return refused | self._without_folder([f for f in files if f.node.inode not in refused])

    def publish_uploaded(self, file: NewFile) -> None:
        """Make one new file appear whose chunks are there, under a lease.

        Raises:
            AlreadyExists: the name was taken; the content is published and the lease still held.
            Stale: the folder is gone or sealed, and the file is not in it.
            Damaged: the lease expired, and the chunks were swept away.
        """
        content = file.content
        if content is None or not self._leases.confirm(content.id):
            raise Damaged(f"{file.path}: {_GIVEN_UP}")
        self._contents.publish(content, file.path)
        self._tree.insert(file.node)
        if not self._leases.confirm(content.id):
            self._take_back([file.node])
            raise Damaged(f"{file.path}: {_GIVEN_UP}")
        self._leases.finish(content.id)
        if self._without_folder([file]):
            raise Stale(f"{file.path}: its folder was removed or sealed meanwhile")

    def measure(self, path: str) -> tuple[int, int]:
        """Number and bytes of the contents at and below a path, by their filenames."""
        pipeline: list[Document] = [
            {"$match": {"filename": {"$gte": f"{path}/", "$lt": f"{path}0"}} if path else {}},
            {"$group": {"_id": None, "count": {"$sum": 1}, "bytes": {"$sum": "$length"}}},
        ]
        with self._seam.operation(f"measure {path or 'the lake'}"):
            documents = list(self._files.aggregate(pipeline))
        counted = documents[0] if documents else {}
        return total(counted.get("count")), max(0, total(counted.get("bytes")))

    def _publish_at_once(self, files: Sequence[NewFile]) -> set[Inode]:
        refused: set[Inode] = set()
        for _ in range(_TRIES):
            left = [file for file in files if file.node.inode not in refused]
            if not left or self._transact(left):
                return refused
            refused |= self._taken(left)
        raise AlreadyExists(f"{left[0].path}: others make files of the same names all the time")

    def _transact(self, files: Sequence[NewFile]) -> bool:
        """Publish all of `files`, or nothing: False when a name is taken."""
        chunks, documents, nodes = self._documents(files)

        def write(session: ClientSession) -> None:
            if chunks:
                self._chunks.insert_many(chunks, session=session)
                self._files.insert_many(documents, session=session)
            self._nodes.insert_many(nodes, session=session)

        try:
            with (
                self._seam.operation(f"write {len(files)} files"),
                self._connection.client.start_session() as session,
            ):
                session.with_transaction(
                    write,
                    read_concern=ReadConcern("snapshot"),
                    write_concern=DURABLE,
                    read_preference=ReadPreference.PRIMARY,
                )
        except FileSystemError as error:
            cause = error.__cause__
            if isinstance(cause, PyMongoError) and is_duplicate(cause):
                return False
            raise
        return True

    def _publish_in_order(self, files: Sequence[NewFile]) -> set[Inode]:
        chunks, documents, _ = self._documents(files)
        written = {file.node.inode: file.content for file in files if file.content is not None}
        contents = [content.id for content in written.values()]
        self._leases.take_many(
            [
                (file.content.id, file.node.inode, file.node.names[0].name)
                for file in files
                if file.content is not None
            ]
        )
        try:
            if chunks:
                with self._seam.operation(f"write {len(files)} files"):
                    self._relaxed_chunks.insert_many(chunks, ordered=False)
                if not self._leases.confirm_many(contents):
                    raise Damaged(_GIVEN_UP)
                with self._seam.operation(f"publish {len(documents)} contents"):
                    self._files.insert_many(documents, ordered=False)
            refused = self._tree.insert_many([file.node for file in files])
            if not self._leases.confirm_many(contents):
                self._take_back([file.node for file in files if file.node.inode not in refused])
                raise Damaged(_GIVEN_UP)
        except FileSystemError:
            for each in contents:
                self._leases.forsake(each)  # the sweep finds out what arrived
            raise
        for inode, content in written.items():
            if inode in refused:
                self._commits.abandon(content.id)
            else:
                self._leases.finish(content.id)
        self._leases.release_finished()
        return refused

    def _take_back(self, nodes: Sequence[Node]) -> None:
        """Remove new nodes, since their contents may be gone, whoever changed them meanwhile."""
        for node in nodes:
            now: Node | None = node
            while now is not None and now.content == node.content:
                try:
                    self._commits.remove(now)
                    break
                except Conflict:
                    now = self._tree.get(node.inode)

    def _documents(
        self, files: Sequence[NewFile]
    ) -> tuple[list[Document], list[Document], list[Document]]:
        chunks, documents = [], []
        for file in files:
            if file.content is None:
                continue
            key = content_key(file.content.id)
            chunks += [
                {"_id": bson.ObjectId(), "files_id": key, "n": n, "data": data}
                for n, data in enumerate(file.chunks)
            ]
            documents.append(self._contents.file_document(file.content, file.path))
        return chunks, documents, [encode_node(file.node) for file in files]

    def _taken(self, files: Sequence[NewFile]) -> set[Inode]:
        """Those whose names others have."""
        by_parent: dict[Inode, list[NewFile]] = {}
        for file in files:
            by_parent.setdefault(file.node.parent, []).append(file)
        taken: set[Inode] = set()
        for parent, group in by_parent.items():
            names = self._tree.find_many(parent, [file.node.names[0].name for file in group])
            taken |= {file.node.inode for file in group if file.node.names[0] in names}
        return taken

    def _without_folder(self, files: Sequence[NewFile]) -> set[Inode]:
        """Take back those whose folder was removed or sealed meanwhile.

        Who did may not know them; those that were sealed with it stay.
        """
        folders = {file.node.parent for file in files}
        closed = folders - self._tree.open_folders(list(folders))
        lost = set()
        for node in (file.node for file in files if file.node.parent in closed):
            with suppress(ReadOnly):
                self._commits.unlink(node, node.names[0])
                lost.add(node.inode)
        return lost
