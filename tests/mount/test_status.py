"""`gridfsmount status`: figures of a lake, and what needs a person."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from gridfs import GridFSBucket

from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings
from gridfsmount.cli.status import LITTLE_BYTES, SECTIONS
from gridfsmount.core.model import Space
from gridfsmount.store.lake import Lake
from tests.mongod import Mongod
from tests.mounting import Mounted, mounted, run_command
from tests.sealing import seal
from tests.store.lakes import opened, raw


def status(uri: str) -> dict[str, Any]:
    """The facts of a lake that is well."""
    done = run_command("status", uri, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["well"] is True
    return facts


def sections(lake: Lake) -> dict[str, Section]:
    found = (ask(lake, Settings()) for ask in SECTIONS)
    return {section.name: section for section in found if section is not None}


@pytest.mark.parametrize("server", ["mongod", "standalone"])
def test_status_tells_what_is_in_a_lake(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri_name = "lake_uri" if server == "mongod" else "standalone_uri"
    uri = request.getfixturevalue(uri_name)
    with mounted(uri, tmp_path) as mount:
        for name in ("datasets/a/v1", "datasets/a/v2", "datasets/b/v1", "models/m/v1"):
            (mount.version(name) / "file").write_bytes(bytes(1000))
        (mount.path / "datasets" / "a" / "v2" / "file").unlink()
    with raw(uri) as database:
        seal(database, "a", "v1")
        GridFSBucket(database).upload_from_stream("loose", b"nobody has adopted this")
    facts = status(uri)
    assert facts["server"]["kind"] == ("replica set" if server == "mongod" else "standalone")
    assert facts["lake"]["bucket"] == "fs"
    assert facts["versions"] == {"datasets": 2, "models": 1, "drafts": 3, "sealed": 1}
    assert facts["volume"]["contents"] == 4
    assert facts["volume"]["nodes"] == 5 + 3 + 4 + 3
    assert facts["volume"]["bytes"] > 4000
    assert facts["trash"]["contents"] == 1
    assert facts["uploads"] == {"running": 0, "forgotten": 0}
    assert facts["foreign"] == {"to_adopt": 1, "adopting": None, "adopted": None}
    assert 0 < facts["disk"]["free"] <= facts["disk"]["total"]
    told = run_command("status", "--uri", uri)
    assert told.returncode == 0
    assert "2 datasets, 1 model: 3 drafts, 1 sealed" in told.stdout
    assert "1 content of other clients to be adopted" in told.stdout


def test_status_tells_who_adopts_and_how_far_it_is(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        assert lake.backlog.take_turn(3000)
        found = sections(lake)["foreign"]
        assert found.facts == {"to_adopt": 0, "adopting": lake.mount, "adopted": 3000}
        assert f"{lake.mount} is at it, with 3,000 done" in found.text


def test_problems_come_first_and_give_the_exit_code(lake_uri: str) -> None:
    with opened(lake_uri), raw(lake_uri) as database:
        database["fs.uploads"].insert_one(
            {"_id": ObjectId(), "beat": datetime.now(UTC) - timedelta(days=2)}
        )
        database["fs.tree"].drop_index("content")
    done = run_command("status", lake_uri)
    assert done.returncode == 1
    first, second, *_ = done.stdout.splitlines()
    assert "index is missing (fs.tree: content)" in first
    assert "1 upload expired more than a day ago" in second
    assert json.loads(run_command("status", lake_uri, "--json").stdout)["well"] is False


def test_a_disk_that_is_nearly_full_is_a_problem(
    lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(lake_uri) as lake:
        for free, problems in ((LITTLE_BYTES - 1, 1), (2 * LITTLE_BYTES, 0)):
            space = Space(20 * LITTLE_BYTES, free, 0)
            monkeypatch.setattr(type(lake.statistics), "space", lambda _, found=space: found)
            assert len(sections(lake)["disk"].problems) == problems


def test_a_lake_that_cannot_be_asked_is_told_in_one_line(mongod: Mongod) -> None:
    for uri in (mongod.uri_for("nothing_here"), "mongodb://127.0.0.1:1/lake?connectTimeoutMS=1"):
        done = run_command("status", uri)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_status_writes_nothing(lake: Mounted) -> None:
    lake.stop()
    with raw(lake.uri) as database:
        before = {name: list(database[name].find()) for name in database.list_collection_names()}
        status(lake.uri)
        after = {name: list(database[name].find()) for name in database.list_collection_names()}
    assert after == before
