"""The story of docs/operations.md: backups, the loss of the database, and everything back."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, run_command
from tests.store.lakes import raw


@pytest.fixture
def new_uri(mongod: Mongod) -> Iterator[str]:
    """A database that is not there yet."""
    name = f"new_{os.urandom(8).hex()}"
    yield mongod.uri_for(name)
    with mongod.client() as client:
        client.drop_database(name)


def run(*arguments: str | Path) -> str:
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(*arguments: str | Path) -> str:
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def seals(uri: str) -> dict[str, str]:
    """The digests of all sealed versions, by their names."""
    with raw(uri) as database:
        found = database["fs.tree"].find({"state": "sealed"})
        return {each["names"][0]["name"]: each["seal"]["digest"] for each in found}


@pytest.mark.long
def test_a_lake_is_lost_and_comes_back_from_its_vault(
    lake_uri: str, new_uri: str, tmp_path: Path
) -> None:
    vault, copy = tmp_path / "vault", tmp_path / "copy"
    on = ("--vault", vault, "--uri", lake_uri)
    with Mounted(lake_uri, tmp_path / "old") as mount:
        first = mount.version("datasets/digits/v1")
        (first / "train" / "a").mkdir(parents=True)
        for number in range(20):
            (first / "train" / "a" / f"{number}.bin").write_bytes(os.urandom(3000))
        (first / "large").write_bytes(os.urandom(3_000_000))
        (first / "link").symlink_to("train/a")
        os.link(first / "large", first / "train" / "twin")
        os.setxattr(first / "large", "user.note", b"of 2026")
        run("seal", first)
        run("backup", "init", *on)
        run("backup", "create", *on)

        run("fork", first, "v2")
        second = mount.path / "datasets/digits/v2"
        (second / "labels").write_text("one\n")
        (second / "train" / "a" / "3.bin").unlink()
        run("seal", second)
        weights = mount.version("models/net/v1")
        (weights / "weights").write_bytes(os.urandom(2_000_000))
        run("backup", "create", *on)

        (weights / "weights").chmod(0o600)
        os.utime(weights / "weights", (10, 20))
        run("fork", second, "v3")
        (mount.path / "datasets/digits/v3/labels").write_text("two\n")
        (mount.path / "datasets/digits/production").symlink_to("v1")
        run("link", weights, "--from", first)
        run("backup", "create", *on)
        copy.mkdir()
        shell("cp", "-a", mount.path / "datasets", mount.path / "models", copy)
    sealed = seals(lake_uri)
    assert len(sealed) == 2
    run("backup", "verify", "--vault", vault)

    with raw(lake_uri) as database:
        database.client.drop_database(database.name)
    alone = tmp_path / "alone"
    alone.mkdir()
    run("mount", "--no-lake", "--vault", vault, "--log-file", tmp_path / "alone.log", alone)
    try:
        latest = alone / "snapshots" / "latest"
        eventually(latest.is_dir, "it is shown")
        for area in ("datasets", "models"):
            shell("diff", "-r", "--no-dereference", copy / area, latest / area)
        assert len(list(alone.glob("snapshots/2*"))) == 3
    finally:
        run("umount", alone)

    told = json.loads(
        run("backup", "restore", "latest", "--all", "--json", "--vault", vault, "--uri", new_uri)
    )
    assert sum(each["sealed"] for each in told["restored"]) == 2
    assert seals(new_uri) == sealed
    with Mounted(new_uri, tmp_path / "new") as mount:
        for area in ("datasets", "models"):
            shell("diff", "-r", "--no-dereference", copy / area, mount.path / area)
        large = mount.path / "datasets/digits/v1/large"
        assert (large.stat().st_nlink, os.getxattr(large, "user.note")) == (2, b"of 2026")
        status = (mount.path / "models/net/v1/weights").stat()
        assert (status.st_mode & 0o777, status.st_mtime) == (0o600, 20)
        run("verify", mount.path / "datasets/digits/v1", mount.path / "datasets/digits/v2")
    assert run_command("check", new_uri, "--data").returncode == 0
    again = json.loads(run("backup", "create", "--vault", vault, "--uri", new_uri, "--json"))
    assert again["vaults"][0]["new_blobs"] == 0
