"""`gridfsmount put` and `get`."""

import os
import subprocess
from pathlib import Path
from typing import Any

from gridfs import GridFSBucket
from pymongo.database import Database

from tests.local_trees import MIB, described, get, make_tree, put
from tests.mounting import eventually
from tests.sealing import seal
from tests.semantics.conftest import Shared


def test_a_mount_shows_what_was_put_with_all_that_is_kept(
    shared: Shared, here: Path, path: str, bucket: GridFSBucket, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree")

    done = put(shared.one.uri, f"{tree}/", f"{path}/tree")

    assert (done.returncode, done.stderr) == (0, "")
    shown = here / "tree"
    eventually(shown.is_dir, "the mount shows it")
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "fifo", tree, shown], check=True)
    assert described(shown) == described(tree)
    with (tree / "large").open("rb") as file:
        found = bucket.open_download_stream_by_name(f"{path}/tree/large")
        assert found.read() == file.read()


def test_what_was_put_and_got_again_is_the_same(shared: Shared, path: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(shared.one.uri, tree, path).returncode == 0

    done = get(shared.one.uri, f"{path}/tree", tmp_path / "out")

    assert (done.returncode, done.stderr) == (0, "")
    assert described(tmp_path / "out" / "tree") == described(tree)


def test_put_again_skips_what_is_there_and_replaces_what_differs(
    shared: Shared, here: Path, path: str, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(shared.one.uri, tree, path).returncode == 0
    before = contents(database, path)
    (tree / "small").write_bytes(b"other bytes")
    (tree / "chunk").write_bytes(os.urandom(3 * MIB))
    (tree / "large").write_bytes(b"")
    (tree / "link").unlink()
    (tree / "link").write_bytes(b"a file now")
    (tree / "fifo").unlink()
    (tree / "new").write_bytes(b"new")
    (tree / "empty").chmod(0o600)

    done = put(shared.one.uri, tree, path)

    assert (done.returncode, done.stderr) == (0, "")
    after = contents(database, path)
    unchanged = {name for name in before if after.get(name) == before[name]}
    assert {name.removeprefix(f"{path}/tree/") for name in unchanged} == {
        "a name with ünïcode\nand more",
        "one/two/three/file",
    }
    (tree / "fifo").touch()  # nothing is removed from the lake
    out = tmp_path / "out"
    assert get(shared.one.uri, f"{path}/tree/", out).returncode == 0
    (tree / "fifo").unlink()
    (out / "fifo").unlink()
    stat = tree.stat()
    os.utime(out, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    os.utime(tree, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert described(out) == described(tree)
    with (here / "tree" / "small").open("rb") as file:
        assert file.read() == b"other bytes"


def test_a_sealed_version_takes_nothing(
    shared: Shared, here: Path, path: str, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"new")
    (here / "file").write_bytes(b"old")
    seal(database, here.parent.name, "v1")

    done = put(shared.one.uri, tmp_path / "file", f"{path}/")

    assert done.returncode == 1
    assert done.stderr == f"gridfsmount: {path}/file: version v1 is sealed and cannot change\n"
    found = GridFSBucket(database).open_download_stream_by_name(f"{path}/file")
    assert found.read() == b"old"


def test_a_file_that_does_not_stay_the_same_is_not_put(
    shared: Shared, path: str, bucket: GridFSBucket, tmp_path: Path
) -> None:
    (tmp_path / "good").write_bytes(b"good")

    # Its size is said to be 0, and there are bytes in it: as if somebody had just written them.
    done = put(shared.one.uri, "/proc/version", tmp_path / "good", path)

    assert done.returncode == 1
    assert "/proc/version: it changed while it was read; put it again" in done.stderr
    assert [each.filename for each in bucket.find({"filename": {"$regex": path}})] == [
        f"{path}/good"
    ]


def test_a_damaged_content_is_named_and_the_rest_is_got(
    shared: Shared, here: Path, path: str, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(shared.one.uri, tree, path).returncode == 0
    for name, damage in (("small", b"a few bites"), ("large", b"short")):
        content = contents(database, path)[f"{path}/tree/{name}"]
        database["fs.chunks"].update_one({"files_id": content, "n": 0}, {"$set": {"data": damage}})

    done = get(shared.one.uri, f"{path}/tree/", tmp_path / "out")

    assert done.returncode == 1
    assert f"{tmp_path}/out/small: content " in done.stderr
    assert "chunk 0 was altered" in done.stderr
    assert f"{tmp_path}/out/large: content " in done.stderr
    assert "chunk 0 has 5 bytes, not 1048576" in done.stderr
    wanted = {each.relative_to(tree) for each in tree.rglob("*")}
    missing = {Path("small"), Path("large"), Path("one/two/three/large too")}
    found = {each.relative_to(tmp_path / "out") for each in (tmp_path / "out").rglob("*")}
    assert found == wanted - missing


def contents(database: Database[dict[str, Any]], path: str) -> dict[str, Any]:
    """The `_id`s of what drivers see below a path."""
    below = {"filename": {"$gte": f"{path}/", "$lt": f"{path}0"}}
    return {each["filename"]: each["_id"] for each in database["fs.files"].find(below)}
