"""A lake that is mounted, and served on from there."""

import os
import pwd
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.daemons import USER
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log
from tests.posix.conftest import open_folder


@pytest.fixture(scope="package")
def place() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are closed to others."""
    folder = open_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def uri(mongod: Mongod) -> Iterator[str]:
    name = f"lan_{uuid.uuid4().hex}"
    yield mongod.uri_for(name)
    with mongod.client() as client:
        client.drop_database(name)


@pytest.fixture(scope="package")
def served(uri: str, place: Path) -> Iterator[Mounted]:
    """The mount that the servers serve; what they make belongs to `USER`."""
    with Mounted(uri, place, "--allow-other") as mount:
        user = pwd.getpwnam(USER)
        for name in ("datasets", "models"):
            os.chown(mount.path / name, user.pw_uid, user.pw_gid)
        yield mount
    assert_healthy_log(mount)
