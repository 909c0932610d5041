"""Vaults for tests."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from tests.backup.prune import making


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[DirectoryVault]:
    """An empty vault in a directory."""
    made = make_directory_vault(tmp_path / "vault", making.LAKE)
    yield made
    made.close()


Publish = Callable[[str, Mapping[str, bytes]], None]


@pytest.fixture
def publish(vault: DirectoryVault, tmp_path: Path) -> Publish:
    """Publishes snapshots in `vault`."""
    return lambda name, files: making.make_snapshot(vault, name, files, tmp_path)
