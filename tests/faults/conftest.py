"""Servers and lakes that tests may break."""

from collections.abc import Iterator

import pytest

from tests.faults.lakes import Lake
from tests.mongod import Mongod


@pytest.fixture
def server() -> Iterator[Mongod]:
    """A replica set of one node that the test may kill, pause and restart."""
    with Mongod() as server:
        yield server


@pytest.fixture
def breakable(lake_uri: str) -> Iterator[Lake]:
    """A lake on the shared server: its documents may be broken, the server may not."""
    with Lake(lake_uri) as lake:
        yield lake
