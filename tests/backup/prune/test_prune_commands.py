"""`gridfsmount backup prune`, `pin`, `unpin` and `list`, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gridfsmount.cli.main import commands
from gridfsmount.store.runs import PRUNE
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from gridfsmount.vaults.notes import VERIFIED, pins
from tests.backup.prune.conftest import Publish
from tests.backup.prune.making import LAKE, digest, make_snapshot
from tests.mounting import run_command
from tests.store.lakes import opened

DAYS = ["2026-11-10T03-00-00Z", "2026-11-11T03-00-00Z", "2026-11-12T03-00-00Z"]


@pytest.fixture(autouse=True)
def no_lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No lake or config file of whoever runs the tests."""
    monkeypatch.delenv("GRIDFSMOUNT_URI", raising=False)
    monkeypatch.setattr("gridfsmount.addresses.default_configs", lambda: [tmp_path / "none"])


def run(*arguments: str | Path) -> Result:
    """The command in this process: it needs no mount."""
    return CliRunner().invoke(commands, ["backup", *map(str, arguments)])


def config(folder: Path, text: str) -> Path:
    file = folder / "lake.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


@pytest.fixture
def place(vault: DirectoryVault, publish: Publish) -> str:
    """The address of a vault with three snapshots, each with a blob of its own."""
    for name in DAYS:
        publish(name, {"own": name.encode(), "shared": b"in all"})
    return vault.address


def test_prune_tells_the_reason_for_each_and_removes(place: str, vault: DirectoryVault) -> None:
    foreseen = run("prune", "--vault", place, "--keep-last", "1", "--grace", "0s", "--dry-run")
    assert foreseen.exit_code == 0
    assert "would have removed 2 of 3 snapshots and 2 blobs of 40 B" in foreseen.stdout
    assert "would go" in foreseen.stdout
    assert vault.snapshots() == DAYS
    done = run("prune", "--vault", place, "--keep-last", "1", "--grace", "0s")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("2026")]
    assert lines[0] == [DAYS[2], "kept", "of", "the", "last", "1"]
    assert lines[1] == [DAYS[1], "removed", "not", "of", "the", "last", "1"]
    assert f"{place}: removed 2 of 3 snapshots and 2 blobs of 40 B" in done.stdout
    assert vault.snapshots() == DAYS[2:]


def test_prune_keeps_blobs_for_a_day_unless_told_otherwise(
    place: str, vault: DirectoryVault
) -> None:
    done = run("prune", "--vault", place, "--keep-last", "1")
    assert (
        "removed 2 of 3 snapshots and 0 blobs of 0 B; 2 blobs of 40 B that none names will go"
        in (done.stdout)
    )
    assert len(list(vault.blobs())) == 4


def test_prune_takes_its_rules_from_the_config_file_and_options_go_before(
    place: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    file = config(
        tmp_path,
        f'[vaults]\nnas = "{place}"\n[prune]\nkeep_last = 2\nkeep_daily = 3\ngrace = "0s"\n'
        'time_zone = "Asia/Tokyo"\n',
    )
    foreseen = json.loads(run("prune", "--config", file, "--dry-run", "--json").stdout)
    assert foreseen["dry_run"] is True
    assert foreseen["vaults"][0]["removed"] == []
    done = run("prune", "--config", file, "--keep-daily", "0", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["good"] is True
    (told,) = document["vaults"]
    assert (told["vault"], told["removed"], told["stopped"]) == ("nas", DAYS[:1], None)
    assert told["snapshots"][2] == {
        "name": DAYS[0],
        "kept": False,
        "reasons": ["not of the last 2"],
    }
    assert told["blobs"]["removed"] == {"blobs": 1, "bytes": 20}
    assert vault.snapshots() == DAYS[1:]


@pytest.mark.parametrize("options", [[], ["--keep-last", "0"], ["--keep-last", "0", "--dry-run"]])
def test_a_policy_that_keeps_nothing_is_refused(
    place: str, vault: DirectoryVault, options: list[str]
) -> None:
    done = run("prune", "--vault", place, *options)
    assert done.exit_code == 1
    assert done.stderr.startswith("gridfsmount: this would keep nothing: give --keep-last")
    assert done.stderr.count("\n") == 1
    assert vault.snapshots() == DAYS


@pytest.mark.parametrize(
    "options",
    [["--keep-last", "-1"], ["--keep-last", "many"], ["--grace", "1y"], ["--time-zone", "Mars"]],
)
def test_options_that_make_no_sense_are_refused(place: str, options: list[str]) -> None:
    done = run("prune", "--vault", place, "--keep-last", "1", *options)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_manifest_that_cannot_be_read_is_told_and_gives_the_exit_code(
    place: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "vault" / "snapshots" / DAYS[1] / "manifest.sqlite"
    manifest.chmod(0o644)
    manifest.write_bytes(b"\x1b[31mnothing of the kind")
    done = run("prune", "--vault", place, "--keep-last", "2", "--grace", "0s")
    assert done.exit_code == 1
    assert f"removed 1 of 3 snapshots, but no blobs: the manifest of {DAYS[1]}" in done.stdout


def test_one_vault_that_is_not_there_does_not_keep_the_others_from_being_pruned(
    place: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    text = f'[vaults]\ngone = "{tmp_path / "unmounted"}"\nnas = "{place}"\n'
    done = run("prune", "--config", config(tmp_path, text), "--keep-last", "1", "--json")
    assert done.exit_code == 1
    gone, nas = json.loads(done.stdout)["vaults"]
    assert "is no vault" in gone["error"]
    assert (gone["good"], nas["good"]) == (False, True)
    assert "gridfsmount: gone: not pruned: " in done.stderr
    assert vault.snapshots() == DAYS[2:]


def test_the_outcome_is_noted_in_the_lake(lake_uri: str, tmp_path: Path) -> None:
    with opened(lake_uri) as lake:
        vault = make_directory_vault(tmp_path / "mine", lake.id)
        make_snapshot(vault, DAYS[0], {"a": b"a"}, tmp_path)
        arguments = ("prune", "--uri", lake_uri, "--keep-last", "1")
        assert run(*arguments, "--vault", vault.address, "--dry-run").exit_code == 0
        assert lake.runs.all() == [], "nothing was done"
        assert run(*arguments, "--vault", vault.address).exit_code == 0
        (noted,) = lake.runs.all()
        assert (noted.what, noted.vault, noted.vault_id) == (
            PRUNE,
            vault.address,
            vault.header.id,
        )
        assert (noted.good, noted.text) == (True, "removed 0 of 1 snapshot and 0 blobs of 0 B")
        with vault.claim("backup create", "somebody"):
            assert run(*arguments, "--vault", vault.address).exit_code == 1
        (noted,) = lake.runs.all()
        assert not noted.good
        assert "is in use" in noted.text


def test_a_vault_of_another_lake_is_not_pruned(
    place: str, vault: DirectoryVault, lake_uri: str
) -> None:
    with opened(lake_uri):
        done = run("prune", "--uri", lake_uri, "--vault", place, "--keep-last", "1")
    assert done.exit_code == 1
    assert f"is a vault of another lake (id {LAKE})" in done.stderr
    assert vault.snapshots() == DAYS


def test_a_lake_that_is_gone_keeps_no_vault_from_being_pruned(
    place: str, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.connection.CONNECT_DEADLINE", 0.1)
    uri = "mongodb://user:secret@127.0.0.1:1/lake"
    done = run("prune", "--uri", uri, "--vault", place, "--keep-last", "1")
    assert done.exit_code == 0
    assert "`status` will not know of this run" in done.stderr
    assert "secret" not in done.output
    assert vault.snapshots() == DAYS[2:]


def test_pins_are_set_told_and_taken_away(place: str, vault: DirectoryVault) -> None:
    done = run("pin", "2026-11-10", "--why", "paper \x1b[31m", "--vault", place)
    assert done.stdout == f"{place}: {DAYS[0]} is pinned\n"
    assert run("pin", "latest", "--vault", place).exit_code == 0
    assert pins(vault)[DAYS[0]] == "paper \x1b[31m"
    assert pins(vault)[DAYS[2]].startswith("by ")
    told = run("list", "--vault", place)
    assert "paper" in told.stdout
    assert "\x1b" not in told.stdout
    pruned = run("prune", "--vault", place, "--keep-last", "1")
    assert "pinned: paper \\x1b[31m" in " ".join(pruned.stdout.split())
    assert vault.snapshots() == [DAYS[0], DAYS[2]]
    assert run("unpin", DAYS[0], "--vault", place).stdout == (
        f"{place}: {DAYS[0]} is not pinned any more\n"
    )
    assert list(pins(vault)) == DAYS[2:]


def test_each_vault_that_has_the_snapshot_is_pinned_and_one_has_it(
    place: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    make_directory_vault(tmp_path / "empty", LAKE)
    file = config(tmp_path, f'[vaults]\na = "{tmp_path / "empty"}"\nb = "{place}"\n')
    assert run("pin", DAYS[0], "--config", file).stdout == f"b: {DAYS[0]} is pinned\n"
    missing = run("pin", "2020", "--config", file)
    assert missing.exit_code == 1
    assert "has no snapshot '2020'" in missing.stderr
    assert run("pin", "2026", "--config", file).exit_code == 1, "several"
    assert list(pins(vault)) == DAYS[:1]
    assert run("pin", DAYS[0], "--why", "x" * 1001, "--vault", place).exit_code == 2


def test_list_tells_of_every_snapshot_the_newest_first(place: str, vault: DirectoryVault) -> None:
    good: dict[str, Any] = {"at_ns": 10**18, "good": True, "blobs": 2, "of": 2, "damaged": 0}
    vault.set_note(VERIFIED + DAYS[0], json.dumps(good).encode())
    vault.set_note(VERIFIED + DAYS[1], b"what?")
    told = run("list", "--vault", place)
    assert told.exit_code == 0
    title, _, *rows = told.stdout.splitlines()
    assert title.split() == [
        *("snapshot", "files", "bytes", "new", "consistent", "verified", "pinned", "vault")
    ]
    assert [row.split()[0] for row in rows if row.startswith("2026")] == DAYS[::-1]
    assert "never" in told.stdout
    document = json.loads(run("list", "--vault", place, "--json").stdout)
    assert document["errors"] == []
    assert document["snapshots"][2] == {
        "snapshot": DAYS[0],
        "vault": place,
        "taken": "2026-11-10T03:00:00+00:00",
        "files": 2,
        "bytes": 26,
        "new_blobs": 2,
        "new_bytes": 26,
        "consistent": True,
        "skipped": 0,
        "damaged": False,
        "verified": "2001-09-09T01:46:40+00:00",
        "verified_good": True,
        "damaged_blobs": 0,
        "pinned": None,
    }
    assert document["snapshots"][0]["new_bytes"] == 20


def test_list_gives_1_for_damage_and_for_vaults_that_are_not_there(
    place: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    bad = {"at_ns": 10**18, "good": False, "blobs": 2, "of": 2, "damaged": 1}
    vault.set_note(VERIFIED + DAYS[0], json.dumps(bad).encode())
    told = run("list", "--vault", place)
    assert told.exit_code == 1
    assert "damaged (1 blob), 2001-09-09" in told.stdout
    vault.set_note(VERIFIED + DAYS[0], None)
    (tmp_path / "vault" / "snapshots" / DAYS[1] / "summary.json").unlink()
    told = run("list", "--vault", place, "--json")
    assert told.exit_code == 1
    assert [each["damaged"] for each in json.loads(told.stdout)["snapshots"]] == [
        False,
        True,
        False,
    ]
    gone = run("list", "--vault", tmp_path / "nowhere", "--json")
    assert gone.exit_code == 1
    assert "is no vault" in json.loads(gone.stdout)["errors"][0]["error"]


def test_an_empty_vault_has_nothing_to_prune_or_list(vault: DirectoryVault) -> None:
    assert run("list", "--vault", vault.address).stdout == "no snapshots yet\n"
    done = run("prune", "--vault", vault.address, "--keep-last", "1")
    assert done.exit_code == 0
    assert "removed 0 of 0 snapshots and 0 blobs" in done.stdout


def test_the_real_command_prunes_too(place: str, vault: DirectoryVault) -> None:
    done = run_command("backup", "prune", "--vault", place, "--keep-last", "1", "--grace", "0s")
    assert (done.returncode, done.stderr) == (0, "")
    assert {each.sha256 for each in vault.blobs()} == {digest(DAYS[2].encode()), digest(b"in all")}
