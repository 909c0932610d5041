"""`gridfsmount check` and `gridfsmount gc` beside real mounts, as an operator runs them."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from gridfs import GridFSBucket
from pymongo import MongoClient
from pymongo.database import Database

from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted, run_command
from tests.sealing import seal

MIB = 1 << 20


@pytest.fixture
def database(lake_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](lake_uri) as client:
        yield client.get_default_database()


def check(uri: str, *options: str) -> dict[str, Any]:
    """The report, after a look at the exit code."""
    done = run_command("check", uri, "--json", *options)
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if report["clean"] else 1)
    assert report["clean"] == (report["findings"] == [])
    return report


def gc(uri: str, *options: str) -> dict[str, Any]:
    done = run_command("gc", uri, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_lake_with_everything_in_it_is_clean(
    lake_uri: str, tmp_path: Path, database: Database[dict[str, Any]]
) -> None:
    bucket = GridFSBucket(database)
    with mounted(lake_uri, tmp_path) as mount:
        version = mount.version()
        (version / "large").write_bytes(os.urandom(9 * MIB))
        (version / "small").write_bytes(b"small")
        (version / "empty").touch()
        (version / "link").hardlink_to(version / "small")
        (version / "symlink").symlink_to("nowhere")
        os.mkfifo(version / "fifo")
        (version / "folder" / "inner").mkdir(parents=True)
        (version / "folder" / "inner" / "file").write_bytes(b"bytes")
        (version / "folder").rename(version / "renamed")
        (version / "replaced").write_bytes(b"old")
        (version / "new").write_bytes(b"new")
        (version / "new").rename(version / "replaced")
        (version / "removed").write_bytes(b"removed")
        (version / "removed").unlink()
        (version.parent / "tag").symlink_to("v1")
        (mount.version("models/net/v7") / "weights").write_bytes(b"weights")
        for _ in range(2):  # a revision, and the one before
            bucket.upload_from_stream("datasets/test/v1/adopted", b"adopted")
        (version / "theirs").write_bytes(b"mine")
        bucket.upload_from_stream("datasets/test/v1/theirs", b"theirs")
        bucket.upload_from_stream("some/where/else", b"loose")
        bucket.upload_from_stream("../hostile", b"loose")
        bucket.upload_from_stream("moves", b"loose")
        eventually((mount.path / "unsorted" / "moves").exists, "it is adopted")
        (mount.path / "unsorted" / "moves").rename(version / "moved")
        (version / "adopted").write_bytes(b"changed")
    seal(database, "test", "v1")
    report = check(lake_uri, "--data")
    assert report["findings"] == []
    assert report["bytes"] > 9 * MIB
    # Nothing in there is left for the sweep to remove by mistake either.
    gc(lake_uri, "--grace", "0s")
    assert check(lake_uri, "--data")["clean"]


def test_a_busy_mount_is_clean(lake_uri: str, tmp_path: Path) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        version = mount.version()
        stop = threading.Event()

        def work(name: str) -> None:
            folder = version / name
            number = 0
            while not stop.is_set():
                number += 1
                folder.mkdir(exist_ok=True)
                (folder / "file").write_bytes(os.urandom(number % 7 * 300_000))
                (folder / "new").write_bytes(b"new")
                (folder / "new").rename(folder / "file")
                folder.rename(version / f"{name}-away")
                (version / f"{name}-away" / "file").unlink()
                (version / f"{name}-away").rmdir()

        threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        try:
            reports = [check(lake_uri, "--data") for _ in range(2)]
            swept = gc(lake_uri, "--grace", "0s")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert [each["findings"] for each in reports] == [[], []]
        assert swept["contents"] > 0
    assert check(lake_uri, "--data")["clean"]


def test_faults_are_told_in_a_table_and_mended(
    lake: Mounted, database: Database[dict[str, Any]]
) -> None:
    version = lake.version()
    for name in ("chunkless", "misnamed", "[red]lost"):
        (version / name).write_bytes(b"bytes")
    keys = {
        each["filename"].rpartition("/")[2]: each["_id"] for each in database["fs.files"].find()
    }
    database["fs.chunks"].delete_one({"files_id": keys["chunkless"]})
    wrong = {"filename": "x\x1b[31m", "metadata.lake.filename": "x\x1b[31m"}
    database["fs.files"].update_one({"_id": keys["misnamed"]}, {"$set": wrong})
    database["fs.tree"].delete_one({"content": keys["[red]lost"]})

    done = run_command("check", lake.uri, "--repair", env={"COLUMNS": "300"})

    assert (done.returncode, done.stderr) == (1, "")
    lines = {each.split()[1]: each for each in done.stdout.splitlines() if "datasets/" in each}
    assert set(lines) == {
        "datasets/test/v1/chunkless",
        "datasets/test/v1/misnamed",
        "datasets/test/v1/[red]lost",
    }
    chunkless = lines["datasets/test/v1/chunkless"]
    assert str(keys["chunkless"]) in chunkless
    assert "missing chunk: chunk 0 of 1" in chunkless
    assert "copy the file back from a backup" in chunkless
    assert "mended" in lines["datasets/test/v1/misnamed"]
    assert "mended" in lines["datasets/test/v1/[red]lost"]
    assert "\x1b" not in done.stdout
    last = done.stdout.splitlines()[-1]
    assert ": 3 found (" in last
    assert last.endswith("), 2 mended")
    lost = lake.path / "unsorted" / "lost+found" / "datasets%2Ftest%2Fv1%2F[red]lost"
    eventually(lost.exists, "it is shown")
    assert lost.read_bytes() == b"bytes"
    (left,) = check(lake.uri)["findings"]
    assert (left["path"], left["content"]) == (
        "datasets/test/v1/chunkless",
        str(keys["chunkless"]),
    )
    assert database["fs.files"].find_one({"filename": "datasets/test/v1/misnamed"}) is not None


def test_checks_that_cannot_be_made_say_why(lake_uri: str, tmp_path: Path) -> None:
    no_lake = run_command("check", lake_uri)
    assert no_lake.returncode == 2
    assert "holds no lake" in no_lake.stderr
    no_address = run_command("check", "localhost")
    assert no_address.returncode == 2
    assert no_address.stderr.startswith("gridfsmount: the address is no MongoDB URI")
    no_uri = run_command("gc", env={"XDG_CONFIG_HOME": str(tmp_path), "GRIDFSMOUNT_URI": ""})
    assert (no_uri.returncode, no_uri.stdout) == (1, "")
    assert "no URI: give one as an argument" in no_uri.stderr
    no_grace = run_command("gc", lake_uri, "--grace", "soon")
    assert no_grace.returncode == 2
    assert "'soon' is not a duration like" in no_grace.stderr
    # And neither has made a lake of it.
    with MongoClient[dict[str, Any]](lake_uri) as client:
        assert client.get_default_database().list_collection_names() == []


def test_gc_keeps_to_the_grace_and_a_dry_run_removes_nothing(
    lake: Mounted, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    version = lake.version()
    for name in ("kept", "removed"):
        (version / name).write_bytes(bytes(3 * MIB))
    (version / "removed").unlink()
    address = tmp_path / "uri"
    address.write_text(lake.uri)
    address.chmod(0o600)

    assert gc(lake.uri)["contents"] == 0  # a day has not passed
    dry = run_command("gc", "--uri-file", address, "--grace", "0s", "--dry-run")
    assert dry.stdout == "1 content of 3.0 MiB, 0 dead uploads, 0 orphans: would be removed\n"
    assert database["fs.chunks"].count_documents({}) == 6
    done = run_command("gc", "--grace", "0s", env={"GRIDFSMOUNT_URI": lake.uri})
    assert done.stdout.startswith("1 content of 3.0 MiB, 0 dead uploads, 0 orphans: removed in ")
    assert database["fs.chunks"].count_documents({}) == 3
    assert (version / "kept").read_bytes() == bytes(3 * MIB)


def test_a_reader_may_check_and_not_repair(tmp_path: Path) -> None:
    with Mongod(auth=True) as server:
        uri = server.uri_for("lake")
        with mounted(f"{uri}", tmp_path) as mount:
            (mount.version() / "file").write_bytes(b"bytes")
        with server.client() as client:
            client["admin"].command("createUser", "reader", pwd="secret", roles=["readAnyDatabase"])
        login = uri.partition("@")[2]
        reader = f"mongodb://reader:secret@{login}"
        assert check(reader)["clean"]
        for refused in (run_command("check", reader, "--repair"), run_command("gc", reader)):
            assert refused.returncode in (1, 2)
            assert "this user may not write there" in refused.stderr
            assert "secret" not in refused.stderr


def test_mounts_remove_orphans_that_hold_nothing_once_a_day(
    lake_uri: str, tmp_path: Path, database: Database[dict[str, Any]]
) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        version = mount.version()
        (version / "empty").touch()
        (version / "full").write_bytes(b"bytes")
        (version / "young").touch()
        tree, lake = database["fs.tree"], database["fs.lake"]
        nowhere = {"names.0.parent": 999_999}
        hour = {"ctime_ns": -3_700_000_000_000}
        tree.update_one({"names.name": "empty"}, {"$set": nowhere, "$inc": hour})
        tree.update_one({"names.name": "full"}, {"$set": nowhere, "$inc": hour})
        tree.update_one({"names.name": "young"}, {"$set": nowhere})
        lake.update_one(
            {"_id": "orphans"}, [{"$set": {"at": {"$subtract": ["$$NOW", 90_000_000]}}}]
        )
        mount.restart()
        eventually(lambda: not tree.find_one({"names.name": "empty"}), "it is removed")
        eventually(lambda: "see `gridfsmount check`" in mount.log_text(), "the log tells")
        assert tree.count_documents({"names.name": {"$in": ["full", "young"]}}) == 2
    assert {each["fault"] for each in check(lake_uri)["findings"]} == {"unreachable node"}
    assert gc(lake_uri)["orphans"] == 1
    assert database["fs.chunks"].count_documents({}) == 1
    assert [each["_id"] for each in database["fs.trash"].find()] != []
    assert isinstance(database["fs.chunks"].find_one()["files_id"], ObjectId)  # type: ignore[index]


def test_an_embedded_lake_is_checked_whether_it_is_mounted_or_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    missing = run_command("check", "--embedded", data)
    assert (missing.returncode, data.exists()) == (2, False)
    assert "there is no such folder" in missing.stderr
    (tmp_path / "mnt").mkdir()
    log = ("--log-file", tmp_path / "log")
    assert run_command("mount", "--embedded", data, *log, tmp_path / "mnt").returncode == 0
    try:
        (tmp_path / "mnt/datasets/test/v1").mkdir(parents=True)
        (tmp_path / "mnt/datasets/test/v1/file").write_bytes(b"bytes")
        mounted = run_command("check", "--embedded", data)
        assert (mounted.returncode, mounted.stderr) == (0, "")
        assert mounted.stdout.startswith("8 nodes, 1 content in ")
    finally:
        assert run_command("umount", tmp_path / "mnt").returncode == 0
    done = run_command("check", "--embedded", data, "--data")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("8 nodes, 1 content, 0.0 MiB read in ")
    both = run_command("gc", "--embedded", data, "mongodb://127.0.0.1")
    assert (both.returncode, both.stdout) == (1, "")
    assert "leave the URI out" in both.stderr
