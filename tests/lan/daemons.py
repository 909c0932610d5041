"""`smbd` and `ganesha.nfsd` on loopback, with the configurations of `docs/` and nothing else.

What an installation adapts is adapted here: folders, ports, addresses and the Unix user.
"""

import abc
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.mongod import Started
from tests.mounting import eventually

DOCS: Final = Path(__file__).parents[2] / "docs"

HOST: Final = "127.0.0.1"

USER: Final = "games"
"""A Unix user of every Debian, that all who come over the LAN act as."""

STOP_SECONDS: Final = 30.0


class Daemon(Started):
    """One server in the foreground, with all that is its own in a folder.

    Attributes:
        port: Its TCP port on 127.0.0.1, the same after a restart.
        folder: Its configuration, its state and its log.
    """

    def __init__(self, folder: Path, lake: Path) -> None:
        """Serve `lake`, the folder where it is mounted, once it is started."""
        self.folder = folder
        self.lake = lake
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.configure()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command()],  # nothing outlives the tests
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # smbd has a process for each client
            )
        eventually(self._answers, f"{self.command()[0]} answers")

    def close(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # they ended by themselves
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @abc.abstractmethod
    def configure(self) -> None:
        """Write the configuration."""

    @abc.abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What runs in the foreground."""

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


class Ganesha(Daemon):
    """An NFS server, as `docs/ganesha.conf` has it."""

    export = "/lake"

    def __init__(self, folder: Path, lake: Path, uid: int, gid: int) -> None:
        """Let all clients act as a user and a group."""
        super().__init__(folder, lake)
        self._uid, self._gid = uid, gid

    def configure(self) -> None:
        (self.folder / "recovery").mkdir(exist_ok=True)
        text = _adapted(
            DOCS / "ganesha.conf",
            {
                "NFS_Port = 2049;": f"NFS_Port = {self.port};",
                "Bind_addr = 0.0.0.0;": "Bind_addr = 127.0.0.1;",
                "/var/lib/nfs/ganesha;": f"{self.folder}/recovery;",
                "/srv/lake;": f"{self.lake};",
                "Anonymous_Uid = 998;": f"Anonymous_Uid = {self._uid};",
                "Anonymous_Gid = 998;": f"Anonymous_Gid = {self._gid};",
                "192.168.1.0/24;": "127.0.0.1;",
            },
        )
        (self.folder / "ganesha.conf").write_text(text)

    def command(self) -> Sequence[str | Path]:
        return [
            *("ganesha.nfsd", "-F", "-L", "STDOUT"),
            *("-f", self.folder / "ganesha.conf", "-p", self.folder / "pid"),
        ]


class Smbd(Daemon):
    """An SMB server, as `docs/smb.conf` has it, with the account `USER`."""

    password = "not a secret"

    def configure(self) -> None:
        own = [
            *("private dir", "lock directory", "state directory", "cache directory"),
            *("pid directory", "ncalrpc dir"),
        ]
        for name in own:
            (self.folder / name).mkdir(exist_ok=True)
        folders = "".join(f"    {name} = {self.folder / name}\n" for name in own)
        text = _adapted(
            DOCS / "smb.conf",
            {
                "[global]\n": f"[global]\n{folders}    interfaces = lo\n"
                "    bind interfaces only = yes\n",
                "smb ports = 445": f"smb ports = {self.port}",
                "path = /srv/lake": f"path = {self.lake}",
                "valid users = @lake": f"valid users = {USER}",
                "force user = lake": f"force user = {USER}",
            },
        )
        (self.folder / "smb.conf").write_text(text)
        self.add_account(USER)

    def add_account(self, user: str) -> None:
        """Give a Unix user a password for SMB."""
        subprocess.run(
            ["smbpasswd", "-c", self.folder / "smb.conf", "-a", "-s", user],
            input=f"{self.password}\n{self.password}\n".encode(),
            check=True,
            capture_output=True,
        )

    def command(self) -> Sequence[str | Path]:
        return [
            *("smbd", "--foreground", "--no-process-group", "--debug-stdout"),
            *("--configfile", self.folder / "smb.conf"),
        ]

    def run(self, *commands: str, user: str = USER, password: str | None = None) -> str:
        """Commands of one `smbclient` session; what it prints. It must succeed."""
        done = self.try_(*commands, user=user, password=password)
        assert done.returncode == 0, done.stdout
        assert "NT_STATUS_" not in done.stdout, done.stdout
        return done.stdout

    def try_(
        self, *commands: str, user: str = USER, password: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, of a session that may fail. Its messages are on stdout."""
        return subprocess.run(
            [
                *self._client(user, password),
                *("--command", "; ".join(("prompt off", "recurse on", *commands))),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )

    def _client(self, user: str, password: str | None = None) -> Sequence[str | Path]:
        login = self.folder / f"{user}.login"
        login.write_text(f"username = {user}\npassword = {password or self.password}\n")
        return [
            *("smbclient", "--configfile", self.folder / "smb.conf", "--port", str(self.port)),
            *("--authentication-file", login, "//127.0.0.1/lake"),
        ]


def _adapted(file: Path, changes: Mapping[str, str]) -> str:
    text = file.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{file.name} has no {old!r}, or several"
        text = text.replace(old, new)
    return text
