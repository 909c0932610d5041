"""A mount under the eyes of systemd: that it is ready, how it is, and that it lives.

A mount whose server is gone is alive: to end it would help nobody, and cost every open file. So
what the watchdog asks for is an answer that needs no server.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import trio

from gridfsmount.mount.notify import Notifier
from gridfsmount.mount.probe import Probe

LOOK_SECONDS: Final = 1.0
"""Between looks at whether the server answers: at what the driver knows, which costs nothing."""


class Supervision:
    """Tells systemd of one mount."""

    def __init__(
        self,
        notifier: Notifier,
        probe: Probe,
        *,
        serving: str,
        server: str = "",
        reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        """Tell `notifier`.

        Args:
            notifier: who is told.
            probe: asks the mount.
            serving: the status while all is well.
            server: what the server is called.
            reachable: whether the server is known to answer; asked on the event loop.
        """
        self._notifier = notifier
        self._probe = probe
        self._serving = serving
        self._server = server
        self._reachable = reachable

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
                answered = await self._probe.answers()
            if answered or not self._reachable():
                self._notifier.tell(WATCHDOG=1)
            await trio.sleep(watchdog / 4)
