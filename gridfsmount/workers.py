"""Worker threads for blocking calls, with a lane for each kind of urgency; and errands.

The lanes have limiters of their own, so that work nobody waits for yet never takes the threads
that a waiting process needs. An errand is a task that nobody waits for: what goes wrong with it
is logged, and the mount goes on.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

from gridfsmount.errors import FileSystemError, StoreUnavailable

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

FOREGROUND_THREADS: Final = 16
"""Requests at the server at once; more only queue up there."""

AHEAD_THREADS: Final = 2
"""Queries of read-ahead in flight: a third brought nothing on two cores."""

UPLOAD_THREADS: Final = 4
"""Inserts of all writers in flight; each holds a copy of its chunks."""

BACKGROUND_THREADS: Final = 6
"""One more than there are tasks: a sign of life must not wait for a long sweep or adoption."""

DISK_THREADS: Final = 2
"""A local disk that hangs holds up nothing but what is to be kept on it."""

WAITING_THREADS: Final = 16
"""Change streams, and the sealing of versions: threads that sleep most of the time. More than there
are, so that none waits for its turn."""


class Workers:
    """Runs blocking calls without blocking the event loop."""

    def __init__(self, patience: float | None = None) -> None:
        """Must be made inside of a running trio loop.

        Args:
            patience: seconds after which a call is given up, for what has no deadline of its own:
                a file system that hangs. Its thread is left to end by itself.
        """
        self._patience = patience
        self._foreground = trio.CapacityLimiter(FOREGROUND_THREADS)
        self._background = trio.CapacityLimiter(BACKGROUND_THREADS)
        self._disk = trio.CapacityLimiter(DISK_THREADS)
        self._ahead = trio.CapacityLimiter(AHEAD_THREADS)
        self._upload = trio.CapacityLimiter(UPLOAD_THREADS)
        self._waiting = trio.CapacityLimiter(WAITING_THREADS)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work for somebody who waits, or soon will."""
        lanes = (self._foreground, self._ahead, self._upload)
        return any(lane.borrowed_tokens for lane in lanes)

    async def foreground(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that somebody waits for."""
        return await self._run(self._foreground, call, *args)

    async def ahead(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that somebody will wait for soon."""
        return await self._run(self._ahead, call, *args)

    async def upload(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that brings what was written to the server."""
        return await self._run(self._upload, call, *args)

    async def background(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that nobody waits for."""
        return await self._run(self._background, call, *args)

    async def disk(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that writes to the local disk, and that nobody waits for."""
        return await self._run(self._disk, call, *args)

    async def wait(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that mostly waits; when cancelled, its thread is left to end by itself."""
        return await trio.to_thread.run_sync(
            call, *args, limiter=self._waiting, abandon_on_cancel=True
        )

    async def _run(self, lane: trio.CapacityLimiter, call: Callable[[*Ts], T], *args: *Ts) -> T:
        if self._patience is None:
            return await trio.to_thread.run_sync(call, *args, limiter=lane)
        with trio.move_on_after(self._patience):
            return await trio.to_thread.run_sync(call, *args, limiter=lane, abandon_on_cancel=True)
        raise StoreUnavailable(f"no answer within {self._patience:.0f} s")


class Errands:
    """Starts tasks that nobody waits for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Run them in `nursery`."""
        self._nursery = nursery

    def start(self, task: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start one; returns at once."""
        self._nursery.start_soon(self._run, lambda: task(*args))

    async def _run(self, task: Callable[[], Awaitable[object]]) -> None:
        try:
            await task()
        except FileSystemError as error:
            log.warning("left undone: %s", error)
        except Exception:  # an errand that failed must not end the mount
            log.exception("an errand failed; please report this")
