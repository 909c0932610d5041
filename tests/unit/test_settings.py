"""The config file: what it may say, and what is said of what it may not."""

import json
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.cli.settings import BackupSettings, Settings, read_settings
from gridfsmount.config.checking import check_text
from gridfsmount.config.keys import KEYS, SECTIONS
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
    assert str(caught.value).startswith(f"{folder / 'lake.toml'}:")
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
    monkeypatch.setattr("gridfsmount.addresses.default_configs", lambda: [tmp_path / "none"])
    assert read_settings(None) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[purne]", ":1: purne: unknown key; did you mean 'prune'?"),
        ("urk = 'mongodb://h'", ":1: urk: unknown key; did you mean 'uri'?"),
        ("\nquite_another = 1", ":2: quite_another: unknown key; known are uri, embedded, bucket"),
        ("deadline = '3s'", ":1: deadline: unknown key; it goes below [mount]"),
        ("[mount]\nuri = 'x'", ":2: [mount] uri: unknown key; it goes above all tables"),
        (
            "[prune]\nkeep_dayly = 3",
            ":2: [prune] keep_dayly: unknown key; did you mean 'keep_daily'?",
        ),
        ("status.x = 3", ":1: [status] x: unknown key; known are backup_max_age, verify_max_age"),
        ("prune = 3", ":1: prune: must be a table, as in [name]"),
        ("[prune]\nkeep_last = '3'", ":2: [prune] keep_last: must be a whole number"),
        ("[prune]\nkeep_last = true", ":2: [prune] keep_last: must be a whole number"),
        ("[prune]\nkeep_last = 3.0", ":2: [prune] keep_last: must be a whole number"),
        ("[prune]\nkeep_last = -1", "[prune] keep_last: -1 is not in the range 0<=x<=100000"),
        ("[prune]\ngrace = 24", '[prune] grace: must be a string, as in key = "..."'),
        ("[prune]\ngrace = '24 hours'", "[prune] grace: '24 hours' is not a duration like 0s"),
        ("[prune]\ntime_zone = 'Berlin'", "[prune] time_zone: 'Berlin' is not a time zone"),
        ("[prune]\ntime_zone = '../x'", "[prune] time_zone: '../x' is not a time zone"),
        ("[prune]\ntime_zone = ''", "[prune] time_zone: '' is not a time zone"),
        ("[backup]\nlimit = '100MiB'", "[backup] limit: '100MiB' is not a rate like 500KiB/s"),
        ("[backup]\njobs = 0", "[backup] jobs: 0 is not in the range"),
        ("[verify]\nsample = '5'", "[verify] sample: '5' is not a percentage like 5%"),
        ("[vaults]\nnas = 5", ":2: [vaults] nas: must be a string"),
        ("[vaults]\nnas = '/a'\nnas = '/b'", ":3: no TOML: cannot overwrite a value"),
        ("[vaults]\nnas = ", ":2: no TOML: invalid value"),
        ("[mount]\nallow_other = 1", ":2: [mount] allow_other: must be true or false"),
        ("[mount]\ndeadline = '2h'", ":2: [mount] deadline: 2h is not in the range of 1s to 3600s"),
        ("[mount]\nread_preference = 'x'", ":2: [mount] read_preference: 'x' is not one of"),
        ("[mount]\ndisk_cache = 'x'", ":2: [mount] disk_cache: must be an absolute path, like"),
        ("password_file = 'QXZ7'", ":1: password_file: must be an absolute path, like"),
        ("password_file = '~QXZ7/x'", ":1: password_file: there is no user of that name"),
        ("[log]\nformat = 'xml'", ":2: [log] format: 'xml' is not one of 'text', 'json'"),
        ("[log]\nslow = '1 second'", ":2: [log] slow: '1 second' is not a duration like 0s"),
        ("bucket = ''", ":1: bucket: it is empty"),
        ("mount = {uid = -1}", ":1: [mount] uid: -1 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_file_key_and_what_was_meant(
    tmp_path: Path, text: str, said: str
) -> None:
    told = refusal(tmp_path, text)
    assert said in told
    assert "QXZ7" not in told


def test_utc_needs_no_database_of_time_zones(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, "[prune]\ntime_zone = 'utc'")).prune.time_zone is UTC


def test_all_that_is_wrong_is_told_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = "[prune]\ngrace = 1\n[mount]\nuid = 'x'\n[backup]\njobs = 0\n"
    found = check_text(tmp_path, text).problems
    assert [each.split(":")[1] for each in found] == ["2", "4", "6"]
    more = f"(and 2 more: gridfsmount config check --config {tmp_path}/lake.toml)"
    assert refusal(tmp_path, text).endswith(more)


EVERY_KEY = [(section, key) for section, keys in {"": KEYS, **SECTIONS}.items() for key in keys]


@given(st.sampled_from(EVERY_KEY), st.text(st.characters(exclude_characters="\x7f")))
def test_any_text_is_a_setting_or_refused_in_one_line(place: tuple[str, str], text: str) -> None:
    section, key = place
    quoted = json.dumps(
        text, ensure_ascii=False
    )  # whose strings are those of TOML, too, but for DEL
    config = check_text(Path("file"), f"{f'[{section}]' if section else ''}\n{key} = {quoted}")
    assert (section, key) in config.parsed or config.problems
    for each in config.problems:
        assert each.startswith("file:2: ")
        assert each.isprintable()
