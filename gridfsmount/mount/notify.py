"""What a service tells systemd of itself: sd_notify(3), without its library."""

import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

log = logging.getLogger(__name__)

SEND_SECONDS: Final = 1.0
"""systemd reads within microseconds. A socket that nobody reads must not hold up the mount."""


class Notifier:
    """Sends lines to the socket that systemd listens on; to nobody if there is none."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """Send to `address`, as in NOTIFY_SOCKET.

        `watchdog` is after how many seconds without a sign of life the service is ended.
        """
        self.watchdog = watchdog if address else None
        # A name that begins with @ is in Linux's abstract name space: unix(7).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Self:
        """What the environment says, which is taken out: no child process shall speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watchdog = int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0.0
        return cls(address, watchdog or None)

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def tell(self, **values: str | int) -> None:
        """Send assignments, as in `tell(READY=1, STATUS="...")`; failing is only logged."""
        if not self._address:
            return
        # One line each: a line feed would begin the next.
        lines = "\n".join(f"{key}={' '.join(str(value).split())}" for key, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_SECONDS)
                sender.sendto(lines.encode(), self._address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", ", ".join(values), error)
