"""What can be wrong with a lake, and what to do about it."""

import enum
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.model import ContentId, Inode


class Fault(enum.Enum):
    """What is wrong; the value is its name for people and programs."""

    MISSING_CHUNK = "missing chunk"
    EXTRA_CHUNK = "extra chunk"
    WRONG_LENGTH = "wrong length"
    WRONG_HASH = "wrong hash"
    WRONG_FILENAME = "wrong filename"
    RENAMED = "renamed by a driver"
    DANGLING = "dangling"
    WRONG_SIZE = "wrong size"
    UNREACHABLE_CONTENT = "unreachable content"
    UNREACHABLE_NODE = "unreachable node"
    STRAY_CHUNKS = "stray chunks"
    LOST_NAME = "lost name"
    CYCLE = "cycle"
    INTERRUPTED = "interrupted rename"
    MALFORMED_NODE = "malformed node"
    MALFORMED_CONTENT = "malformed content"
    MISSING_INDEX = "missing index"
    MISSING_FOLDER = "missing folder"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one thing."""

    fault: Fault
    path: str
    """Where it is seen; what it was called, for what nobody sees."""
    detail: str
    inode: Inode | None = None
    content: ContentId | None = None

    @property
    def todo(self) -> str:
        """What a person can do."""
        return ADVICE[self.fault]


REPAIRABLE: Final = frozenset(
    {
        Fault.WRONG_HASH,
        Fault.WRONG_LENGTH,
        Fault.MISSING_CHUNK,
        Fault.WRONG_FILENAME,
        Fault.DANGLING,
        Fault.WRONG_SIZE,
        Fault.UNREACHABLE_CONTENT,
        Fault.UNREACHABLE_NODE,
        Fault.LOST_NAME,
        Fault.CYCLE,
        Fault.INTERRUPTED,
        Fault.MISSING_INDEX,
        Fault.MISSING_FOLDER,
    }
)
"""What `--repair` can mend, at least sometimes."""

_REPAIR: Final = "check --repair"

_FROM_BACKUP: Final = (
    f"{_REPAIR} --from VAULT heals it; or copy the file back from a backup; reading this part "
    "gives EIO"
)

ADVICE: Final = {
    Fault.MISSING_CHUNK: _FROM_BACKUP,
    Fault.EXTRA_CHUNK: "harmless to the mount; copy the file, then remove the old one",
    Fault.WRONG_LENGTH: _FROM_BACKUP,
    Fault.WRONG_HASH: _FROM_BACKUP,
    Fault.WRONG_FILENAME: f"{_REPAIR} tells drivers the path in the tree",
    Fault.RENAMED: "mount the lake once so that it may write: the tree follows",
    Fault.DANGLING: f"{_REPAIR} if the trash has it; else copy the file back, or remove it",
    Fault.WRONG_SIZE: f"{_REPAIR} takes the content's length",
    Fault.UNREACHABLE_CONTENT: f"{_REPAIR} shows it in unsorted/lost+found",
    Fault.UNREACHABLE_NODE: f"{_REPAIR} shows it in a lost+found; gc removes it if it is empty",
    Fault.STRAY_CHUNKS: "gc --stray-chunks removes them",
    Fault.LOST_NAME: f"{_REPAIR} takes the name away; the others stay",
    Fault.CYCLE: f"{_REPAIR} shows it in a lost+found",
    Fault.INTERRUPTED: f"{_REPAIR} puts it back",
    Fault.MALFORMED_NODE: "mend the document in the tree by hand: docs/format.md",
    Fault.MALFORMED_CONTENT: "mend or remove the files document with a driver",
    Fault.MISSING_INDEX: f"{_REPAIR} makes it; so does a mount that may write",
    Fault.MISSING_FOLDER: f"{_REPAIR} makes it; so does a mount that may write",
}
"""What to do, by fault."""
