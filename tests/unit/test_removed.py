"""Nodes without a name that the kernel still holds."""

from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.vfs.removed import MOST, RemovedNodes


def folder(inode: int) -> Node:
    return Node(
        inode=Inode(inode),
        kind=Kind.DIRECTORY,
        names=(Name(Inode(1500), "folder"),),
        mode=0o755,
        uid=1,
        gid=2,
        mtime_ns=3,
        ctime_ns=4,
    )


def test_a_removed_node_is_what_it_was_but_for_its_names() -> None:
    removed = RemovedNodes()
    removed.note(folder(2000))
    found = removed.get(Inode(2000))
    assert found is not None
    assert (found.names, found.mode, found.mtime_ns) == ((), 0o755, 3)
    assert found.ctime_ns > 4
    assert removed.get(Inode(2001)) is None


def test_changes_are_kept_as_long_as_the_node() -> None:
    removed = RemovedNodes()
    removed.note(folder(2000))
    removed.change(Inode(2000), {"mode": 0o700, "xattrs": {"user.a": b"1"}})
    found = removed.get(Inode(2000))
    assert found is not None
    assert (found.mode, found.xattrs) == (0o700, {"user.a": b"1"})


def test_what_the_kernel_forgets_is_forgotten() -> None:
    removed = RemovedNodes()
    removed.note(folder(2000))
    removed.note(folder(2001))
    removed.forget([2000, 2000, 5])
    assert removed.get(Inode(2000)) is None
    assert removed.get(Inode(2001)) is not None


def test_the_oldest_go_when_there_are_too_many() -> None:
    removed = RemovedNodes()
    for number in range(MOST + 1):
        removed.note(folder(2000 + number))
    assert removed.get(Inode(2000)) is None
    assert removed.get(Inode(2001)) is not None
