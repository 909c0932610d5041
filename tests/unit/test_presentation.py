"""How nodes look to stat(2)."""

from dataclasses import replace

import pytest

from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.vfs.presentation import DIRECTORY_SIZE, Presentation

PLAIN = Presentation(uid=1000, gid=1001, umask=0o027)
FILE = Node(
    inode=Inode(2000),
    kind=Kind.FILE,
    names=(Name(Inode(1500), "a"),),
    mode=0o640,
    uid=7,
    gid=8,
    mtime_ns=1_700_000_000_123_456_789,
    ctime_ns=1_800_000_000_123_456_789,
    size=42,
)
ADOPTED = replace(FILE, mode=None, uid=None, gid=None)


def test_a_file_shows_what_its_node_says() -> None:
    shown = PLAIN.attributes(FILE)
    assert (shown.inode, shown.kind, shown.size, shown.nlink) == (2000, Kind.FILE, 42, 1)
    assert (shown.mode, shown.uid, shown.gid) == (0o640, 7, 8)
    assert (shown.mtime_ns, shown.ctime_ns) == (FILE.mtime_ns, FILE.ctime_ns)


def test_the_owner_may_be_root() -> None:
    shown = PLAIN.attributes(replace(FILE, uid=0, gid=0, mode=0))
    assert (shown.mode, shown.uid, shown.gid) == (0, 0, 0)


@pytest.mark.parametrize(("kind", "mode"), [(Kind.FILE, 0o640), (Kind.DIRECTORY, 0o750)])
def test_an_adopted_node_shows_the_mounts_defaults(kind: Kind, mode: int) -> None:
    shown = PLAIN.attributes(replace(ADOPTED, kind=kind))
    assert (shown.mode, shown.uid, shown.gid) == (mode, 1000, 1001)


def test_the_umask_changes_no_mode_that_is_known() -> None:
    assert PLAIN.mode(replace(FILE, mode=0o7777)) == 0o7777


@pytest.mark.parametrize("node", [FILE, ADOPTED, replace(FILE, kind=Kind.DIRECTORY)])
def test_squashing_owns_everything(node: Node) -> None:
    shown = replace(PLAIN, squash=(5, 0)).attributes(node)
    assert (shown.uid, shown.gid) == (5, 0)


def test_atime_is_mtime_unless_it_was_set() -> None:
    assert PLAIN.attributes(FILE).atime_ns == FILE.mtime_ns
    assert PLAIN.attributes(replace(FILE, atime_ns=0)).atime_ns == 0


def test_hard_links_are_counted() -> None:
    names = tuple(Name(Inode(1500), name) for name in "abc")
    assert PLAIN.attributes(replace(FILE, names=names)).nlink == 3


def test_an_unlinked_file_has_no_links() -> None:
    assert PLAIN.attributes(replace(FILE, names=())).nlink == 0


def test_a_directory_has_one_link_and_a_fixed_size() -> None:
    shown = PLAIN.attributes(replace(FILE, kind=Kind.DIRECTORY, size=0))
    assert (shown.nlink, shown.size) == (1, DIRECTORY_SIZE)


def test_a_symlink_is_as_long_as_its_target_in_bytes_and_open_to_all() -> None:
    shown = PLAIN.attributes(replace(FILE, kind=Kind.SYMLINK, target="äöü", size=0, mode=0o600))
    assert (shown.size, shown.mode) == (6, 0o777)
