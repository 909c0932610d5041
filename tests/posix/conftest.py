"""Two places for each test: a draft on a real mount, and an ordinary directory.

Most tests here run in both. What holds in the ordinary one is what Linux does; so an expectation
that is wrong fails there, and a mount that deviates fails here.
"""

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log
from tests.posix.acting import Actor

OWNER, OTHER, GROUP = 65534, 65533, 65532

Make = Callable[[], Path]


@dataclass(frozen=True)
class Sites:
    """A mount and an ordinary directory, both open to everybody."""

    mount: Mounted
    ordinary: Path
    database: Database[dict[str, Any]]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def draft(self) -> Path:
        """A new version."""
        return self.mount.version(f"datasets/posix/v{next(self.numbers)}")

    def directory(self) -> Path:
        """A new ordinary directory."""
        path = self.ordinary / str(next(self.numbers))
        path.mkdir()
        return path


@pytest.fixture(scope="package")
def sites(mongod: Mongod) -> Iterator[Sites]:
    name = f"posix_{uuid.uuid4().hex}"
    folder = open_folder()  # pytest's own are closed to other users
    ordinary = open_folder("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    options = ["--allow-other"] if os.geteuid() == 0 else []
    with mongod.client() as client:
        with Mounted(mongod.uri_for(name), folder, *options) as mount:
            yield Sites(mount, ordinary, client[name])
        client.drop_database(name)
    shutil.rmtree(ordinary)
    assert_healthy_log(mount)
    shutil.rmtree(folder)


def open_folder(parent: str | None = None) -> Path:
    """A folder that every user may enter; whoever asked removes it."""
    folder = Path(tempfile.mkdtemp(prefix="gridfsmount-posix-", dir=parent))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def draft(sites: Sites) -> Path:
    """A version that the test has for itself, owned by root, mode 0755."""
    return sites.draft()


@pytest.fixture(params=["lake", "ordinary"])
def place(request: pytest.FixtureRequest, sites: Sites) -> Path:
    """A directory that the test has for itself: a version, then one of an ordinary file system."""
    return sites.draft() if request.param == "lake" else sites.directory()


@pytest.fixture(scope="package")
def cast() -> Iterator[Callable[..., Actor]]:
    """Actors by user, group and further groups; the same for the same."""
    known: dict[tuple[int, ...], Actor] = {}
    with ExitStack() as stack:

        def actor(*who: int) -> Actor:
            if who not in known:
                known[who] = stack.enter_context(Actor(*who))
            return known[who]

        yield actor


@pytest.fixture
def root(cast: Callable[..., Actor]) -> Actor:
    """The superuser, or whoever runs the tests."""
    return cast(os.geteuid(), os.getegid())


@pytest.fixture
def second(cast: Callable[..., Actor]) -> Actor:
    """Another process of the same user."""
    return cast(os.geteuid(), os.getegid(), os.getegid())


@pytest.fixture
def owner(cast: Callable[..., Actor]) -> Actor:
    """An ordinary user, with a group beside her own."""
    return cast(OWNER, OWNER, GROUP)


@pytest.fixture
def other(cast: Callable[..., Actor]) -> Actor:
    """Another, in no group but his own."""
    return cast(OTHER, OTHER)
