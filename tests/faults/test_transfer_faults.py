"""`put` and `get` that are killed, told to stop, or lose their server or their disk."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lakes import DEADLINE, LEASE, MIB, Lake
from tests.local_trees import described, get, put
from tests.mongod import Mongod
from tests.mounting import COMMAND, PATIENCE, eventually

LARGE = 128 * MIB
"""Takes long enough to be met in the middle."""


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    """Run the command, and go on meanwhile."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(LARGE))
    (folder / "below").mkdir()
    for number in range(300):
        (folder / "below" / f"{number:03}").write_bytes(os.urandom(4096))
    return folder


def stopped_within(server: Mongod, lake: Lake, *arguments: str | Path) -> subprocess.Popen[str]:
    """A put whose server hangs from the moment on when it has some of the large file."""
    process = begin("put", *arguments)
    eventually(lambda: lake.chunks.find_one({"n": {"$gte": 4}}), "some chunks are there")
    server.pause()
    return process


def test_a_put_that_was_killed_left_nothing_in_part_and_is_gone_on_with(
    server: Mongod, tree: Path, tmp_path: Path
) -> None:
    uri = server.uri_for("lake")
    with Lake(uri) as lake:
        assert put(uri, f"{tree}/below", "datasets/x/v1").returncode == 0
        options = ("--uri", uri, "--lease", str(LEASE))
        process = stopped_within(server, lake, f"{tree}/", "datasets/x/v1", *options)
        process.kill()
        process.communicate()
        server.resume()
        partial = lake.uploads.find_one({})
        assert partial is not None

        assert get(uri, "datasets/x/v1/", tmp_path / "part").returncode == 0
        assert not (tmp_path / "part" / "large").exists()
        assert described(tmp_path / "part" / "below") == described(tree / "below")

        def swept() -> bool:
            done = put(uri, f"{tree}/", "datasets/x/v1", "--lease", str(LEASE))
            assert done.returncode == 0, done.stderr
            if lake.chunks.find_one({"files_id": partial["_id"]}) is not None:
                return False
            return lake.uploads.count_documents({}) == 0  # it stays for one more term

        eventually(swept, "the lease is swept")
        assert get(uri, "datasets/x/v1/", tmp_path / "whole").returncode == 0
        assert described(tmp_path / "whole") == described(tree)


def test_a_put_that_is_told_to_stop_takes_back_what_is_not_whole(
    server: Mongod, tree: Path
) -> None:
    uri = server.uri_for("lake")
    with Lake(uri) as lake:
        process = stopped_within(server, lake, f"{tree}/", "datasets/x/v1", "--uri", uri)
        process.send_signal(signal.SIGINT)
        server.resume()
        _, errors = process.communicate(timeout=PATIENCE)

        assert process.returncode == 128 + signal.SIGINT
        assert errors == "gridfsmount: stopped; run the same command again to go on from here\n"
        assert lake.uploads.count_documents({}) == 0
        whole = {each["_id"] for each in lake.files.find({}, {"_id": 1})}
        assert set(lake.chunks.distinct("files_id")) == whole
        shown = {each["content"] for each in lake.tree.find({"content": {"$exists": True}})}
        assert shown == whole


@pytest.mark.parametrize("replica_set", [True, False], ids=["replica set", "standalone"])
def test_a_put_whose_server_restarts_goes_on_or_says_how_to(
    replica_set: bool, tree: Path, tmp_path: Path
) -> None:
    with Mongod(replica_set=replica_set) as server:
        uri = server.uri_for("lake")
        with Lake(uri) as lake:
            process = begin("put", f"{tree}/", "datasets/x/v1", "--uri", uri)
            eventually(lambda: lake.chunks.find_one({"n": {"$gte": 4}}), "some chunks are there")
            server.kill()
            server.start()
            _, errors = process.communicate(timeout=2 * PATIENCE)

        if process.returncode != 0:
            assert not replica_set, errors
            assert process.returncode == 1
            assert errors.endswith(
                "gridfsmount: stopped; run the same command again to go on from here\n"
            )
            assert "Traceback" not in errors
        assert put(uri, f"{tree}/", "datasets/x/v1").returncode == 0
        assert get(uri, "datasets/x/v1/", tmp_path / "out").returncode == 0
        assert described(tmp_path / "out") == described(tree)


def test_a_put_whose_server_is_gone_ends_within_the_deadline(server: Mongod, tree: Path) -> None:
    uri = server.uri_for("lake")
    with Lake(uri) as lake:
        options = ("--uri", uri, "--deadline", str(DEADLINE))
        process = stopped_within(server, lake, f"{tree}/", "datasets/x/v1", *options)
        _, errors = process.communicate(timeout=PATIENCE)
        server.resume()

    assert process.returncode == 1
    first, *_, last = errors.splitlines()
    assert first.startswith("gridfsmount: ")
    assert last == "gridfsmount: stopped; run the same command again to go on from here"
    assert "Traceback" not in errors


def test_a_get_that_was_killed_left_nothing_in_part_and_is_gone_on_with(
    server: Mongod, tree: Path, tmp_path: Path
) -> None:
    uri, out = server.uri_for("lake"), tmp_path / "out"
    assert put(uri, f"{tree}/", "datasets/x/v1").returncode == 0
    process = begin("get", "datasets/x/v1/", out, "--uri", uri)
    eventually(lambda: list(out.glob(".gridfsmount-*.part")), "a file is being written")
    process.kill()
    process.communicate()
    for path in out.rglob("*"):
        if path.is_file() and not path.name.startswith(".gridfsmount-"):
            assert path.read_bytes() == (tree / path.relative_to(out)).read_bytes()

    done = get(uri, "datasets/x/v1/", out)

    assert (done.returncode, done.stderr) == (0, "")
    assert described(out) == described(tree)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    size = f"size={LARGE // 2 // MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "gridfsmount-tests", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_get_onto_a_full_disk_says_so(lake_uri: str, tree: Path, small_disk: Path) -> None:
    assert put(lake_uri, f"{tree}/", "datasets/x/v1").returncode == 0

    done = get(lake_uri, "datasets/x/v1", small_disk)

    assert done.returncode == 1
    assert "the disk is full: make room, and run the same command again" in done.stderr
    assert list(small_disk.rglob("*.part")) == []
    assert not (small_disk / "v1" / "large").exists()
