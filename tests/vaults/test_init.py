"""`gridfsmount backup init`: a vault is made in the right place, or it is said why not."""

from pathlib import Path

import pytest

from gridfsmount.errors import ConfigError
from gridfsmount.vaults.opening import make_vault, open_vault
from tests.mongod import Mongod
from tests.mounting import run_command
from tests.store.lakes import opened


@pytest.fixture
def lake(lake_uri: str) -> str:
    """The URI of a lake that is there."""
    with opened(lake_uri):
        return lake_uri


def init(lake: str, *vaults: str | Path) -> tuple[int, str, str]:
    options = [option for each in vaults for option in ("--vault", each)]
    done = run_command("backup", "init", "--uri", lake, *options)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_vault_is_made_for_the_lake(lake: str, tmp_path: Path) -> None:
    with opened(lake) as open_lake:
        expected = open_lake.id
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "lost+found").mkdir()

    code, out, err = init(lake, tmp_path / "new", (tmp_path / "empty").as_uri())

    assert (code, err) == (0, "")
    for name in ("new", "empty"):
        vault = open_vault(str(tmp_path / name))
        assert vault.header.lake == expected
        assert f"made the vault {vault.address} (id {vault.header.id})" in out


def test_a_vault_on_the_server_of_the_lake_is_made_with_a_warning(
    lake: str, lake_uri: str, mongod: Mongod, standalone: Mongod
) -> None:
    name = f"vault_{lake_uri.partition('lake_')[2][:32]}"
    try:
        code, out, err = init(lake, mongod.uri_for(name), standalone.uri_for(name))

        assert code == 0
        assert out.count("made the vault mongodb://127.0.0.1:") == 2
        assert err.count("warning: ") == 1
        assert f"127.0.0.1:{mongod.port}/{name} is on the same MongoDB as the lake" in err
    finally:
        for server in (mongod, standalone):
            with server.client() as client:
                client.drop_database(name)


def test_a_vault_is_not_made_in_the_lake_itself(lake: str) -> None:
    code, _, err = init(lake, lake)

    assert code == 1
    assert "holds a lake: a backup must not depend on what it protects" in err


def test_a_vault_is_made_only_where_nothing_is(
    lake: str, tmp_path: Path, standalone_uri: str, standalone: Mongod
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").touch()
    (tmp_path / "file").touch()
    with standalone.client() as client:
        client[_name(standalone_uri)]["other"].insert_one({})

    refusals: dict[str | Path, str] = {
        tmp_path / "full": "there is something \\(photo.jpg\\)",
        tmp_path / "file": "cannot be a vault",
        tmp_path / "unmounted" / "vault": "there is no folder",
        standalone_uri: "there is something \\(other\\)",
        "s3://bucket/vault": "s3:// is no address of a vault",
        "file://host/vault": "a file address has three slashes",
        "mongodb://user:secret@host": "names its database",
        "mongodb://user:secret@host:port/vault": "no MongoDB URI",
    }
    for place, words in refusals.items():
        with pytest.raises(ConfigError, match=words) as raised:
            make_vault(str(place), "lake")
        assert "secret" not in str(raised.value)
    code, out, err = init(lake, tmp_path / "full")
    assert (code, out) == (1, "")
    assert "a new vault needs an empty directory" in err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "full"]


def test_a_vault_is_made_of_a_lake_that_is_there(lake_uri: str, tmp_path: Path) -> None:
    code, _, err = init(lake_uri, tmp_path / "vault")

    assert code == 1
    assert "holds no lake" in err
    assert not (tmp_path / "vault").exists()


def test_a_vault_has_to_be_named(lake: str) -> None:
    code, _, err = init(lake)

    assert code == 1
    assert "no vault: give one with --vault" in err


def _name(uri: str) -> str:
    return uri.rpartition("/")[2].partition("?")[0]
