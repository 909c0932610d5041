"""What fsspec is told of files and folders."""

import stat
from collections.abc import Iterator
from typing import Any, Final

from gridfsmount.core.model import SHELVES, Content, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.door.lakes import Door
from gridfsmount.errors import NotFound
from gridfsmount.places import LakePath

Info = dict[str, Any]

PAGE: Final = 1000
"""Names of a folder that are listed with one query."""

_TYPES: Final = {
    Kind.FILE: ("file", stat.S_IFREG, 0o644),
    Kind.DIRECTORY: ("directory", stat.S_IFDIR, 0o755),
    Kind.SYMLINK: ("link", stat.S_IFLNK, 0o777),
    Kind.FIFO: ("other", stat.S_IFIFO, 0o644),
    Kind.SOCKET: ("other", stat.S_IFSOCK, 0o644),
}


def described(node: Node, name: str, content: Content | None = None) -> Info:
    """A node as fsspec knows files; `content` adds the SHA-256, if that is known."""
    type_, format_, mode = _TYPES[node.kind]
    info: Info = {
        "name": name,
        "size": node.size,
        "type": type_,
        "mtime": node.mtime_ns / 1e9,
        "created": (node.created_ns or node.ctime_ns) / 1e9,
        "mode": format_ | (mode if node.mode is None else node.mode),
        "ino": node.inode,
        "nlink": len(node.names),
        "islink": False,
    }
    if node.uid is not None and node.gid is not None:
        info |= {"uid": node.uid, "gid": node.gid}
    if content is not None and content.sha256 is not None:
        info["sha256"] = content.sha256.hex()
    return info


def look(door: Door, path: LakePath, name: str) -> Info:
    """What is at a path, links followed, as fsspec knows it under `name`."""
    opening = door.paths.open(path, whole=False)
    return described(opening.node, name, opening.content)


def entries(door: Door, path: LakePath, name: str) -> Iterator[Info]:
    """What is in a folder, each below `name`, in the order of names.

    A link to a file is shown as that file, one to anything else as a link, so that who walks
    through a tree meets everything once.

    Raises:
        NotFound: there is nothing.
        NotADirectory: there is something else.
    """
    folder, real = door.paths.folder(path)
    prefix = f"{name}/" if name else ""
    if folder.parent in SHELVES:
        latest = door.paths.child(folder, LATEST)
        if latest is not None:
            yield _link(latest, f"{prefix}{LATEST}", latest.names[0].name)
    after: str | None = ""
    while after is not None:
        page = door.lake.tree.page(folder.inode, after, PAGE)
        for each, node in page.entries:
            if node.kind is Kind.SYMLINK:
                yield _followed(door, node, real.below(each), f"{prefix}{each}")
            else:
                yield described(node, f"{prefix}{each}")
        after = page.last


def _followed(door: Door, link: Node, path: LakePath, name: str) -> Info:
    try:
        node = door.paths.look(path)
    except NotFound:
        node = link
    if node.kind is Kind.FILE:
        return {**described(node, name), "islink": True, "destination": link.target}
    return _link(link, name, link.target)


def _link(node: Node, name: str, target: str) -> Info:
    return {
        **described(node, name),
        "size": 0,
        "type": "link",
        "islink": True,
        "destination": target,
    }
