"""An open lake for what reads versions; the deployment makes no difference to that."""

from collections.abc import Iterator

import pytest

from gridfsmount.store.lake import Lake
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
