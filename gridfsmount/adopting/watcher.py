"""Runs the adopter for as long as the mount lives.

On a replica set or a sharded cluster the server tells what changed; a standalone server is asked.
Looking for renames and removals reads every document, so its pace follows its cost.
"""

import logging
import time
from typing import Final

import trio

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.errors import FileSystemError
from gridfsmount.store.foreign import ContentChanges
from gridfsmount.store.lake import Lake
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
"""A standalone server's new uploads are an indexed question, and cost next to nothing."""

RECONCILE_SHARE: Final = 0.02
"""Share of the time that a standalone server may be read through for renames and removals."""

RETRY_SECONDS: Final = 2.0


class Watcher:
    """Keeps the tree in step, forever."""

    def __init__(self, lake: Lake, workers: Workers) -> None:
        """Watch the bucket of `lake`."""
        self._lake = lake
        self._workers = workers
        self._adopter = Adopter(lake)

    async def run(self) -> None:
        """Adopt and follow until cancelled; an outage is waited for."""
        follow = self._stream if self._lake.connection.deployment.transactions else self._poll
        while True:
            try:
                await follow()
            except FileSystemError as error:
                log.warning("following other clients' uploads is interrupted: %s", error)
            except Exception:  # a document that nobody foresaw must not end the mount
                log.exception("following other clients' uploads failed; please report this")
            await trio.sleep(RETRY_SECONDS)

    async def _stream(self) -> None:
        # The stream first: what happens while looking is then told twice, not missed.
        changes = await self._workers.background(self._lake.foreign.watch)
        try:
            await self._catch_up()
            await self._reconcile()
            while True:
                content = await self._workers.wait(changes.next_change)
                if content is not None:
                    await self._workers.background(self._adopter.follow, content)
        finally:
            _close(changes)

    async def _poll(self) -> None:
        due = 0.0
        while True:
            await self._catch_up()
            if time.monotonic() >= due:
                due = await self._reconcile() / RECONCILE_SHARE + time.monotonic()
            await trio.sleep(POLL_SECONDS)

    async def _reconcile(self) -> float:
        """Follow all that drivers renamed and removed; returns the seconds of a mere look."""
        while True:
            began = time.monotonic()
            if not await self._workers.background(self._adopter.reconcile):
                return time.monotonic() - began

    async def _catch_up(self) -> None:
        while await self._workers.background(self._adopter.adopt_batch):
            pass


def _close(changes: ContentChanges) -> None:
    # In a thread of its own, unwaited for: the server may be gone, and the mount is ending.
    trio.lowlevel.start_thread_soon(changes.close, lambda _: None)
