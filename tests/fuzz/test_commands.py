"""Commands on lakes with hostile documents: an answer or one line that says why not."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.lakes import Lake
from tests.fuzz.commands import command_lines, fault_of
from tests.fuzz.hostile import Mutation, mutations, plant
from tests.fuzz.profile import fuzz
from tests.fuzz.template import Template, grow
from tests.mongod import Mongod

pytestmark = pytest.mark.long


@dataclass(frozen=True, slots=True)
class Ground:
    """A lake that hostile documents are planted into, with a vault that has its backup."""

    template: Template
    lake: Lake
    folder: Path

    def plant(self, hostile: Sequence[Mutation]) -> None:
        self.template.plant(self.lake.database)
        plant(self.lake.database, self.template, hostile)
        for name in ("got", "vault"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.folder / "kept vault", self.folder / "vault")


@pytest.fixture(scope="module")
def ground(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    uri, folder = mongod.uri_for("fuzz_commands"), tmp_path_factory.mktemp("commands")
    template = grow(uri, folder)
    shutil.copytree(folder / "vault", folder / "kept vault")
    (folder / "data").mkdir()
    (folder / "data" / "file").write_bytes(b"data")
    with Lake(uri) as lake:
        yield Ground(template, lake, folder)
        lake.database.client.drop_database(lake.database)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody works on the lake meanwhile: `check` need not look again after a while."""
    monkeypatch.setattr("gridfsmount.checking.checker.AGAIN_SECONDS", 0.0)


def test_no_command_ends_in_a_traceback_whatever_the_documents(ground: Ground) -> None:
    lines = list(command_lines(ground.folder))

    @fuzz(examples=6)
    @given(
        hostile=st.lists(mutations(ground.template), min_size=1, max_size=60),
    )
    def keep_manners(hostile: list[Mutation]) -> None:
        ground.plant(hostile)
        faults = [fault for line in lines if (fault := fault_of(ground.lake.uri, line))]
        assert not faults, faults[0]

    keep_manners()
