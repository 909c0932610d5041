"""Lakes through the door: one for all tests of a module, a version for each."""

import uuid
from collections.abc import Iterator

import fsspec
import pytest

from gridfsmount.door.filesystem import LakeFileSystem
from gridfsmount.door.lakes import close_doors
from tests.mongod import Mongod

fsspec.register_implementation("lake", LakeFileSystem, clobber=True)


@pytest.fixture(scope="session")
def uri(mongod: Mongod) -> Iterator[str]:
    """The address of a lake that all tests of the door share."""
    name = f"door_{uuid.uuid4().hex}"
    yield mongod.uri_for(name)
    close_doors()
    with mongod.client() as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def fs(uri: str) -> LakeFileSystem:
    """The file system on it."""
    return LakeFileSystem(uri=uri)


@pytest.fixture
def version(fs: LakeFileSystem) -> str:
    """The path of a version that the test has for itself."""
    path = f"datasets/d{uuid.uuid4().hex}/v1"
    fs.makedirs(path)
    return path
