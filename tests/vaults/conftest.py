"""Every store of vaults, for one suite of tests."""

from collections.abc import Iterator

import pytest

from tests.vaults.stores import DirectoryStore, GridFSStore, Store


@pytest.fixture(params=["directory", "replica set", "standalone"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A new vault in each kind of store."""
    if request.param == "directory":
        yield DirectoryStore(request.getfixturevalue("tmp_path") / "vault")
        return
    name = "lake_uri" if request.param == "replica set" else "standalone_uri"
    store = GridFSStore(request.getfixturevalue(name))
    yield store
    store.close()
