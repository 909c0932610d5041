"""Numbers for new inodes, reserved at the server a block at a time."""

from collections.abc import Iterator
from typing import Final

import trio

from gridfsmount.core.model import Inode
from gridfsmount.store.tree import Tree
from gridfsmount.workers import Workers

BLOCK: Final = 1000
"""Numbers of one reservation: what a crash wastes, of 2^60."""


class InodeNumbers:
    """Gives out numbers that no other mount uses."""

    def __init__(self, tree: Tree, workers: Workers) -> None:
        """Reserve at `tree`, when first needed."""
        self._tree = tree
        self._workers = workers
        self._lock = trio.Lock()
        self._free: Iterator[int] = iter(())

    async def next(self) -> Inode:
        """A number never used before."""
        number = next(self._free, None)
        if number is not None:
            return Inode(number)
        async with self._lock:
            number = next(self._free, None)
            if number is None:
                self._free = iter(await self._workers.foreground(self._tree.allocate, BLOCK))
                number = next(self._free)
            return Inode(number)
