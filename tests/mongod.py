"""A MongoDB server for tests: real, on a loopback port, and easy to break and to mend."""

import abc
import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_plus

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from gridfsmount.store.embedded import find_mongod

REPLICA_SET = "tests"
USER = "root"
PASSWORD = f"p@ss/word:%41{os.getpid()}"
"""What a URI has to quote. Of this process alone: others' tests show theirs to the machine."""

START_SECONDS = 60.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.02

MEMORY = "/dev/shm"
ROOM_BYTES = 4 << 30  # more than all servers of two test runs side by side ever hold

EXIT_NET_ERROR = 48  # mongod's exit code when its port is taken
ALREADY_INITIALIZED = 23


class Started(abc.ABC):
    """What runs for as long as a block: a context manager of `start` and `close`."""

    @abc.abstractmethod
    def start(self) -> None:
        """Return once it runs."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it, however far its start came."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Mongod(Started):
    """One mongod with its data in a temporary directory, both gone after `close`.

    A context manager. In between it may be killed, stopped, paused and restarted at will: its
    port and its data stay. Everything here blocks until it has happened.

    Attributes:
        port: Its TCP port on 127.0.0.1.
        directory: Holds `db/` and `mongod.log`.
    """

    def __init__(
        self,
        *,
        replica_set: bool = True,
        auth: bool = False,
        extra: Sequence[str] = (),
        query: str = "",
        directory: Path | None = None,
    ) -> None:
        """Describe the server and make its directory; `start` starts it.

        Args:
            replica_set: A replica set of one node, rather than a standalone server.
            auth: Clients must log in. There is one user, with all rights, and `uri` has it.
            extra: More arguments for mongod, for example
                `["--setParameter", "enableTestCommands=1"]` for its failpoints.
            query: What addresses of this server have at their end, as in "&tls=true".
            directory: Where its data go, instead of a new directory; there they stay.
        """
        self.port = _free_port()
        self._is_temporary = directory is None
        self.directory = directory or _new_directory()
        self._replica_set = replica_set
        self._auth = auth
        self._extra = tuple(extra)
        self._query = query
        self._process: subprocess.Popen[bytes] | None = None
        self._is_set_up = False

    @property
    def uri(self) -> str:
        """The connection string, without a database in it."""
        return self.uri_for("")

    def uri_for(self, database: str) -> str:
        """Return the connection string with `database` as its path."""
        login = f"{USER}:{quote_plus(PASSWORD)}@" if self._auth else ""
        mode = f"replicaSet={REPLICA_SET}" if self._replica_set else "directConnection=true"
        source = "&authSource=admin" if self._auth else ""
        return f"mongodb://{login}127.0.0.1:{self.port}/{database}?{mode}{source}{self._query}"

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """Return a new client, for the caller to close."""
        return MongoClient(self.uri, **options)

    @property
    def process_id(self) -> int:
        """The process id of the running mongod."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither stopped nor killed since."""
        return self._process is not None

    def start(self) -> None:
        """Start it on its data and return once it takes writes."""
        assert self._process is None, "it is running"
        while not self._came_up():
            self.port = _free_port()  # Somebody else was quicker to take that one.

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self._running().kill()
        self._reap()

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        process = self._running()
        process.send_signal(signal.SIGCONT)
        process.terminate()
        self._reap()

    def pause(self) -> None:
        """Make it hang: connections stay, and nothing is answered (SIGSTOP)."""
        self._running().send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process_id, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port and data."""
        if self._process:
            self.stop()
        self.start()

    def close(self) -> None:
        """End it if it runs, and remove its data."""
        if self._process:
            self.kill()
        if self._is_temporary:
            shutil.rmtree(self.directory)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process, "it is not running"
        return self._process

    def _reap(self) -> None:
        self._running().wait(STOP_SECONDS)
        self._process = None

    def _came_up(self) -> bool:
        """Start mongod and wait for it; False if its port is taken."""
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            if (code := self._process.poll()) is not None:
                self._process = None
                if code == EXIT_NET_ERROR and not self._is_set_up:
                    return False
                raise RuntimeError(f"mongod ended with {code}\n{self._log_tail()}")
            if self._takes_writes():
                return True
            if time.monotonic() > deadline:
                raise TimeoutError(f"mongod does not take writes\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def _command(self) -> list[str]:
        database = self.directory / "db"
        database.mkdir(exist_ok=True)
        command = [
            str(find_mongod()),
            *("--dbpath", str(database), "--logpath", str(self.directory / "mongod.log")),
            *("--logappend", "--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", "0.25"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *self._extra,
        ]
        if self._is_temporary:  # it may be memory: not 300 MB of journal in advance
            command += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]
        if self._replica_set:
            command += ["--replSet", REPLICA_SET]
        if self._auth:
            command += ["--keyFile", str(self._key_file())] if self._replica_set else ["--auth"]
        setpriv = shutil.which("setpriv")
        # The signal comes when the thread that started it ends: of use in the main thread only.
        if setpriv and threading.current_thread() is threading.main_thread():
            command = [setpriv, "--pdeathsig", "KILL", *command]
        return command

    def _key_file(self) -> Path:
        """Return the secret the members of a replica set share; with it, --auth is implied."""
        path = self.directory / "key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(base64.b64encode(secrets.token_bytes(96)))
        return path

    def _takes_writes(self) -> bool:
        """Ask it whether it takes writes; set it up when this is its first start."""
        if not _accepts_connections(self.port):
            return False
        direct: MongoClient[dict[str, Any]] = MongoClient(
            f"mongodb://127.0.0.1:{self.port}/?directConnection=true{self._query}",
            timeoutMS=int(START_SECONDS * 1000),
        )
        with direct:
            try:
                if direct.admin.command("hello")["isWritablePrimary"]:
                    if not self._is_set_up and self._auth:
                        _create_user(direct)
                    self._is_set_up = True
                    return True
                if not self._is_set_up:
                    _initiate(direct, f"127.0.0.1:{self.port}")
            except ConnectionFailure:
                pass  # It ended, or is on its way: the caller looks which.
        return False

    def _log_tail(self) -> str:
        log = self.directory / "mongod.log"
        return "\n".join(log.read_text().splitlines()[-20:]) if log.exists() else ""


def _new_directory() -> Path:
    """Make one in memory where there is room: a server starts and answers twice as fast there.

    What a process wrote before it was killed is there afterwards, as on a disk.
    """
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="gridfsmount-tests-", dir=MEMORY if has_room else None))


def _create_user(client: MongoClient[dict[str, Any]]) -> None:
    """Make the first user, which the localhost exception lets anybody do."""
    client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])


def _initiate(client: MongoClient[dict[str, Any]], host: str) -> None:
    members = [{"_id": 0, "host": host}]
    try:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
