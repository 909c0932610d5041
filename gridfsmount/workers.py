"""Worker threads for blocking calls, with a lane for each kind of urgency.

The lanes have limiters of their own, so that background work never takes the threads that a
waiting process needs.
"""

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

FOREGROUND_THREADS: Final = 16
"""Requests at the server at once; more only queue up there."""

BACKGROUND_THREADS: Final = 4


class Workers:
    """Runs blocking calls without blocking the event loop."""

    def __init__(self) -> None:
        """Must be made inside of a running trio loop."""
        self._foreground = trio.CapacityLimiter(FOREGROUND_THREADS)
        self._background = trio.CapacityLimiter(BACKGROUND_THREADS)

    async def foreground(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that somebody waits for."""
        return await trio.to_thread.run_sync(call, *args, limiter=self._foreground)

    async def background(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that nobody waits for."""
        return await trio.to_thread.run_sync(call, *args, limiter=self._background)

    async def wait(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a call that mostly waits; when cancelled, its thread is left to end by itself."""
        return await trio.to_thread.run_sync(
            call, *args, limiter=self._background, abandon_on_cancel=True
        )
