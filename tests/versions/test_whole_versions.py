"""`fork`, `delete`, `tag`, `link`, `log` and `show` as commands, beside mounts, and killed."""

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from bson import Int64, ObjectId
from click.testing import CliRunner, Result
from pymongo import MongoClient
from pymongo.database import Database

from gridfsmount.cli.main import commands
from tests.mongod import Mongod
from tests.mounting import COMMAND, Mounted, assert_healthy_log, eventually
from tests.semantics.refusals import refused

FILES: Final = 2500
"""Enough that a command is met in the middle of them."""

TRIES: Final = 10


def invoke(*arguments: str | Path) -> Result:
    """Run a command in this process, which spares it the time to start."""
    done = CliRunner().invoke(commands, [str(each) for each in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def run(*arguments: str | Path) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def refusal(*arguments: str | Path) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 1, done.output
    return done.stderr


@pytest.fixture
def database(lake_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](lake_uri, tz_aware=True) as client:
        yield client.get_default_database()


# --- beside mounts ---------------------------------------------------------------------------


def test_the_life_of_versions_is_told_in_both_directions(lake: Mounted) -> None:
    version = lake.version("datasets/digits/v1")
    (version / "train.csv").write_bytes(b"1,2,3\n")
    model = lake.version("models/digits/v1")
    (model / "weights").write_bytes(b"weights")
    run("seal", version, "-m", "the [first] of\nall")
    run("fork", version, "v2")
    run("tag", version.parent, "production", "v1")
    run("link", model, "--from", version, "--note", "ten epochs")
    run("link", model, "--from", version.parent / "v2")

    told = {each["version"]: each for each in json.loads(run("log", "--uri", lake.uri, "--json"))}
    assert list(told)[1:] == ["datasets/digits/v2", "models/digits/v1"] or len(told) == 3
    first, second, made = (
        told[path] for path in ("datasets/digits/v1", "datasets/digits/v2", "models/digits/v1")
    )
    assert (first["state"], first["files"], first["bytes"]) == ("sealed", 1, 6)
    assert (first["tags"], first["latest"], second["latest"]) == (["production"], True, False)
    assert first["message"] == "the [first] of\nall"
    sealed = datetime.fromisoformat(first["sealed"])
    assert abs((datetime.now(UTC) - sealed).total_seconds()) < 600
    assert (second["state"], second["files"], second["bytes"]) == ("draft", 1, 6)
    assert second["parent"] == {
        "version": "datasets/digits/v1",
        "now": "datasets/digits/v1",
        "digest": first["digest"],
    }
    assert first["forks"] == ["datasets/digits/v2"]
    assert [(each["version"], each["note"]) for each in first["used_by"]] == [
        ("models/digits/v1", "ten epochs")
    ]
    assert [(each["version"], each["digest"]) for each in made["made_from"]] == [
        ("datasets/digits/v1", first["digest"]),
        ("datasets/digits/v2", None),
    ]
    assert json.loads(run("show", version, "--json")) == first

    table = run("log", "--uri", lake.uri)
    assert all(len(line) <= 80 for line in table.splitlines()), table
    assert "production" in table
    assert first["digest"][:12] in table
    shown = run("show", version.parent / "latest")
    assert r"message    the [first] of\x0aall" in shown.splitlines()
    assert "used by    models/digits/v1: ten epochs" in shown.splitlines()

    run("link", model, "--from", version.parent / "v2", "--remove")
    run("delete", version.parent / "v2", "--yes")
    moved = lake.path / "datasets" / "numbers" / "v1"
    version.parent.rename(moved.parent)
    text = run("show", model)
    assert "made from  datasets/digits/v1 (now datasets/numbers/v1): ten epochs" in text
    run("seal", model)
    assert "can only be added to" in refusal("link", model, "--from", moved, "--remove")
    assert "from itself" in refusal("link", model, "--from", model)
    run("tag", moved.parent, "--delete", "production")
    run("delete", moved, "--yes")
    assert "made from  datasets/digits/v1 (deleted): ten epochs" in run("show", model)


def test_a_mount_reads_on_what_is_deleted_and_sees_at_once_that_it_is_gone(
    lake: Mounted, tmp_path: Path
) -> None:
    version = lake.version()
    data = os.urandom(3 << 20)
    (version / "file").write_bytes(data)
    (version / "folder").mkdir()
    run("seal", version)
    run("fork", version, "v2")
    draft = version.parent / "v2"
    with (
        (version / "file").open("rb") as reader,
        (draft / "folder" / "new").open("wb") as writer,
        Mounted(lake.uri, tmp_path / "other") as other,
    ):
        there = other.path / "datasets" / "test"
        assert (there / "v1" / "file").read_bytes() == data
        assert reader.read(10) == data[:10]
        run("delete", version, "--yes")
        run("delete", draft, "--yes")
        eventually(lambda: not version.exists() and not (there / "v1").exists(), "it is gone", 2)
        assert [each.name for each in there.iterdir()] == []
        assert reader.read() == data[10:]
        with refused(errno.ENOENT):
            (version / "file").read_bytes()
        writer.write(b"written into what is gone")
    assert_healthy_log(other)
    assert run("check", lake.uri).endswith("clean\n")


def test_tags_in_a_mount_are_made_moved_renamed_and_removed_by_ordinary_tools(
    lake: Mounted,
) -> None:
    folder = lake.version("datasets/test/v1").parent
    lake.version("datasets/test/v2")

    def shell(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, shell=True, cwd=folder, capture_output=True, text=True, check=False
        )

    assert shell("ln -s v1 production").returncode == 0
    assert run("tag", folder) == "production -> v1\n"
    assert shell("ln -sfn v2 production").returncode == 0
    assert run("tag", folder, "production") == "v2\n"
    assert shell("mv production stable").returncode == 0
    assert json.loads(run("tag", folder, "--json")) == {"stable": "v2"}
    run("tag", folder, "stable", "v1")
    eventually(lambda: (folder / "stable").readlink() == Path("v1"), "the mount follows", 2)
    assert shell("rm stable").returncode == 0
    assert run("tag", folder) == ""
    for target, code in (
        ("v9", errno.ENOENT),
        ("latest", errno.EINVAL),
        ("../other/v1", errno.EINVAL),
        ("/etc", errno.EINVAL),
    ):
        with refused(code):
            (folder / "production").symlink_to(target)
    for name in ("v1", "latest"):
        with refused(errno.EEXIST):
            (folder / name).symlink_to("v2")
    assert "no version v9" in refusal("tag", folder, "production", "v9")


def test_deleting_asks_first(lake: Mounted) -> None:
    version = lake.version()
    (version / "file").write_bytes(b"bytes")
    text = refusal("delete", version)
    assert text.startswith("datasets/test/v1 (draft, 1 file, 5 B)\n")
    assert "give --yes" in text
    run("tag", version.parent, "production", "v1")
    assert "--with-tags" in refusal("delete", version, "--yes")
    assert (version / "file").read_bytes() == b"bytes"
    assert run("delete", version, "--yes", "--with-tags") == "deleted datasets/test/v1\n"
    eventually(lambda: not os.path.lexists(version.parent / "production"), "the tag is gone", 2)


# --- killed ----------------------------------------------------------------------------------


@pytest.fixture
def planted(lake_uri: str, database: Database[dict[str, Any]], tmp_path: Path) -> None:
    """datasets/test/v1 with many files."""
    (tmp_path / "one").write_bytes(b"x")
    run("put", tmp_path / "one", "datasets/test/v1/folder/one", "--uri", lake_uri)
    one = database["fs.tree"].find_one({"names.name": "one"})
    assert one is not None
    counter = database["fs.lake"].find_one_and_update({"_id": "inodes"}, {"$inc": {"next": FILES}})
    assert counter is not None
    nodes, files, chunks = [], [], []
    for number in range(FILES):
        path, content = f"datasets/test/v1/folder/{number}", ObjectId()
        name = {"parent": one["names"][0]["parent"], "name": f"{number}"}
        nodes.append(
            {**one, "_id": Int64(counter["next"] + number), "names": [name], "content": content}
        )
        files.append(
            {
                "_id": content,
                "length": Int64(1),
                "chunkSize": 4096,
                "uploadDate": datetime.now(UTC),
                "filename": path,
                "metadata": {"lake": {"format": 1, "filename": path}},
            }
        )
        chunks.append({"files_id": content, "n": 0, "data": b"x"})
    database["fs.chunks"].insert_many(chunks)
    database["fs.files"].insert_many(files)
    database["fs.tree"].insert_many(nodes)


def kill_in_the_middle(database: Database[dict[str, Any]], *arguments: str) -> bool:
    """Run a command and kill it as soon as a version is detached; whether that still is one."""
    detached = {"detached": {"$exists": True}}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and database["fs.tree"].find_one(detached, {"_id": 1}) is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return database["fs.tree"].find_one(detached) is not None


def give_up(database: Database[dict[str, Any]]) -> None:
    long_ago = {"$set": {"detached.beat": datetime(2020, 1, 1, tzinfo=UTC)}}
    database["fs.tree"].update_many({"detached": {"$exists": True}}, long_ago)


def sizes(database: Database[dict[str, Any]]) -> list[int]:
    return [database[f"fs.{name}"].count_documents({}) for name in ("tree", "files", "chunks")]


def test_a_fork_that_is_killed_is_not_seen_and_gc_removes_what_is_left(
    lake_uri: str, database: Database[dict[str, Any]], planted: None
) -> None:
    before = sizes(database)
    for number in range(TRIES):
        command = ("fork", "datasets/test/v1", f"fork-{number}", "--uri", lake_uri)
        if kill_in_the_middle(database, *command):
            break
        run("delete", f"datasets/test/fork-{number}", "--yes", "--uri", lake_uri)
    else:
        pytest.fail("it was never met in the middle")
    assert [each["version"] for each in json.loads(run("log", "--uri", lake_uri, "--json"))] == [
        "datasets/test/v1"
    ]
    assert run("check", lake_uri).endswith("clean\n")
    assert "unfinished" not in run("gc", lake_uri)
    give_up(database)
    assert "1 unfinished version: would be removed" in run("gc", lake_uri, "--dry-run")
    assert "1 unfinished version" in run("gc", lake_uri)
    assert sizes(database) == before
    assert database["fs.tree"].count_documents({"detached": {"$exists": True}}) == 0
    assert run("check", lake_uri).endswith("clean\n")
    run("fork", "datasets/test/v1", f"fork-{number}", "--uri", lake_uri)  # the name is free


def test_a_removal_that_is_killed_is_done_and_any_mount_removes_what_is_left(
    lake_uri: str, database: Database[dict[str, Any]], planted: None, tmp_path: Path
) -> None:
    for number in range(TRIES):
        run("fork", "datasets/test/v1", f"fork-{number}", "--uri", lake_uri)
        kept = sizes(database)
        command = ("delete", f"datasets/test/fork-{number}", "--yes", "--uri", lake_uri)
        if kill_in_the_middle(database, *command):
            break
    else:
        pytest.fail("it was never met in the middle")
    assert [each["version"] for each in json.loads(run("log", "--uri", lake_uri, "--json"))] == [
        "datasets/test/v1"
    ]
    assert run("check", lake_uri).endswith("clean\n")
    give_up(database)
    with Mounted(lake_uri, tmp_path) as mount:
        detached = {"detached": {"$exists": True}}
        eventually(
            lambda: database["fs.tree"].count_documents(detached) == 0, "the mount removes it"
        )
        assert len(list((mount.path / "datasets/test/v1/folder").iterdir())) == FILES + 1
    assert_healthy_log(mount)
    assert sizes(database) == [kept[0] - FILES - 3, *kept[1:]]
    assert run("check", lake_uri, "--data").endswith("clean\n")


def test_a_removal_of_the_last_that_shows_its_contents_is_gone_on_with_by_the_next(
    lake_uri: str, database: Database[dict[str, Any]], planted: None
) -> None:
    command = ("delete", "datasets/test/v1", "--yes", "--uri", lake_uri)
    assert kill_in_the_middle(database, *command), "it was quicker than a kill"
    give_up(database)
    assert "no such version" in refusal("delete", "datasets/test/v1", "--yes", "--uri", lake_uri)
    assert database["fs.tree"].count_documents({"names.name": "1"}) == 0
    run("gc", lake_uri, "--grace", "0s")
    assert sizes(database)[1:] == [0, 0]
    assert run("check", lake_uri).endswith("clean\n")


def test_on_a_standalone_server_a_fork_and_its_removal_work_as_well(
    standalone: Mongod, standalone_uri: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    uri = ("--uri", standalone_uri)
    run("put", tmp_path / "file", "datasets/test/v1/file", *uri)
    run("fork", "datasets/test/v1", "datasets/new/v1", *uri)
    run("delete", "datasets/test/v1", "--yes", *uri)
    run("gc", standalone_uri, "--grace", "0s")
    run("get", "datasets/new/v1/file", tmp_path / "back", *uri)
    assert (tmp_path / "back").read_bytes() == b"bytes"
    assert run("check", standalone_uri, "--data").endswith("clean\n")
