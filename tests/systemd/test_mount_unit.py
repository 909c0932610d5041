"""The unit that mounts a lake: what systemd says of it, and what it runs, run as written."""

import configparser
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounting import PATIENCE, eventually
from tests.systemd.listening import Listener
from tests.systemd.namespaces import Machine, write_program

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "gridfsmount@.service"

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")

EXPOSURE = 38
"""Tenths, as `systemd-analyze security` counts them: 100 is worst. Without its hardening the unit
has 93. What is left is the network, the right to mount, and the system's view of its files."""

OTHER_VIEWS = {
    "ProtectSystem", "ProtectHome", "ProtectProc", "ProcSubset", "ProtectKernelTunables",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "PrivateTmp",
    "PrivateDevices", "PrivateMounts", "PrivateUsers", "PrivateIPC", "MountFlags", "RootDirectory",
    "RootImage", "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths",
    "NoExecPaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "DynamicUser",
    "LogNamespace",
}  # fmt: skip
"""Settings of systemd.exec(5) that give a service a mount name space of its own."""


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    return unit


def test_the_exposure_is_no_more_than_it_was() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", UNIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-500:]


def test_its_mount_is_seen_by_everybody(unit: configparser.ConfigParser) -> None:
    assert not OTHER_VIEWS & set(unit["Service"])


def test_it_comes_after_the_network_and_the_server_and_is_restarted_without_end(
    unit: configparser.ConfigParser,
) -> None:
    assert {"network-online.target", "mongod.service"} <= set(unit["Unit"]["After"].split())
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    service = unit["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    assert int(service["WatchdogSec"]) == 60
    assert service["LimitCORE"] == "0"


class Service:
    """What the unit lake runs, by the user and with the rights that it says."""

    def __init__(self, machine: Machine, unit: configparser.ConfigParser, uri: str) -> None:
        self.machine = machine
        self.unit = unit["Service"]
        self.mountpoint = Path(tempfile.mkdtemp(prefix="mnt-", dir=machine.folder))
        self.log = machine.folder / "journal"
        config = machine.etc / "gridfsmount" / "lake.toml"
        config.write_text(f'uri = "{uri}"\n[mount]\nmountpoint = "{self.mountpoint}"\n')
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, setting: str) -> list[str]:
        return shlex.split(self.unit[setting].lstrip("+-").replace("%i", "lake"))

    def start(self, listener: Listener) -> None:
        rights = self.unit["AmbientCapabilities"].lower().replace("cap_", "+").split()
        assert self.unit["CapabilityBoundingSet"] == self.unit["AmbientCapabilities"]
        # The interpreter may be where nobody else may look.
        allowed = ",".join(["-all", "+dac_read_search", *rights])
        as_user = [
            "setpriv", f"--reuid={self.unit['User']}", f"--regid={self.unit['Group']}",
            "--clear-groups", "--no-new-privs", f"--inh-caps={allowed}",
            f"--ambient-caps={allowed}", f"--bounding-set={allowed}",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.machine.inside(*as_user, *self.command("ExecStart")),
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env={**environment(self.machine), **listener.environment(60.0)},
            )
        self.process = process
        eventually(
            lambda: process.poll() is not None or listener.hears("READY=1"), "it starts or ends"
        )
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """As systemd does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    @property
    def folder(self) -> Path:
        """The mount, as this process sees it."""
        return self.machine.at(self.mountpoint)


def environment(machine: Machine) -> dict[str, str]:
    return {"PATH": f"{machine.folder}/bin:{os.environ['PATH']}", "HOME": str(machine.folder)}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One where the user of the unit is, whom its entry for systemd-sysusers makes."""
    with tempfile.TemporaryDirectory(prefix="gridfsmount-unit-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Machine(folder) as machine:
            made = machine.run("systemd-sysusers", UNIT.with_name("gridfsmount.sysusers"))
            assert made.returncode == 0, made.stderr
            (folder / "bin").mkdir()
            write_program(folder / "bin" / "gridfsmount", "main")
            yield machine


@pytest.fixture(scope="module")
def listener(machine: Machine) -> Iterator[Listener]:
    with Listener(machine.folder / "notify") as listener:
        (machine.folder / "notify").chmod(0o777)
        yield listener


@pytest.fixture
def service(machine: Machine, unit: configparser.ConfigParser, lake_uri: str) -> Iterator[Service]:
    service = Service(machine, unit, lake_uri)
    yield service
    if service.process is not None:
        service.kill()


@AS_ROOT
def test_what_the_unit_runs_mounts_for_all_users_dies_and_mounts_again(
    service: Service, listener: Listener
) -> None:
    service.start(listener)
    version = service.folder / "datasets" / "test" / "v1"
    version.mkdir(parents=True)
    (version / "file").write_bytes(b"by root, another user than the mount's")

    service.kill()
    service.start(listener)
    eventually((version / "file").is_file, "it is mounted anew")
    ((_, _, _, options, *_),) = service.machine.mounts()
    owner = (service.folder / "datasets").stat().st_uid
    assert owner != 0
    assert {f"user_id={owner}", "allow_other", "nosuid", "nodev"} <= set(options.split(","))
    service.stop()
    assert "cleared away" in service.log.read_text()
    assert not service.machine.mounts()


@AS_ROOT
def test_what_the_unit_runs_after_the_start_raises_the_kernels_read_ahead(
    service: Service, listener: Listener
) -> None:
    service.start(listener)
    device = service.folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    setting = Path("/sys/class/bdi", number, "read_ahead_kb")
    assert setting.read_text() == "128\n"
    command = service.command("ExecStartPost")
    tuned = service.machine.run(*command, env=environment(service.machine))
    assert (tuned.returncode, tuned.stderr) == (0, "")
    assert setting.read_text() == "1024\n"
    service.stop()
    tuned = service.machine.run(*command, env=environment(service.machine))
    said = f"gridfsmount: no lake is mounted on {service.mountpoint}\n"
    assert (tuned.returncode, tuned.stderr) == (1, said)
