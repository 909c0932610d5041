"""New and changed nodes, as POSIX wants them. Pure."""

from dataclasses import replace
from typing import Final

from gridfsmount.core.model import Caller, Change, Inode, Kind, Name, Node, Record, State
from gridfsmount.vfs.rules import Level

_SET_UID: Final = 0o4000
_SET_GID: Final = 0o2000
_GROUP_EXECUTES: Final = 0o0010


def new_node(
    inode: Inode,
    name: Name,
    kind: Kind,
    mode: int,
    caller: Caller,
    folder: Node,
    level: Level,
    target: str,
    now: int,
    by: str,
) -> Node:
    """A node that `caller` makes in `folder`; set-group-ID folders hand down their group.

    `by` says the same for people, as in "ana@gpu1", if it is a version.
    """
    gid, mode = caller.gid, mode & 0o7777
    if folder.mode is not None and folder.mode & _SET_GID and folder.gid is not None:
        gid = folder.gid
        if kind is Kind.DIRECTORY:
            mode |= _SET_GID
    versions = {Level.VERSION: inode, Level.INSIDE: folder.version}
    return Node(
        inode=inode,
        kind=kind,
        names=(name,),
        mode=mode,
        uid=caller.uid,
        gid=gid,
        mtime_ns=now,
        ctime_ns=now,
        target=target,
        version=versions.get(level),
        state=State.DRAFT if level is Level.VERSION else None,
        created_ns=now if level is Level.VERSION else 0,
        record=Record(by) if level is Level.VERSION else None,
    )


def changed_fields(node: Node, change: Change, mode: int) -> dict[str, int]:
    """The fields to store for a change of attributes; `mode` is what the node shows now."""
    fields = {
        name: value
        for name in ("mode", "uid", "gid", "atime_ns", "mtime_ns")
        if (value := getattr(change, name)) is not None
    }
    owner_changes = change.uid is not None or change.gid is not None
    if owner_changes and change.mode is None and node.kind is not Kind.DIRECTORY:
        cleared = without_set_id(mode)
        if cleared != mode:
            fields["mode"] = cleared
    return fields


def without_set_id(mode: int) -> int:
    """What chown(2) and another's write leave: no set-user-ID, no set-group-ID with execution.

    Without that, set-group-ID grants no privilege.
    """
    return mode & ~_SET_UID & ~(_SET_GID if mode & _GROUP_EXECUTES else 0)


def with_fields(node: Node, fields: dict[str, int], now: int) -> Node:
    """A node with such fields, for one that no document holds any more."""
    return replace(
        node,
        mode=fields.get("mode", node.mode),
        uid=fields.get("uid", node.uid),
        gid=fields.get("gid", node.gid),
        atime_ns=fields.get("atime_ns", node.atime_ns),
        mtime_ns=fields.get("mtime_ns", node.mtime_ns),
        ctime_ns=now,
    )
