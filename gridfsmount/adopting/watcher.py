"""Runs the adopter and the follower for as long as the mount lives.

On a replica set or a sharded cluster the server tells what changed; a standalone server is asked.
What came last is adopted first; a backlog is worked off meanwhile, by one mount at a time. Looking
for renames and removals reads every document, so on a standalone server its pace follows its cost.
Four tasks that know nothing of each other but bells: whatever one of them does twice, or another
mount does too, is harmless.
"""

import logging
import queue
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.adopting.follower import Follower
from gridfsmount.adopting.progress import Progress
from gridfsmount.core.model import NO_FOLDER, Inode
from gridfsmount.errors import FileSystemError, StoreUnavailable
from gridfsmount.store.foreign import LOOK, ContentChange, ContentChanges, Upload
from gridfsmount.store.lake import Lake
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
"""A standalone server's new uploads are an indexed question, and cost next to nothing."""

RECONCILE_SHARE: Final = 0.02
"""Share of the time that a standalone server may be read through for renames and removals."""

RETRY_SECONDS: Final = 2.0

HEARD: Final = 1000
"""Changes that wait to be followed; further uploads among them are left to the backlog."""

HEAR_SECONDS: Final = 60.0
"""For which the stream waits until there is room for another change."""

REST_SHARE: Final = 0.5
"""Of the time of a batch, before the next one: the backlog is in nobody's way."""

RENEW_SECONDS: Final = 1.0
"""Between two renewals of the turn to work off the backlog."""

TIMES_SECONDS: Final = 10.0
"""For which the times of folders may be late while a backlog is worked off: of a thousand folders
they take as long as a thousand uploads."""

FAREWELL_SECONDS: Final = 2.0
"""For giving the turn back when the mount ends; it expires soon anyway."""


_NOTHING: Final[list[Upload]] = []


class _Bell:
    """Wakes the one task that waits for it; rung before, it is heard too."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        await self._rung.wait()
        self._rung = trio.Event()


class Watcher:
    """Keeps the tree in step, forever."""

    def __init__(self, lake: Lake, workers: Workers) -> None:
        """Watch the bucket of `lake`."""
        self._lake = lake
        self._workers = workers
        self._adopter, self._late_adopter = Adopter(lake), Adopter(lake)
        self._follower = Follower(lake)
        self._heard: queue.Queue[ContentChange] = queue.Queue(HEARD)
        self._changed, self._more, self._look = _Bell(), _Bell(), _Bell()

    async def run(self) -> None:
        """Adopt and follow until cancelled; an outage is waited for."""
        self._more.ring()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forever, self._more, self._adopt_all)
            if self._lake.connection.deployment.transactions:
                nursery.start_soon(self._forever, self._changed, self._follow)
                nursery.start_soon(self._forever, self._look, self._reconcile)
                nursery.start_soon(self._forever, None, self._listen)
            else:
                nursery.start_soon(self._forever, None, self._poll)
                nursery.start_soon(self._forever, None, self._reconcile_at_leisure)

    async def _forever(self, bell: _Bell | None, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work whenever its bell rings, once more after a failure."""
        while True:
            if bell is not None:
                await bell.wait()
            try:
                await work()
                continue
            except FileSystemError as error:
                log.warning("following other clients' uploads is interrupted: %s", error)
            except Exception:  # a document that nobody foresaw must not end the mount
                log.exception("following other clients' uploads failed; please report this")
            await trio.sleep(RETRY_SECONDS)
            # What was heard and not followed is found by looking.
            self._more.ring()
            self._look.ring()

    # --- what the server tells -----------------------------------------------------------------

    async def _listen(self) -> None:
        token = trio.lowlevel.current_trio_token()

        def hear(change: ContentChange) -> None:
            if change.new and self._heard.full():
                token.run_sync_soon(self._more.ring, idempotent=True)
                return
            try:
                self._heard.put(change, timeout=HEAR_SECONDS)
            except queue.Full:
                raise StoreUnavailable("there are more changes than can be followed") from None
            token.run_sync_soon(self._changed.ring, idempotent=True)

        # The stream first: what happens while looking is then told twice, not missed.
        changes = await self._workers.background(self._lake.foreign.watch)
        try:
            self._more.ring()
            self._look.ring()
            await self._workers.wait(changes.deliver, hear)
        finally:
            _close(changes)

    async def _follow(self) -> None:
        while changes := self._take_heard():
            # A content once, however often it changed: what counts is how it is now.
            new = {change.content for change in changes if change.new}
            other = dict.fromkeys(change.content for change in changes if not change.new)
            if len(new) > LOOK:
                self._more.ring()
            elif new:
                await self._workers.background(self._adopter.adopt_these, list(new))
            if other:
                await self._workers.background(self._follower.follow, list(other))

    def _take_heard(self) -> list[ContentChange]:
        return [self._heard.get_nowait() for _ in range(self._heard.qsize())]

    async def _reconcile(self) -> int:
        """Follow all that drivers renamed and removed; returns how much that was."""
        followed = 0
        while found := await self._workers.background(self._follower.follow_renames):
            followed += found
        after: Inode | None = NO_FOLDER
        while after is not None:
            found, after = await self._workers.background(self._follower.follow_removals, after)
            followed += found
        return followed

    # --- what a standalone server is asked -----------------------------------------------------

    async def _poll(self) -> None:
        if await self._workers.background(self._adopter.adopt_batch) >= LOOK:
            self._more.ring()
        await trio.sleep(POLL_SECONDS)

    async def _reconcile_at_leisure(self) -> None:
        began = time.monotonic()
        if await self._reconcile():
            return  # at once again: what follows from it, and what a mere look takes
        took = time.monotonic() - began
        await trio.sleep(max(POLL_SECONDS, took / RECONCILE_SHARE))

    # --- the backlog ---------------------------------------------------------------------------

    async def _adopt_all(self) -> None:
        turn = await self._workers.background(self._lake.backlog.turn)
        is_others = turn is not None and turn.mount != self._lake.mount
        if not is_others:
            if await self._workers.background(self._adopter.adopt_batch) < LOOK:
                return
            is_others = not await self._workers.background(self._lake.backlog.take_turn)
        if is_others:
            await trio.sleep(RENEW_SECONDS)
            self._more.ring()  # to see whether that one has left anything
            return
        try:
            await self._work_off()
        finally:
            with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._end_turn()

    async def _work_off(self) -> None:
        """Adopt the backlog, as long as it is this mount's turn."""
        backlog = self._lake.backlog
        left = await self._workers.background(backlog.count)
        if not left:
            return
        progress = Progress(left, time.monotonic())
        renewal, writing = 0.0, time.monotonic() + TIMES_SECONDS
        found = True
        while found:
            found = False
            batches = backlog.batches()
            while uploads := await self._workers.background(next, batches, _NOTHING):
                found = True
                began = time.monotonic()
                await self._workers.background(self._late_adopter.adopt_quietly, uploads)
                progress.add(len(uploads), time.monotonic())
                if time.monotonic() >= renewal:
                    if not await self._workers.background(backlog.take_turn, progress.done):
                        self._more.ring()  # it took too long, and another mount has it
                        return
                    renewal = time.monotonic() + RENEW_SECONDS
                if time.monotonic() >= writing:
                    await self._workers.background(self._late_adopter.write_times)
                    writing = time.monotonic() + TIMES_SECONDS
                await trio.sleep((time.monotonic() - began) * REST_SHARE)
        await self._workers.background(self._late_adopter.write_times)
        progress.end(time.monotonic())

    async def _end_turn(self) -> None:
        try:
            await self._workers.background(self._lake.backlog.end_turn)
        except FileSystemError as error:
            log.debug("%s", error)


def _close(changes: ContentChanges) -> None:
    # In a thread of its own, unwaited for: the server may be gone, and the mount is ending.
    trio.lowlevel.start_thread_soon(changes.close, lambda _: None)
