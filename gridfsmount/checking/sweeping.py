"""Removal of all that nobody refers to: what the mounts' janitors do at leisure, at once.

Blocking, and safe beside any number of mounts: what decides is in the store.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from gridfsmount.core.model import NO_FOLDER, ContentId, Inode
from gridfsmount.store.lake import Lake

BATCH: Final = 1000
"""Contents between two words of progress."""

STRAY_GRACE: Final = 24 * 3600.0
"""A driver writes the chunks of an upload first, for however long that takes."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was removed, or would be."""

    leases: int = 0
    """Uploads of writers that died."""
    contents: int = 0
    """Removed and replaced contents, past their grace."""
    bytes: int = 0
    """Their length together."""
    orphans: int = 0
    """Nodes that no folder leads to."""
    strays: int = 0
    """Contents of which there are chunks and nothing else."""
    versions: int = 0
    """Versions that were left half made or half removed."""


Tell: TypeAlias = Callable[[Sweep], None]


def sweep(
    lake: Lake, *, grace: float, orphan_grace: float, strays: bool = False, tell: Tell
) -> Sweep:
    """Remove what is past its time, and tell how far it got.

    Versions that somebody began to seal, and then died, are open again after that.
    The contents of orphans go to the trash, and are erased by a later sweep.

    Args:
        lake: what is swept.
        grace: seconds for which removed contents are kept.
        orphan_grace: seconds for which orphans are left alone.
        strays: remove chunks that belong to nothing as well.
        tell: called with what was removed so far.
    """
    lake.versions.end_given_up()
    done = Sweep(leases=lake.commits.sweep_leases())
    tell(done)
    left: set[Inode] = set()
    for remains, _ in lake.removals.clear():
        left.add(remains.version)
        done = replace(done, versions=len(left))
        tell(done)
    more = True
    while more:
        swept = lake.trash.sweep(grace, BATCH)
        done = replace(
            done, contents=done.contents + swept.contents, bytes=done.bytes + swept.bytes
        )
        more = swept.more
        tell(done)
    after: Inode | None = NO_FOLDER
    while after is not None:
        stretch = lake.orphans.look(after, orphan_grace)
        done = replace(done, orphans=done.orphans + sum(map(lake.orphans.remove, stretch.orphans)))
        after = stretch.last
        tell(done)
    for stray in _strays(lake, grace) if strays else ():
        # Once more: its upload may have ended meanwhile.
        if lake.audit.strays([stray]):
            lake.contents.trim_chunks(stray, 0)
            done = replace(done, strays=done.strays + 1)
            tell(done)
    return done


def foresee(lake: Lake, *, grace: float, orphan_grace: float, strays: bool = False) -> Sweep:
    """What `sweep` would remove now, without touching it."""
    trash = lake.trash.expired(grace)
    orphans = 0
    after: Inode | None = NO_FOLDER
    while after is not None:
        stretch = lake.orphans.look(after, orphan_grace)
        orphans += len(stretch.orphans)
        after = stretch.last
    lost = sum(1 for _ in _strays(lake, grace)) if strays else 0
    left = len(lake.detached.remains())
    return Sweep(lake.leases.expired(), trash.contents, trash.bytes, orphans, lost, left)


def _strays(lake: Lake, grace: float) -> Iterator[ContentId]:
    """Contents that are nothing but chunks, which no upload of a driver can still be adding to."""
    after: ContentId | None = None
    while True:
        owners, after = lake.audit.owners(after)
        for stray in lake.audit.strays(owners):
            if stray.age > max(grace, STRAY_GRACE):
                yield stray.id
        if after is None:
            return
