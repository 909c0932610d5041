"""Vaults in directories: disks that are full, read-only, gone, or changed; locks that are lost."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridfsmount.errors import ConfigError, InUse, NoSpace, ReadOnly, StoreUnavailable
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from tests.vaults.stores import LAKE, sha256, summary_of

T = "2026-11-22T03-00-00Z"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "gridfsmount-tests", path], check=True)
    yield path
    while subprocess.run(["mountpoint", "-q", path], check=False).returncode == 0:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    return make_directory_vault(tmp_path / "vault", LAKE)


def attempts(vault: DirectoryVault, folder: Path) -> list[Callable[[], object]]:
    """All that changes something."""
    data = os.urandom(5 << 20)
    (folder / "made").write_bytes(data)
    return [
        lambda: vault.put(sha256(data), len(data), [data]),
        lambda: vault.put_many([(sha256(data), data)]),
        lambda: vault.publish(T, folder / "made", summary_of(data)),
        lambda: vault.set_note("a", data),
    ]


@needs_root
def test_a_full_disk_is_told_and_leaves_nothing_half_done(disk: Path, tmp_path: Path) -> None:
    vault = make_directory_vault(disk / "vault", LAKE)
    vault.put_many([(sha256(b"a"), b"a")])

    for attempt in attempts(vault, tmp_path):
        with pytest.raises(NoSpace, match=f"^{vault.address}: cannot"):
            attempt()

    assert list((disk / "vault" / "tmp").iterdir()) == []
    assert [each.sha256 for each in vault.blobs()] == [sha256(b"a")]
    assert vault.snapshots() == []
    assert vault.notes("") == []
    vault.put_many([(sha256(b"b"), b"b")])


@needs_root
def test_a_read_only_disk_can_be_read(disk: Path, tmp_path: Path) -> None:
    vault = make_directory_vault(disk / "vault", LAKE)
    (tmp_path / "made").write_bytes(b"m")
    vault.put_many([(sha256(b"a"), b"a")])
    vault.publish(T, tmp_path / "made", summary_of(b"m"))
    vault.set_note("a", b"x")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    vault = DirectoryVault(disk / "vault")

    assert vault.read(sha256(b"a"), 0, 9) == b"a"
    assert vault.present([sha256(b"a")]) == {sha256(b"a")}
    assert len(list(vault.blobs())) == 1
    assert vault.summary(vault.snapshots()[0]) == summary_of(b"m")
    assert vault.manifest(T, tmp_path).read_bytes() == b"m"
    assert vault.note(vault.notes("")[0]) == b"x"
    writes: list[Callable[[], object]] = [
        *attempts(vault, tmp_path)[:2],
        lambda: vault.set_note("a", None),
        lambda: vault.note_verified({sha256(b"a"): True}),
        lambda: vault.remove([sha256(b"a")]),
        lambda: vault.remove_snapshot(T),
        lambda: vault.claim("x", "y").__enter__(),
    ]
    for attempt in writes:
        with pytest.raises(ReadOnly, match="Read-only file system"):
            attempt()


@needs_root
def test_an_unmounted_disk_is_noticed_and_another_one_too(disk: Path, tmp_path: Path) -> None:
    vault = make_directory_vault(disk, LAKE)

    with vault.claim("x", "y") as claim:
        subprocess.run(["umount", "--lazy", disk], check=True)
        with pytest.raises(StoreUnavailable, match="the vault is gone"):
            claim.renew()
    for attempt in attempts(vault, tmp_path):
        with pytest.raises(StoreUnavailable, match="the vault is gone"):
            attempt()
    assert list(disk.iterdir()) == []

    make_directory_vault(disk, LAKE)
    for attempt in attempts(vault, tmp_path):
        with pytest.raises(StoreUnavailable, match="another vault"):
            attempt()


def test_a_vault_may_be_moved_and_lose_its_empty_folders(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    vault.put_many([(sha256(b"a"), b"a")])
    moved = tmp_path / "moved"
    (tmp_path / "vault").rename(moved)
    for folder in sorted(moved.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    again = DirectoryVault(moved)
    with again.claim("x", "y"):
        again.put_many([(sha256(b"%d" % n), b"%d" % n) for n in range(100)])

    assert len(list(again.blobs())) == 101
    assert again.header == vault.header


def test_a_lock_that_was_lost_is_noticed(vault: DirectoryVault, tmp_path: Path) -> None:
    lock = tmp_path / "vault" / "lock"
    with vault.claim("backup create", "me") as claim:
        claim.renew()
        lock.unlink()
        with pytest.raises(InUse, match="lease is lost"):
            claim.renew()
        with vault.claim("backup prune", "other"), pytest.raises(InUse, match="lease is lost"):
            claim.renew()
    with vault.claim("backup create", "me") as claim:
        lock.write_text(lock.read_text().replace("me", "it"))  # as from a machine that locks not
        with pytest.raises(InUse, match="lost to `backup create` of it"):
            claim.renew()


def test_who_takes_the_lease_removes_what_was_left_but_no_note_on_its_way(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    folder = tmp_path / "vault" / "tmp"
    (folder / "torn").write_bytes(b"half")
    (folder / "batch").mkdir()
    (folder / "batch" / "blob").write_bytes(b"half")
    (folder / "note-new").touch()
    (folder / "note-old").touch()
    os.utime(folder / "note-old", (time.time() - 7200,) * 2)

    with vault.claim("x", "y"):
        assert [each.name for each in folder.iterdir()] == ["note-new"]


def test_a_blob_that_came_back_before_its_damaged_one_went_is_one(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    vault.put_many([(sha256(b"a"), b"a")])
    (tmp_path / "vault" / "damaged" / sha256(b"a").hex()).write_bytes(b"b")

    [blob] = vault.blobs()

    assert not blob.damaged
    assert vault.read(blob.sha256, 0, 9) == b"a"


@pytest.mark.parametrize("header", ["", "[]", "{}", '{"format": "x"}', '{"format": 1}'])
def test_a_header_that_makes_no_sense_is_told(
    vault: DirectoryVault, tmp_path: Path, header: str
) -> None:
    (tmp_path / "vault" / "vault.json").write_text(header)

    with pytest.raises(Exception, match="no header of a vault") as raised:
        DirectoryVault(tmp_path / "vault")
    assert type(raised.value).__name__ == "LakeFormatError"


def test_a_file_is_no_vault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        DirectoryVault(tmp_path / "file")
