"""Two mounts of one lake against an ordinary directory, with remounts and kills in between.

Each list of operations is done in stages, each through another mount. Between two stages, all
files are closed and every mount has seen what the other did; then one of the mounts is unmounted
and mounted again, or killed. To share those moments, many lists go side by side.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import gridfs
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.model.drivers import check_drivers_view
from tests.model.operations import Open, Operation, Place, outcome
from tests.model.strategies import CHUNK, LANDSCAPE, programs
from tests.model.trees import tree
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log

CI = bool(os.environ.get("CI"))
AREA = "datasets/model"
BATCHES, LISTS = (4, 340) if CI else (1, 60)
AT_ONCE = 4

SETTLED_SECONDS = 1.3
"""When every mount shows what another did, folders' times among it: docs/semantics.md."""

STAGES = ("first", "other", "first remounted", "other killed")
"""Which mount does a stage, and what happens to it before."""

Stage = Sequence[Operation]


@dataclass
class World:
    """Two mounts, an ordinary directory, and the driver's view."""

    first: Mounted
    other: Mounted
    ordinary: Path
    bucket: gridfs.GridFSBucket

    def do(self, lists: Sequence[Sequence[Stage]]) -> None:
        """Do all lists, stage by stage; whatever they do must be as in the ordinary directory."""
        names = [f"v{number}" for number in range(len(lists))]
        for name in names:
            self.first.version(f"{AREA}/{name}")
            (self.ordinary / name).mkdir()
        for number, stage in enumerate(STAGES):
            mount = self._enter(stage)
            with ThreadPoolExecutor(AT_ONCE) as threads:
                done = [
                    threads.submit(self._do_stage, mount, name, stage, each[number])
                    for name, each in zip(names, lists, strict=True)
                ]
            for each in done:
                each.result()
        time.sleep(SETTLED_SECONDS)
        for name in names:
            leaves = tree(self.ordinary / name)
            assert tree(self.first.path / AREA / name) == leaves, name
            assert tree(self.other.path / AREA / name) == leaves, name
            check_drivers_view(self.bucket, f"{AREA}/{name}/", leaves)
            shutil.rmtree(self.ordinary / name)

    def _enter(self, stage: str) -> Mounted:
        mount = self.first if stage.startswith("first") else self.other
        time.sleep(SETTLED_SECONDS)
        if stage.endswith("remounted"):
            mount.restart()
        elif stage.endswith("killed"):
            mount.kill()
            mount.start()
        return mount

    def _do_stage(self, mount: Mounted, name: str, stage: str, operations: Stage) -> None:
        with (
            Place(str(mount.path / AREA / name)) as mounted,
            Place(str(self.ordinary / name)) as ordinary,
        ):
            for number, operation in enumerate(operations):
                expected = outcome(operation, ordinary)
                found = outcome(operation, mounted)
                assert found == expected, (
                    f"list {name}, {stage}, step {number} of {list(operations)}"
                )


@pytest.fixture
def world(mongod: Mongod, tmp_path: Path) -> Iterator[World]:
    database = f"lake_{uuid.uuid4().hex}"
    uri, option = mongod.uri_for(database), f"--chunk-size={CHUNK}"
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    with mongod.client() as client:
        with (
            Mounted(uri, tmp_path / "first", option) as first,
            Mounted(uri, tmp_path / "other", option) as other,
        ):
            yield World(first, other, ordinary, gridfs.GridFSBucket(client[database]))
        client.drop_database(database)
    assert_healthy_log(first)
    assert_healthy_log(other)


def draw_lists(count: int) -> list[list[Stage]]:
    """So many lists, each cut into stages that open files anew."""
    drawn: list[list[Operation]] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(program=programs)
    def draw(program: list[Operation]) -> None:
        drawn.append(program)

    draw()
    return [_stages(program) for program in drawn]


def _stages(program: list[Operation]) -> list[Stage]:
    openings = [each for each in LANDSCAPE if isinstance(each, Open)]
    size = -(-len(program) // len(STAGES))
    parts = [program[at * size : (at + 1) * size] for at in range(len(STAGES))]
    return [[*(openings if number else LANDSCAPE), *part] for number, part in enumerate(parts)]


@pytest.mark.long
@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_is_done_through_two_mounts_is_what_is_done_in_one_directory(
    world: World, batch: int
) -> None:
    lists = draw_lists(LISTS)
    assert len(lists) > LISTS // 2, f"batch {batch} is too small to tell anything"
    world.do(lists)
