"""What is removed from a vault, what stays, and what a crash leaves."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gridfsmount.backup import condemning
from gridfsmount.backup.condemning import CONDEMNED, Amount, sweep
from gridfsmount.backup.pruning import GOING, Pruned, pin, prune, unpin
from gridfsmount.core.retention import Policy
from gridfsmount.core.vault import Blob, Vault
from gridfsmount.errors import InUse, NotFound, StoreUnavailable
from gridfsmount.vaults.directory import DirectoryVault
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.vaults.notes import PINS, VERIFIED, pins
from tests.backup.prune.conftest import Publish
from tests.backup.prune.making import digest, make_snapshot

DAYS = [f"2026-11-{day:02}T03-00-00Z" for day in range(10, 20)]
NOW = int(datetime(2026, 11, 20).timestamp()) * 10**9
HOUR = 3600 * 10**9
DAY = 86400.0

LAST = Policy(last=1)


def pruned(
    vault: Vault, policy: Policy = LAST, *, grace: float = DAY, now_ns: int = NOW, dry: bool = False
) -> Pruned:
    return prune(vault, policy, grace=grace, now_ns=now_ns, by="root@test", dry_run=dry)


def blobs(vault: Vault) -> set[bytes]:
    return {each.sha256 for each in vault.blobs()}


def needed(vault: Vault, folder: Path) -> set[bytes]:
    """All blobs that snapshots name; each snapshot is whole."""
    named: set[bytes] = set()
    for name in vault.snapshots():
        path = vault.manifest(name, folder)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found == vault.summary(name).manifest_sha256
        manifest = Manifest(path, name)
        named |= set(manifest.blobs())
        manifest.close()
    return named


def assert_whole(vault: Vault, folder: Path) -> None:
    """No snapshot is half there, and no blob that one names is gone or wrong."""
    named = needed(vault, folder)
    assert vault.present(sorted(named)) == named
    for blob in named:
        assert digest(vault.read(blob, 0, 1 << 20)) == blob


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_no_snapshot_names_goes_when_the_grace_is_over(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {"a": b"old", "b": b"both"})
    publish(DAYS[1], {"b": b"both", "c": b"new"})
    first = pruned(vault)
    assert first.removed == [DAYS[0]]
    assert first.swept is not None
    assert first.swept.condemned == Amount(1, 3)
    assert blobs(vault) == {digest(b"old"), digest(b"both"), digest(b"new")}
    second = pruned(vault, now_ns=NOW + 23 * HOUR)
    assert second.removed == []
    assert second.swept is not None
    assert second.swept.waiting == Amount(1, 3)
    third = pruned(vault, now_ns=NOW + 24 * HOUR)
    assert third.swept is not None
    assert third.swept.removed == Amount(1, 3)
    assert blobs(vault) == {digest(b"both"), digest(b"new")}
    assert vault.notes(CONDEMNED) == []
    assert vault.note(GOING) is None


def test_a_grace_of_nothing_removes_at_once(vault: DirectoryVault, publish: Publish) -> None:
    publish(DAYS[0], {"a": b"old"})
    publish(DAYS[1], {"a": b"new"})
    assert pruned(vault, grace=0).removed == [DAYS[0]]
    assert blobs(vault) == {digest(b"new")}


def test_what_an_interrupted_backup_copied_has_the_grace_and_is_spared_when_it_is_published(
    vault: DirectoryVault, publish: Publish, tmp_path: Path
) -> None:
    publish(DAYS[0], {"a": b"old"})
    vault.put_many([(digest(b"copied"), b"copied"), (digest(b"left"), b"left")])
    pruned(vault)
    publish(DAYS[1], {"a": b"old", "b": b"copied"})
    pruned(vault, Policy(last=2), now_ns=NOW + 25 * HOUR)
    assert blobs(vault) == {digest(b"old"), digest(b"copied")}
    assert_whole(vault, tmp_path)


def test_what_was_named_in_between_gets_a_new_grace(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {"a": b"a"})
    vault.put_many([(digest(b"x"), b"x")])
    pruned(vault)
    publish(DAYS[1], {"x": b"x"})
    pruned(vault, Policy(last=2), now_ns=NOW + HOUR)
    publish(DAYS[2], {"a": b"a"})
    pruned(vault, now_ns=NOW + 25 * HOUR)
    assert digest(b"x") in blobs(vault)
    pruned(vault, now_ns=NOW + 49 * HOUR)
    assert digest(b"x") not in blobs(vault)


def test_a_clock_that_was_far_ahead_keeps_nothing_for_ever(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {"a": b"a"})
    vault.put_many([(digest(b"x"), b"x")])
    pruned(vault, now_ns=NOW + 10_000 * HOUR)
    pruned(vault)
    pruned(vault, now_ns=NOW + 25 * HOUR)
    assert blobs(vault) == {digest(b"a")}


@pytest.mark.parametrize("harm", ["altered", "cut", "no database", "missing", "no summary"])
def test_a_manifest_that_cannot_be_read_stops_the_removal_of_blobs(
    vault: DirectoryVault, publish: Publish, tmp_path: Path, harm: str
) -> None:
    for name in DAYS[:3]:
        publish(name, {"a": name.encode()})
    vault.put_many([(digest(b"x"), b"x")])
    folder = tmp_path / "vault" / "snapshots" / DAYS[1]
    manifest = folder / "manifest.sqlite"
    manifest.chmod(0o644)
    if harm == "altered":
        flip(manifest)
    elif harm == "cut":
        os.truncate(manifest, 5000)
    elif harm == "no database":
        manifest.write_bytes(b"nothing of the kind")
    elif harm == "missing":
        manifest.unlink()
    else:
        (folder / "summary.json").unlink()
    before = blobs(vault)
    done = pruned(vault, Policy(last=2), grace=0)
    assert done.removed == [DAYS[0]], "snapshots go all the same"
    assert done.swept is None
    assert DAYS[1] in done.stopped
    assert "may name any blob" in done.stopped
    assert blobs(vault) == before
    done = pruned(vault, LAST, grace=0)
    assert done.swept is not None, "it went itself"
    assert blobs(vault) == {digest(DAYS[2].encode())}


def test_a_newest_snapshot_whose_manifest_was_altered_does_not_count(
    vault: DirectoryVault, publish: Publish, tmp_path: Path
) -> None:
    for name in DAYS[:3]:
        publish(name, {"a": name.encode()})
    flip(tmp_path / "vault" / "snapshots" / DAYS[2] / "manifest.sqlite")
    done = pruned(vault)
    assert vault.snapshots() == DAYS[1:3]
    assert done.verdicts[1].reasons == ("of the last 1, not damaged",)


def test_a_snapshot_that_was_found_damaged_does_not_count(
    vault: DirectoryVault, publish: Publish
) -> None:
    for name in DAYS[:3]:
        publish(name, {"a": name.encode()})
    note = {"at_ns": 1, "good": False, "blobs": 0, "of": 1, "damaged": 1}
    vault.set_note(f"{VERIFIED}{DAYS[2]}", json.dumps(note).encode())
    pruned(vault)
    assert vault.snapshots() == DAYS[1:3]


def test_damaged_blobs_that_nothing_names_go_too_and_those_that_are_named_stay(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {"a": b"old", "b": b"both"})
    publish(DAYS[1], {"b": b"both"})
    vault.note_verified({digest(b"old"): False, digest(b"both"): False})
    pruned(vault, grace=0)
    assert [(each.sha256, each.damaged) for each in vault.blobs()] == [(digest(b"both"), True)]


def test_notes_about_removed_snapshots_go_with_them(
    vault: DirectoryVault, publish: Publish
) -> None:
    for name in DAYS[:3]:
        publish(name, {})
        vault.set_note(VERIFIED + name, b"{}")
    vault.set_note(f"{PINS}2020-01-01T00-00-00Z", b"long gone")
    pruned(vault)
    assert vault.notes("") == [VERIFIED + DAYS[2]]


@pytest.mark.parametrize("note", [b"", b"null", b"[1]", b'{"x": null}', b'{"zz": 1}', b"\xff"])
def test_a_note_that_cannot_be_read_only_begins_the_grace_anew(
    vault: DirectoryVault, publish: Publish, note: bytes
) -> None:
    publish(DAYS[0], {})
    vault.put_many([(digest(b"x"), b"x")])
    vault.set_note(CONDEMNED + digest(b"x").hex()[:2], note)
    vault.set_note(f"{CONDEMNED}what", note)
    pruned(vault)
    assert digest(b"x") in blobs(vault)
    pruned(vault, now_ns=NOW + 24 * HOUR)
    assert blobs(vault) == set()


def test_a_dry_run_tells_the_same_and_changes_nothing(
    vault: DirectoryVault, publish: Publish, tmp_path: Path
) -> None:
    for name in DAYS[:4]:
        publish(name, {"a": name.encode(), "b": b"both"})
    before = files_below(tmp_path / "vault")
    with vault.claim("backup create", "somebody"):
        told = pruned(vault, grace=0, dry=True)
    after = files_below(tmp_path / "vault")
    after.pop(str(tmp_path / "vault" / "lock"))
    assert after == before
    assert told == pruned(vault, grace=0)
    assert vault.snapshots() == DAYS[3:4]


def test_a_vault_in_use_is_not_pruned(vault: DirectoryVault, publish: Publish) -> None:
    publish(DAYS[0], {})
    publish(DAYS[1], {})
    with vault.claim("backup create", "somebody"), pytest.raises(InUse, match="backup create"):
        pruned(vault)
    assert vault.snapshots() == DAYS[:2]


def test_a_pinned_snapshot_stays_until_it_is_unpinned(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {"a": b"a"})
    publish(DAYS[1], {})
    pin(vault, DAYS[0], "audit", "root@test")
    done = pruned(vault, grace=0)
    assert done.verdicts[1].reasons == ("pinned: audit",)
    assert blobs(vault) == {digest(b"a")}
    unpin(vault, DAYS[0])
    unpin(vault, DAYS[0])
    pruned(vault, grace=0)
    assert (vault.snapshots(), blobs(vault)) == (DAYS[1:2], set())


def test_a_snapshot_can_be_pinned_while_a_backup_is_made(
    vault: DirectoryVault, publish: Publish
) -> None:
    publish(DAYS[0], {})
    with vault.claim("backup create", "somebody"):
        pin(vault, DAYS[0], "audit", "root@test")
    assert pins(vault) == {DAYS[0]: "audit"}


def test_who_pins_what_is_being_removed_is_told_so(vault: DirectoryVault, publish: Publish) -> None:
    publish(DAYS[0], {})
    publish(DAYS[1], {})
    told: list[str] = []

    def tell(text: str) -> None:
        if text.startswith("removing"):
            for name in DAYS[:2]:
                try:
                    pin(vault, name, "late", "root@test")
                except (InUse, NotFound) as error:
                    told.append(str(error))

    prune(vault, LAST, grace=0, now_ns=NOW, by="root@test", dry_run=False, tell=tell)
    assert vault.snapshots() == DAYS[1:2]
    assert len(told) == 1
    assert "is being removed" in told[0]
    assert pins(vault) == {DAYS[1]: "late"}
    with pytest.raises(NotFound):
        pin(vault, DAYS[0], "too late", "root@test")
    assert pins(vault) == {DAYS[1]: "late"}


def test_what_was_pinned_a_moment_before_is_not_removed(
    vault: DirectoryVault, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(DAYS[0], {"a": b"a"})
    publish(DAYS[1], {})
    set_note = vault.set_note

    def pinning(name: str, value: bytes | None) -> None:
        if name == GOING and value is not None:
            set_note(PINS + DAYS[0], b"just in time")
        set_note(name, value)

    monkeypatch.setattr(vault, "set_note", pinning)
    done = pruned(vault, grace=0)
    assert done.removed == []
    assert done.verdicts[1].reasons == ("pinned: just in time",)
    assert blobs(vault) == {digest(b"a")}


class Remote(DirectoryVault):
    """A vault whose manifests are copied before they are read."""

    most = 0

    def manifest(self, snapshot: str, into: Path) -> Path:
        """A copy."""
        copy = into / f"{snapshot}.sqlite"
        shutil.copyfile(super().manifest(snapshot, into), copy)
        self.most = max(self.most, len(list(into.iterdir())))
        return copy


def test_copies_of_manifests_do_not_pile_up(
    vault: DirectoryVault, publish: Publish, tmp_path: Path
) -> None:
    for name in DAYS:
        publish(name, {"a": name.encode()})
    remote = Remote(tmp_path / "vault")
    assert pruned(remote, Policy(last=8), grace=0).removed == [DAYS[1], DAYS[0]]
    assert blobs(vault) == {digest(name.encode()) for name in DAYS[2:]}
    assert remote.most <= 2, "the newest, which is looked at first, and the one that is read"
    assert_whole(vault, tmp_path)


# --- crashes ----------------------------------------------------------------------------------


class Crash(BaseException):
    """The end of the process, as far as the vault can tell."""


class Crashing:
    """A vault that ends the process before its Nth change."""

    def __init__(self, vault: DirectoryVault, at: int) -> None:
        self._vault = vault
        self._left = at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._vault, name)
        if name not in ("set_note", "remove", "remove_snapshot"):
            return found

        def change(*arguments: Any) -> None:
            self._left -= 1
            if self._left < 0:
                raise Crash
            found(*arguments)

        return change


def fill(vault: DirectoryVault, folder: Path, snapshots: int, files: int) -> None:
    """Snapshots that share most of their contents, and blobs that nothing names."""
    for number, name in enumerate(DAYS[:snapshots]):
        contents = {f"f{each}": f"content {each + 3 * number}".encode() for each in range(files)}
        make_snapshot(vault, name, contents, folder)
    vault.put_many([(digest(data), data) for data in (b"left by", b"a dead backup")])


def test_a_crash_before_any_change_loses_nothing_that_is_needed(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    fill(vault, tmp_path, snapshots=4, files=8)
    pristine = tmp_path / "pristine"
    shutil.copytree(tmp_path / "vault", pristine)
    policy, steps = Policy(last=2), 0
    while True:
        shutil.rmtree(tmp_path / "vault")
        shutil.copytree(pristine, tmp_path / "vault")
        try:
            prune(
                Crashing(vault, steps),
                policy,
                grace=0,
                now_ns=NOW,
                by="root@test",
                dry_run=False,
            )
        except Crash:
            steps += 1
            assert set(DAYS[2:4]) <= set(vault.snapshots())
            assert_whole(vault, tmp_path)
            pruned(vault, policy, grace=0)
            assert vault.snapshots() == DAYS[2:4]
            assert blobs(vault) == needed(vault, tmp_path)
            assert vault.note(GOING) is None
            continue
        break
    assert steps > 10


def test_a_vault_that_fails_meanwhile_is_whole_and_the_next_run_ends_it(
    vault: DirectoryVault, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in DAYS[:3]:
        publish(name, {"a": name.encode()})

    def failing(blobs: Sequence[bytes]) -> None:
        raise StoreUnavailable("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(vault, "remove", failing)
        with pytest.raises(StoreUnavailable):
            pruned(vault, grace=0)
    assert_whole(vault, tmp_path)
    pruned(vault, grace=0)
    assert blobs(vault) == needed(vault, tmp_path)


_PRUNING = """
import sys
from pathlib import Path
from gridfsmount.backup.pruning import prune
from gridfsmount.core.retention import Policy
from gridfsmount.vaults.directory import DirectoryVault
vault = DirectoryVault(Path(sys.argv[1]))
print("ready", flush=True)
prune(vault, Policy(last=2), grace=0, now_ns=1, by="root@test", dry_run=False)
"""


def start_pruning(folder: Path) -> subprocess.Popen[bytes]:
    """A process that is about to prune."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PRUNING, str(folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_sigkill_at_random_moments_loses_nothing_that_is_needed(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    fill(vault, tmp_path, snapshots=5, files=20)
    shutil.copytree(tmp_path / "vault", tmp_path / "timed")
    with start_pruning(tmp_path / "timed") as process:
        began = time.monotonic()
    takes = time.monotonic() - began
    chance = random.Random(6)
    for number in range(20):
        folder = tmp_path / f"killed{number}"
        shutil.copytree(tmp_path / "vault", folder)
        with start_pruning(folder) as process:
            # A moment of the run, so time itself is what is waited for.
            time.sleep(takes * chance.random())
            process.kill()
        killed = DirectoryVault(folder)
        assert set(DAYS[3:5]) <= set(killed.snapshots())
        assert_whole(killed, tmp_path)
        pruned(killed, Policy(last=2), grace=0)
        assert killed.snapshots() == DAYS[3:5]
        assert blobs(killed) == needed(killed, tmp_path)
        shutil.rmtree(folder)


# --- many -------------------------------------------------------------------------------------


class Many:
    """As much of a vault as is needed to condemn very many blobs that no snapshot names."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.noted: dict[str, int] = {}

    def blobs(self) -> Iterator[Blob]:
        for number in range(self.count):
            yield Blob(digest(b"%d" % number), 1, 0)

    def notes(self, prefix: str) -> list[str]:
        return []

    def note(self, name: str) -> None:
        return None

    def set_note(self, name: str, value: bytes) -> None:
        self.noted[name] = len(value)


class Held:
    """A lease."""

    def renew(self) -> None:
        """It is never lost."""


def test_memory_does_not_grow_with_the_number_of_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condemning, "BATCH", 500)
    peaks = []
    for count in (2_000, 16_000):
        vault = Many(count)
        tracemalloc.start()
        swept = sweep(
            vault,  # type: ignore[arg-type]
            [],
            tmp_path,
            grace=DAY,
            now_ns=NOW,
            claim=Held(),
            tell=lambda _: None,
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert swept.condemned == Amount(count, count)
        assert len(vault.noted) == 256, "each note stays small"
    assert peaks[1] < 1.5 * peaks[0]
