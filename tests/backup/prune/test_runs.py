"""How commands on vaults ended, as the lake remembers it."""

import socket
import time
from pathlib import Path

import pytest

from gridfsmount.cli.lakes import LakeChoice
from gridfsmount.cli.runs import lake_for_notes, noted
from gridfsmount.cli.vaults import VaultChoice
from gridfsmount.errors import ConfigError, StoreUnavailable
from gridfsmount.store.lake import Lake
from gridfsmount.store.runs import CREATE, PRUNE, VERIFY, Run
from tests.mongod import Mongod
from tests.store.lakes import opened

NAS = VaultChoice("nas", "/srv/backup")
NOWHERE = LakeChoice(uri_file=None, config=None, bucket=None, deadline=1)


def note(lake: Lake, what: str, vault_id: str, *, good: bool = True, text: str = "done") -> None:
    with noted(lake, what, NAS) as outcome:
        outcome.vault_id, outcome.good, outcome.text = vault_id, good, text


def only(lake: Lake) -> Run:
    (run,) = lake.runs.all()
    return run


def test_the_last_run_of_each_command_on_each_vault_is_kept(any_uri: str) -> None:
    with opened(any_uri) as lake:
        for what, vault_id in ((CREATE, "a"), (VERIFY, "a"), (PRUNE, "a")):
            note(lake, what, vault_id, text="first")
            note(lake, what, vault_id, text="again {$literal: 1} $x")
        with noted(lake, CREATE, VaultChoice("other", "/srv/b")) as outcome:
            outcome.vault_id, outcome.text = "b", "done"
        runs = lake.runs.all()
    assert [(run.what, run.vault, run.vault_id) for run in runs] == [
        (CREATE, "nas", "a"),
        (CREATE, "other", "b"),
        (PRUNE, "nas", "a"),
        (VERIFY, "nas", "a"),
    ]
    assert {run.text for run in runs} == {"again {$literal: 1} $x", "done"}
    assert {run.host for run in runs} == {socket.gethostname()}


def test_a_run_is_told_with_the_servers_times(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        before = lake.runs.now_ns()
        note(lake, CREATE, "a")
        first = only(lake)
        note(lake, CREATE, "a", good=False, text="the disk is full")
        second = only(lake)
        after = lake.runs.now_ns()
    assert abs(before - time.time_ns()) < 60 * 10**9
    assert before <= first.began_ns <= first.ended_ns <= second.began_ns <= second.ended_ns <= after
    assert first.well_ns == first.ended_ns
    assert second.well_ns == first.ended_ns, "of the last one that was good"
    assert second.first_ns == first.began_ns
    assert (second.good, second.text) == (False, "the disk is full")


def test_an_error_is_noted_and_passes_as_it_is(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        error = StoreUnavailable("mongodb://user:secret@host is gone")
        with pytest.raises(StoreUnavailable) as caught, noted(lake, CREATE, NAS):
            raise error
        assert caught.value is error
        run = only(lake)
        assert (run.good, run.well_ns) == (False, None)
        assert "secret" not in run.text
        for kind, text in (
            (KeyboardInterrupt(), "interrupted"),
            (ValueError("x"), "unforeseen: ValueError('x')"),
        ):
            with pytest.raises(type(kind)), noted(lake, CREATE, NAS):
                raise kind
            assert only(lake).text == text


@pytest.mark.parametrize(("code", "good"), [(0, True), (None, True), (1, False)])
def test_an_exit_code_is_an_outcome(lake_uri: str, code: int | None, good: bool) -> None:
    def read(lake: Lake) -> None:
        with noted(lake, VERIFY, NAS) as outcome:
            outcome.vault_id, outcome.text = "a", "5 blobs read"
            raise SystemExit(code)

    with opened(lake_uri) as lake:
        with pytest.raises(SystemExit):
            read(lake)
        assert (only(lake).good, only(lake).text) == (good, "5 blobs read")


def test_a_vault_that_is_not_there_fails_in_the_place_of_its_last_run(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        with pytest.raises(ConfigError), noted(lake, CREATE, NAS):
            raise ConfigError("/srv/backup is no vault")
        assert only(lake).vault_id == ""
        note(lake, CREATE, "a")
        assert only(lake).vault_id == "a", "it is there at last"
        with pytest.raises(ConfigError), noted(lake, CREATE, NAS):
            raise ConfigError("/srv/backup is no vault")
        assert (only(lake).vault_id, only(lake).good) == ("a", False)
        note(lake, CREATE, "b")
        assert only(lake).vault_id == "b", "it was made anew"


def test_a_lake_that_is_gone_or_not_to_be_written_hides_no_error(
    mongod: Mongod,
    lake_uri: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("gridfsmount.store.connection.CONNECT_DEADLINE", 0.1)
        with lake_for_notes(NOWHERE, "mongodb://127.0.0.1:1/lake") as lake:
            assert lake is None
    with lake_for_notes(NOWHERE, mongod.uri_for("never_made")) as lake:
        assert lake is None
    with opened(lake_uri) as lake:
        lake.connection.close()
        with pytest.raises(ConfigError, match="the real one"), noted(lake, CREATE, NAS):
            raise ConfigError("the real one")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all("`status` will not know of this run" in line for line in told)


def test_without_an_address_nothing_is_noted_or_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gridfsmount.addresses.default_configs", lambda: [tmp_path / "none"])
    monkeypatch.delenv("GRIDFSMOUNT_URI", raising=False)
    with lake_for_notes(NOWHERE, None) as lake, noted(lake, CREATE, NAS) as outcome:
        outcome.text = "done"
    assert lake is None
    assert capsys.readouterr().err == ""
