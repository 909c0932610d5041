"""Operations that took long, in the log, with the file that each was about.

What is told comes from memory alone: where the server is slow, nobody must ask it for a path. So a
path may be as it was a moment ago, and its beginning may be missing: `.../v1/train.bin`.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from gridfsmount.core.model import SNAPSHOTS, ContentId, Inode
from gridfsmount.core.names import decode_name
from gridfsmount.errors import FileSystemError
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG, Part, is_of_snapshots
from gridfsmount.vfs.recent import UNKNOWN, RecentNodes
from gridfsmount.vfs.snapshots.slots import Slots

log = logging.getLogger(__name__)

_OF_FILES: Final = frozenset({"read", "write", "flush", "fsync", "release"})
"""Operations whose first argument is the handle of a file."""

_OF_LISTINGS: Final = frozenset({"readdir", "releasedir", "fsyncdir"})
"""The same of a folder."""

_NAMING: Final = frozenset(
    {"lookup", "mkdir", "mknod", "symlink", "unlink", "rmdir", "rename", "create"}
)
"""Operations whose second argument is a name in the folder that the first one is."""

_ROOTLESS: Final = frozenset({"statfs"})
"""Operations that are about no file."""


MOST_A_MINUTE: Final = 100
"""Lines: a server that is silent for an hour must not push all else out of the log."""


class SlowLog:
    """Tells of slow operations; called by whoever has measured one."""

    def __init__(
        self,
        lake: Part,
        snapshots: Part,
        recent: RecentNodes | None,
        slots: Slots,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look for paths in `recent`, and in `slots` for those of snapshots.

        `lake` and `snapshots` may be the same, as in a mount of vaults alone.
        """
        self._lake = lake
        self._snapshots = snapshots
        self._recent = recent
        self._slots = slots
        self._clock = clock
        self._since = -math.inf
        """When the minute began."""
        self._told = 0
        """Lines in this minute."""
        self._untold = 0

    def __call__(self, operation: str, arguments: Sequence[object], seconds: float) -> None:
        """Tell of one operation that took `seconds`, by its name and arguments in pyfuse3.

        Asks nobody and raises nothing, whatever the arguments are.
        """
        if not self._has_room():
            return
        try:
            path, content = self._whereabouts(operation, arguments)
        except Exception:  # the operation itself went well, or has told why not
            log.exception("where a slow %s was cannot be told; please report this", operation)
            return
        size = _size(operation, arguments)
        about = [path]
        if content is not None:
            about.append(f"content {content}")
        if size is not None:
            about.append(f"{size} bytes")
        log.warning(
            "slow: %s took %.2f s: %s",
            operation,
            seconds,
            ", ".join(about),
            extra={
                "operation": operation,
                "path": path,
                "content": None if content is None else str(content),
                "seconds": round(seconds, 3),
                "bytes": size,
            },
        )

    def _has_room(self) -> bool:
        now = self._clock()
        if now - self._since >= 60:
            if self._untold:
                log.warning("slow: %d more operations in the minute before", self._untold)
            self._since, self._told, self._untold = now, 0, 0
        self._told += 1
        if self._told <= MOST_A_MINUTE:
            return True
        self._untold += 1
        return False

    def _whereabouts(
        self, operation: str, arguments: Sequence[object]
    ) -> tuple[str, ContentId | None]:
        """Path and content; "/" is the root."""
        number = arguments[0] if arguments else None
        if operation in _ROOTLESS or not isinstance(number, int):
            return "/", None
        content = None
        inode: Inode | None = Inode(number)
        if operation in _OF_FILES:
            part = self._snapshots if number & SNAPSHOTS_FLAG else self._lake
            inode, content = part.files.about(number) or (None, None)
        elif operation in _OF_LISTINGS:
            part = self._snapshots if number & SNAPSHOTS_FLAG else self._lake
            inode = part.directories.about(number)
        elif self._recent is not None and not is_of_snapshots(number):
            node = self._recent.recall(Inode(number))
            content = None if node is None else node.content
        if inode is None:  # closed meanwhile
            return UNKNOWN, content
        path = self._path(inode)
        if operation in _NAMING and len(arguments) > 1 and isinstance(arguments[1], bytes):
            path = f"{path.rstrip('/')}/{_text(arguments[1])}"
        return path or "/", content

    def _path(self, inode: Inode) -> str:
        if inode == SNAPSHOTS:
            return "/snapshots"
        if inode & SNAPSHOTS_FLAG:
            try:
                return f"/snapshots/{self._slots.of(inode).name}/{UNKNOWN}"
            except FileSystemError:
                return f"/snapshots/{UNKNOWN}"
        if self._recent is None:
            return ""
        known = self._recent.known_path(inode)
        return known if known.startswith(UNKNOWN) else f"/{known}"


def _size(operation: str, arguments: Sequence[object]) -> int | None:
    """Bytes that were to be read or written."""
    if len(arguments) < 3:
        return None
    asked = arguments[2]
    if operation == "read" and isinstance(asked, int):
        return asked
    if operation == "write" and isinstance(asked, bytes | bytearray | memoryview):
        return len(asked)
    return None


def _text(name: bytes) -> str:
    try:
        return decode_name(name)
    except FileSystemError:
        return name.decode(errors="backslashreplace")
