"""Vaults that come, go, are damaged, or are several."""

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gridfsmount.core.vault import Vault
from gridfsmount.vaults.opening import make_vault
from tests.mounting import Mounted, eventually, run_command
from tests.snapshots.conftest import LAKE, MountedAlone
from tests.snapshots.planting import Planted

FIRST = "2026-11-22T03-00-00Z"
SECOND = "2026-11-23T03-00-00Z"
MIB = 1 << 20

Mount = Callable[..., MountedAlone]


def one_file(data: bytes = b"hello") -> Planted:
    tree = Planted()
    tree.file("datasets/d/v1/file", data)
    return tree


def listed(mount: Mounted) -> list[str]:
    return sorted(each.name for each in (mount.path / "snapshots").iterdir())


def file_of(mount: Mounted, snapshot: str = "latest") -> Path:
    return mount.path / "snapshots" / snapshot / "datasets/d/v1/file"


def blob_of(vault: Vault, data: bytes) -> Path:
    digest = hashlib.sha256(data).hexdigest()
    return Path(vault.address) / "blobs" / digest[:2] / digest


def test_a_snapshot_appears_within_seconds_and_goes_when_it_is_pruned(
    vault: Vault, mount_alone: Mount
) -> None:
    mount = mount_alone(vault.address)
    assert listed(mount) == []
    one_file().publish(vault, FIRST)
    eventually(lambda: listed(mount) == [FIRST, "latest"], "the first one is listed")
    assert file_of(mount).read_bytes() == b"hello"
    one_file(b"newer").publish(vault, SECOND)
    eventually(lambda: file_of(mount).read_bytes() == b"newer", "latest is the second one")
    vault.remove_snapshot(FIRST)
    eventually(lambda: listed(mount) == [SECOND, "latest"], "the first one is gone")


def test_a_pruned_snapshot_fails_its_readers_only(vault: Vault, mount_alone: Mount) -> None:
    lost = os.urandom(5 * MIB)
    one_file(lost).publish(vault, FIRST)
    one_file(b"stays").publish(vault, SECOND)
    mount = mount_alone(vault.address)
    with file_of(mount, FIRST).open("rb", buffering=0) as file:
        assert file.read(10) == lost[:10]
        vault.remove_snapshot(FIRST)
        vault.remove([hashlib.sha256(lost).digest()])
        eventually(lambda: FIRST not in listed(mount), "it is not listed any more")
        with pytest.raises(OSError, match="Errno") as caught:
            file.readall()
    assert caught.value.errno in (errno.EIO, errno.ESTALE)
    assert file_of(mount, SECOND).read_bytes() == b"stays"


def test_a_vault_that_vanished_is_an_error_for_its_readers_until_it_is_back(
    vault: Vault, mount_alone: Mount, tmp_path: Path
) -> None:
    one_file(b"back again").publish(vault, FIRST)
    mount = mount_alone(vault.address)
    Path(vault.address).rename(tmp_path / "elsewhere")
    eventually(lambda: "the vault vault: " in mount.log_text(), "the log tells of it")
    assert listed(mount) == [FIRST, "latest"]
    with pytest.raises(OSError, match="Errno") as caught:
        file_of(mount).read_bytes()
    assert caught.value.errno == errno.EIO
    (tmp_path / "elsewhere").rename(vault.address)
    assert file_of(mount).read_bytes() == b"back again"


def test_damage_is_told_with_its_place_and_what_is_whole_can_be_read(
    vault: Vault, mount_alone: Mount
) -> None:
    data = os.urandom(9 * MIB)
    one_file(data).publish(vault, FIRST)
    blob = blob_of(vault, data)
    blob.chmod(0o600)
    with blob.open("r+b") as file:
        file.seek(4 * MIB + 5)
        file.write(bytes([data[4 * MIB + 5] ^ 1]))
    mount = mount_alone(vault.address)
    with file_of(mount).open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), MIB, 0) == data[:MIB]
        with pytest.raises(OSError, match="Errno") as caught:
            os.pread(file.fileno(), 4096, 4 * MIB)
        assert caught.value.errno == errno.EIO
        assert os.pread(file.fileno(), MIB, 8 * MIB) == data[8 * MIB :]
    place = f"snapshots/{FIRST}/datasets/d/v1/file: chunk 4 of blob {blob.name} is altered"
    assert place in mount.log_text()


@pytest.mark.parametrize("size", [100_000, 3 * MIB + 17])
def test_without_hashes_of_chunks_the_whole_is_checked_before_any_of_it_is_read(
    vault: Vault, mount_alone: Mount, size: int
) -> None:
    data, other = os.urandom(size), os.urandom(size)
    tree = Planted(chunk_size=255 << 10, hashed=False)
    tree.file("datasets/d/v1/file", data)
    tree.file("datasets/d/v1/other", other)
    tree.publish(vault, FIRST)
    blob = blob_of(vault, other)
    blob.chmod(0o600)
    blob.write_bytes(other[:-1] + bytes([other[-1] ^ 1]))
    mount = mount_alone(vault.address)
    assert file_of(mount).read_bytes() == data
    with pytest.raises(OSError, match="Errno") as caught:
        file_of(mount).with_name("other").read_bytes()
    assert caught.value.errno == errno.EIO


def test_what_could_not_be_read_when_it_was_taken_is_eio(vault: Vault, mount_alone: Mount) -> None:
    tree = one_file()
    tree.file("datasets/d/v1/skipped", None, size=7)
    tree.publish(vault, FIRST)
    mount = mount_alone(vault.address)
    skipped = file_of(mount).with_name("skipped")
    assert skipped.stat().st_size == 7
    with pytest.raises(OSError, match="Errno") as caught:
        skipped.read_bytes()
    assert caught.value.errno == errno.EIO
    assert "v1/skipped: it could not be read when the snapshot was taken" in mount.log_text()


def test_a_manifest_that_cannot_be_read_is_eio_for_that_snapshot_alone(
    vault: Vault, mount_alone: Mount
) -> None:
    one_file().publish(vault, FIRST)
    one_file(b"good").publish(vault, SECOND)
    manifest = Path(vault.address) / "snapshots" / FIRST / "manifest.sqlite"
    manifest.chmod(0o600)
    manifest.write_bytes(b"no manifest at all" * 1000)
    mount = mount_alone(vault.address)
    assert listed(mount) == [FIRST, SECOND, "latest"]
    with pytest.raises(OSError, match="Errno") as caught:
        list((mount.path / "snapshots" / FIRST).iterdir())
    assert caught.value.errno == errno.EIO
    assert file_of(mount).read_bytes() == b"good"


def test_two_vaults_are_shown_together(vault: Vault, mount_alone: Mount, tmp_path: Path) -> None:
    second = make_vault(str(tmp_path / "offsite"), LAKE)
    one_file(b"one").publish(vault, FIRST)
    one_file(b"two").publish(second, FIRST)
    one_file(b"newest").publish(second, SECOND)
    mount = mount_alone(vault.address, second.address)
    assert listed(mount) == [FIRST, f"{FIRST}@offsite", SECOND, "latest"]
    assert file_of(mount, FIRST).read_bytes() == b"one"
    assert file_of(mount, f"{FIRST}@offsite").read_bytes() == b"two"
    assert file_of(mount, f"{SECOND}@offsite").read_bytes() == b"newest"
    assert file_of(mount).read_bytes() == b"newest"
    shutil.rmtree(vault.address)
    assert file_of(mount, SECOND).read_bytes() == b"newest"


def test_nothing_is_written_to_a_vault(vault: Vault, mount_alone: Mount, tmp_path: Path) -> None:
    one_file().publish(vault, FIRST)
    before = {str(each): each.stat().st_mtime_ns for each in Path(vault.address).rglob("*")}
    subprocess.run(["chmod", "-R", "a-w", vault.address], check=True)
    mount = mount_alone(vault.address)
    assert file_of(mount).read_bytes() == b"hello"
    after = {str(each): each.stat().st_mtime_ns for each in Path(vault.address).rglob("*")}
    assert after == before


def test_the_disk_cache_serves_the_next_mount(
    vault: Vault, mount_alone: Mount, tmp_path: Path
) -> None:
    data = os.urandom(3 * MIB)
    one_file(data).publish(vault, FIRST)
    mount = mount_alone(vault.address, options=("--disk-cache", tmp_path / "cache"))
    assert file_of(mount).read_bytes() == data
    cached = tmp_path / "cache/v1"
    eventually(
        lambda: sum(each.stat().st_blocks for each in cached.rglob("*-0")) * 512 >= len(data),
        "all of it is on the disk",
    )
    mount.stop()
    blob_of(vault, data).unlink()
    mount.start()
    assert file_of(mount).read_bytes() == data


def test_without_a_lake_a_vault_that_is_not_there_ends_the_mount(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    done = run_command("mount", "--vault", tmp_path / "nothing", tmp_path / "mnt")
    assert done.returncode == 1
    assert "is no vault" in done.stderr
    assert "Traceback" not in done.stderr
    none = run_command("mount", "--no-lake", tmp_path / "mnt")
    assert none.returncode == 1
    assert "no vault: give one with --vault" in none.stderr


def test_vaults_of_different_lakes_are_not_mounted_together(vault: Vault, tmp_path: Path) -> None:
    make_vault(str(tmp_path / "other"), "another lake")
    (tmp_path / "mnt").mkdir()
    done = run_command(
        *("mount", "--vault", vault.address, "--vault", tmp_path / "other", tmp_path / "mnt")
    )
    assert done.returncode == 1
    assert "are of different lakes" in done.stderr
