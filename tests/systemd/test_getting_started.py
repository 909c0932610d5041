"""docs/getting-started.md, followed: what it has a person type, typed on two machines."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.mongod import Mongod
from tests.mounting import eventually
from tests.security import documented
from tests.systemd.listening import Listener
from tests.systemd.namespaces import ROOT, Machine, ended, write_program

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two machines"),
]

DOCUMENT: Final = ROOT / "docs" / "getting-started.md"
SYSTEMD: Final = ROOT / "systemd"

ELSEWHERE: Final = ("apt-get ", "PIPX_HOME=", "systemctl ", "smbpasswd ")
"""Beginnings of lines that need a system of their own. tests/systemd/test_installed.py installs a
wheel, tests/lan runs both servers, with their files."""

SERVES: Final = "gridfsmount web\n"
"""Runs until somebody ends it; see tests/web."""

STARTS: Final = "systemctl enable --now gridfsmount@lake\n"


@dataclass
class Site:
    """A database server, and two machines of its LAN."""

    server: Mongod
    folder: Path
    names: Iterator[str] = field(default_factory=lambda: iter(("server", "gpu1")))

    def machine(self) -> Machine:
        """The next one, with `gridfsmount` installed."""
        folder = self.folder / next(self.names)
        for name in ("", "bin", "root", "srv", "backup", "mnt", "var"):
            (folder / name).mkdir()
        write_program(folder / "bin" / "gridfsmount", "main")
        # In /sbin there, nothing is yet.
        shutil.copy("/usr/sbin/useradd", folder / "bin")
        return Machine(folder)

    def here(self, text: str, machine: Machine) -> str:
        """What the document says, with the names of this site."""
        lake = f"127.0.0.1:{self.server.port}/lake?replicaSet=tests"
        meant = {
            "192.168.1.10/lake?replicaSet=lake": lake,
            "/srv/lake": f"{machine.folder}/srv/lake",
            "/backup/lake": f"{machine.folder}/backup/lake",
            "/mnt/lake": f"{machine.folder}/mnt/lake",
            "/var/cache/lake": f"{machine.folder}/var/lake",
            "gridfsmount install-units": f"gridfsmount install-units --root {machine.folder}/root",
            "systemd-sysusers gridfsmount.conf": f"systemd-sysusers {SYSTEMD}/gridfsmount.sysusers",
            # Of the folders that it makes, that which is this machine's alone.
            "--create gridfsmount.conf": f"--create --prefix=/etc {SYSTEMD}/gridfsmount.tmpfiles",
            "10GiB": "1GiB",
            "-o mongodb ": "",
            "/etc/ganesha/": "/etc/",
            "/etc/samba/": "/etc/",
            "testparm -s": "testparm -s /etc/smb.conf",
            "  _netdev,": f"  log_file={machine.folder}/log,_netdev,",
        }
        for word, own in meant.items():
            text = text.replace(word, own)
        return text

    def type(self, machine: Machine, script: str) -> str:
        """Run the commands of a block; what they print. Each must succeed."""
        lines = [
            line for line in script.splitlines(keepends=True) if not line.startswith(ELSEWHERE)
        ]
        kept = "".join(lines).replace(SERVES, "")
        # Whether this machine is well is not the page's affair.
        kept = kept.replace("gridfsmount doctor", "gridfsmount doctor || test $? = 1")
        path = f"{machine.folder}/bin:{os.environ['PATH']}"
        script = f"cd {ROOT}\n{self.here(kept, machine)}"
        done = machine.run("sh", "-ec", script, env={"PATH": path, "HOME": str(machine.folder)})
        assert done.returncode == 0, f"{kept}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def make_user(self, name: str, password: str) -> None:
        """As `mongosh` does for the block that has this user."""
        database, call, given = next(
            each for each in documented.calls(DOCUMENT) if each[2].get("user") == name
        )
        with self.server.client() as client:
            client[database].command({**documented.command(call, given), "pwd": password})

    def make_roles(self) -> None:
        with self.server.client() as client:
            for database, call, given in documented.calls():
                if call == "createRole" and database == "lake":
                    client[database].command(documented.command(call, given))


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the user of the unit may enter."""
    with tempfile.TemporaryDirectory(prefix="gridfsmount-page-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    (settings,) = documented.blocks("yaml", DOCUMENT)
    key = folder / "mongodb.key"
    config = folder / "mongod.conf"
    config.write_text(settings.replace("/etc/mongodb.key", str(key)))
    key.touch(0o400)
    key.write_bytes(
        subprocess.run(
            ["openssl", "rand", "-base64", "756"], stdout=subprocess.PIPE, check=True
        ).stdout
    )
    with Mongod(auth=True, extra=("--config", str(config))) as server:
        yield Site(server, folder)


def sections() -> Mapping[str, str]:
    """The text of each step, by its number."""
    found = re.split(r"^## (\d)\. .*\n", DOCUMENT.read_text(), flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


def blocks(step: str, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", sections()[step], re.M | re.S)


def start_unit(machine: Machine, listener: Listener) -> subprocess.Popen[bytes]:
    """What `systemctl` starts, by the unit's user and with its rights."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(SYSTEMD / "gridfsmount@.service")
    service = unit["Service"]
    rights = service["AmbientCapabilities"].lower().replace("cap_", "+")
    # The interpreter may be where nobody else may look.
    allowed = f"-all,+dac_read_search,{rights}"
    variable, _, cache = service["Environment"].partition("=")
    cache = cache.replace("/var/cache", f"{machine.folder}/var")
    (machine.folder / "var").chmod(0o777)
    log = machine.folder / "journal"
    with log.open("wb") as journal:
        process = subprocess.Popen(
            machine.inside(
                *("setpriv", f"--reuid={service['User']}", f"--regid={service['Group']}"),
                *("--clear-groups", "--no-new-privs", f"--inh-caps={allowed}"),
                *(f"--ambient-caps={allowed}", f"--bounding-set={allowed}"),
                *shlex.split(service["ExecStart"].replace("%i", "lake")),
            ),
            stdin=subprocess.DEVNULL,
            stderr=journal,
            cwd="/",
            env={
                "PATH": f"{machine.folder}/bin:{os.environ['PATH']}",
                "HOME": str(machine.folder),
                variable: cache,
                **listener.environment(60.0),
            },
        )
    eventually(lambda: process.poll() is not None or listener.hears("READY=1"), "it starts or ends")
    assert process.poll() is None, log.read_text()
    return process


def test_the_page_leads_to_a_lake_with_backups_and_a_client(site: Site, folder: Path) -> None:
    with site.machine() as server, Listener(folder / "notify") as listener:
        (folder / "notify").chmod(0o777)
        for step in ("1", "2", "3"):
            for script in blocks(step):
                site.type(server, script)
        site.make_user("admin", "not a secret")
        site.make_roles()
        site.make_user("server", server.at(Path("/etc/gridfsmount/lake.password")).read_text()[:-1])
        write_config(site, server, "4")
        before, makes_users = blocks("4")
        assert STARTS in before
        site.type(server, before)
        service = start_unit(server, listener)
        try:
            site.type(server, makes_users)
            make_backups(site, server)
            with site.machine() as client:
                client.install_helper()
                mount_and_seal(site, client)
            (share,) = [script for script in blocks("7") if "testparm" in script]
            assert "path = /srv/lake" in site.type(server, share)
            site.type(server, blocks("8")[0])
            settings = server.at(Path("/etc/ganesha.conf")).read_text()
            number = server.run("id", "-u", "lake").stdout.strip()
            assert f"Anonymous_Uid = {number};" in settings
            (look,) = [script for script in blocks("9") if "status" in script]
            told = site.type(server, look)
            assert "nothing needs a person" in told
        finally:
            service.terminate()
            assert service.wait(60) == 0


def write_config(site: Site, machine: Machine, step: str) -> None:
    (text,) = blocks(step, "toml")
    machine.at(Path("/etc/gridfsmount/lake.toml")).write_text(site.here(text, machine))


def make_backups(site: Site, server: Machine) -> None:
    made, looked_into = blocks("5")
    site.type(server, made)
    # The mount looks every ten seconds whether there is a vault by now.
    latest = server.at(server.folder / "srv" / "lake" / "snapshots" / "latest")
    eventually(latest.exists, "the snapshot shows in the mount")
    assert "datasets" in site.type(server, looked_into)


def mount_and_seal(site: Site, client: Machine) -> None:
    password, tried, sealed = blocks("6")
    site.make_user("gpu1", site.type(client, password).strip())
    write_config(site, client, "6")
    (line,) = blocks("6", "fstab")
    client.at(Path("/etc/fstab")).write_text(site.here(line, client))
    assert "datasets" in site.type(client, tried)
    # As its access does, with the automount.
    assert client.run("mount", client.folder / "mnt" / "lake").returncode == 0
    process = int(os.getxattr(client.at(client.folder / "mnt" / "lake"), "user.lake.pid"))
    assert "the first one" in site.type(client, sealed)
    assert client.run("umount", client.folder / "mnt" / "lake").returncode == 0
    ended(process)
