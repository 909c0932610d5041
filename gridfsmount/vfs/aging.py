"""Lets go of what the mount remembers and nobody will ask for again.

Most of it is believed for less than a second. It stays for longer since an answer may still be on
its way that is older: what was changed meanwhile must be known when it arrives. No answer is on
its way for longer than a few deadlines.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

LEAST_SECONDS: Final = 30.0
"""Between looks at what is old, with short deadlines: files that are opened again within minutes
cost a little less while they are remembered."""

LOOKS: Final = 10
"""What was there at so many looks before is old: a request that asks several questions, each with
its deadline, has been answered."""


class Aging:
    """Tells what is old: what was there many looks ago, with a deadline or more between two.

    Looks count, not the time alone. A process that was stopped meanwhile finds its answers when
    it goes on, however old they are by the clock: that costs one look, not all.
    """

    def __init__(self, deadline: float, drop: Callable[[float], None]) -> None:
        """Call `drop` with the time before which all is old; a question has one `deadline`."""
        self._seconds = max(LEAST_SECONDS, deadline)
        self._drop = drop
        self._looks: deque[float] = deque(maxlen=LOOKS + 1)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look(time.monotonic())
            await trio.sleep(self._seconds)

    def look(self, now: float) -> None:
        """Have dropped what is old at `now`, of the monotonic clock."""
        self._looks.append(now)
        if len(self._looks) > LOOKS:
            self._drop(self._looks[0])
