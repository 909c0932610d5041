"""One lake on two mounts, as two machines see it: shared, for the promises that break nothing."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gridfs import GridFSBucket
from pymongo.database import Database

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log


@dataclass(frozen=True)
class Shared:
    """Two mounts of one lake, and the driver's view of it."""

    one: Mounted
    other: Mounted
    database: Database[dict[str, Any]]


@pytest.fixture(scope="package")
def shared(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    name = f"semantics_{uuid.uuid4().hex}"
    uri, folder = mongod.uri_for(name), tmp_path_factory.mktemp("semantics")
    with mongod.client() as client:
        with Mounted(uri, folder / "one") as one, Mounted(uri, folder / "other") as other:
            yield Shared(one, other, client[name])
        client.drop_database(name)
    assert_healthy_log(one)
    assert_healthy_log(other)


@pytest.fixture
def here(shared: Shared) -> Path:
    """A version that the test has for itself: datasets/<some name>/v1."""
    return shared.one.version(f"datasets/d{uuid.uuid4().hex}/v1")


@pytest.fixture
def there(shared: Shared, here: Path) -> Path:
    """The same version, as the other mount shows it."""
    return shared.other.path / here.relative_to(shared.one.path)


@pytest.fixture
def path(shared: Shared, here: Path) -> str:
    """The same version, as a driver names it."""
    return str(here.relative_to(shared.one.path))


@pytest.fixture
def database(shared: Shared) -> Database[dict[str, Any]]:
    return shared.database


@pytest.fixture
def bucket(database: Database[dict[str, Any]]) -> GridFSBucket:
    return GridFSBucket(database)
