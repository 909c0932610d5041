"""Extended attributes of snapshots: those of the lake then, and what is known of each snapshot."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gridfsmount.core.model import ROOT, SNAPSHOTS, Caller, Inode
from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Vault
from gridfsmount.errors import NoAttribute
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.numbers import LATEST_LINK, top
from gridfsmount.vfs.snapshots.unchanging import refuse
from gridfsmount.vfs.version_attributes import told_of
from gridfsmount.vfs.xattrs import LAKE_PREFIX, described

_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


class SnapshotAnnotations:
    """Extended attributes, see `gridfsmount.vfs.parts.Annotations`.

    Those of a snapshot as a whole are told, but not listed: `cp -a` would take them along.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """Tell of `catalogue`."""
        self._catalogue = catalogue

    async def get(self, inode: Inode, name: str) -> bytes:
        """Value of one.

        Raises:
            NoAttribute: it has none of that name.
        """
        if inode in (ROOT, SNAPSHOTS, LATEST_LINK):
            raise NoAttribute(name)
        shelf, snapshot = self._catalogue.at(inode)
        if inode == top(snapshot.slot) and name in _TOLD:
            told = await shelf.workers.foreground(_tell, shelf.vault, snapshot.name, name)
            return told.encode()
        node = await shelf.node(snapshot, inode)
        value = node.xattrs.get(name)
        if value is None:
            value = told_of(node, name)
        if value is None and name.startswith(LAKE_PREFIX) and node.size:
            value = described(await shelf.workers.foreground(snapshot.content, inode), name)
        if value is None:
            raise NoAttribute(name)
        return value

    async def names(self, inode: Inode) -> list[str]:
        """Names of those that were set."""
        if inode in (ROOT, SNAPSHOTS, LATEST_LINK):
            return []
        shelf, snapshot = self._catalogue.at(inode)
        if inode == top(snapshot.slot):
            return []
        return sorted((await shelf.node(snapshot, inode)).xattrs)

    async def set(self, inode: Inode, name: str, value: bytes, caller: Caller) -> None:
        """Nothing can be set."""
        refuse()

    async def remove(self, inode: Inode, name: str) -> None:
        """Nothing can be removed."""
        refuse()


def _tell(vault: Callable[[], Vault], snapshot: str, name: str) -> str:
    return _TOLD[name](vault(), snapshot)


def _verified(vault: Vault, snapshot: str) -> str:
    note = vault.note(f"verified/{snapshot}")
    if note is None:
        return "never"
    try:
        facts = json.loads(note)
        when = datetime.fromtimestamp(int(facts["at_ns"]) // 10**9, UTC).strftime(_FORM)
        read = f"{int(facts['blobs'])} of {int(facts['of'])} blobs"
        good, damaged = bool(facts["good"]), int(facts["damaged"])
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return "unknown: its note cannot be read"
    return f"{when} good {read}" if good else f"{when} bad {read}, {damaged} damaged"


def _pinned(vault: Vault, snapshot: str) -> str:
    note = vault.note(f"pins/{snapshot}")
    if note is None:
        raise NoAttribute("it is not pinned")
    return note.decode(errors="replace")


def _summary(vault: Vault, snapshot: str) -> str:
    summary = vault.summary(snapshot)
    taken = datetime.fromtimestamp(summary.taken_ns / 1e9, UTC).strftime(_FORM)
    return (
        f"{taken} {_moment(summary)}, {summary.files:,} files, {summary.bytes:,} bytes, "
        f"{len(summary.skipped):,} skipped, by {summary.by}"
    )


def _moment(summary: Summary) -> str:
    return "one moment" if summary.consistent else "while it was read"


_TOLD: Final[dict[str, Callable[[Vault, str], str]]] = {
    "user.lake.verified": _verified,
    "user.lake.vault": lambda vault, snapshot: vault.address,
    "user.lake.summary": _summary,
    "user.lake.pinned": _pinned,
}
"""Of a snapshot as a whole. `pinned` says why it is, and is not there otherwise."""
