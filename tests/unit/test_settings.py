"""The config file: what it may say, and what is said of what it may not."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.addresses import SECTIONS
from gridfsmount.cli.settings import (
    KINDS,
    BackupSettings,
    Settings,
    _parsed,
    read_settings,
)
from gridfsmount.errors import ConfigError

FULL = """
uri = "mongodb://user:secret@db.example.org/lake"
[vaults]
nas = "/srv/backup/lake"
[backup]
limit = "100MiB/s"
jobs = 8
[verify]
sample = "5%"
max_duration = "2h"
[prune]
keep_last = 3
keep_daily = 7
keep_weekly = 5
keep_monthly = 12
keep_yearly = 0
time_zone = "Europe/Berlin"
grace = "24h"
[status]
backup_max_age = "36h"
verify_max_age = "2w"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "lake.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_settings(written(folder, text))
    assert str(caught.value).startswith(f"{folder / 'lake.toml'}: ")
    return str(caught.value)


def test_every_setting_of_backups_becomes_a_number(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, FULL))
    assert found.vaults == {"nas": "/srv/backup/lake"}
    assert found.backup == BackupSettings(limit=100 << 20, jobs=8)
    assert (found.verify.sample, found.verify.max_duration) == (0.05, 7200.0)
    prune = found.prune
    assert (prune.keep_last, prune.keep_daily, prune.keep_weekly) == (3, 7, 5)
    assert (prune.keep_monthly, prune.keep_yearly, prune.grace) == (12, 0, 86400.0)
    assert prune.time_zone == ZoneInfo("Europe/Berlin")
    assert found.status.backup_max_age == 36 * 3600
    assert found.status.verify_max_age == 14 * 86400


def test_what_the_file_does_not_say_is_told_from_nought(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, "")) == Settings()
    assert read_settings(written(tmp_path, "[prune]\nkeep_last = 0")).prune.keep_last == 0
    assert Settings().prune.keep_last is None
    assert Settings().status.backup_max_age == 2 * 86400
    assert Settings().status.verify_max_age == 35 * 86400


def test_the_file_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridfsmount.addresses._default_configs", lambda: [tmp_path / "none"])
    assert read_settings(None) == Settings()


def test_every_key_has_a_type_and_a_form() -> None:
    assert {name: set(keys) for name, keys in KINDS.items()} == {
        name: set(keys) for name, keys in SECTIONS.items() if name != "vaults"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[purne]", "unknown key 'purne'; did you mean 'prune'?"),
        ("urk = 'mongodb://h'", "unknown key 'urk'; did you mean 'uri'?"),
        ("quite_another = 1", "unknown key 'quite_another'; known are uri, bucket, vaults"),
        (
            "[prune]\nkeep_dayly = 3",
            "[prune]: unknown key 'keep_dayly'; did you mean 'keep_daily'?",
        ),
        ("[status]\nx = 3", "[status]: unknown key 'x'; known are backup_max_age, verify_max_age"),
        ("prune = 3", "prune must be a table, as in [name]"),
        ("[prune]\nkeep_last = '3'", "[prune]: keep_last must be a whole number"),
        ("[prune]\nkeep_last = true", "[prune]: keep_last must be a whole number"),
        ("[prune]\nkeep_last = 3.0", "[prune]: keep_last must be a whole number"),
        ("[prune]\nkeep_last = -1", "[prune]: keep_last: -1 is not in the range 0<=x<=100000"),
        ("[prune]\ngrace = 24", '[prune]: grace must be a string, as in key = "..."'),
        ("[prune]\ngrace = '24 hours'", "[prune]: grace: '24 hours' is not a duration like 0s"),
        ("[prune]\ntime_zone = 'Berlin'", "[prune]: time_zone: 'Berlin' is not a time zone"),
        ("[prune]\ntime_zone = '../x'", "[prune]: time_zone: '../x' is not a time zone"),
        ("[prune]\ntime_zone = ''", "[prune]: time_zone: '' is not a time zone"),
        ("[backup]\nlimit = '100MiB'", "[backup]: limit: '100MiB' is not a rate like 500KiB/s"),
        ("[backup]\njobs = 0", "[backup]: jobs: 0 is not in the range"),
        ("[verify]\nsample = '5'", "[verify]: sample: '5' is not a percentage like 5%"),
        ("[vaults]\nnas = 5", "[vaults]: nas must be a string"),
        ("[vaults]\nnas = '/a'\nnas = '/b'", "overwrite"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_file_key_and_what_was_meant(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in refusal(tmp_path, text)


def test_utc_needs_no_database_of_time_zones(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, "[prune]\ntime_zone = 'utc'")).prune.time_zone is UTC


@given(st.sampled_from([(a, b) for a, kinds in KINDS.items() for b in kinds]), st.text())
def test_any_text_is_a_setting_or_refused_in_one_line(place: tuple[str, str], text: str) -> None:
    section, key = place
    refused = ""
    try:
        _parsed("file", KINDS[section][key], text)
    except ConfigError as error:
        refused = str(error)
    assert not refused or (refused.startswith("file: ") and refused.isprintable())
