"""Forgets what other mounts changed, as soon as the server tells of it.

What this mount and the kernel believe for a moment (names, attributes) and for good (nodes of
sealed versions) is dropped; the next request asks anew. Nothing here is needed for any promise
but speed: when the stream is silent, late or broken, the moment's end does the same.

The kernel is only told to forget *attributes*. That takes none of its locks, so that it can
neither wait for a request nor outlive this process. A name that leads nowhere any more is found by
the request for attributes that follows: it is answered with ESTALE, upon which the kernel looks
all names of the path up again.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from gridfsmount.core.model import LATEST_FLAG, Inode
from gridfsmount.errors import FileSystemError
from gridfsmount.store.changes import Changes, NodeChange, NodeChanges
from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.rules import Level, level_of
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 2.0

AT_ONCE: Final = 200
"""Changes between two looks at the kernel's requests: about 2 ms."""

GRACE_SECONDS: Final = 0.05
"""For how long the kernel may believe in a name that it has looked up. A path that is looked up
again upon ESTALE must not end in another: a file that is replaced all the time is never missing."""


class Invalidation:
    """Follows the lake, and keeps what this mount remembers in step."""

    def __init__(
        self,
        changes: Changes,
        workers: Workers,
        recent: RecentNodes,
        files: Files,
        forget: Callable[[Inode], None],
        asked: Callable[[], None],
        telemetry: Telemetry | None = None,
    ) -> None:
        """Follow `changes`; they are counted in `telemetry`.

        `forget` makes the kernel forget attributes, and must not block; `asked` is told when a
        version is about to be sealed.
        """
        self._changes = changes
        self._workers = workers
        self._recent = recent
        self._files = files
        self._forget = forget
        self._asked = asked
        self._telemetry = telemetry or Telemetry()
        self._heard: deque[NodeChange] = deque()
        self._later: deque[tuple[float, Inode]] = deque()
        """What the kernel is to forget, and when; the soonest first."""
        self._wake = trio.Event()
        self._deaf = False
        """The log says that the server does not tell."""

    async def run(self) -> None:
        """Follow until cancelled; an outage is waited for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._apply_heard)
            while True:
                try:
                    await self._listen()
                except FileSystemError as error:
                    log.log(
                        logging.DEBUG if self._deaf else logging.WARNING,
                        "what other mounts change shows within a second, not at once, until the "
                        "server tells of it again: %s",
                        error,
                    )
                    self._deaf = True
                except Exception:  # an event that nobody foresaw must not end the mount
                    log.exception("following other mounts' changes failed; please report this")
                await trio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        token = trio.lowlevel.current_trio_token()

        def hear(change: NodeChange) -> None:
            self._heard.append(change)
            token.run_sync_soon(self._rouse, idempotent=True)

        # The stream first: what happens while forgetting is then told, not missed.
        changes = await self._workers.background(self._changes.watch)
        if self._deaf:
            log.info("what other mounts change shows at once again")
            self._deaf = False
        try:
            await self._forget_everything()
            await self._workers.wait(changes.deliver, hear)
        finally:
            _close(changes)

    async def _forget_everything(self) -> None:
        for number, inode in enumerate(self._recent.forget_everything()):
            self._forget(inode)
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _rouse(self) -> None:
        self._wake.set()

    async def _apply_heard(self) -> None:
        while True:
            due = self._later[0][0] if self._later else math.inf
            with trio.move_on_at(trio.current_time() + due - time.monotonic()):
                await self._wake.wait()
            self._wake = trio.Event()
            for _ in range(min(AT_ONCE, len(self._heard))):
                change = self._heard.popleft()
                try:
                    self.apply(change, time.monotonic())
                except Exception:  # what nobody foresaw must not end the mount
                    log.exception("%s was not followed; please report this", change)
            if self._heard:
                self._wake.set()
            self.forget_due(time.monotonic())

    def apply(self, change: NodeChange, now: float) -> None:
        """Forget what is not true any more; a change that this mount made is known already."""
        self._telemetry.invalidations += 1
        inode = change.inode
        if change.sealing:
            self._asked()
        known, seen = self._recent.peek(inode), self._recent.seen(inode)
        if not self._recent.heard(change, now):
            return
        if change.gone:
            self._files.unlinked(inode, elsewhere=True)
        else:
            self._files.outdated(inode)
        if change.gone or change.renamed:
            self._recent.fleeting.lost(inode, now)
        if (change.gone or change.renamed) and now - seen < GRACE_SECONDS:
            self._later.append((now + GRACE_SECONDS, inode))
        else:
            self._forget(inode)
        if known is not None and known.names and level_of(known) is Level.VERSION:
            self._forget(Inode(known.parent | LATEST_FLAG))

    def forget_due(self, now: float) -> None:
        """Make the kernel forget what it was given some time for."""
        while self._later and self._later[0][0] <= now:
            self._forget(self._later.popleft()[1])


def _close(changes: NodeChanges) -> None:
    # In a thread of its own, unwaited for: the server may be gone, and the mount is ending.
    trio.lowlevel.start_thread_soon(changes.close, lambda _: None)
