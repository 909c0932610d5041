"""What the checker finds in a lake that was broken on purpose."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from tests.faults.lakes import Lake
from tests.mounting import Mounted
from tests.torture import contents
from tests.torture.belief import Belief, Step
from tests.torture.checker import Drivers, Fault, Folder, leftovers, quiet_paths
from tests.torture.contents import EMPTY
from tests.torture.journal import Operation

CONTENT = contents.written(EMPTY, 1, 0, 9000)
NAME = "datasets/test/v1"

Damage = Callable[[Database[dict[str, Any]]], object]

DAMAGE: dict[str, Damage] = {
    "chunks of": lambda lake: lake["fs.chunks"].insert_one({"files_id": bson.ObjectId(), "n": 0}),
    "files document": lambda lake: lake["fs.files"].insert_one({"length": 1}),
    "is set aside": lambda lake: lake["fs.tree"].insert_one(
        {"_id": 5000, "names": [{"parent": 0, "name": "5000"}]}
    ),
}


@pytest.fixture
def belief(lake: Mounted) -> Belief:
    """A lake with one file, and what is known of it."""
    (lake.version(NAME) / "file").write_bytes(contents.rendered(CONTENT))
    belief = Belief()
    belief.done([Step({"file": CONTENT})])
    return belief


def drivers(lake: Lake, root: Path) -> Drivers:
    return Drivers(lake.database, Folder(root), NAME)


def test_a_sound_lake_has_no_faults(lake: Mounted, belief: Belief) -> None:
    root = lake.path / NAME
    with Lake(lake.uri) as database:
        assert leftovers(database.database) == []
        assert list(drivers(database, root).check(belief)) == []
        assert list(drivers(database, root).check_names(belief, {"file"})) == []
    assert list(Folder(root).check(belief)) == list(Folder(root).check_digests(belief)) == []


@pytest.mark.parametrize("what", DAMAGE)
def test_what_belongs_to_nothing_is_left_over(lake: Mounted, belief: Belief, what: str) -> None:
    lake.stop()  # it would make a node for what looks like a driver's upload
    with Lake(lake.uri) as database:
        DAMAGE[what](database.database)

        (found,) = leftovers(database.database)

    assert what in found


def test_a_name_that_nobody_made_is_a_fault(lake: Mounted, belief: Belief) -> None:
    root = lake.path / NAME
    (root / "other").touch()

    (found,) = Folder(root).check(belief)

    assert (found.fault, "other was never made" in found.text) == (Fault.OTHER, True)


def test_drivers_must_see_what_was_acknowledged(lake: Mounted, belief: Belief) -> None:
    root = lake.path / NAME
    with Lake(lake.uri) as database:
        database.chunks.delete_one({})
        assert [each.fault for each in drivers(database, root).check(belief)] == [Fault.OTHER]
        found = drivers(database, root).check_names(belief, {"file"})
        assert [each.fault for each in found] == [Fault.TORN]

        database.files.delete_many({})
        found = drivers(database, root).check_names(belief, {"file"})
        assert [each.fault for each in found] == [Fault.LOST]


def test_a_path_is_quiet_if_the_server_had_all_on_its_disk_before_it_died() -> None:
    belief = Belief()
    belief.done([Step({"file": CONTENT})])
    operation = Operation(0, 1, "write", (Step({"file": CONTENT}),), 10.0, 11.0, "done")
    proof = Operation(1, 1, "unlink", (Step({"other": None}),), 11.5, 12.0, "done")

    def quiet(kills: Sequence[float]) -> bool:
        return quiet_paths(belief, [operation], [operation, proof], kills) == {"file"}

    assert quiet([])
    assert quiet([9.9, 12.1])
    assert not quiet([10.5])
    assert not quiet([11.9])
    proof.begun = 10.9
    assert not quiet([12.1])
    proof.begun, proof.outcome = 11.5, "failed"
    assert not quiet([12.1])
    proof.outcome, operation.outcome = "done", "failed"
    assert not quiet([])


def test_a_path_that_is_not_quiet_takes_that_along_when_its_folder_is_renamed() -> None:
    belief = Belief()
    belief.done([Step({"old": None, "new": CONTENT, "other": CONTENT})])
    write = Operation(0, 1, "write", (Step({"old": CONTENT}),), 10.0, 11.0, "done")
    rename = Operation(0, 2, "rename", (Step({"old": None, "new": CONTENT}),), 20.0, 21.0, "done")
    both = [rename, write]

    assert quiet_paths(belief, both, both, []) == {"old", "new", "other"}
    assert quiet_paths(belief, both, both, [10.5]) == {"other"}
