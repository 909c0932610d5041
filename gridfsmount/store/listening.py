"""Counting of the driver's commands, as the driver itself tells of them. From any thread."""

import threading
from collections import OrderedDict
from typing import Final, Protocol

from pymongo import monitoring

_REMEMBERED: Final = 256
"""Operations that failed and may be tried again, and questions of change streams on their way."""

_WAITS: Final = "maxTimeMS"
"""A `getMore` with this waits for news: how long it takes says nothing of the server."""


class Tally(Protocol):
    """What counts."""

    def answered(self, name: str, seconds: float, failed: bool) -> None:
        """A command was answered, or was not."""

    def retried(self) -> None:
        """One is sent once more."""


class CommandListener(monitoring.CommandListener):
    """Passes on how commands went. What is in them it leaves alone.

    Attempts of one operation have one id in the driver in newer drivers; an older one tells of no
    retries. Change streams, whose questions are answered when there is news, are left out.
    """

    def __init__(self, tally: Tally) -> None:
        """Tell `tally`, which must stand calls from any thread."""
        self._tally = tally
        self._lock = threading.Lock()
        self._failed: OrderedDict[int, None] = OrderedDict()
        self._waiting: OrderedDict[int, None] = OrderedDict()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """The driver sends a command."""
        if event.command_name == "getMore" and _WAITS in event.command:
            self._note(self._waiting, event.request_id)
        if self._failed and self._take(self._failed, event.operation_id):
            self._tally.retried()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """It was answered."""
        if self._waiting and self._take(self._waiting, event.request_id):
            return
        self._tally.answered(event.command_name, event.duration_micros * 1e-6, failed=False)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """It was refused, or its connection was lost."""
        if event.operation_id is not None:
            self._note(self._failed, event.operation_id)
        if self._waiting and self._take(self._waiting, event.request_id):
            return
        self._tally.answered(event.command_name, event.duration_micros * 1e-6, failed=True)

    def _note(self, numbers: OrderedDict[int, None], number: int) -> None:
        with self._lock:
            numbers[number] = None
            if len(numbers) > _REMEMBERED:
                numbers.popitem(last=False)

    def _take(self, numbers: OrderedDict[int, None], number: int | None) -> bool:
        with self._lock:
            if number is None or number not in numbers:
                return False
            del numbers[number]
            return True
