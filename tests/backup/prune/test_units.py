"""The units of systemd that back up, verify and prune at night."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridfsmount.cli.settings import StatusSettings, read_settings
from gridfsmount.vaults.directory import DirectoryVault
from tests.backup.prune.conftest import Publish
from tests.mounting import run_command
from tests.store.lakes import opened

UNITS = Path(__file__).parents[3] / "systemd"
NAMES = ("backup", "prune", "verify")
CONFIG = "/etc/gridfsmount/lake.toml"


def read(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / f"gridfsmount-{name}")
    return unit


def analyzed(*units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_units_are_what_systemd_takes() -> None:
    units = sorted(each for each in UNITS.iterdir() if each.suffix in (".service", ".timer"))
    assert len(units) == 2 * len(NAMES) + 1, "those, and the one that mounts"
    done = analyzed(*units)
    assert done.returncode == 0, done.stderr
    assert "gridfsmount" not in done.stderr, "it may warn of units that are the machine's own"


def test_a_unit_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    text = (UNITS / "gridfsmount-prune.service").read_text()
    wrong = tmp_path / "gridfsmount-prune.service"
    wrong.write_text(text.replace("Nice=10", "Nicee=10").replace("/usr/bin/env", "/nowhere/env"))
    done = analyzed(wrong)
    assert "Nicee" in done.stderr
    assert "/nowhere/env" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_timers_are_late_by_chance_and_catch_up(name: str) -> None:
    timer = read(f"{name}.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Timer"]["RandomizedDelaySec"]
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.parametrize("name", NAMES)
def test_services_end_stand_back_and_may_do_little(name: str) -> None:
    service = read(f"{name}.service")["Service"]
    assert service["Type"] == "oneshot", "so that none starts while it runs, and others wait for it"
    assert (service["Nice"], service["IOSchedulingClass"]) == ("10", "idle")
    assert service["NoNewPrivileges"] == service["PrivateTmp"] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_what_is_due_at_once_runs_one_after_the_other() -> None:
    verify, prune = (
        read(f"{name}.service")["Unit"]["After"].split() for name in ("verify", "prune")
    )
    assert "gridfsmount-backup.service" in verify
    assert {"gridfsmount-backup.service", "gridfsmount-verify.service"} <= set(prune)


def test_the_config_file_of_the_document_is_one(tmp_path: Path) -> None:
    document = (UNITS.parent / "docs" / "operations.md").read_text()
    _, _, rest = document.partition("```toml\n")
    example = tmp_path / "lake.toml"
    example.write_text(rest.partition("```")[0])
    example.chmod(0o600)
    settings = read_settings(example)
    assert set(settings.vaults) == {"nas", "remote"}
    assert (settings.prune.keep_weekly, settings.verify.sample) == (5, 0.05)
    assert settings.status == StatusSettings(), "those are the defaults"


def command(name: str, config: Path) -> list[str]:
    """What a service runs, with another config file."""
    line = read(f"{name}.service")["Service"]["ExecStart"]
    assert line.endswith(f" --config {CONFIG}")
    return line.replace(CONFIG, str(config)).split(" ")


def run(name: str, config: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command(name, config),
        env={"PATH": path, "PYTHONPATH": str(UNITS.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_the_service_runs_prunes(
    vault: DirectoryVault, publish: Publish, tmp_path: Path
) -> None:
    for name in ("2026-11-10T03-00-00Z", "2026-11-11T03-00-00Z"):
        publish(name, {"a": name.encode()})
    config = tmp_path / "lake.toml"
    config.write_text(f'[vaults]\nnas = "{vault.address}"\n[prune]\nkeep_last = 1\ngrace = "0s"\n')
    config.chmod(0o600)
    done = run("prune", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nas: removed 1 of 2 snapshots and 1 blob of 20 B" in done.stdout
    assert vault.snapshots() == ["2026-11-11T03-00-00Z"]


def test_what_the_services_run_backs_up_verifies_prunes_and_is_told_by_status(
    lake_uri: str, tmp_path: Path
) -> None:
    config = tmp_path / "lake.toml"
    config.write_text(
        f'uri = "{lake_uri}"\n[vaults]\nnas = "{tmp_path / "vault"}"\n'
        '[backup]\nlimit = "1GiB/s"\njobs = 2\n[verify]\nsample = "50%"\nmax_duration = "1h"\n'
        "[prune]\nkeep_last = 1\n"
    )
    config.chmod(0o600)
    with opened(lake_uri):
        pass
    assert run("backup", config).returncode == 1, "there is no vault yet"
    status = run_command("status", "--config", config)
    assert status.returncode == 1
    assert "the last backup failed" in status.stdout
    assert "is no vault" in status.stdout
    assert run_command("backup", "init", "--config", config).returncode == 0
    for name in ("backup", "verify", "backup", "prune"):
        done = run(name, config)
        assert (done.returncode, done.stderr) == (0, ""), name
    status = run_command("status", "--config", config)
    assert status.returncode == 0, status.stdout
    assert "nas: backed up" in status.stdout
    assert ", verified " in status.stdout
    assert len(DirectoryVault(tmp_path / "vault").snapshots()) == 1
