"""A whole directory tree as plain data, to be compared with another."""

# Paths as the operations have them.
# ruff: noqa: PTH115, PTH208

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tests.model.operations import Look, look, read_file, user_attributes


@dataclass(frozen=True, slots=True)
class Leaf:
    """One name, and all that can be asked about it."""

    look: Look
    content: bytes | None
    """Of a regular file."""
    target: str | None
    """Of a symbolic link."""
    xattrs: tuple[tuple[str, bytes], ...]
    same_as: str
    """The first path of the same inode: hard links name the same one."""


def tree(root: Path) -> dict[str, Leaf]:
    """Everything below `root`, by path relative to it; `root` itself is "."."""
    first_paths: dict[int, str] = {}
    found: dict[str, Leaf] = {}
    for path in _walk(root, "."):
        absolute = f"{root}/{path}"
        status = os.lstat(absolute)
        kind = stat.S_IFMT(status.st_mode)
        has_xattrs = kind in (stat.S_IFREG, stat.S_IFDIR)
        found[path] = Leaf(
            look=look(status),
            content=read_file(absolute) if kind == stat.S_IFREG else None,
            target=os.readlink(absolute) if kind == stat.S_IFLNK else None,
            xattrs=tuple(
                (name, os.getxattr(absolute, name))
                for name in (user_attributes(absolute) if has_xattrs else ())
            ),
            same_as=first_paths.setdefault(status.st_ino, path),
        )
    return found


def _walk(root: Path, path: str) -> list[str]:
    paths = [path]
    if path == "." or stat.S_ISDIR(os.lstat(f"{root}/{path}").st_mode):
        for name in sorted(os.listdir(f"{root}/{path}")):
            paths += _walk(root, name if path == "." else f"{path}/{name}")
    return paths
