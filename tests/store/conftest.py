"""Lakes without a mount."""

from collections.abc import Iterator

import pytest

from gridfsmount.store.lake import Lake
from tests.store.lakes import Garden, opened


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    """An open lake on either deployment."""
    with opened(any_uri) as lake:
        yield lake


@pytest.fixture
def garden(store: Lake) -> Garden:
    """Makes nodes in `store`."""
    return Garden(store)
