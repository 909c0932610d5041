"""What is compared: each case does the same work through a mount and without it.

Each run has a client or a mount of its own, and each write a lake of its own. A cold run finds
nothing of what it reads in a cache outside the server, whose memory holds all of it.
"""

from collections.abc import Iterator

from benchmarks.cases import (
    backups,
    bulk,
    caches,
    large,
    mounts,
    restores,
    small,
    snapshots,
    trees,
    writes,
)
from benchmarks.comparison import Case
from benchmarks.material import Material
from benchmarks.rig import Rig


def all_cases(rig: Rig, material: Material) -> Iterator[Case]:
    """Every case, in the order of the table."""
    modules = (large, caches, small, trees, writes, bulk, backups, snapshots, restores, mounts)
    for module in modules:
        yield from module.cases(rig, material)
