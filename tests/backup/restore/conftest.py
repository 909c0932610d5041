"""A lake, and an empty vault for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gridfsmount.store.lake import Lake
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from tests.store.lakes import Garden, opened


@pytest.fixture
def store(lake_uri: str) -> Iterator[Lake]:
    """An open lake."""
    with opened(lake_uri) as lake:
        yield lake


@pytest.fixture
def garden(store: Lake) -> Garden:
    """Makes nodes in `store`."""
    return Garden(store)


@pytest.fixture
def vault(store: Lake, tmp_path: Path) -> DirectoryVault:
    """A vault in a directory."""
    return make_directory_vault(tmp_path / "vault", store.id)
