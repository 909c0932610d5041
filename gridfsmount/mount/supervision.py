"""A mount under the eyes of systemd: that it is ready, how it is, and that it lives.

A mount whose server is gone is alive: to end it would help nobody, and cost every open file. So
what the watchdog asks for is an answer that needs no server.
"""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from gridfsmount.mount.notify import Notifier

LOOK_SECONDS: Final = 1.0
"""Between looks at whether the server answers: at what the driver knows, which costs nothing."""

_QUESTION: Final = b"system.gridfsmount.alive"
"""The name of an extended attribute that no lake has. The kernel checks nobody's rights for names
of the system, so it asks the mount just this; and the mount refuses those at once."""


class Supervision:
    """Tells systemd of one mount."""

    def __init__(
        self,
        notifier: Notifier,
        mountpoint: Path,
        *,
        serving: str,
        server: str = "",
        reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        """Tell `notifier`.

        Args:
            notifier: who is told.
            mountpoint: where the mount answers.
            serving: the status while all is well.
            server: what the server is called.
            reachable: whether the server is known to answer; asked on the event loop.
        """
        self._notifier = notifier
        self._mountpoint = mountpoint
        self._serving = serving
        self._server = server
        self._reachable = reachable
        self._threads = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Say that the mount is ready, then go on until cancelled."""
        if not self._notifier.heard:
            return
        self._notifier.tell(READY=1, STATUS=self._serving)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_status)
            if self._notifier.watchdog is not None:
                nursery.start_soon(self._show_life, self._notifier.watchdog)

    def stopping(self) -> None:
        """Say that the mount ends."""
        self._notifier.tell(STOPPING=1, STATUS="writing what is left")

    async def _tell_status(self) -> None:
        told = True
        while True:
            reachable = self._reachable()
            if reachable != told:
                now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                trouble = f"the server {self._server} does not answer since {now}"
                self._notifier.tell(STATUS=self._serving if reachable else trouble)
                told = reachable
            await trio.sleep(LOOK_SECONDS)

    async def _show_life(self, watchdog: float) -> None:
        """Tell of each answer of the mount, at three quarters of `watchdog` at the latest.

        While the server is gone, requests may wait for it in all of the mount's tasks, so that the
        question waits behind them. Then it is life enough that the event loop turns.
        """
        while True:
            answered = False
            with trio.move_on_after(watchdog / 2):
                answered = await trio.to_thread.run_sync(
                    _answers, self._mountpoint, limiter=self._threads, abandon_on_cancel=True
                )
            if answered or not self._reachable():
                self._notifier.tell(WATCHDOG=1)
            await trio.sleep(watchdog / 4)


def _answers(mountpoint: Path) -> bool:
    """Whether a mount answers; waits until it does."""
    try:
        os.getxattr(mountpoint, _QUESTION)
    except OSError as error:
        return error.errno == errno.EOPNOTSUPP
    return True
