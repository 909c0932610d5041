"""The values that every layer speaks of: inodes, contents, attributes, and the fixed folders.

Frozen and slotted, so that they can be shared between tasks and threads without locks.
"""

import enum
from dataclasses import dataclass, field
from typing import Final, NewType

Inode = NewType("Inode", int)
"""Number of a node; also the kernel's inode number, stable across mounts."""

ROOT: Final = Inode(1)  # FUSE_ROOT_ID: the kernel asks for this one first
DATASETS: Final = Inode(2)
MODELS: Final = Inode(3)
SNAPSHOTS: Final = Inode(4)
UNSORTED: Final = Inode(5)

AREAS: Final = {
    "datasets": DATASETS,
    "models": MODELS,
    "snapshots": SNAPSHOTS,
    "unsorted": UNSORTED,
}
"""The folders of the root, by name."""

SHELVES: Final = frozenset({DATASETS, MODELS})
"""The areas that hold named folders of versions."""

FIRST_FREE_INODE: Final = 1024
"""Smaller numbers are kept for fixed folders."""

NO_FOLDER: Final = Inode(0)
"""Parent of nodes that no folder lists: the root, and a node in the middle of being replaced."""

LATEST_FLAG: Final = 1 << 60
"""`latest` has no document: its inode number is that of its folder with this bit set."""


class Kind(enum.Enum):
    """What a node is; the value is what the database stores."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"


class State(enum.Enum):
    """State of a version."""

    DRAFT = "draft"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class ContentId:
    """Identity of a content: the `_id` of its `fs.files` document, of any BSON type.

    `bson` is the encoded document `{"": _id}`: exact (an int32 and an int64 stay apart), hashable,
    and opaque above the store.
    """

    bson: bytes
    text: str = field(compare=False)
    """For messages and logs."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Content:
    """One immutable GridFS file."""

    id: ContentId
    length: int
    """Bytes."""
    chunk_size: int
    """Bytes in every chunk but the last."""
    sha256: bytes | None = None
    chunk_xxh3: bytes | None = None
    """XXH3-64 of every chunk, 8 big-endian bytes each, in order; None when not known."""
    uploaded_ms: int = 0
    """When a content without hashes was uploaded, in milliseconds since 1970: a driver may remove
    it and upload another under the same `_id`. 0 where the hashes tell contents apart."""


@dataclass(frozen=True, slots=True)
class Name:
    """One directory entry that points to a node."""

    parent: Inode
    name: str


@dataclass(frozen=True, slots=True)
class Seal:
    """What was said and counted when a version was sealed."""

    at_ns: int
    """Of the server's clock, in nanoseconds since 1970."""
    by: str
    """Who did, as in "ana@gpu1"."""
    message: str
    files: int
    bytes: int
    digest: str
    """SHA-256 of the version's manifest, in hex."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """An attempt to seal a version that is under way: nothing in it changes meanwhile."""

    attempt: str
    by: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Origin:
    """A version that another came from."""

    version: Inode
    path: str
    """As it was then, as in datasets/mnist/v1."""
    digest: str = ""
    """In hex; empty when it was a draft."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a version was made from: the data that a model was trained on."""

    origin: Origin
    note: str
    by: str
    at_ns: int
    """Of the server's clock."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a version as a whole."""

    by: str = ""
    """Who made it; empty when that was not noted."""
    seal: Seal | None = None
    sealing: Sealing | None = None
    parent: Origin | None = None
    """What it was forked from."""
    sources: tuple[Source, ...] = ()
    detached: bool = False
    """It hangs in no folder, since it is being made or removed."""


@dataclass(frozen=True, slots=True)
class Node:
    """One document of `fs.tree`: a file, a directory, or another named thing."""

    inode: Inode
    kind: Kind
    names: tuple[Name, ...]
    mode: int | None
    """Permission bits (07777); None for adopted nodes, which show the mount's defaults."""
    uid: int | None
    gid: int | None
    mtime_ns: int
    ctime_ns: int
    atime_ns: int | None = None
    """Only what `utimensat` set: reads do not touch it."""
    size: int = 0
    """Bytes of a file; 0 for the rest."""
    content: ContentId | None = None
    target: str = ""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    version: Inode | None = None
    """The version it lies in (a version's own number for itself), or UNSORTED."""
    state: State | None = None
    """Of a version; None for everything else."""
    created_ns: int = 0
    """When a version was made; 0 for everything else."""
    record: Record | None = None
    """Of a version; None for everything else."""
    frozen: str = ""
    """The attempt to seal its version from which on it cannot change; empty while it can."""
    rev: int = 0
    """Grows with every change of the document."""

    @property
    def parent(self) -> Inode:
        """Of a directory, which has exactly one name."""
        return self.names[0].parent


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` shows of a node, with all defaults filled in."""

    inode: Inode
    kind: Kind
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    settled: bool = False
    """It lies in a sealed version, so none of this ever changes."""
    fleeting: bool = False
    """Its name is replaced again and again: whoever follows it must ask each time."""


@dataclass(frozen=True, slots=True)
class Change:
    """What `chmod`, `chown`, `utimensat` and `truncate` ask for; None leaves a field alone."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """Figures of the disk that the server keeps its data on."""

    total: int
    """Bytes."""
    free: int
    """Bytes."""
    nodes: int
    """Documents in the tree."""
