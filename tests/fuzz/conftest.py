"""A lake that both fuzz tests plant hostile documents into, one after the other."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.lakes import Lake
from tests.fuzz.hostile import Mutation, plant
from tests.fuzz.template import Template, grow
from tests.mongod import Mongod


@dataclass(frozen=True, slots=True)
class Ground:
    """A lake, and a vault that has its backup."""

    template: Template
    lake: Lake
    folder: Path
    """Has `vault`, and `data` to be put."""

    def plant(self, hostile: Sequence[Mutation]) -> None:
        """Make all of it what it was, but for some documents."""
        self.template.plant(self.lake.database)
        plant(self.lake.database, self.template, hostile)
        for name in ("got", "vault"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.folder / "kept vault", self.folder / "vault")


@pytest.fixture(scope="session")
def ground(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    uri, folder = mongod.uri_for("fuzz"), tmp_path_factory.mktemp("fuzz")
    template = grow(uri, folder)
    (folder / "vault").rename(folder / "kept vault")
    (folder / "data").mkdir()
    (folder / "data" / "file").write_bytes(b"data")
    with Lake(uri) as lake:
        yield Ground(template, lake, folder)
        lake.database.client.drop_database(lake.database)
