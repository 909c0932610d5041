"""`gridfsmount status` about backups."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gridfsmount.cli.main import commands
from gridfsmount.cli.runs import noted
from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings, StatusSettings
from gridfsmount.cli.status_backups import backups
from gridfsmount.cli.vaults import VaultChoice
from gridfsmount.core.wording import age
from gridfsmount.store.lake import Lake
from gridfsmount.store.runs import CREATE, PRUNE, VERIFY
from tests.mounting import run_command
from tests.store.lakes import opened, raw

NAMED = Settings(vaults={"nas": "/srv/backup"})
HOUR = 10**9 * 3600


def note(
    lake: Lake, what: str, *, good: bool = True, text: str = "done", vault: str = "nas"
) -> None:
    with noted(lake, what, VaultChoice(vault, "/srv/backup")) as outcome:
        outcome.vault_id, outcome.good, outcome.text = f"id of {vault}", good, text


def grow_old(uri: str, what: str, by: timedelta) -> None:
    """Let what was noted have happened earlier."""
    with raw(uri) as database:
        fields = ("began", "ended", "well", "first")
        earlier = {
            f"run.{each}": {
                "$cond": [{"$eq": [f"$run.{each}", None]}, None, _earlier(f"$run.{each}", by)]
            }
            for each in fields
        }
        database["fs.lake"].update_many({"run.what": what}, [{"$set": earlier}])


def _earlier(field: str, by: timedelta) -> dict[str, Any]:
    return {"$subtract": [field, int(by.total_seconds() * 1000)]}


def told(lake: Lake, settings: Settings = NAMED) -> Section:
    section = backups(lake, settings)
    assert section is not None
    return section


def test_a_lake_without_backups_is_told_nothing_about_them(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        assert backups(lake, Settings()) is None


def test_a_vault_that_is_configured_and_never_backed_up_to_is_a_problem(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        section = told(lake)
        assert section.problems == [
            "vault nas: there was no backup yet: run `gridfsmount backup create`"
        ]
        assert section.text == "nas: never backed up, never verified"
        note(lake, CREATE, good=False, text="the disk is full")
        failed, *_ = told(lake).problems
        assert "the last backup failed" in failed
        assert failed.endswith(": the disk is full")


def test_fresh_backups_are_well_before_anybody_verified_them(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        note(lake, CREATE)
        section = told(lake)
    assert section.problems == []
    assert re.fullmatch(r"nas: backed up \d+ \w+ ago, never verified", section.text)


@pytest.mark.parametrize(
    ("what", "hours", "problem"),
    [
        (CREATE, 47, None),
        (CREATE, 49, "vault nas: the last good backup was 2 days ago: see why"),
        (VERIFY, 34 * 24, None),
        (VERIFY, 36 * 24, "vault nas: the last good verification was 36 days ago: see why"),
        (PRUNE, 10_000, None),
    ],
)
def test_what_was_long_ago_is_a_problem(
    lake_uri: str, what: str, hours: int, problem: str | None
) -> None:
    with opened(lake_uri) as lake:
        for each in (CREATE, VERIFY, PRUNE):
            note(lake, each)
        grow_old(lake_uri, what, timedelta(hours=hours))
        problems = told(lake).problems
    assert len(problems) == (0 if problem is None else 1)
    assert all(each.startswith(str(problem)) for each in problems)


def test_the_limits_come_from_the_config_file(lake_uri: str) -> None:
    strict = Settings(vaults=NAMED.vaults, status=StatusSettings(3600.0, 2 * 3600.0))
    with opened(lake_uri) as lake:
        note(lake, CREATE)
        grow_old(lake_uri, CREATE, timedelta(hours=1.5))
        assert told(lake).problems == []
        assert len(told(lake, strict).problems) == 1
        grow_old(lake_uri, CREATE, timedelta(hours=1.5))
        assert [each.split(":")[1] for each in told(lake, strict).problems] == [
            " the last good backup was 3 hours ago",
            " it was never verified",
        ]


@pytest.mark.parametrize("what", [CREATE, VERIFY, PRUNE])
def test_a_failure_is_a_problem_until_the_next_one_succeeds(lake_uri: str, what: str) -> None:
    with opened(lake_uri) as lake:
        note(lake, CREATE)
        note(lake, what)
        note(lake, what, good=False, text="it is in use")
        assert len(told(lake).problems) == 1
        assert "never backed up" not in told(lake).text, "the one before was good"
        note(lake, what)
        assert told(lake).problems == []


def test_a_vault_that_was_given_up_is_told_and_is_no_problem(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        note(lake, CREATE)
        note(lake, CREATE, vault="old", good=False)
        assert told(lake).problems == []
        assert "old: never backed up" in told(lake).text
        assert len(told(lake, Settings()).problems) == 1, "nobody says that it was"


def test_machines_may_call_two_vaults_alike(lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(lake_uri) as lake:
        for host in ("one", "two"):
            monkeypatch.setattr("socket.gethostname", lambda host=host: host)
            with noted(lake, CREATE, VaultChoice("nas", "/srv/backup")) as outcome:
                outcome.vault_id, outcome.good = f"id on {host}", host == "two"
        (problem,) = told(lake).problems
    assert "ago on one" in problem


def test_the_command_tells_it_in_red_and_in_its_exit_code(lake_uri: str, tmp_path: Path) -> None:
    with opened(lake_uri) as lake:
        note(lake, CREATE, text="2 files\x1b[31m")
        file = tmp_path / "lake.toml"
        file.write_text('[vaults]\nnas = "/srv/backup"\n[status]\nbackup_max_age = "1h"\n')
        well = run_command("status", lake_uri, "--config", file)
        assert well.returncode == 0
        assert "backups   nas: backed up" in well.stdout
        grow_old(lake_uri, CREATE, timedelta(hours=2))
        stale = run_command("status", lake_uri, "--config", file, "--json")
        arguments = ["status", lake_uri, "--config", str(file)]
        colourful = CliRunner().invoke(commands, arguments, color=True)
    assert "\x1b[31mPROBLEM" in colourful.stdout
    assert stale.returncode == 1
    document = json.loads(stale.stdout)
    assert document["problems"][0].startswith("vault nas: the last good backup was 2 hours ago")
    (vault,) = document["backups"]["vaults"]
    assert vault["create_good"] is True
    assert 7200 <= vault["create_age_seconds"] < 7800
    assert vault["verify_good"] is None


def test_ages_are_told_in_their_largest_unit() -> None:
    assert [age(each) for each in (-5, 10**9, 119 * 10**9, 23 * HOUR, 49 * HOUR)] == [
        "0 seconds",
        "1 second",
        "1 minute",
        "23 hours",
        "2 days",
    ]
