"""`gridfsmount backup create` as it is typed: what it says, and how it ends."""

import hashlib
import json
import os
import random
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gridfsmount.vaults.directory import DirectoryVault
from tests.backup.create.snapshots import assert_whole
from tests.mongod import Mongod
from tests.mounting import COMMAND, eventually, run_command
from tests.store.lakes import raw

MIB = 1 << 20
LARGE = 4 * MIB + 1  # bytes of a content that goes by itself
LARGE_FILES = 6
SMALL_FILES = 100
BLOBS = LARGE_FILES + SMALL_FILES

KILLS = 16

FULL_MIB = 12


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large and small files on the local disk."""
    folder = tmp_path_factory.mktemp("source")
    content = random.Random(6)
    for number in range(LARGE_FILES):
        (folder / f"large {number}").write_bytes(content.randbytes(LARGE))
    for number in range(SMALL_FILES):
        (folder / f"small {number:03}").write_bytes(content.randbytes(100))
    return folder


@pytest.fixture(scope="module")
def filled(mongod: Mongod, source: Path) -> Iterator[str]:
    """A lake with those files, which tests leave as it is."""
    name = f"lake_{uuid.uuid4().hex}"
    fill(mongod.uri_for(name), source)
    yield mongod.uri_for(name)
    with mongod.client() as client:
        client.drop_database(name)


@pytest.fixture
def vault(filled: str, tmp_path: Path) -> DirectoryVault:
    """An empty vault of that lake."""
    return made(filled, tmp_path / "vault")


def fill(uri: str, source: Path) -> None:
    done = run_command("put", "-q", "--uri", uri, f"{source}/", "datasets/test/v1")
    assert done.returncode == 0, done.stderr


def made(uri: str, path: Path) -> DirectoryVault:
    done = run_command("backup", "init", "--uri", uri, "--vault", path)
    assert done.returncode == 0, done.stderr
    return DirectoryVault(path)


def create(uri: str, *vaults: DirectoryVault | Path) -> "subprocess.CompletedProcess[str]":
    return run_command("backup", "create", "--uri", uri, "--json", *named(*vaults))


def named(*vaults: DirectoryVault | Path) -> list[str]:
    paths = [each.address if isinstance(each, DirectoryVault) else str(each) for each in vaults]
    return [part for path in paths for part in ("--vault", path)]


def outcome(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    (found,) = json.loads(done.stdout)["vaults"]
    return dict(found)


@contextmanager
def running(uri: str, vault: DirectoryVault, *options: str) -> "Iterator[subprocess.Popen[str]]":
    """A backup that is under way; whatever happens, it has ended after the block."""
    command = [*COMMAND, "backup", "create", "--uri", uri, *named(vault), *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(Path(vault.address).parent)},  # it leaves what is killed
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def has_blobs(vault: DirectoryVault) -> Callable[[], bool]:
    return lambda: any(vault.blobs())


def assert_right(vault: DirectoryVault) -> int:
    """Nothing half is there; returns how many blobs there are."""
    assert_whole(vault)
    blobs = [each.sha256 for each in vault.blobs()]
    for each in blobs:
        assert hashlib.sha256(vault.read(each, 0, LARGE)).digest() == each
    return len(blobs)


def test_it_tells_people_and_programs_what_was_done(filled: str, vault: DirectoryVault) -> None:
    told = outcome(create(filled, vault))
    assert (told["good"], told["files"], told["new_blobs"]) == (True, BLOBS, BLOBS)
    assert vault.summary(told["snapshot"]).new_bytes == told["new_bytes"]
    done = run_command("backup", "create", "--uri", filled, *named(vault))
    assert done.returncode == 0
    assert f"{BLOBS} files" in done.stdout
    assert "0 contents of 0 B new" in done.stdout
    assert done.stderr == ""
    assert_right(vault)


def test_damage_is_said_and_ends_with_1(filled: str, vault: DirectoryVault) -> None:
    with raw(filled) as database:
        found = database["fs.files"].find_one({"filename": "datasets/test/v1/small 007"})
        assert found is not None
        chunk = database["fs.chunks"].find_one_and_delete({"files_id": found["_id"]})
        assert chunk is not None
        try:
            done = create(filled, vault)
        finally:
            database["fs.chunks"].insert_one(chunk)
    assert done.returncode == 1
    told = outcome(done)
    assert told["good"] is False
    assert told["skipped"][0].startswith("datasets/test/v1/small 007: ")
    assert told["new_blobs"] == BLOBS - 1


def test_a_vault_that_fails_does_not_stop_the_others(
    filled: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    newer = made(filled, tmp_path / "newer")
    header = tmp_path / "newer" / "vault.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 99'))
    done = create(filled, tmp_path / "nowhere", newer, vault)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    gone, later, good = json.loads(done.stdout)["vaults"]
    assert "is no vault" in gone["error"]
    assert "upgrade gridfsmount" in later["error"]
    assert good["good"]
    assert len(vault.snapshots()) == 1


def test_sigterm_ends_it_in_good_order_and_the_next_one_goes_on(
    filled: str, vault: DirectoryVault
) -> None:
    with running(filled, vault, "--limit", "4MiB/s") as process:
        eventually(has_blobs(vault), "something was copied")
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "run the same command again to go on from there" in told
    assert "Traceback" not in told
    there = assert_right(vault)
    assert vault.snapshots() == []
    assert outcome(create(filled, vault))["new_blobs"] == BLOBS - there


@pytest.mark.long
def test_kills_at_any_moment_leave_nothing_half_and_cost_nothing_twice(
    filled: str, vault: DirectoryVault
) -> None:
    moments = random.Random(20)
    there = 0
    for _ in range(KILLS):
        with running(filled, vault, "--limit", "10MiB/s", "--jobs", "1") as process:
            try:
                process.wait(moments.uniform(0.3, 1.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        now = assert_right(vault)
        assert now >= there
        there = now
    done = outcome(create(filled, vault))
    assert done["new_blobs"] == BLOBS - there
    assert assert_right(vault) == BLOBS


def test_a_server_that_dies_in_the_middle_costs_no_more_than_that_run(
    source: Path, tmp_path: Path
) -> None:
    with Mongod() as server:
        uri = server.uri_for("lake")
        fill(uri, source)
        vault = made(uri, tmp_path / "vault")
        with running(uri, vault, "--limit", "4MiB/s", "--deadline", "1") as process:
            eventually(has_blobs(vault), "something was copied")
            server.kill()
            _, told = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "no snapshot was made" in told
        assert "run the same command again" in told
        assert "Traceback" not in told
        assert vault.snapshots() == []
        there = assert_right(vault)
        server.start()
        assert outcome(create(uri, vault))["new_blobs"] == BLOBS - there


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    size = f"size={FULL_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "gridfsmount-tests", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_a_full_vault_says_so_and_goes_on_when_there_is_room(filled: str, disk: Path) -> None:
    vault = made(filled, disk / "vault")
    done = create(filled, vault)
    assert done.returncode == 1
    assert "No space left" in outcome(done)["error"]
    assert "run the same command again" in done.stderr
    assert vault.snapshots() == []
    there = assert_right(vault)
    remount(disk, "size=100m")
    assert outcome(create(filled, vault))["new_blobs"] == BLOBS - there
    remount(disk, "ro")
    done = create(filled, vault)
    assert done.returncode == 1
    assert "Read-only file system" in outcome(done)["error"]
    assert "Traceback" not in done.stderr


def test_the_second_of_two_says_who_is_first(filled: str, vault: DirectoryVault) -> None:
    with vault.claim("backup create", "ana@gpu1"):
        done = create(filled, vault)
    assert done.returncode == 1
    assert "backup create" in outcome(done)["error"]
    assert "ana@gpu1" in outcome(done)["error"]


def test_a_limit_holds(filled: str, vault: DirectoryVault) -> None:
    done = run_command(
        "backup", "create", "--uri", filled, "--json", "--limit", "16MiB/s", *named(vault)
    )
    # Of 24 MiB, 16 may pass at once.
    assert outcome(done)["seconds"] > 0.4


def test_nothing_is_left_on_the_local_disk(
    filled: str, vault: DirectoryVault, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run_command(
        "backup", "create", "--uri", filled, *named(vault), env={"TMPDIR": str(scratch)}
    )
    assert done.returncode == 0
    assert list(scratch.iterdir()) == []
