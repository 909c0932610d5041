"""`gridfsmount manifest`, `diff` and `verify`, as they are typed."""

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import gridfs
import pytest
from click.testing import CliRunner
from pymongo import MongoClient

from gridfsmount.cli.lakes import says_errors
from tests.local_trees import put
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, run_command

ODD = "odd \\ and\nnew\rline ü"

CHANGES = """\
mode 0644 0600\tbelow.txt
M\tempty
M\tfile
M\tlink
R\tbelow/other\tmoved
A\tnew
D\todd \\ and\\x0anew\\x0dline ü
T\ttwin
"""


def make_tree(folder: Path) -> Path:
    """A folder with a little of everything."""
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_bytes(b"bytes")
    (folder / "below" / "other").write_bytes(b"other bytes")
    (folder / "below.txt").write_bytes(b"x" * 3000)
    (folder / "empty").touch()
    (folder / ODD).write_bytes(b"odd")
    (folder / "link").symlink_to("file")
    os.link(folder / "file", folder / "twin")
    return folder


def change(tree: Path) -> Path:
    """As `CHANGES` tells it."""
    (tree / "file").unlink()
    (tree / "file").write_bytes(b"BYTES")
    (tree / "empty").write_bytes(b"no more")
    (tree / "below" / "other").rename(tree / "moved")
    (tree / "below.txt").chmod(0o600)
    (tree / ODD).unlink()
    (tree / "new").write_bytes(b"n" * 100)
    (tree / "link").unlink()
    (tree / "link").symlink_to("new")
    (tree / "twin").unlink()
    (tree / "twin").symlink_to("file")
    return tree


@dataclass(frozen=True)
class Pond:
    """A lake with two versions, and their trees; to be read only."""

    uri: str
    first: Path
    second: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, "--uri", self.uri)


@pytest.fixture(scope="module")
def pond(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pond]:
    folder = tmp_path_factory.mktemp("pond")
    name = f"pond_{uuid.uuid4().hex}"
    first, second = make_tree(folder / "first"), change(make_tree(folder / "second"))
    pond = Pond(mongod.uri_for(name), first, second)
    assert put(pond.uri, f"{first}/", "datasets/x/v1").returncode == 0
    assert put(pond.uri, f"{second}/", "datasets/x/v2").returncode == 0
    yield pond
    with mongod.client() as client:
        client.drop_database(name)


def test_a_manifest_is_what_sha256sum_prints(pond: Pond) -> None:
    done = pond.run("manifest", "datasets/x/v1")

    assert (done.returncode, done.stderr) == (0, "")
    theirs = subprocess.run(
        "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum --",
        shell=True,
        cwd=pond.first,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert done.stdout == theirs
    line = f"{hashlib.sha256(b'n' * 100).hexdigest()}  new\n"
    assert line in pond.run("manifest", "datasets/x/latest").stdout


def test_a_manifest_verifies_inside_the_mount_and_its_hash_is_the_digest(
    lake: Mounted, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(lake.uri, f"{tree}/", "datasets/x/v1").returncode == 0
    version = lake.path / "datasets" / "x" / "v1"
    with MongoClient[dict[str, Any]](lake.uri) as client:
        bucket = gridfs.GridFSBucket(client.get_default_database())
        bucket.upload_from_stream("datasets/x/v1/uploaded", b"by a driver" * 1000)
    with (version / "file").open("ab") as file:
        file.write(b" and more")
    eventually((version / "uploaded").exists, "the upload is adopted")
    made = run_command("manifest", version)

    checked = subprocess.run(
        ["sha256sum", "-c", "--quiet", "--strict"],
        cwd=version,
        input=made.stdout,
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.stdout.count("\n") == 7, made.stderr
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    sealed = run_command("seal", version, "--json")
    assert sealed.returncode == 0, sealed.stderr
    digest = json.loads(sealed.stdout)["digest"]
    assert hashlib.sha256(made.stdout.encode()).hexdigest() == digest
    verified = run_command("verify", version)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert f"all as recorded; sha256 {digest}" in verified.stdout
    assert run_command("diff", version, tree, "--stat").returncode == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("datasets/x/v1/file", "datasets/x/v1/file is no version and no folder"),
        ("datasets/x/v9", "datasets/x/v9: there is no such version or folder in the lake"),
    ],
)
def test_a_manifest_of_what_is_no_folder_is_refused(pond: Pond, path: str, reason: str) -> None:
    done = pond.run("manifest", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gridfsmount: the manifest is not complete: {reason}\n"


def test_versions_that_differ_are_told_apart(pond: Pond) -> None:
    done = pond.run("diff", "datasets/x/v1", "datasets/x/v2")

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == CHANGES + (
        "1 file (100 B) added, 1 file (3 B) removed, 2 files (12 B) changed from 5 B, "
        "1 file (11 B) renamed, 1 with other permissions, 2 other things added, removed or "
        "changed; 1 file (2.9 KiB) is the same\n"
    )


def test_a_version_that_is_as_the_local_folder_is_told_to_be(pond: Pond) -> None:
    done = pond.run("diff", pond.second, "datasets/x/latest")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no difference: 5 files (3.0 KiB) are the same\n"


def test_a_local_folder_may_have_names_that_no_lake_can_hold(pond: Pond, tmp_path: Path) -> None:
    other = change(make_tree(tmp_path / "other"))
    Path(os.fsdecode(os.fsencode(other) + b"/\xff")).touch()

    done = pond.run("diff", "datasets/x/v1", other)

    assert done.returncode == 1
    assert done.stdout.startswith(f"{CHANGES}A\t\\xff\n")


def test_json_tells_every_change_and_the_numbers(pond: Pond) -> None:
    done = pond.run("diff", "datasets/x/v1", "datasets/x/v2", "--json")

    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["old"], found["new"]) == ("datasets/x/v1", "datasets/x/v2")
    changes = {each["path"]: each for each in found["changes"]}
    assert list(changes) == sorted(changes)
    assert changes["moved"] == {
        "change": "renamed",
        "path": "moved",
        "from": "below/other",
        "old": {"kind": "file", "mode": "0644", "size": 11},
        "new": {"kind": "file", "mode": "0644", "size": 11},
    }
    assert changes["below.txt"]["aspects"] == ["mode"]
    assert changes["link"]["old"]["target"] == "file"
    assert changes["new"]["old"] is None
    assert changes[ODD]["new"] is None
    assert found["summary"]["changed"] == {"files": 2, "bytes": 12}
    assert found["summary"]["differ"] is True
    assert len(done.stdout.splitlines()) == len(changes) + 2


def test_json_without_changes_is_whole_too(pond: Pond) -> None:
    done = pond.run("diff", "datasets/x/v1", "datasets/x/v2", "--json", "--stat")
    found = json.loads(done.stdout)
    assert (found["changes"], found["summary"]["differ"]) == ([], True)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("./nothing", "./nothing is no folder of this machine, and no path in a lake"),
        ("datasets/x/v9", "they cannot be compared: datasets/x/v9: there is no such version"),
    ],
)
def test_what_cannot_be_compared_is_trouble(pond: Pond, new: str, reason: str) -> None:
    done = pond.run("diff", "datasets/x/v1", new)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gridfsmount: {reason}")
    assert done.stderr.count("\n") == 1


def test_two_local_folders_are_left_to_diff(tmp_path: Path) -> None:
    done = run_command("diff", tmp_path, tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "gridfsmount: both are local folders: one of the two must be in a lake\n"
    )


def test_verify_finds_what_is_wrong_and_names_it(lake_uri: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    assert put(lake_uri, f"{tree}/", "datasets/x/v1").returncode == 0
    with MongoClient[dict[str, Any]](lake_uri) as client:
        database = client.get_default_database()
        for name, fault in {"below/other": {"data": b"OTHER bytes"}, "odd": {"n": 7}}.items():
            content = database["fs.files"].find_one({"filename": {"$regex": f"v1/{name}"}})
            assert content is not None
            database["fs.chunks"].update_one({"files_id": content["_id"]}, {"$set": fault})

    told = run_command("verify", "datasets/x/v1", "--uri", lake_uri, "-j", "1")
    done = run_command(
        "verify", "datasets/x/v1/below", "datasets/x/v1", "--json", "--uri", lake_uri
    )

    assert (told.returncode, told.stderr) == (1, "")
    assert "was altered" in told.stdout
    assert "chunk 0 is missing" in told.stdout
    assert "\r" not in told.stdout
    assert "datasets/x/v1: 6 files" in told.stdout
    assert "2 faults" in told.stdout
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert found["clean"] is False
    assert [(each["version"], each["path"]) for each in found["faults"]] == [
        ("datasets/x/v1/below", "other"),
        ("datasets/x/v1", "below/other"),
        ("datasets/x/v1", ODD),
    ]
    assert [each["faults"] for each in found["versions"]] == [1, 2]


def test_what_cannot_be_verified_is_trouble(pond: Pond) -> None:
    done = pond.run("verify", "datasets/x/v1", "models/x/v1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gridfsmount: not all was verified: models/x/v1: there is no such version or folder in "
        "the lake\n"
    )


def test_an_interruption_is_neither_a_difference_nor_a_fault() -> None:
    @click.command()
    @says_errors(code=2)
    def wait() -> None:
        raise KeyboardInterrupt

    done = CliRunner().invoke(wait)

    assert (done.exit_code, done.output) == (130, "gridfsmount: interrupted\n")
