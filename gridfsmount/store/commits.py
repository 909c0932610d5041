"""Changes that span several documents, each in an order that can lose no data.

Where the deployment has transactions, a rename over an existing name is one. Everything else is
ordered so that a crash after any step leaves either the old or the new state visible, and at
worst something for `check` and the sweep to find: a trash entry for a live content, a content
without a name, a filename that lags behind.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gridfsmount.core.model import UNSORTED, Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    DirectoryNotEmpty,
    FileSystemError,
    LakeError,
    NotFound,
    ReadOnly,
    Stale,
    StoreUnavailable,
)
from gridfsmount.store.connection import DURABLE, Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.filenames import Filenames
from gridfsmount.store.leases import Leases
from gridfsmount.store.trash import Trash
from gridfsmount.store.tree import Tree

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_LINKS: Final = 1000
"""Hard links of one file: all names are in one document."""


class Commits:
    """Creation, removal, renaming of nodes, and the commit of contents."""

    def __init__(
        self,
        connection: Connection,
        tree: Tree,
        contents: Contents,
        trash: Trash,
        leases: Leases,
        filenames: Filenames,
    ) -> None:
        """Combine the collections of one lake."""
        self._connection = connection
        self._tree = tree
        self._contents = contents
        self._filenames = filenames
        self._trash = trash
        self._leases = leases
        self._unfinished: set[Inode] = set()
        """Nodes that renames of this mount have set aside, or may have."""

    def create(self, node: Node) -> None:
        """Add a node below an existing directory.

        It may show a content that is there, as another node does or did.

        Raises:
            AlreadyExists: the name is taken.
            NotFound: the directory was removed meanwhile.
            ReadOnly: its version was sealed meanwhile.
            Conflict, Damaged: the content was erased meanwhile.
        """
        if not self._tree.insert_below(node) and self._tree.discard(node.inode):
            raise self._tree.refusal(node.parent, Stale(f"inode {node.parent}"))
        if node.content is not None:
            try:
                self._trash.keep(node.content)
            except (Conflict, Damaged):
                self._tree.discard(node.inode)
                raise

    def add_link(self, node: Node, name: Name) -> Node:
        """Give a file one more name."""
        linked = self._tree.set_names(node, (*node.names, name), time.time_ns())
        if not self._tree.open_folders([name.parent]):
            self._take_back(linked, node.names, node.version, name.parent)
        return linked

    def unlink(self, node: Node, name: Name) -> Node | None:
        """Take one name from anything but a directory; returns what is left of the node.

        Raises:
            Conflict: the node changed meanwhile.
        """
        rest = tuple(each for each in node.names if each != name)
        if rest:
            left = self._tree.set_names(node, rest, time.time_ns())
            if node.content is not None and node.names[0] == name:
                self._retell(left, "")
            return left
        self.remove(node)
        return None

    def remove(self, node: Node) -> None:
        """Remove a node that is no directory, or an empty one that nothing leads to.

        Raises:
            Conflict: the node changed meanwhile.
        """
        if node.content is not None:
            self._trash.announce(node.content, node.names[0].name)
        self._tree.delete(node)
        if node.content is not None:
            self._trash.settle(node.content)

    def rename(
        self, node: Node, old: Name, new: Name, target: Node | None, version: Inode | None
    ) -> Node:
        """Give a node another name, in place of `target` if that is there.

        Args:
            node: what is renamed; never the same as `target`.
            old: the name it gives up.
            new: the name it takes.
            target: what has that name now: empty, if it is a directory.
            version: the version that `new` lies in; None leaves the node's as it is.

        Raises:
            Conflict, AlreadyExists: something changed meanwhile; look again.
            DirectoryNotEmpty: `target` is a directory with entries.
            NotFound: the new directory was removed meanwhile.
            ReadOnly: its version was sealed meanwhile.
        """
        old_path = self._path(old) if node.kind is Kind.DIRECTORY else ""
        names = tuple(new if each == old else each for each in node.names)
        now = time.time_ns()
        if target is None:
            renamed = self._tree.set_names(node, names, now, version=version)
        else:
            renamed = self._replace(node, names, new, target, version, now)
        folder = self._tree.path(new.parent)
        if folder is None or (version is not None and not self._tree.open_folders([new.parent])):
            self._take_back(renamed, node.names, node.version, new.parent)
        if renamed.names[0] == new and folder is not None:
            self._tell(renamed, old_path, f"{folder}/{new.name}")
        return renamed

    def exchange(self, one: Node, one_name: Name, other: Node, other_name: Name) -> None:
        """Swap the names of two nodes of one version."""
        one_path, other_path = self._path(one_name), self._path(other_name)
        now = time.time_ns()

        mine: set[Inode] = set()

        def swap(session: ClientSession | None) -> tuple[Node, Node]:
            parked = self._park(other, other_name, (other_name, one_name), session, mine)
            first = self._tree.set_names(
                one, _swapped(one, one_name, other_name), now, session=session
            )
            names = (*(n for n in parked.names if n.parent != 0), one_name)
            second = self._insist(
                parked,
                lambda node: self._tree.set_names(node, names, now, session=session),
                session,
            )
            return first, second

        first, second = self._atomically(swap, aside=mine)
        # Through a third name, so that the two folders' contents do not mix.
        aside = f"{one_path}~{one.inode}"
        self._contents.rename_folder(one_path, aside)
        self._retell(second, other_path)
        self._contents.rename_folder(aside, other_path)
        self._retell(first, other_path)

    def commit(
        self,
        node: Node,
        path: str,
        content: Content | None,
        pages: Sequence[tuple[int, bytes]],
        mtime_ns: int,
        clear_mode: int,
    ) -> Node | None:
        """Publish a content and make it a file's.

        Args:
            node: the file, as the writer knows it.
            path: where it is, as the writer knows it: the filename that drivers see.
            content: the new content; None for an empty file.
            pages: its chunks, to be written in the same transaction; none when they are there.
            mtime_ns: time of the last write.
            clear_mode: permission bits that writing takes away (set-user-ID and the like).

        Returns:
            The node, or None when its last name is gone: then nothing was published.

        Raises:
            Damaged: the lease expired, and the chunks were swept away.
        """
        replaced = node.content
        if replaced is not None and node.version == UNSORTED:
            path = self._contents.filename(replaced) or path  # drivers know it by that
        if content is not None and not pages:
            if not self._leases.confirm(content.id):
                raise Damaged(f"{path}: the upload was idle for too long and was given up")
            self._contents.publish(content, path)
        if replaced is not None:
            self._trash.announce(replaced, path)

        def write(session: ClientSession | None) -> tuple[ContentId | None, Node] | None:
            if content is not None and pages:
                self._contents.put_whole(content, pages, path, session)
            shown = self._tree.show(node.inode, content, mtime_ns, clear_mode, session)
            if shown is None and pages:
                raise NotFound(path)  # ends the transaction: nothing was published
            return shown

        try:
            shown = self._atomically(write) if pages else write(None)
        except NotFound:
            shown = None
        if shown is None:
            if content is not None and not pages:
                self._contents.hide(content.id)  # its chunks serve the handles that are open
            return None
        before, committed = shown
        try:
            if committed.names[0] != node.names[0]:
                self._retell(committed, path)  # it was renamed meanwhile
            if before is not None and before != replaced:
                # Another machine committed in between: the last commit wins.
                self._trash.announce(before, path)
                self._trash.settle(before)
            if replaced is not None:
                self._trash.settle(replaced)
        except FileSystemError as error:
            # Committed it is, and a failure would say that it is not. The sweep does the rest.
            log.warning("%s is committed, but something is left undone: %s", path, error)
        if content is not None and not pages:
            self._leases.finish(content.id)
        return committed

    def share(self, node: Node, content: Content, mtime_ns: int) -> None:
        """Make a file show a content that another file shows, as a commit of it would.

        Raises:
            Conflict: the node changed meanwhile, or the content is being erased; look again.
            Damaged: the content is gone.
        """
        replaced = None if node.content == content.id else node.content
        if replaced is not None:
            self._trash.announce(replaced, node.names[0].name)
        self._tree.relink(node, content.id, content.length, mtime_ns)
        try:
            self._trash.keep(content.id)
        except (Conflict, Damaged):
            now = replace(node, rev=node.rev + 1)
            if replaced is None:
                self._tree.show(node.inode, None, node.mtime_ns, 0)
            else:
                self._tree.relink(now, replaced, node.size, node.mtime_ns)
            raise
        if replaced is not None:
            self._trash.settle(replaced)

    def abandon(self, content: ContentId) -> None:
        """Remove the chunks of a content that will not be published, then its lease.

        A commit whose answer was lost may have published it all the same: then it stays. One that
        the server has not seen yet must not succeed any more.
        """
        self._leases.forsake(content)
        if not self._shows_for_good(content):
            self._contents.erase(content)
        self._leases.finish(content)

    def sweep_leases(self, *, patiently: bool = False) -> int:
        """Remove what writers that died have left; returns the number of their contents.

        A writer may come back to life at any moment, even after it made sure of its lease. So the
        file is told first never to show that content; and the lease stays for one more term. What
        was committed and is in the trash by now stays there for its time. `patiently`: see
        `Leases.seize_expired`.
        """
        erased = 0
        for content in self._leases.seize_expired(patiently=patiently):
            if self._shows_for_good(content) or self._trash.holds(content):
                self._leases.finish(content)
                continue
            self._contents.erase(content)
            if self._leases.note_erased(content):
                self._leases.finish(content)
            else:
                erased += 1
        self._leases.release_finished()
        return erased

    def recover(self, only: Set[Inode] | None = None) -> None:
        """Finish or undo renames that a crash interrupted (without transactions only)."""
        for node, homes in self._tree.parked():
            if only is None or node.inode in only:
                self._insist(node, partial(self._put_back, homes))

    def _shows_for_good(self, content: ContentId) -> bool:
        """Whether a node shows a leased content; if none does, its file never will."""
        inode = self._leases.inode_of(content)
        if inode is not None:
            self._tree.give_up(inode, content)
        return self._tree.shows(content)

    @property
    def unfinished(self) -> bool:
        """Whether a rename of this mount left a node aside, since the server went away."""
        return bool(self._unfinished)

    def finish_renames(self) -> None:
        """Put back what renames of this mount have set aside and could not put back themselves."""
        unfinished = frozenset(self._unfinished)
        if unfinished:
            self.recover(unfinished)
            self._unfinished.difference_update(unfinished)

    def _park(
        self,
        node: Node,
        lost: Name,
        homes: Sequence[Name],
        session: ClientSession | None,
        mine: set[Inode],
    ) -> Node:
        """Set a node aside, and note in `mine` that it is, or may be if no answer comes."""
        mine.add(node.inode)
        try:
            return self._tree.park(node, lost, homes, session)
        except Conflict:
            mine.discard(node.inode)  # if it is aside, it is another's, who is not through yet
            raise

    def _take_back(
        self, node: Node, names: Sequence[Name], version: Inode | None, folder: Inode
    ) -> None:
        """Give a node its names back, since the folder of a new one takes none any more.

        Unless its version was sealed with the new name: then that is how it stays.

        Raises:
            NotFound, ReadOnly: why the folder takes none.
        """
        try:
            self._tree.set_names(node, names, time.time_ns(), version=version)
        except ReadOnly:
            return
        raise self._tree.refusal(folder, Stale(f"inode {folder}"))

    def _put_back(self, homes: Sequence[Name], node: Node) -> None:
        kept = tuple(each for each in node.names if each.parent != 0)
        for home in homes:
            try:
                self._tree.set_names(node, (*kept, home), node.ctime_ns)
            except AlreadyExists:
                continue
            log.warning("put %r back after an interrupted rename", home.name)
            return
        self._drop_parked(node, kept)

    def _drop_parked(self, node: Node, kept: Sequence[Name]) -> None:
        if kept:
            self._tree.set_names(node, kept, node.ctime_ns)
            return
        self.remove(node)

    def _replace(
        self,
        node: Node,
        names: tuple[Name, ...],
        new: Name,
        target: Node,
        version: Inode | None,
        now: int,
    ) -> Node:
        last = len(target.names) == 1
        if target.kind is Kind.DIRECTORY and self._tree.has_children(target.inode):
            raise DirectoryNotEmpty(new.name)
        if last and target.content is not None:
            self._trash.announce(target.content, new.name)

        mine: set[Inode] = set()
        lost: set[ContentId] = set()

        def delete(parked: Node, session: ClientSession | None) -> None:
            if parked.content is not None:
                if parked.content != target.content:  # another machine wrote to it meanwhile
                    self._trash.announce(parked.content, new.name)
                lost.add(parked.content)
            self._tree.delete(parked, session)

        def replace(session: ClientSession | None) -> tuple[Node, Node | None]:
            parked = self._park(target, new, (new,), session, mine)
            if target.kind is Kind.DIRECTORY and self._tree.has_children(target.inode, session):
                raise DirectoryNotEmpty(new.name)
            renamed = self._tree.set_names(node, names, now, version=version, session=session)
            if last:
                self._insist(parked, lambda node: delete(node, session), session)
                return renamed, None
            rest = tuple(each for each in target.names if each != new)
            left = self._insist(
                parked, lambda node: self._tree.set_names(node, rest, now, session=session), session
            )
            return renamed, left

        renamed, left = self._atomically(replace, aside=mine)
        if target.kind is Kind.DIRECTORY and self._tree.has_children(target.inode):
            # As in Tree.remove_directory: who created an entry saw the directory still there.
            self._tree.set_names(renamed, node.names, now, version=node.version)
            self._tree.insert(target)
            raise DirectoryNotEmpty(new.name)
        for content in lost:
            self._trash.settle(content)
        if left is not None and target.names[0] == new:
            self._retell(left, "")
        return renamed

    def _insist(
        self, parked: Node, change: Callable[[Node], T], session: ClientSession | None = None
    ) -> T:
        """Change a node that is set aside, whatever becomes of its times and attributes meanwhile.

        Without a transaction there is no way back from here: the other name is taken already.
        """
        while True:
            try:
                return change(parked)
            except Conflict:
                now = None if session is not None else self._tree.get(parked.inode)
                if now is None or now.names != parked.names:
                    raise
                parked = now

    def _atomically(
        self, work: Callable[[ClientSession | None], T], *, aside: Set[Inode] = frozenset()
    ) -> T:
        """Run `work` in a transaction; without those, put back what it noted in `aside`."""
        if not self._connection.deployment.transactions:
            try:
                return work(None)
            except LakeError as error:
                self._unfinished.update(aside)
                if not isinstance(error, StoreUnavailable):  # then it has to wait anyway
                    with contextlib.suppress(StoreUnavailable):
                        self.finish_renames()
                raise
        failure: LakeError | None = None

        def attempt(session: ClientSession) -> T:
            nonlocal failure
            try:
                return work(session)
            except LakeError as error:
                failure = error
                cause = error.__cause__
                if isinstance(cause, PyMongoError):
                    raise cause from None  # the driver decides whether to try again
                raise

        try:
            with (
                self._connection.seam.operation("rename"),
                self._connection.client.start_session() as session,
            ):
                return session.with_transaction(
                    attempt,
                    read_concern=ReadConcern("snapshot"),
                    write_concern=DURABLE,
                    read_preference=ReadPreference.PRIMARY,
                )
        except LakeError as error:
            if (
                failure is not None
                and failure is not error
                and error.__cause__ is failure.__cause__
            ):
                raise failure from error.__cause__
            raise

    def _path(self, name: Name) -> str:
        folder = self._tree.path(name.parent)
        return f"{folder}/{name.name}" if folder else name.name

    def _tell(self, node: Node, old_path: str, path: str) -> None:
        """Let drivers see a renamed node under its new path."""
        if node.kind is Kind.DIRECTORY:
            self._contents.rename_folder(old_path, path)
        else:
            self._filenames.tell(node, path)

    def _retell(self, node: Node, old_path: str) -> None:
        path = self._tree.path(node.inode)
        if path is not None:
            self._tell(node, old_path, path)


def _swapped(node: Node, old: Name, new: Name) -> tuple[Name, ...]:
    return tuple(new if each == old else each for each in node.names)
