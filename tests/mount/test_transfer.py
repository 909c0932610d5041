"""`put` and `get` as commands: where things go, and what they say of what they cannot do."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.local_trees import MIB, described, get, make_tree, put
from tests.mongod import Mongod
from tests.mounting import COMMAND, run_command

NOBODY = 65534

# Python itself may be where only root finds it: so it has read all that it needs before.
AS_NOBODY = f"""
import os, sys
import pymongo
from gridfsmount.cli import main
import gridfsmount.mount.runtime, gridfsmount.store.embedded, gridfsmount.store.lake
import gridfsmount.transfer.put
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
sys.argv[:1] = ["gridfsmount", "put"]
main()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_bytes(b"bytes")
    (folder / "below" / "other").write_bytes(b"others")
    return folder


def listed(uri: str) -> list[str]:
    """Filenames that drivers see."""
    with MongoClient[dict[str, object]](uri) as client:
        files = client.get_default_database()["fs.files"]
        return sorted(str(each["filename"]) for each in files.find())


def test_a_place_where_nothing_can_be_put_is_refused(lake_uri: str, tree: Path) -> None:
    done = put(lake_uri, tree, "datasets")

    assert done.returncode == 1
    assert done.stderr == (
        "gridfsmount: datasets/tree: it would be outside of a version; put it in one, as in "
        "datasets/mnist/v1\n"
    )


def test_what_cannot_be_put_is_named_and_the_rest_goes_on(lake_uri: str, tree: Path) -> None:
    Path(os.fsdecode(bytes(tree) + b"/\xff")).write_bytes(b"x")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tree / "socket"))
    server.close()
    (tree / "below" / "unreadable").symlink_to("x")

    done = put(lake_uri, f"{tree}/", f"{tree.parent}/nothing", "datasets/x/v1")

    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        f"  {tree.parent}/nothing: No such file or directory",
        f"  {tree}/\\xff: b'\\xff' is not UTF-8",
        f"  {tree}/socket: it is a socket, which is not copied",
        "gridfsmount: not copied: 3, named above",
    ]
    assert listed(lake_uri) == ["datasets/x/v1/below/other", "datasets/x/v1/file"]


def test_a_folder_is_not_replaced_by_a_file_nor_the_other_way_round(
    lake_uri: str, tree: Path, tmp_path: Path
) -> None:
    assert put(lake_uri, f"{tree}/", "datasets/x/v1").returncode == 0
    other = tmp_path / "other"
    (other / "file").mkdir(parents=True)
    (other / "file" / "inside").touch()
    (other / "below").write_bytes(b"a file")

    done = put(lake_uri, f"{other}/", "datasets/x/v1")

    assert done.returncode == 1
    assert "datasets/x/v1/file is in its place, and no folder" in done.stderr
    assert "datasets/x/v1/below is in its place, and a folder" in done.stderr

    done = get(lake_uri, "datasets/x/v1/", other)

    assert done.returncode == 1
    assert f"{other}/below: something that is no folder is in its place" in done.stderr
    assert f"{other}/file: a folder is in its place" in done.stderr
    assert list(other.rglob("*.part")) == []


def test_checksum_finds_what_size_and_time_do_not_tell(lake_uri: str, tree: Path) -> None:
    assert put(lake_uri, f"{tree}/", "datasets/x/v1").returncode == 0
    status = (tree / "file").stat()
    (tree / "file").write_bytes(b"BYTES")
    os.utime(tree / "file", ns=(status.st_atime_ns, status.st_mtime_ns))
    out = tree.parent / "out"

    assert "put: 0 files" in put(lake_uri, f"{tree}/", "datasets/x/v1").stdout
    assert "put: 1 files" in put(lake_uri, f"{tree}/", "datasets/x/v1", "--checksum").stdout
    assert get(lake_uri, "datasets/x/v1/", out).returncode == 0
    assert (out / "file").read_bytes() == b"BYTES"

    (out / "file").write_bytes(b"bytes")
    os.utime(out / "file", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "get: 0 files" in get(lake_uri, "datasets/x/v1/", out).stdout
    assert "get: 1 files" in get(lake_uri, "datasets/x/v1/", out, "--checksum").stdout
    assert described(out) == described(tree)


def test_verify_reads_back_what_was_written_and_a_chunk_size_is_kept(
    lake_uri: str, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree")

    done = put(lake_uri, f"{tree}/", "datasets/x/v1", "--verify", "--chunk-size", "4KiB", "-j", "1")

    assert (done.returncode, done.stderr) == (0, "")
    with MongoClient[dict[str, object]](lake_uri) as client:
        files = client.get_default_database()["fs.files"]
        assert files.distinct("chunkSize") == [4096]
    assert get(lake_uri, "datasets/x/v1/", tmp_path / "out", "-q").stdout == ""
    assert described(tmp_path / "out") == described(tree)


def test_put_on_a_standalone_server_leaves_no_leases(standalone_uri: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")

    assert put(standalone_uri, f"{tree}/", "datasets/x/v1").returncode == 0

    with MongoClient[dict[str, object]](standalone_uri) as client:
        assert client.get_default_database()["fs.uploads"].count_documents({}) == 0
    assert get(standalone_uri, "datasets/x/v1/", tmp_path / "out").returncode == 0
    assert described(tmp_path / "out") == described(tree)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_without_root_everything_is_the_caller_s_and_what_cannot_be_read_is_named(
    lake_uri: str, tree: Path
) -> None:
    (tree / "file").chmod(0o4755)
    (tree / "below" / "other").chmod(0o600)
    home = tree.parent / "home"  # as sudo(8) may leave it: of somebody else
    home.mkdir(0o700)
    for path in (tree, *tree.parents):
        if (mode := path.stat().st_mode) & 0o055 != 0o055:
            path.chmod(mode | 0o055)

    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, f"{tree}/", "datasets/x/v1", "--uri", lake_uri],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )

    assert done.returncode == 1, done.stderr
    assert f"  {tree}/below/other: Permission denied\n" in done.stderr
    with MongoClient[dict[str, object]](lake_uri) as client:
        node = client.get_default_database()["fs.tree"].find_one({"names.name": "file"})
    assert node is not None
    assert (node["mode"], node["uid"], node["gid"]) == (0o755, NOBODY, NOBODY)


def test_owners_are_kept_only_if_that_is_wanted(lake_uri: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(lake_uri, f"{tree}/", "datasets/x/v1", "--no-owner").returncode == 0
    with MongoClient[dict[str, object]](lake_uri) as client:
        nodes = client.get_default_database()["fs.tree"]
        assert nodes.distinct("uid") == [os.geteuid()]
        assert nodes.distinct("gid") == [os.getegid()]


def test_uploads_of_drivers_are_got_with_ordinary_permissions(
    lake_uri: str, mongod: Mongod, tmp_path: Path
) -> None:
    assert run_command("get", "unsorted", tmp_path, "--uri", lake_uri).returncode == 1
    (tmp_path / "x").write_bytes(b"x")
    assert put(lake_uri, tmp_path / "x", "datasets/x/v1").returncode == 0
    with MongoClient[dict[str, object]](lake_uri) as client:
        database = client.get_default_database()
        database["fs.tree"].update_many(
            {"names.name": {"$in": ["x", "v1"]}},
            {"$set": {"mode": None, "uid": None, "gid": None}},
        )
        database["fs.files"].update_many({}, {"$unset": {"metadata": ""}})

    assert get(lake_uri, "datasets/x/v1", tmp_path / "out").returncode == 0

    mask = os.umask(0o022)
    os.umask(mask)
    found = tmp_path / "out" / "v1" / "x"
    assert found.read_bytes() == b"x"
    assert found.stat().st_mode & 0o7777 == 0o666 & ~mask
    assert found.parent.stat().st_mode & 0o7777 == 0o777 & ~mask


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["put", "only"], 2, "Missing argument 'LOCAL...'"),
        (["put", "/etc/hostname", "datasets/x/v1"], 1, "gridfsmount: no URI: give one with --uri"),
        (
            ["put", "/etc/hostname", "datasets/x/v1", "--uri", "mongodb://u:secret@[::1/x"],
            1,
            "gridfsmount: the address is no MongoDB URI",
        ),
        (["put", "/etc/hostname", "datasets/x/v1", "--uri", "nonsense"], 1, "no MongoDB URI"),
        (["put", "a", "b", "--chunk-size", "1"], 2, "is not between 4 KiB and 8192 KiB"),
        (["get", "datasets/x/v1"], 2, "Missing argument 'LOCAL'"),
        (["get", "a", "b", "--uri", "mongodb://x/", "--embedded", "y"], 1, "leave the URI out"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    environment = {"GRIDFSMOUNT_URI": "", "XDG_CONFIG_HOME": str(tmp_path)}

    done = run_command(*arguments, env=environment)

    assert done.returncode == code
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_get_is_said(lake_uri: str, tree: Path) -> None:
    done = get(lake_uri, "datasets/x/v1", tree)
    assert done.returncode == 1
    assert "holds no lake" in done.stderr
    assert put(lake_uri, tree, "datasets/x").returncode == 0

    done = get(lake_uri, "datasets/x/v2", tree)

    assert done.returncode == 1
    assert done.stderr == (
        "gridfsmount: datasets/x/v2: there is no such file or folder in the lake\n"
    )


def test_a_terminal_sees_how_far_it_is(lake_uri: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(4 * MIB))
    leader, follower = os.openpty()
    command = ["put", tmp_path / "large", "datasets/x/v1", "--uri", lake_uri]
    with subprocess.Popen(
        [*COMMAND, *map(str, command)], stdout=subprocess.PIPE, stderr=follower, text=True
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while data := os.read(leader, 1 << 16):
                shown += data
        except OSError:
            pass  # the other end is closed
        os.close(leader)
        summary = process.communicate()[0]

    assert process.returncode == 0
    assert b"put" in shown
    assert b"1 files" in shown
    assert re.fullmatch(r"put: 1 files, 4.0 MiB in [\d.]+ s\n", summary)
