"""The page's reader of vaults, which must not hang when a vault does."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from gridfsmount.core.vault import Vault
from gridfsmount.errors import ConnectError
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from gridfsmount.web.backups import VaultReader
from tests.backup.prune.making import LAKE, make_snapshot


def test_snapshots_are_told_with_the_newest_first(tmp_path: Path) -> None:
    vault = make_directory_vault(tmp_path / "vault", LAKE)
    for name in ("2026-11-01T03-00-00Z", "2026-11-02T03-00-00Z"):
        make_snapshot(vault, name, {"a": b"a"}, tmp_path)
    vault.close()

    @contextmanager
    def opener() -> Iterator[Vault]:
        yield DirectoryVault(tmp_path / "vault")

    stock = VaultReader("nas", opener).read()()
    assert (stock.name, stock.error) == ("nas", "")
    assert [each.snapshot[:10] for each in stock.snapshots] == ["2026-11-02", "2026-11-01"]


def test_a_vault_that_hangs_is_waited_for_so_long_and_asked_once() -> None:
    go_on, calls = threading.Event(), []

    def opener() -> AbstractContextManager[Vault]:
        calls.append(1)
        go_on.wait(60)
        raise ConnectError("the disk is gone")

    reader = VaultReader("nas", opener, seconds=0.05)
    assert [reader.read()().error for _ in range(3)] == [
        "it gave no answer within 0.05 seconds"
    ] * 3
    assert len(calls) == 1
    go_on.set()
    patient = VaultReader("nas", opener, seconds=60)
    assert patient.read()().error == "the disk is gone"


def test_what_nobody_foresaw_is_an_error_of_that_vault_alone() -> None:
    def opener() -> AbstractContextManager[Vault]:
        raise RuntimeError("unheard of")

    assert "unheard of" in VaultReader("nas", opener, seconds=60).read()().error
