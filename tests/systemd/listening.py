"""What systemd hears from a service: a socket as it gives one to those of Type=notify."""

import socket
import time
from pathlib import Path
from typing import Self

from tests.mounting import PATIENCE


class Listener:
    """A socket for NOTIFY_SOCKET; a context manager."""

    def __init__(self, address: str | Path) -> None:
        """`address` is a path, or @ and a name for one in the abstract name space."""
        self.address = str(address)
        self.heard: list[str] = []
        """All lines, in their order."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        """What systemd adds to a service's environment."""
        if watchdog is None:
            return {"NOTIFY_SOCKET": self.address}
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(watchdog * 1e6))}

    def wait_for(self, beginning: str) -> str:
        """The next line that begins so."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            lines = self._receive(deadline - time.monotonic())
            for line in lines:
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"never heard {beginning!r}, but {self.heard[-20:]}")

    def hears(self, line: str) -> bool:
        """Whether this is said just now: to be polled."""
        return line in self._receive(0)

    def hears_nothing(self, seconds: float) -> bool:
        """Whether nobody says anything for so long; what was said before is not counted."""
        while self._receive(0):
            pass
        return not self._receive(seconds)

    def _receive(self, seconds: float) -> list[str]:
        self._socket.settimeout(max(seconds, 0.0))
        try:
            lines = self._socket.recv(65536).decode().split("\n")
        except (TimeoutError, BlockingIOError):
            return []
        self.heard += lines
        return lines
