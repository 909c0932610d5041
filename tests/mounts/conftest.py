"""One lake on three mounts, as three machines see it: on a replica set or a standalone server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log


def _three(server: Mongod, folder: Path) -> Iterator[list[Mounted]]:
    name = f"mounts_{uuid.uuid4().hex}"
    uri = server.uri_for(name)
    with (
        Mounted(uri, folder / "one") as one,
        Mounted(uri, folder / "other") as other,
        Mounted(uri, folder / "third") as third,
    ):
        yield [one, other, third]
    with server.client() as client:
        client.drop_database(name)
    for mount in (one, other, third):
        assert_healthy_log(mount)
        assert " WARNING " not in mount.log_text(), mount.log_text()[-3000:]


@pytest.fixture(scope="package")
def following(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Mounted]]:
    """On a replica set, which tells each mount what the others change."""
    yield from _three(mongod, tmp_path_factory.mktemp("following"))


@pytest.fixture(scope="package")
def asking(standalone: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Mounted]]:
    """On a standalone server, which tells nothing."""
    yield from _three(standalone, tmp_path_factory.mktemp("asking"))


@pytest.fixture(params=["following", "asking"])
def mounts(request: pytest.FixtureRequest) -> list[Mounted]:
    """Either."""
    found: list[Mounted] = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def places(mounts: list[Mounted]) -> list[Path]:
    """A version that the test has for itself, as each mount shows it."""
    name = f"datasets/d{uuid.uuid4().hex}/v1"
    mounts[0].version(name)
    return [mount.path / name for mount in mounts]


@pytest.fixture
def here(places: list[Path]) -> Path:
    return places[0]


@pytest.fixture
def there(places: list[Path]) -> Path:
    return places[1]
