"""Vaults read again: what is damaged is found, named everywhere, and healed from the lake."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gridfsmount.backup.verifying import Verified, Verifier, Wanted
from gridfsmount.core.vault import Claim
from gridfsmount.errors import ReadOnly
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.directory import DirectoryVault
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.sealing import Sealer
from tests.backup.restore.snapshots import back_up, blob_path, flip
from tests.mounting import run_command
from tests.store.lakes import Garden

BY = "ana@gpu1"
ALL = Wanted()


def verified(vault: DirectoryVault, wanted: Wanted = ALL, lake: Lake | None = None) -> Verified:
    with Verifier(vault, wanted, BY, lake) as verifier:
        verifier.survey()
        verifier.read(lambda blobs, size: None)
        return verifier.finish()


def note(vault: DirectoryVault, snapshot: str) -> dict[str, object]:
    found = vault.note(f"verified/{snapshot}")
    assert found is not None
    decoded: dict[str, object] = json.loads(found)
    return decoded


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture
def folder(vault: DirectoryVault) -> Path:
    return Path(vault.address)


def test_all_is_well(store: Lake, garden: Garden, vault: DirectoryVault) -> None:
    version = garden.version()
    garden.file(version, "a", b"one")
    garden.file(version, "b.txt", b"two")
    garden.file(garden.folder(version, "b"), "c", b"three")
    Sealer(store, Hasher(store)).seal(version, "", BY)
    snapshot = back_up(store, vault)
    done = verified(vault)
    assert (done.found, done.blobs, done.bytes, done.unnoted) == (0, 3, 11, "")
    assert (note(vault, snapshot)["good"], note(vault, snapshot)["blobs"]) == (True, 3)


def test_a_flipped_byte_is_named_by_path_in_every_snapshot_and_healed_from_the_lake(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    version = garden.version()
    garden.file(version, "a", b"one")
    first = back_up(store, vault)
    garden.file(version, "twin", b"one")
    second = back_up(store, vault)
    flip(blob_path(folder, b"one"))
    done = verified(vault)
    assert [(each.snapshot, each.path, each.healed) for each in done.faults] == [
        (first, "datasets/test/v1/a", False),
        (second, "datasets/test/v1/a", False),
        (second, "datasets/test/v1/twin", False),
    ]
    assert not vault.present([digest(b"one")])
    assert (note(vault, first)["good"], note(vault, second)["damaged"]) == (False, 1)
    again = verified(vault, Wanted(sample=0.01))  # it is known, though it is read no more
    assert again.found == 3
    healed = verified(vault, lake=store)
    assert (healed.healed, {each.healed for each in healed.faults}) == (1, {True})
    assert vault.read(digest(b"one"), 0, 10) == b"one"
    assert verified(vault).found == 0
    assert note(vault, first)["good"] is True


def test_a_missing_blob_is_healed_from_the_trash_of_the_lake(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    node = garden.file(garden.version(), "a", b"one")
    snapshot = back_up(store, vault)
    store.commits.unlink(node, node.names[0])
    blob_path(folder, b"one").unlink()
    done = verified(vault)
    assert [each.path for each in done.faults] == ["datasets/test/v1/a"]
    assert done.snapshots[0].damaged == note(vault, snapshot)["damaged"] == 1
    assert verified(vault, lake=store).healed == 1
    assert vault.read(digest(b"one"), 0, 10) == b"one"


def test_what_the_lake_lost_too_stays_damaged_and_says_so(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    node = garden.file(garden.version(), "a", b"one")
    back_up(store, vault)
    store.commits.unlink(node, node.names[0])
    store.trash.sweep(-1)
    flip(blob_path(folder, b"one"))
    done = verified(vault, lake=store)
    assert [each.healed for each in done.faults] == [False]
    assert "the lake cannot heal it" in done.faults[0].detail


def test_a_flipped_byte_in_a_manifest_is_found(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    garden.file(garden.version(), "a", b"one")
    first, second = back_up(store, vault), back_up(store, vault)
    manifest = folder / "snapshots" / first / "manifest.sqlite"
    flip(manifest, manifest.read_bytes().rindex(b"lake"))
    done = verified(vault)
    assert [(each.snapshot, each.path) for each in done.faults] == [(first, "")]
    assert "SHA-256" in done.faults[0].detail
    assert (note(vault, first)["good"], note(vault, second)["good"]) == (False, True)


@pytest.mark.parametrize("at", [0, 20, 60, 100, 4100, 5000, 9000])
def test_a_manifest_that_is_no_database_is_found(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path, at: int
) -> None:
    garden.file(garden.version(), "a", b"one")
    first, second = back_up(store, vault), back_up(store, vault)
    flip(folder / "snapshots" / first / "manifest.sqlite", at)
    flip(blob_path(folder, b"one"))
    done = verified(vault, lake=store)
    assert [each.good for each in done.snapshots] == [False, True]
    assert (second, "datasets/test/v1/a", True) in [
        (each.snapshot, each.path, each.healed) for each in done.faults
    ]


def test_a_manifest_whose_files_are_not_what_was_sealed_is_found(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    garden.file(version, "a", b"one")
    Sealer(store, Hasher(store)).seal(version, "", BY)
    store.connection.collection("tree").update_one(
        {"_id": version.inode}, {"$set": {"seal.digest": "0" * 64}}
    )
    back_up(store, vault)
    faults = verified(vault).faults
    assert [each.detail.partition(":")[0] for each in faults] == ["datasets/test/v1"]
    assert "0" * 64 in faults[0].detail


def test_a_wrong_hash_is_read_twice(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    garden.file(garden.version(), "a", b"one")
    back_up(store, vault)
    read, calls = vault.read, [0]

    def erring(blob: bytes, offset: int, size: int) -> bytes:
        calls[0] += 1
        return b"eno" if calls[0] == 1 else read(blob, offset, size)

    monkeypatch.setattr(vault, "read", erring)
    assert (verified(vault).found, calls[0]) == (0, 2)


def test_an_interrupted_run_is_gone_on_with(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(store, garden, vault, 10)
    monkeypatch.setattr("gridfsmount.backup.verifying.TOGETHER", 1)
    read = vault.read
    seen: list[bytes] = []

    def interrupted(blob: bytes, offset: int, size: int) -> bytes:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(blob)
        return read(blob, offset, size)

    monkeypatch.setattr(vault, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verified(vault, Wanted(jobs=1))
    monkeypatch.setattr(vault, "read", read)
    before = [each for each in vault.blobs() if each.verified_ns < 10 * 10**9]
    assert len(before) == 6
    assert not {each.sha256 for each in before} & set(seen)
    verified(vault, Wanted(sample=0.6))
    assert [each for each in vault.blobs() if each.verified_ns < 10 * 10**9] == []


def test_samples_cover_everything_in_time(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    plant(store, garden, vault, 12)
    begun = max(each.verified_ns for each in vault.blobs())
    runs = [verified(vault, Wanted(sample=0.3)).blobs for _ in range(4)]
    assert runs == [4, 4, 4, 4]
    assert all(each.verified_ns > begun for each in vault.blobs())


def test_a_run_ends_when_its_time_is_up(store: Lake, garden: Garden, vault: DirectoryVault) -> None:
    plant(store, garden, vault, 3)
    done = verified(vault, Wanted(seconds=0))
    assert (done.blobs, done.left, done.snapshots[0].good) == (0, 3, True)


def test_only_the_blobs_of_the_snapshots_that_are_named_are_read(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    node = garden.file(version, "a", b"one")
    first = back_up(store, vault)
    garden.write(node, b"two")
    back_up(store, vault)
    done = verified(vault, Wanted(snapshots=(first,)))
    assert (done.blobs, [each.snapshot for each in done.snapshots]) == (1, [first])


def test_a_vault_can_be_verified_while_a_backup_holds_it(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    garden.file(garden.version(), "a", b"one")
    garden.file(garden.version("datasets/test/v2"), "b", b"two")
    back_up(store, vault)
    flip(blob_path(folder, b"one"))
    with DirectoryVault(folder).claim("backup create", BY):
        done = verified(vault)
    assert [each.path for each in done.faults] == ["datasets/test/v1/a"]
    assert "backup create" in done.unnoted
    assert vault.present([digest(b"one")])  # and so it is found, and noted, by the next run
    assert verified(vault).unnoted == ""
    assert not vault.present([digest(b"one")])


class _ReadOnlyVault(DirectoryVault):
    def note_verified(self, results: Mapping[bytes, bool]) -> None:
        raise ReadOnly("the vault is read-only")

    def set_note(self, name: str, value: bytes | None) -> None:
        raise ReadOnly("the vault is read-only")

    def claim(self, what: str, by: str) -> "Claim":  # type: ignore[override]
        raise ReadOnly("the vault is read-only")


def test_a_read_only_vault_is_verified_and_nothing_is_noted(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    garden.file(garden.version(), "a", b"one")
    back_up(store, vault)
    flip(blob_path(folder, b"one"))
    done = verified(_ReadOnlyVault(folder))
    assert (done.found, done.unnoted) == (1, "the vault is read-only")
    assert vault.notes("verified/") == []


def test_a_snapshot_that_is_pruned_meanwhile_does_no_harm(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path
) -> None:
    garden.file(garden.version(), "a", b"one")
    snapshot = back_up(store, vault)
    with Verifier(vault, Wanted(), BY) as verifier:
        verifier.survey()
        vault.remove_snapshot(snapshot)
        vault.remove([digest(b"one")])
        verifier.read(lambda blobs, size: None)
        done = verifier.finish()
    assert (done.found, done.snapshots) == (0, [])


def test_the_command_tells_what_is_damaged(
    store: Lake, garden: Garden, vault: DirectoryVault, folder: Path, lake_uri: str
) -> None:
    garden.file(garden.version(), "a\nb", b"one")
    snapshot = back_up(store, vault)
    arguments = ("backup", "verify", "--vault", folder)
    well = run_command(*arguments)
    assert (well.returncode, "all is well" in well.stdout) == (0, True), well.stderr
    flip(blob_path(folder, b"one"))
    found = run_command(*arguments, "latest", "--json")
    assert found.returncode == 1
    told = json.loads(found.stdout)
    (fault,) = told["vaults"][0]["faults"]
    assert (told["clean"], fault["path"]) == (False, "datasets/test/v1/a\nb")
    assert [each.good for each in store.runs.all()] == []  # nobody said which lake it is
    healed = run_command(*arguments, "--repair", "--uri", lake_uri, snapshot[:10])
    assert (healed.returncode, "1 of 1 blob healed" in healed.stdout) == (1, True), healed.stderr
    assert "a\\x0ab" in healed.stdout.replace("\n", "").replace(" ", "")
    assert run_command(*arguments, "--uri", lake_uri).returncode == 0
    assert [(each.what, each.good) for each in store.runs.all()] == [("verify", True)]
    unknown = run_command(*arguments, "1999")
    assert (unknown.returncode, "has no snapshot '1999'" in unknown.stderr) == (2, True)


def test_a_vault_that_is_gone_cannot_be_verified(tmp_path: Path) -> None:
    done = run_command("backup", "verify", "--vault", tmp_path / "none")
    assert (done.returncode, "is no vault" in done.stderr) == (2, True)


def plant(store: Lake, garden: Garden, vault: DirectoryVault, count: int) -> Sequence[str]:
    """A snapshot of files of one byte, verified at different times."""
    version = garden.version()
    for number in range(count):
        garden.file(version, f"file-{number}", b"%c" % number)
    snapshot = back_up(store, vault)
    for number, each in enumerate(vault.blobs()):
        path = blob_path(Path(vault.address), vault.read(each.sha256, 0, 1))
        os.utime(path, (number, number))
    return [snapshot]
