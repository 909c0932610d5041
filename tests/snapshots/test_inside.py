"""Parts of it by themselves: numbers, manifests that are let go of, and patience."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import LATEST_FLAG, ROOT, Inode
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged, Stale, StoreUnavailable
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.vfs.parts import is_of_snapshots
from gridfsmount.vfs.snapshots.copies import KEPT, ManifestCopies
from gridfsmount.vfs.snapshots.numbers import MOST_SNAPSHOTS, number, split, top
from gridfsmount.vfs.snapshots.snapshot import Snapshot
from gridfsmount.workers import Workers
from tests.snapshots.planting import Planted

FIRST = "2026-11-22T03-00-00Z"

slots = st.integers(1, MOST_SNAPSHOTS)
inodes = st.integers(1, (1 << 40) - 1)


@given(slots, inodes)
def test_a_number_tells_its_snapshot_and_its_inode(slot: int, inode: int) -> None:
    found = number(slot, Inode(inode))
    assert split(found) == (slot, inode)
    assert split(Inode(found | LATEST_FLAG)) == (slot, inode)
    assert is_of_snapshots(found)
    assert found < 1 << 63


@given(st.one_of(st.integers(max_value=-1), st.integers(1 << 40)))
def test_a_number_that_no_lake_gives_is_damage(inode: int) -> None:
    with pytest.raises(Damaged):
        number(1, Inode(inode))


def test_a_manifest_is_closed_when_nobody_uses_it_and_opened_again(vault: Vault) -> None:
    tree = Planted()
    tree.file("datasets/d/v1/file", b"hello")
    tree.publish(vault, FIRST)
    opened: list[Manifest] = []

    def open_manifest(name: str) -> Manifest:
        opened.append(Manifest(vault.manifest(name, Path("unused")), name))
        return opened[-1]

    snapshot = Snapshot(FIRST, 0, open_manifest, 1)
    assert opened == []
    assert snapshot.find(top(1), "datasets").names[0].parent == number(1, ROOT)
    snapshot.close(idle=3600)
    assert snapshot.is_open
    snapshot.close()
    assert snapshot.node(top(1)).inode == top(1)
    assert len(opened) == 2
    snapshot.close()
    snapshot.gone = True
    with pytest.raises(Stale):
        snapshot.node(top(1))


def test_copies_of_what_is_gone_and_of_what_was_not_used_for_long_are_removed(
    tmp_path: Path,
) -> None:
    copies = ManifestCopies(tmp_path)
    names = [f"2026-11-{day:02}T03-00-00Z" for day in range(1, KEPT + 4)]
    for name in names:
        (copies.place(name) / "manifest.sqlite").write_bytes(b"copy")
    copies.place("2026-12-01T03-00-00Z")
    copies.drop_unused(set(names[:-1]))
    assert sorted(each.name for each in tmp_path.iterdir()) == names[-1 - KEPT : -1]


async def test_a_call_that_hangs_is_given_up() -> None:
    workers, released = Workers(patience=0.05), threading.Event()
    try:
        with pytest.raises(StoreUnavailable, match="no answer"):
            await workers.foreground(released.wait)
        assert await workers.background(lambda: 1) == 1
    finally:
        released.set()
