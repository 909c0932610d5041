"""The door and a mount of the same lake."""

import hashlib
import random
from typing import Final

import pytest

import gridfsmount
from gridfsmount.door.filesystem import LakeFileSystem
from tests.mounting import Mounted, eventually, run_command

LARGE: Final = random.Random(3).randbytes((5 << 20) + 99)


def test_what_one_writes_the_other_reads(lake: Mounted) -> None:
    fs = LakeFileSystem(uri=lake.uri)
    version = lake.version()
    for name, data in {"small": b"from the door", "large": LARGE, "empty": b""}.items():
        path = f"datasets/test/v1/{name}"
        with gridfsmount.open(path, "wb", uri=lake.uri) as file:
            file.write(data)
        assert (version / name).read_bytes() == data
        with (version / name).open("ab") as mounted:
            mounted.write(b"from the mount")
        assert fs.cat_file(path) == data + b"from the mount"
        with gridfsmount.open(path, "ab", uri=lake.uri) as file:
            file.write(b"from the door again")
        with (version / name).open("rb") as mounted:
            assert mounted.read() == data + b"from the mountfrom the door again"
    (version / "folder").mkdir()
    (version / "folder" / "link").symlink_to("../large")
    (version.parent / "production").symlink_to("v1")
    assert fs.cat_file("datasets/test/production/folder/link") == (version / "large").read_bytes()
    fs.mv("datasets/test/v1/large", "datasets/test/v1/moved")
    fs.cp_file("datasets/test/v1/moved", "datasets/test/v1/copied")
    fs.rm_file("datasets/test/v1/small")
    names = {"copied", "empty", "folder", "moved"}
    eventually(lambda: {each.name for each in version.iterdir()} == names, "the mount shows it")
    assert (version / "copied").read_bytes() == (version / "moved").read_bytes()
    digest = hashlib.sha256((version / "empty").read_bytes()).hexdigest()
    assert fs.info("datasets/test/v1/empty").get("sha256", digest) == digest


def test_a_version_is_not_sealed_while_a_program_writes_in_it(lake_uri: str) -> None:
    fs = LakeFileSystem(uri=lake_uri)
    fs.pipe_file("datasets/x/v1/a", b"a")
    command = ("seal", "datasets/x/v1", "--uri", lake_uri)
    with fs.open("datasets/x/v1/b", "wb") as file:
        refused = run_command(*command)
        file.write(b"b")
    assert "a Python program" in refused.stderr
    assert run_command(*command).returncode == 0
    assert fs.find("datasets/x/v1") == ["datasets/x/v1/a", "datasets/x/v1/b"]
    with pytest.raises(PermissionError):
        fs.pipe_file("datasets/x/v1/c", b"c")


def test_a_check_finds_nothing_wrong_with_what_the_door_has_made(lake_uri: str) -> None:
    fs = LakeFileSystem(uri=lake_uri)
    fs.pipe({"datasets/x/v1/a": LARGE, "datasets/x/v1/b": b"b", "datasets/x/v1/c/d": b""})
    fs.pipe_file("datasets/x/v1/b", b"again")
    fs.cp("datasets/x/v1/a", "datasets/x/v1/c/a")
    fs.cp("datasets/x/v1/a", "datasets/x/v1/b")
    with fs.open("datasets/x/v1/a", "ab") as file:
        file.write(b"more")
    fs.mv("datasets/x/v1/c", "datasets/x/v1/e")
    fs.rm_file("datasets/x/v1/b")
    done = run_command("check", lake_uri, "--data")
    assert done.returncode == 0, done.stdout + done.stderr
