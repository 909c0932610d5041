"""Everything that a mount counts, in one object that is passed down to whoever has to count.

All counters grow from zero while the mount lives; a gauge is asked for when somebody looks. What
only the event loop touches needs no lock. What threads count as well has one, and says so.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gridfsmount.telemetry.latencies import Latencies

Gauge = Callable[[], int]
"""A figure of this moment; cheap, and safe to call from any thread."""


class Operation(Latencies):
    """One kind of request of the kernel. Of the event loop."""

    __slots__ = ("bytes", "errors")

    def __init__(self) -> None:
        """Not asked for yet."""
        super().__init__()
        self.bytes = 0
        """Of contents, read or written."""
        self.errors: dict[int, int] = {}
        """How often it was answered with an errno."""

    def failed(self, code: int) -> None:
        """It was answered with an errno."""
        self.errors[code] = self.errors.get(code, 0) + 1


@dataclass(eq=False, slots=True)
class Loaded:
    """Chunks that came from one layer."""

    chunks: int = 0
    bytes: int = 0

    def add(self, chunks: int, size: int) -> None:
        """Some more came."""
        self.chunks += chunks
        self.bytes += size


@dataclass(eq=False, slots=True)
class Reading:
    """Where the chunks that were read came from. Of the event loop."""

    hits: int = 0
    """Chunks that a read found in memory."""
    waits: int = 0
    """Chunks that were on their way when a read wanted them: read ahead, or for another read."""
    misses: int = 0
    """Chunks that a read had to send for."""
    disk: Loaded = field(default_factory=Loaded)
    """From the disk cache."""
    server: Loaded = field(default_factory=Loaded)
    """From the lake's server, or from a vault."""

    def looked(self, hits: int, waits: int, misses: int) -> None:
        """A read has looked for its chunks."""
        self.hits += hits
        self.waits += waits
        self.misses += misses


@dataclass(frozen=True, slots=True)
class Ahead:
    """What became of chunks that were brought before anybody asked for them."""

    fetched: int = 0
    used: int = 0
    """Read since, or given to the kernel."""
    wasted: int = 0
    """Dropped from memory before that."""


@dataclass(eq=False, slots=True)
class Uploads:
    """What writers send to the server. Of the event loop."""

    running: int = 0
    """Inserts on their way now."""
    running_bytes: int = 0
    chunks: int = 0
    """That arrived."""
    bytes: int = 0
    """That arrived."""
    failures: int = 0
    """Inserts that failed; what was in them is sent again."""
    commits: int = 0
    """Files that got a new content."""

    def began(self, size: int) -> None:
        """An insert is on its way."""
        self.running += 1
        self.running_bytes += size

    def ended(self, chunks: int, size: int, *, arrived: bool) -> None:
        """It arrived, or failed."""
        self.running -= 1
        self.running_bytes -= size
        if arrived:
            self.arrived(chunks, size)
        else:
            self.failures += 1

    def arrived(self, chunks: int, size: int) -> None:
        """Chunks are on the server."""
        self.chunks += chunks
        self.bytes += size


@dataclass(eq=False, slots=True)
class Command:
    """One of the server's commands."""

    count: int = 0
    seconds: float = 0.0
    errors: int = 0


class Database:
    """Commands to the server. From any thread."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._commands: dict[str, Command] = {}
        self._retries = 0

    def answered(self, name: str, seconds: float, failed: bool) -> None:
        """A command was answered, or was not."""
        with self._lock:
            command = self._commands.setdefault(name, Command())
            command.count += 1
            command.seconds += seconds
            command.errors += failed

    def retried(self) -> None:
        """The driver sends one once more."""
        with self._lock:
            self._retries += 1

    @property
    def retries(self) -> int:
        """Commands that were sent once more."""
        return self._retries

    def commands(self) -> dict[str, Command]:
        """Each command by its name, as counted so far."""
        with self._lock:
            return {
                name: Command(each.count, each.seconds, each.errors)
                for name, each in self._commands.items()
            }


class Telemetry:
    """All counters of one mount."""

    def __init__(self) -> None:
        """Everything at zero."""
        self.operations: dict[str, Operation] = {}
        self.pending = 0
        """Requests of the kernel that wait for their answer."""
        self.reading = Reading()
        self.uploads = Uploads()
        self.database = Database()
        self.invalidations = 0
        """Changes of nodes that the server told of: other mounts' and this one's own."""
        self.ahead: Callable[[], Ahead] = Ahead
        """The cache in memory counts that, and knows nothing of this."""
        self.gauges: dict[str, Gauge] = {"requests_pending": lambda: self.pending}

    def operation(self, name: str) -> Operation:
        """The counters of one kind of request."""
        return self.operations.setdefault(name, Operation())
