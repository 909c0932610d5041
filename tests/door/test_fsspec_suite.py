"""fsspec's own test suite, as it ships with fsspec, in a version of a lake.

All of it applies, and nothing of it is left out. What the tests only read is made once for a class
and not once for a test: each file that is made waits for the disk.
"""

import posixpath
import uuid
from collections.abc import Callable

import fsspec
import fsspec.tests.abstract as suite
import pytest

from gridfsmount.door.filesystem import LakeFileSystem

Join = Callable[..., str]


class LakeFixtures(suite.AbstractFixtures):
    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls, uri: str) -> LakeFileSystem:
        found: LakeFileSystem = fsspec.filesystem("lake", uri=uri)
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def fs_path(cls, fs: LakeFileSystem) -> str:
        path = f"datasets/d{uuid.uuid4().hex}/v1"
        fs.makedirs(path)
        return path

    @pytest.fixture(scope="class")
    @classmethod
    def fs_join(cls) -> Join:
        return posixpath.join

    @pytest.fixture(scope="class")
    @classmethod
    def fs_bulk_operations_scenario_0(
        cls, fs: LakeFileSystem, fs_join: Join, fs_path: str
    ) -> object:
        return cls()._bulk_operations_scenario_0(fs, fs_join, f"{fs_path}/bulk")

    @pytest.fixture(scope="class")
    @classmethod
    def fs_glob_edge_cases_files(cls, fs: LakeFileSystem, fs_join: Join, fs_path: str) -> object:
        return cls()._glob_edge_cases_files(fs, fs_join, f"{fs_path}/glob")


class TestCopy(suite.AbstractCopyTests, LakeFixtures):
    pass


class TestGet(suite.AbstractGetTests, LakeFixtures):
    pass


class TestPut(suite.AbstractPutTests, LakeFixtures):
    pass


class TestOpen(suite.AbstractOpenTests, LakeFixtures):
    pass


class TestPipe(suite.AbstractPipeTests, LakeFixtures):
    pass
