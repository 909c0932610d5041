"""From a path to what is there.

Links are followed, as the kernel would on a mount: `latest`, tags, and those inside a version.
Folders are believed for a second, as a mount believes them, so that who opens many files of one
folder asks for it once. Files are always asked for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from gridfsmount.core.model import ROOT, SHELVES, Inode, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.core.versions import newest
from gridfsmount.errors import InvalidArgument, NotADirectory, NotFound
from gridfsmount.places import LakePath
from gridfsmount.store.lake import Lake
from gridfsmount.store.openings import Opening

FOLDER_SECONDS: Final = 1.0
"""How long a folder is believed to be where it was: docs/semantics.md, S-OPEN-4."""

MAX_FOLDERS: Final = 10_000
"""Folders that are remembered: some 10 MB."""

MAX_HOPS: Final = 40
"""Links that one path may lead through, as in path_resolution(7)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path's last name is, or would be."""

    folder: Node
    """The deepest folder of the path that is there."""
    at: tuple[str, ...]
    """The path of that, free of links."""
    missing: tuple[str, ...]
    """Folders below it that are not there."""
    name: str

    @property
    def path(self) -> LakePath:
        """The whole path."""
        return LakePath((*self.at, *self.missing, self.name))


class Paths:
    """Looks paths up in one lake; safe to share between threads."""

    def __init__(self, lake: Lake) -> None:
        """Look in `lake`."""
        self._lake = lake
        self._folders: dict[tuple[str, ...], tuple[float, Node, tuple[str, ...]]] = {}

    def forget(self, path: LakePath | None = None) -> None:
        """Believe nothing any more of what is at and below a path, or of anything at all."""
        if path is None:
            self._folders.clear()
            return
        lost, size = path.parts, len(path.parts)
        for parts, (_, _, at) in list(self._folders.items()):
            if parts[:size] == lost or at[:size] == lost:
                self._folders.pop(parts, None)

    def folder(self, path: LakePath) -> tuple[Node, LakePath]:
        """The folder at a path, and where it really is.

        Raises:
            NotFound: there is none.
            NotADirectory: it is none.
        """
        node, at, missing = self._walk(path.parts)
        if missing:
            raise _nothing(path)
        return node, LakePath(at)

    def place(self, path: LakePath) -> Place:
        """Where the last name of a path is; links in the folders above it are followed.

        Raises:
            InvalidArgument: it has no name: it is the root.
            NotADirectory: something above it is no folder.
        """
        if not path.parts:
            raise InvalidArgument("the root of a lake is fixed")
        node, at, missing = self._walk(path.parts[:-1])
        return Place(node, at, missing, path.parts[-1])

    def look(self, path: LakePath) -> Node:
        """What is at a path; links are followed.

        Raises:
            NotFound: nothing.
            NotADirectory: something above it is no folder.
        """
        _, node = self.target(path)
        if node is None:
            raise _nothing(path)
        return node

    def kind(self, path: LakePath) -> Kind:
        """What is at a path, links followed; a folder is believed to be there for a while.

        Raises:
            NotFound, NotADirectory: as for `look`.
        """
        depth, _ = self._remembered(path.parts)
        return Kind.DIRECTORY if depth == len(path.parts) else self.look(path).kind

    def open(self, path: LakePath, *, whole: bool) -> Opening:
        """What is at a path, with its content, and with the bytes of a small file if `whole`.

        Raises:
            NotFound, NotADirectory: as for `look`.
            Damaged: the document of the content makes no sense.
        """
        find = partial(self._lake.openings.find, whole=whole)
        _, opening = self._follow(path, find)
        if opening is None:
            raise _nothing(path)
        return opening

    def target(self, path: LakePath) -> tuple[Place | None, Node | None]:
        """Where a path leads when its last link is followed too, and what is there, if anything.

        There is no place for the root.
        """
        place, opening = self._follow(path, self._find)
        return place, None if opening is None else opening.node

    def _find(self, parent: Inode, name: str) -> Opening | None:
        node = self._lake.tree.find(parent, name)
        return None if node is None else Opening(node, None)

    def _follow(
        self, path: LakePath, find: Callable[[Inode, str], Opening | None]
    ) -> tuple[Place | None, Opening | None]:
        for _ in range(MAX_HOPS):
            if not path.parts:
                return None, Opening(self._root(), None)
            place = self.place(path)
            if place.missing:
                return place, None
            if place.name == LATEST and place.folder.parent in SHELVES:
                version = self._latest(place.folder)
                return place, None if version is None else Opening(version, None)
            opening = find(place.folder.inode, place.name)
            if opening is not None and opening.node.kind is Kind.DIRECTORY:
                self._remember(path.parts, opening.node, place.path.parts)
            if opening is None or opening.node.kind is not Kind.SYMLINK:
                return place, opening
            path = LakePath(_leads(place.at, opening.node))
        raise NotFound(f"{path}: it leads through more than {MAX_HOPS} links")

    def child(self, folder: Node, name: str) -> Node | None:
        """What a folder lists under a name, `latest` included; a link is not followed."""
        if name == LATEST and folder.parent in SHELVES:
            return self._latest(folder)
        return self._lake.tree.find(folder.inode, name)

    def _latest(self, folder: Node) -> Node | None:
        return newest(self._lake.tree.children_of_kind(folder.inode, Kind.DIRECTORY))

    def _walk(
        self, parts: tuple[str, ...], hops: int = 0
    ) -> tuple[Node, tuple[str, ...], tuple[str, ...]]:
        """The deepest folder that is there, its path free of links, and the names below it."""
        if hops > MAX_HOPS:
            raise NotFound(f"{'/'.join(parts)}: it leads through more than {MAX_HOPS} links")
        known, (node, at) = self._remembered(parts)
        for depth in range(known, len(parts)):
            child = self.child(node, parts[depth])
            if child is None:
                return node, at, parts[depth:]
            if child.kind is Kind.SYMLINK:
                node, at, missing = self._walk(_leads(at, child), hops + 1)
                if missing:
                    raise NotFound(f"{'/'.join(parts[: depth + 1])}: the link leads nowhere")
            elif child.kind is Kind.DIRECTORY:
                node, at = child, (*at, child.names[0].name)
            else:
                raise NotADirectory(f"{'/'.join(parts[: depth + 1])} is no folder")
            self._remember(parts[: depth + 1], node, at)
        return node, at, ()

    def _remembered(self, parts: tuple[str, ...]) -> tuple[int, tuple[Node, tuple[str, ...]]]:
        """How much of a path is remembered, and what is there."""
        now = time.monotonic()
        for depth in range(len(parts), 0, -1):
            known = self._folders.get(parts[:depth])
            if known is not None and known[0] > now:
                return depth, known[1:]
        return 0, (self._root(), ())

    def _root(self) -> Node:
        known = self._folders.get(())
        if known is not None and known[0] > time.monotonic():
            return known[1]
        node = self._lake.tree.get(ROOT)
        if node is None:
            raise NotFound("the lake has no root: gridfsmount check tells more")
        self._remember((), node, ())
        return node

    def _remember(self, parts: tuple[str, ...], node: Node, at: tuple[str, ...]) -> None:
        if len(self._folders) >= MAX_FOLDERS:
            self._folders.clear()
        self._folders[parts] = (time.monotonic() + FOLDER_SECONDS, node, at)


def _nothing(path: LakePath) -> NotFound:
    return NotFound(f"there is no {path} in the lake")


def _leads(at: tuple[str, ...], link: Node) -> tuple[str, ...]:
    """The path that a link in the folder `at` leads to.

    Raises:
        NotFound: out of the lake.
    """
    if link.target.startswith("/"):
        raise NotFound(f"the link {link.names[0].name!r} leads out of the lake, to {link.target!r}")
    parts = list(at)
    for part in link.target.split("/"):
        if part == "..":
            if not parts:
                raise NotFound(f"the link {link.names[0].name!r} leads out of the lake")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)
