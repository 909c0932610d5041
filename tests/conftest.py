"""What all tests share: Hypothesis profiles, and MongoDB servers."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log

# No deadline in either: on a busy machine one slow example is not a failure.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

QUICK_DROPS = ("--journalCommitInterval", "10")
"""Milliseconds. Dropping a database waits for the journal, thus 0.1 s by default."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread what takes long over the list, of which each worker begins with a part.

    So no worker is still at it, alone, when the others are done.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    for number, item in enumerate(long):
        others.insert(number * len(items) // len(long), item)
    items[:] = others


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    """A replica set of one node, shared by all tests: not to be killed or paused."""
    with Mongod(extra=QUICK_DROPS) as server:
        yield server


@pytest.fixture(scope="session")
def standalone() -> Iterator[Mongod]:
    """A standalone server, shared by all tests: not to be killed or paused."""
    with Mongod(replica_set=False, extra=QUICK_DROPS) as server:
        yield server


@pytest.fixture
def lake_uri(mongod: Mongod) -> Iterator[str]:
    """The URI of a database of the replica set that this test has for itself."""
    yield from _own_database(mongod)


@pytest.fixture
def standalone_uri(standalone: Mongod) -> Iterator[str]:
    """The URI of a database of the standalone server that this test has for itself."""
    yield from _own_database(standalone)


def _own_database(server: Mongod) -> Iterator[str]:
    name = f"lake_{uuid.uuid4().hex}"
    yield server.uri_for(name)
    with server.client() as client:
        client.drop_database(name)


@pytest.fixture(params=["replica set", "standalone"])
def any_uri(request: pytest.FixtureRequest) -> str:
    """A database of its own, on a replica set and on a standalone server."""
    name = "lake_uri" if request.param == "replica set" else "standalone_uri"
    return cast(str, request.getfixturevalue(name))


@pytest.fixture
def lake(lake_uri: str, tmp_path: Path) -> Iterator[Mounted]:
    """A fresh lake on the replica set, mounted; the log must be clean at the end."""
    with Mounted(lake_uri, tmp_path) as mount:
        yield mount
    assert_healthy_log(mount)
