"""The primary of a replica set dies or steps down while files are copied in: nobody notices."""

import itertools
import os
import random
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lakes import MIB, Copying, InThread, Lake, assert_alive, wait_for_chunks
from tests.mounting import eventually, mounted
from tests.replica_set import VotingReplicaSet

# Seconds: that of the mount, as it is by default.
DEADLINE = 30.0

SMALL_FILES = 150


@pytest.fixture(scope="module")
def voters() -> Iterator[VotingReplicaSet]:
    with VotingReplicaSet() as voters:
        yield voters


@pytest.fixture
def uri(voters: VotingReplicaSet) -> str:
    voters.wait_until_whole()
    return voters.uri_for(f"lake_{uuid.uuid4().hex}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with many small files and one large one in the middle of them."""
    source = tmp_path / "source"
    source.mkdir()
    sizes = random.Random(1)
    for number in range(SMALL_FILES):
        path = source / f"folder {number % 5}" / f"{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(sizes.randint(0, 20_000)))
    (source / "folder 2" / "large").write_bytes(os.urandom(24 * MIB))
    return source


def assert_same(one: Path, other: Path) -> None:
    compared = subprocess.run(
        ["diff", "-rq", one, other], check=False, capture_output=True, text=True
    )
    assert (compared.returncode, compared.stdout[-2000:]) == (0, "")


def files_in(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


@pytest.mark.parametrize("how", ["killed", "stepped down"])
def test_a_copy_of_a_tree_goes_on_when_the_primary_goes(
    voters: VotingReplicaSet, uri: str, source: Path, tmp_path: Path, how: str
) -> None:
    with mounted(uri, tmp_path) as mount, Lake(uri) as lake:
        target = mount.version() / "copy"
        began = time.monotonic()
        with subprocess.Popen(["cp", "-r", source, target]) as copying:
            eventually(lambda: lake.files.count_documents({}) >= SMALL_FILES // 4, "it copies")
            former = voters.primary
            if how == "killed":
                former.kill()
            else:
                voters.step_down()
            assert copying.poll() is None, "the copy was over too soon"
            assert copying.wait(DEADLINE) == 0

        assert time.monotonic() - began < DEADLINE
        assert voters.primary is not former
        assert_same(source, target)
        if how == "killed":
            former.start()
        voters.wait_until_whole()
        mount.restart()  # so that the lake is asked, and not the kernel's memory
        assert_same(source, target)
        large = source / "folder 2" / "large"
        assert lake.read("datasets/test/v1/copy/folder 2/large") == large.read_bytes()
        assert_alive(mount)


def test_a_large_file_arrives_whole_when_the_primary_is_killed_in_the_middle_of_it(
    voters: VotingReplicaSet, uri: str, tmp_path: Path
) -> None:
    data = os.urandom(32 * MIB)
    with mounted(uri, tmp_path) as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        with Copying(tmp_path, path) as copying:
            copying.feed(data[: 16 * MIB])
            wait_for_chunks(lake, 4)
            former = voters.primary

            former.kill()
            rest = InThread(lambda: copying.feed(data[16 * MIB :]))

            rest.join()
            assert copying.finish() == (0, "")
        former.start()
        voters.wait_until_whole()
        mount.restart()
        assert path.read_bytes() == lake.read("datasets/test/v1/file") == data
        assert_alive(mount)


def test_what_was_closed_survives_the_primary_that_took_it(
    voters: VotingReplicaSet, uri: str, tmp_path: Path
) -> None:
    closed: dict[str, bytes] = {}
    ended = threading.Event()

    def write(folder: Path) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            data = os.urandom(3000)
            (folder / f"{number}").write_bytes(data)
            closed[f"{number}"] = data

    with mounted(uri, tmp_path) as mount, Lake(uri) as lake:
        folder = mount.version()
        writing = InThread(lambda: write(folder))
        eventually(lambda: len(closed) > 50, "files are closed")
        former = voters.primary

        former.kill()
        before = len(closed)
        eventually(lambda: len(closed) > before + 50, "files are closed again", DEADLINE)
        ended.set()
        writing.join()
        former.start()  # what it alone had is rolled back now
        voters.wait_until_whole()

        mount.restart()
        for name, data in closed.items():
            assert (folder / name).read_bytes() == data
            assert lake.read(f"datasets/test/v1/{name}") == data
        assert files_in(folder) == len(closed)
        assert_alive(mount)
