"""Extended attributes of a version's folder, for machines that have only the mount.

setfattr -n user.lake.sealed -v 1 /mnt/lake/datasets/mnist/v1
setfattr -n user.lake.from -v datasets/mnist/v1 /mnt/lake/models/digits/v3
getfattr --only-values -n user.lake.digest /mnt/lake/datasets/mnist/v1
"""

import pwd
import socket
from collections.abc import Callable
from typing import Final

from gridfsmount.core.model import Caller, Node, Record, State
from gridfsmount.errors import InvalidArgument, NotFound, NotPermitted, ReadOnly
from gridfsmount.places import parse
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.lineage import link
from gridfsmount.versions.sealing import Sealer

SEALED: Final = "user.lake.sealed"
"""1 on a sealed version. Set to 1, it seals; set to a text, it seals with that message."""

FROM: Final = "user.lake.from"
"""Paths of what a version was made from, one a line. Setting it adds one."""

_TOLD: Final[dict[str, Callable[[Node, Record], str | None]]] = {
    SEALED: lambda node, record: "1" if node.state is State.SEALED else None,
    "user.lake.state": lambda node, record: None if node.state is None else node.state.value,
    "user.lake.digest": lambda node, record: record.seal.digest if record.seal else None,
    "user.lake.message": lambda node, record: record.seal.message if record.seal else None,
    "user.lake.parent": lambda node, record: record.parent.path if record.parent else None,
    FROM: lambda node, record: "\n".join(each.origin.path for each in record.sources) or None,
}


def told_of(node: Node, name: str) -> bytes | None:
    """Value of a version's attribute; None when there is nothing to tell."""
    tell = _TOLD.get(name)
    if tell is None or node.record is None:
        return None
    value = tell(node, node.record)
    return None if value is None else value.encode()


def can_be_set(node: Node, name: str) -> bool:
    """Whether setting an attribute means something."""
    return node.record is not None and name in (SEALED, FROM)


def set_on(lake: Lake, node: Node, name: str, value: bytes, caller: Caller) -> Node:
    """Do what setting an attribute of a version means; returns its node as it is then. Blocking.

    Raises:
        InvalidArgument: the value makes no sense.
        FileSystemError: as for sealing and linking.
    """
    try:
        text = value.decode().strip()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{name}: the value is no text") from error
    by = person(caller)
    if name == SEALED:
        if text in ("", "0"):
            raise NotPermitted("a version is sealed for good; set 1, or a message, to seal a draft")
        sealer = Sealer(lake, Hasher(lake))
        return sealer.seal(node, "" if text == "1" else text, by)
    if node.state is State.SEALED:
        raise ReadOnly("the version is sealed; `gridfsmount link` can still add to what is known")
    link(lake, node, parse(text), note="", by=by)
    linked = lake.tree.get(node.inode)
    if linked is None:
        raise NotFound(f"inode {node.inode}")
    return linked


def person(caller: Caller) -> str:
    """Who asks, for people: as in "ana@gpu1"."""
    try:
        user = pwd.getpwuid(caller.uid).pw_name
    except KeyError:
        user = str(caller.uid)
    return f"{user}@{socket.gethostname()}"
