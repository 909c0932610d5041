"""Vaults mounted with their lake."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridfsmount.core.vault import Vault
from gridfsmount.vaults.opening import make_vault, open_vault
from tests.mounting import Mounted, assert_healthy_log, eventually, run_command
from tests.snapshots.conftest import MountedAlone
from tests.snapshots.planting import Planted

FIRST = "2026-11-22T03-00-00Z"
SECOND = "2026-11-23T03-00-00Z"


def planted(*files: str) -> Planted:
    tree = Planted()
    for each in files:
        tree.file(f"datasets/d/v1/{each}", each.encode() * 1000)
    return tree


@pytest.fixture
def of_lake(lake_uri: str, tmp_path: Path) -> Iterator[Vault]:
    """A vault of the lake."""
    place = tmp_path / "vault"
    done = run_command("backup", "init", "--uri", lake_uri, "--vault", place)
    assert done.returncode == 0, done.stderr
    vault = open_vault(str(place))
    yield vault
    vault.close()


@pytest.fixture
def lake_uri(lake_uri: str, tmp_path: Path) -> str:
    """A lake that is there already."""
    with Mounted(lake_uri, tmp_path / "first"):
        return lake_uri


def test_snapshots_are_shown_beside_the_lake(lake_uri: str, of_lake: Vault, tmp_path: Path) -> None:
    planted("one", "two").publish(of_lake, FIRST)
    with Mounted(lake_uri, tmp_path, "--vault", of_lake.address) as mount:
        assert sorted(each.name for each in mount.path.iterdir()) == [
            *("datasets", "models", "snapshots", "unsorted")
        ]
        snapshot = mount.path / "snapshots/latest/datasets/d/v1"
        live = mount.version("datasets/d/v1")
        done = subprocess.run(["cp", "-a", f"{snapshot}/.", live], check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (live / "one").read_bytes() == b"one" * 1000
        (live / "later").write_bytes(b"later")
        assert sorted(each.name for each in snapshot.iterdir()) == ["one", "two"]
        planted("three").publish(of_lake, SECOND)
        latest = mount.path / "snapshots/latest"
        eventually(lambda: str(latest.readlink()) == SECOND, "the second one is there")
    assert_healthy_log(mount)


def test_nothing_moves_or_links_between_the_lake_and_a_snapshot(
    lake_uri: str, of_lake: Vault, tmp_path: Path
) -> None:
    planted("one").publish(of_lake, FIRST)
    with Mounted(lake_uri, tmp_path, "--vault", of_lake.address) as mount:
        live, snapshot = mount.version(), mount.path / "snapshots/latest/datasets/d/v1"
        (live / "mine").write_bytes(b"mine")
        refused: dict[int, list[Callable[[], object]]] = {
            errno.EROFS: [
                lambda: (live / "mine").rename(snapshot / "mine"),
                lambda: (snapshot / "one").rename(live / "one"),
                lambda: (snapshot / "mine").hardlink_to(live / "mine"),
                lambda: (snapshot / "one").open("ab"),
                lambda: (mount.path / "snapshots/mine").write_bytes(b""),
                lambda: (snapshot / "one").chmod(0o600),
                lambda: os.setxattr(snapshot, "user.lake.sealed", b"1"),
            ],
            errno.EXDEV: [lambda: (live / "one").hardlink_to(snapshot / "one")],
        }
        for code, attempts in refused.items():
            for attempt in attempts:
                with pytest.raises(OSError, match="Errno") as caught:
                    attempt()
                assert caught.value.errno == code


def test_a_snapshot_tells_the_same_digests_as_the_lake_did(
    lake_uri: str, of_lake: Vault, tmp_path: Path
) -> None:
    planted("one", "two").publish(of_lake, FIRST)
    with Mounted(lake_uri, tmp_path, "--vault", of_lake.address) as mount:
        snapshot, live = mount.path / "snapshots/latest/datasets/d/v1", mount.version()
        for name in ("one", "two"):
            (live / name).write_bytes((snapshot / name).read_bytes())
        lines = run_command("manifest", "--uri", lake_uri, "datasets/test/v1").stdout
        checked = subprocess.run(
            ["sha256sum", "--strict", "-c"],
            input=lines.encode(),
            cwd=snapshot,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert checked.stdout.count(b": OK") == 2


def test_what_the_lake_read_is_not_read_again_from_the_vault(
    lake_uri: str, of_lake: Vault, tmp_path: Path
) -> None:
    options = ("--vault", of_lake.address, "--disk-cache", tmp_path / "cache")
    data = os.urandom(2 << 20)
    tree = Planted()
    tree.file("datasets/d/v1/file", data)
    tree.publish(of_lake, FIRST)
    with Mounted(lake_uri, tmp_path, *options) as mount:
        (mount.version() / "file").write_bytes(data)
        mount.restart()
        assert (mount.version() / "file").read_bytes() == data
        cached = tmp_path / "cache/v1"
        eventually(
            lambda: sum(each.stat().st_blocks for each in cached.rglob("*-0")) * 512 >= len(data),
            "all of it is on the disk",
        )
        for each in (Path(of_lake.address) / "blobs").glob("*/*"):
            each.unlink()
        assert (mount.path / "snapshots/latest/datasets/d/v1/file").read_bytes() == data


def test_a_vault_that_is_not_there_yet_is_no_harm_to_the_lake(
    lake_uri: str, of_lake: Vault, tmp_path: Path
) -> None:
    planted("one").publish(of_lake, FIRST)
    hidden = Path(of_lake.address).rename(tmp_path / "hidden")
    with Mounted(lake_uri, tmp_path, "--vault", of_lake.address) as mount:
        (mount.version() / "file").write_bytes(b"works")
        assert list((mount.path / "snapshots").iterdir()) == []
        assert "is no vault" in mount.log_text()
        hidden.rename(of_lake.address)
        one = mount.path / "snapshots/latest/datasets/d/v1/one"
        eventually(one.exists, "the vault is there")
        assert one.read_bytes() == b"one" * 1000


def test_a_vault_of_another_lake_is_refused(lake_uri: str, tmp_path: Path) -> None:
    make_vault(str(tmp_path / "other"), "another lake")
    (tmp_path / "mnt").mkdir()
    done = run_command("mount", "--vault", tmp_path / "other", lake_uri, tmp_path / "mnt")
    assert done.returncode == 1
    assert "is the vault of another lake" in done.stderr


def test_the_vaults_of_the_config_file_are_mounted_and_without_the_lake_if_told(
    lake_uri: str, of_lake: Vault, tmp_path: Path
) -> None:
    planted("one").publish(of_lake, FIRST)
    config = tmp_path / "lake.toml"
    config.write_text(f'uri = "{lake_uri}"\n[vaults]\nusb = "{of_lake.address}"\n')
    with Mounted(lake_uri, tmp_path, "--config", config) as mount:
        assert (mount.path / "snapshots" / f"{FIRST}@usb").is_dir()
        assert (mount.path / "datasets").is_dir()
    with MountedAlone(tmp_path, "--config", config) as alone:
        assert (alone.path / "snapshots" / FIRST).is_dir()
        assert not (alone.path / "datasets").exists()
