"""The rules of the tree: what may be where, as a table."""

import pytest

from gridfsmount.core.model import (
    DATASETS,
    MODELS,
    NO_FOLDER,
    ROOT,
    SNAPSHOTS,
    UNSORTED,
    Inode,
    Kind,
    Name,
    Node,
)
from gridfsmount.errors import (
    CrossVersion,
    FileSystemError,
    InvalidArgument,
    NotPermitted,
    ReadOnly,
)
from gridfsmount.vfs.rules import (
    Level,
    check_exchange,
    check_new,
    check_removal,
    check_rename,
    check_target,
    level_of,
)

MNIST, V1, V2, MODEL = Inode(2000), Inode(2001), Inode(2002), Inode(2100)


def node(
    inode: int,
    *names: tuple[Inode, str],
    kind: Kind = Kind.DIRECTORY,
    version: Inode | None = None,
) -> Node:
    return Node(
        inode=Inode(inode),
        kind=kind,
        names=tuple(Name(*each) for each in names),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=0,
        ctime_ns=0,
        version=version,
    )


ROOT_NODE = node(ROOT, (NO_FOLDER, ""))
SHELF = node(DATASETS, (ROOT, "datasets"))
OTHER_SHELF = node(MODELS, (ROOT, "models"))
SNAPSHOT_AREA = node(SNAPSHOTS, (ROOT, "snapshots"))
UNSORTED_AREA = node(UNSORTED, (ROOT, "unsorted"), version=UNSORTED)
FOLDER = node(MNIST, (DATASETS, "mnist"))
OTHER_FOLDER = node(MODEL, (MODELS, "bert"))
TAG = node(2003, (MNIST, "production"), kind=Kind.SYMLINK)
VERSION = node(V1, (MNIST, "v1"), version=V1)
OTHER_VERSION = node(V2, (MNIST, "v2"), version=V2)
SUBDIR = node(3000, (V1, "sub"), version=V1)
FILE = node(3001, (V1, "file"), kind=Kind.FILE, version=V1)
SYMLINK = node(3002, (V1, "link"), kind=Kind.SYMLINK, version=V1)
LINKED = node(3003, (V1, "a"), (V1, "b"), kind=Kind.FILE, version=V1)
OTHER_FILE = node(3004, (V2, "file"), kind=Kind.FILE, version=V2)
UPLOAD = node(4000, (UNSORTED, "x"), kind=Kind.FILE, version=UNSORTED)
UPLOADS_FOLDER = node(4001, (UNSORTED, "folder"), version=UNSORTED)

LEVELS = [
    (ROOT_NODE, Level.FIXED),
    (SHELF, Level.FIXED),
    (OTHER_SHELF, Level.FIXED),
    (SNAPSHOT_AREA, Level.FIXED),
    (UNSORTED_AREA, Level.FIXED),
    (FOLDER, Level.FOLDER),
    (TAG, Level.TAG),
    (VERSION, Level.VERSION),
    (SUBDIR, Level.INSIDE),
    (FILE, Level.INSIDE),
    (SYMLINK, Level.INSIDE),
    (UPLOAD, Level.UNSORTED),
    (UPLOADS_FOLDER, Level.UNSORTED),
]


@pytest.mark.parametrize(("where", "level"), LEVELS)
def test_levels(where: Node, level: Level) -> None:
    assert level_of(where) is level


# Parent; then what mkdir, a new file, ln -s and mkfifo give there.
NEW: list[
    tuple[Node, tuple[Level | type[FileSystemError], ...]]  # in the order of KINDS
] = [
    (ROOT_NODE, (NotPermitted, NotPermitted, NotPermitted, NotPermitted)),
    (SHELF, (Level.FOLDER, NotPermitted, NotPermitted, NotPermitted)),
    (OTHER_SHELF, (Level.FOLDER, NotPermitted, NotPermitted, NotPermitted)),
    (SNAPSHOT_AREA, (ReadOnly, ReadOnly, ReadOnly, ReadOnly)),
    (UNSORTED_AREA, (NotPermitted, NotPermitted, NotPermitted, NotPermitted)),
    (UPLOADS_FOLDER, (NotPermitted, NotPermitted, NotPermitted, NotPermitted)),
    (FOLDER, (Level.VERSION, NotPermitted, Level.TAG, NotPermitted)),
    (VERSION, (Level.INSIDE, Level.INSIDE, Level.INSIDE, Level.INSIDE)),
    (SUBDIR, (Level.INSIDE, Level.INSIDE, Level.INSIDE, Level.INSIDE)),
]
KINDS = (Kind.DIRECTORY, Kind.FILE, Kind.SYMLINK, Kind.FIFO)


@pytest.mark.parametrize(
    ("parent", "kind", "verdict"),
    [(parent, *each) for parent, row in NEW for each in zip(KINDS, row, strict=True)],
)
def test_what_may_be_made_where(
    parent: Node, kind: Kind, verdict: Level | type[FileSystemError]
) -> None:
    if isinstance(verdict, Level):
        assert check_new(parent, "name", kind) is verdict
    else:
        with pytest.raises(verdict):
            check_new(parent, "name", kind)


@pytest.mark.parametrize("name", ["latest", ".git", "a b", "ü", "x" * 129])
@pytest.mark.parametrize(
    ("parent", "kind"),
    [(SHELF, Kind.DIRECTORY), (FOLDER, Kind.DIRECTORY), (FOLDER, Kind.SYMLINK)],
)
def test_names_on_shelves_are_plain(parent: Node, kind: Kind, name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_new(parent, name, kind)


@pytest.mark.parametrize("name", ["latest", ".git", "a b", "ü", "x" * 255])
@pytest.mark.parametrize("parent", [VERSION, SUBDIR])
def test_names_inside_a_version_are_free(parent: Node, name: str) -> None:
    assert check_new(parent, name, Kind.FILE) is Level.INSIDE


@pytest.mark.parametrize("parent", [SHELF, FOLDER, VERSION, SUBDIR, UNSORTED_AREA, UPLOADS_FOLDER])
def test_names_can_be_removed(parent: Node) -> None:
    check_removal(parent)


def test_what_is_fixed_cannot_be_removed() -> None:
    with pytest.raises(NotPermitted):
        check_removal(ROOT_NODE)
    with pytest.raises(ReadOnly):
        check_removal(SNAPSHOT_AREA)


MOVES: list[tuple[Node, Node, Inode | type[FileSystemError] | None]] = [
    # Inside a version everything moves.
    (FILE, VERSION, V1),
    (FILE, SUBDIR, V1),
    (SYMLINK, SUBDIR, V1),
    (SUBDIR, VERSION, V1),
    (LINKED, SUBDIR, V1),
    # To another version: one file alone; the rest is copied.
    (FILE, OTHER_VERSION, V2),
    (SYMLINK, OTHER_VERSION, V2),
    (SUBDIR, OTHER_VERSION, CrossVersion),
    (LINKED, OTHER_VERSION, CrossVersion),
    # Out of unsorted/: one file alone. Into it: nothing.
    (UPLOAD, VERSION, V1),
    (UPLOAD, SUBDIR, V1),
    (UPLOADS_FOLDER, VERSION, CrossVersion),
    (FILE, UNSORTED_AREA, NotPermitted),
    (UPLOAD, UPLOADS_FOLDER, NotPermitted),
    (SUBDIR, UPLOADS_FOLDER, NotPermitted),
    # Versions are renamed, and move to another dataset or model.
    (VERSION, FOLDER, V1),
    (VERSION, OTHER_FOLDER, V1),
    (VERSION, SHELF, CrossVersion),
    (VERSION, OTHER_VERSION, CrossVersion),
    # Datasets and models are renamed, and move to the other shelf.
    (FOLDER, SHELF, None),
    (FOLDER, OTHER_SHELF, None),
    (FOLDER, OTHER_FOLDER, CrossVersion),
    (FOLDER, VERSION, CrossVersion),
    # A tag belongs to its folder.
    (TAG, FOLDER, None),
    (TAG, OTHER_FOLDER, CrossVersion),
    (TAG, SHELF, NotPermitted),
    (TAG, VERSION, CrossVersion),
    # Files do not get onto shelves, and folders only become versions by a copy.
    (FILE, SHELF, NotPermitted),
    (FILE, FOLDER, NotPermitted),
    (SYMLINK, FOLDER, NotPermitted),
    (SUBDIR, FOLDER, CrossVersion),
    (SUBDIR, SHELF, CrossVersion),
    (UPLOAD, FOLDER, NotPermitted),
    # The root and its areas stay.
    (SHELF, VERSION, NotPermitted),
    (UNSORTED_AREA, SHELF, NotPermitted),
    (ROOT_NODE, VERSION, NotPermitted),
    (FILE, ROOT_NODE, NotPermitted),
    (FOLDER, ROOT_NODE, NotPermitted),
    (FILE, SNAPSHOT_AREA, ReadOnly),
    (VERSION, SNAPSHOT_AREA, ReadOnly),
]


@pytest.mark.parametrize(("moved", "parent", "verdict"), MOVES)
def test_who_may_go_where(
    moved: Node, parent: Node, verdict: Inode | type[FileSystemError] | None
) -> None:
    if isinstance(verdict, type):
        with pytest.raises(verdict):
            check_rename(moved, parent, "name")
    else:
        assert check_rename(moved, parent, "name") == verdict


@pytest.mark.parametrize(("moved", "parent"), [(VERSION, FOLDER), (FOLDER, SHELF), (TAG, FOLDER)])
@pytest.mark.parametrize("name", ["latest", ".git", "a b"])
def test_shelf_names_stay_plain_in_a_rename(moved: Node, parent: Node, name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_rename(moved, parent, name)


@pytest.mark.parametrize(("one", "other"), [(FILE, SUBDIR), (FILE, LINKED), (SUBDIR, SYMLINK)])
def test_names_of_one_version_can_be_exchanged(one: Node, other: Node) -> None:
    check_exchange(one, other)
    check_exchange(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FILE, OTHER_FILE),
        (VERSION, OTHER_VERSION),
        (FOLDER, OTHER_FOLDER),
        (TAG, VERSION),
        (FILE, UPLOAD),
        (UPLOAD, UPLOADS_FOLDER),
        (SHELF, OTHER_SHELF),
    ],
)
def test_other_names_cannot_be_exchanged(one: Node, other: Node) -> None:
    with pytest.raises(CrossVersion):
        check_exchange(one, other)


@pytest.mark.parametrize("target", ["v1", "2026-11-22", "V_1.0-rc"])
def test_a_tag_points_to_a_version_of_its_folder(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    "target", ["", ".", "..", "../other/v1", "/datasets/mnist/v1", "v1/", "./v1", "latest", "a b"]
)
def test_a_tag_points_nowhere_else(target: str) -> None:
    with pytest.raises(InvalidArgument):
        check_target(target)
