"""Lakes without a mount."""

from collections.abc import Iterator
from typing import cast

import pytest

from gridfsmount.store.lake import Lake
from tests.store.lakes import Garden, opened


@pytest.fixture(params=["replica set", "standalone"])
def any_uri(request: pytest.FixtureRequest) -> str:
    """A database of its own, on a replica set and on a standalone server."""
    name = "lake_uri" if request.param == "replica set" else "standalone_uri"
    return cast(str, request.getfixturevalue(name))


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    """An open lake on either deployment."""
    with opened(any_uri) as lake:
        yield lake


@pytest.fixture
def garden(store: Lake) -> Garden:
    """Makes nodes in `store`."""
    return Garden(store)
