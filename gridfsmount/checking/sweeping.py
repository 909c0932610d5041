"""Removal of all that nobody refers to: what the mounts' janitors do at leisure, at once.

Blocking, and safe beside any number of mounts: what decides is in the store.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from gridfsmount.core.model import NO_FOLDER, Inode
from gridfsmount.store.lake import Lake

BATCH: Final = 1000
"""Contents between two words of progress."""


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


Tell: TypeAlias = Callable[[Sweep], None]


def sweep(lake: Lake, *, grace: float, orphan_grace: float, tell: Tell) -> Sweep:
    """Remove what is past its time, and tell how far it got.

    The contents of orphans go to the trash, and are erased by a later sweep.
    """
    done = Sweep(leases=lake.commits.sweep_leases())
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
    return done


def foresee(lake: Lake, *, grace: float, orphan_grace: float) -> Sweep:
    """What `sweep` would remove now, without touching it."""
    trash = lake.trash.expired(grace)
    orphans = 0
    after: Inode | None = NO_FOLDER
    while after is not None:
        stretch = lake.orphans.look(after, orphan_grace)
        orphans += len(stretch.orphans)
        after = stretch.last
    return Sweep(lake.leases.expired(), trash.contents, trash.bytes, orphans)
