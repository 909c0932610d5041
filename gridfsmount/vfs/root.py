"""The root, which is always there: when the server does not answer, it is shown as it was last.

The kernel asks for its attributes before it looks at anything below. What the mount knows without
the server, `.stats`, must not wait for the server there.
"""

import logging
import time
from typing import Final

import trio

from gridfsmount.core.model import ROOT, Node
from gridfsmount.errors import FileSystemError
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Errands

log = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that the server has, before the root is shown as it was; for all who ask meanwhile."""


class RootNode:
    """The node of the root."""

    def __init__(self, recent: RecentNodes, errands: Errands) -> None:
        """Ask `recent` for it, as one of `errands`."""
        self._recent = recent
        self._errands = errands
        self._last: Node | None = None
        self._asked: trio.Event | None = None
        """A question that is on its way."""
        self._until = 0.0
        """How long to wait for it, of the monotonic clock."""

    async def get(self) -> Node:
        """As it is now, or as it was last.

        Raises:
            FileSystemError: it was never seen.
        """
        if self._last is None:
            self._last = await self._recent.get(ROOT)
            return self._last
        if self._asked is None:
            self._asked = trio.Event()
            self._until = time.monotonic() + PATIENCE
            self._errands.start(self._ask, self._asked)
        with trio.move_on_after(max(0.0, self._until - time.monotonic())):
            await self._asked.wait()
        return self._recent.newest(self._last)  # a question that is late may miss a change of ours

    async def _ask(self, answered: trio.Event) -> None:
        try:
            self._last = await self._recent.get(ROOT)
        except FileSystemError as error:
            log.debug("the root is shown as it was: %s", error)
        finally:
            self._asked = None
            answered.set()
