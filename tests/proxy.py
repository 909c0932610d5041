"""A network to break: connections to a server go through here, and are slowed, stalled or cut."""

import contextlib
import socket
import threading
import time
from typing import Final

from tests.mongod import Started

PIECE: Final = 64 << 10

CONNECT_SECONDS: Final = 5.0


class Proxy(Started):
    """Forwards one local port to another. A context manager.

    What is set below holds for all connections, those that are open and those to come.

    Attributes:
        port: Where to connect to, on 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        """Lead to the port `target`, which needs not be open yet."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._delay = 0.0
        self._left: int | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def close(self) -> None:
        """End all connections, and take no more."""
        self._flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def uri_for(self, database: str) -> str:
        """The connection string, to this member and no other."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true"

    # --- what goes wrong -----------------------------------------------------------------------

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
            self._left = None
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size: int) -> None:
        """Reset all once `size` more bytes of answers have passed: in the middle of a message."""
        with self._lock:
            self._left = size

    def stall(self) -> None:
        """Let nothing through, and tell nobody: as when a cable is pulled out."""
        self._flows.clear()

    def slow(self, seconds: float) -> None:
        """Hold up every piece for so long, in both directions."""
        self._delay = seconds

    def refuse(self) -> None:
        """Reset all connections, and those to come at once: as when the server is gone."""
        self._refuses = True
        self.cut()

    def heal(self) -> None:
        """Forward as if nothing had been."""
        self._refuses, self._delay = False, 0.0
        with self._lock:
            self._left = None
        self._flows.set()

    # --- forwarding ----------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            if self._refuses:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), CONNECT_SECONDS)
            except OSError:
                return
            stack.enter_context(server)
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, True), daemon=True)
            back.start()
            self._pump(client, server, False)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if self._delay:
                    time.sleep(self._delay)  # the fault itself
                self._flows.wait()
                if answers and (rest := self._passing(len(piece))) is not None:
                    target.sendall(piece[:rest])
                    self.cut()
                    return
                target.sendall(piece)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _passing(self, size: int) -> int | None:
        """Count bytes; how many of them may pass if that is the end, else None."""
        with self._lock:
            if self._left is None:
                return None
            if size < self._left:
                self._left -= size
                return None
            rest, self._left = self._left, None
            return rest
