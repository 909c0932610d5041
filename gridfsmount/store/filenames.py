"""`fs.files.filename`: the path that drivers know a content by, where several files may show it.

A fork shows the contents of the version that it came from, and a files document has one filename.
It is the path of a file that shows the content: that of the first, as long as there is one. So who
renames another file that shows it leaves the filename as it is, and who takes the first one away
tells drivers the path of one that is left.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from gridfsmount.core.model import NO_FOLDER, ROOT, UNSORTED, ContentId, Inode, Name, Node
from gridfsmount.store.connection import Connection
from gridfsmount.store.contents import Contents, set_filename
from gridfsmount.store.encoding import Document, content_id, content_key, lake_metadata
from gridfsmount.store.naming import first_name
from gridfsmount.store.tree import Tree
from gridfsmount.store.undecoded import is_utf8


class Filenames:
    """Tells drivers where contents are."""

    def __init__(self, connection: Connection, tree: Tree, contents: Contents) -> None:
        """Work on the lake of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._files = connection.acknowledged("files")
        self._tree = tree
        self._contents = contents

    def tell(self, node: Node, path: str) -> None:
        """A file has this path now; contents below `unsorted` keep the filenames they have."""
        content = node.content
        if content is None or node.version == UNSORTED:
            return
        if len(self._tree.by_content(content, limit=2)) > 1:
            filename = self._contents.filename(content)
            owner = None if filename is None else self._tree.at(filename)
            if owner is not None and owner.content == content and owner.inode != node.inode:
                return
        self._contents.rename(content, path)

    def settle(self, contents: Sequence[ContentId]) -> None:
        """Some contents lost a file, which others may show still: tell the path of one of these."""
        shown = self.of(contents)
        with self._seam.operation(f"read {len(shown)} filenames"):
            fields = {"filename": 1, "metadata.lake.filename": 1, "metadata.lake.content": 1}
            known = [content_key(each) for each in shown]
            documents = list(self._files.find({"_id": {"$in": known}}, fields))
        changes: dict[tuple[str, str], list[Any]] = {}
        for document in documents:
            content, filename = content_id(document["_id"]), document.get("filename")
            # What a driver has renamed, the tree will follow.
            if not isinstance(filename, str) or filename != lake_metadata(document).get("filename"):
                continue
            if not is_utf8(filename):
                continue
            here = shown.get(content)
            if here and filename not in here:
                changes.setdefault(_unlike(filename, min(here)), []).append(document["_id"])
        for (old, new), ids in changes.items():
            self._replace(old, new, ids)

    def _replace(self, old: str, new: str, ids: Sequence[Any]) -> None:
        """Tell drivers other paths of some contents, which differ in how they begin."""
        rest = {"$substrBytes": ["$filename", len(old.encode()), {"$strLenBytes": "$filename"}]}
        below: Document = {"$gte": f"{old}/", "$lt": f"{old}0"}  # "0" is the character after "/"
        query = {"_id": {"$in": list(ids)}, "$or": [{"filename": old}, {"filename": below}]}
        path = {"$concat": [{"$literal": new}, rest]}
        self._seam.insist(
            f"tell drivers {len(ids)} paths",
            lambda: self._files.update_many(query, [set_filename(path)]),
            factor=5,
        )

    def of(self, contents: Sequence[ContentId]) -> dict[ContentId, set[str]]:
        """The paths of the files that show some contents, but for those below `unsorted`."""
        keys = [content_key(each) for each in contents]
        shown: dict[ContentId, list[Name]] = {}
        query: Document = {"content": {"$in": keys}, "version": {"$ne": UNSORTED}}
        with self._seam.operation(f"find the nodes of {len(keys)} contents", factor=5):
            for node in self._nodes.find(query, {"content": 1, "names": {"$slice": 1}}):
                name = first_name(node)
                if name is not None:
                    shown.setdefault(content_id(node["content"]), []).append(name)
        paths = self._paths({name for names in shown.values() for name in names})
        found = {
            content: {paths[name] for name in names if name in paths}
            for content, names in shown.items()
        }
        return {content: here for content, here in found.items() if here}

    def _paths(self, names: Set[Name]) -> dict[Name, str]:
        """Paths below the root of those names that hang on it, whose folders are few.

        A fork in the making is where it will be.
        """
        above: dict[Inode, _Folder] = {}
        wanted = {name.parent for name in names}
        while wanted:
            fields = {"names": {"$slice": 1}, "detached.path": 1}
            with self._seam.operation("find the paths of folders"):
                found = {
                    Inode(each["_id"]): _Folder(first_name(each), _place(each.get("detached")))
                    for each in self._nodes.find({"_id": {"$in": list(wanted)}}, fields)
                }
            above |= found
            parents = {each.name.parent for each in found.values() if each.name is not None}
            wanted = parents - above.keys() - {NO_FOLDER}
        return {name: path for name in names if (path := _path(name, above)) is not None}


@dataclass(frozen=True, slots=True)
class _Folder:
    name: Name | None
    place: str | None
    """Of a version that hangs in no folder: where it will be, or was."""


def _place(detached: object) -> str | None:
    path = detached.get("path") if isinstance(detached, Mapping) else None
    return path if isinstance(path, str) and is_utf8(path) else None


def _unlike(old: str, new: str) -> tuple[str, str]:
    """What is left of two paths without the last parts that they have in common."""
    ones, others = old.split("/"), new.split("/")
    while len(ones) > 1 and len(others) > 1 and ones[-1] == others[-1]:
        ones.pop()
        others.pop()
    return "/".join(ones), "/".join(others)


def _path(name: Name, above: Mapping[Inode, _Folder]) -> str | None:
    parts, seen = [name.name], {name.parent}
    parent = name.parent
    while parent != ROOT:
        folder = above.get(parent)
        if folder is None or folder.name is None:
            return None
        if folder.place is not None:
            parts.append(folder.place)
            break
        parent = folder.name.parent
        if parent in seen:  # a loop in the tree leads nowhere
            return None
        seen.add(parent)
        parts.append(folder.name.name)
    return "/".join(reversed(parts))
