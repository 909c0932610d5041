"""fsspec's own test suite, as it ships with fsspec, in a version of a lake."""

import fsspec.tests.abstract as abstract
import pytest


class LakeFixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs_path(self, version: str) -> str:
        return version

    @pytest.fixture
    def fs(self, request: pytest.FixtureRequest, uri: str) -> object:
        return fsspec_filesystem(uri)


def fsspec_filesystem(uri: str) -> object:
    return abstract and __import__("fsspec").filesystem("lake", uri=uri)


class TestCopy(abstract.AbstractCopyTests, LakeFixtures):
    pass


class TestGet(abstract.AbstractGetTests, LakeFixtures):
    pass


class TestPut(abstract.AbstractPutTests, LakeFixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, LakeFixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, LakeFixtures):
    pass
