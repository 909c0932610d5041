"""The door in several processes: pickled, forked, and at the same time."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Final

import fsspec
import pytest

from gridfsmount.door.filesystem import LakeFileSystem
from gridfsmount.door.lakes import Access

PASSWORD: Final = "very-secret"


def run(script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **env},
    )
    assert done.returncode == 0, done.stderr
    return done


FORKING: Final = """
import multiprocessing, os, sys, threading
import gridfsmount
from gridfsmount.door.filesystem import LakeFileSystem

uri, version = sys.argv[1:]
fs = LakeFileSystem(uri=uri)
fs.pipe({f"{version}/{n}": b"%d" % n * 300_000 for n in range(8)})
fs.pipe_file(f"{version}/large", bytes(9 << 20))
reader = fs.open(f"{version}/large")
reader.read(10)
writer = fs.open(f"{version}/written", "wb")
writer.write(b"x" * (5 << 20))

# A thread that asks all the time, so that locks are held when the process forks.
over = threading.Event()
def ask():
    while not over.is_set():
        fs.cat_file(f"{version}/0")
thread = threading.Thread(target=ask)
thread.start()

def work(n):
    assert fs.cat_file(f"{version}/{n}") == b"%d" % n * 300_000
    assert reader.read(100) == bytes(100)
    fs.pipe_file(f"{version}/made-{n}", b"made")
    try:
        writer.write(b"y")
    except ValueError:
        pass
    else:
        raise AssertionError("another process's file was written to")
    writer.abandon()
    return os.getpid()

with multiprocessing.get_context("fork").Pool(4) as pool:
    others = pool.map(work, range(8), chunksize=1)
assert os.getpid() not in others
over.set()
thread.join()
writer.close()
assert fs.size(f"{version}/written") == 5 << 20
assert len(fs.glob(f"{version}/made-*")) == 8
"""


def test_workers_that_were_forked_read_and_write(uri: str, version: str) -> None:
    run(FORKING, uri, version)


def test_a_file_system_is_pickled_without_a_connection(
    fs: LakeFileSystem, uri: str, version: str, tmp_path: Path
) -> None:
    fs.pipe_file(f"{version}/a", b"from here")
    (tmp_path / "pickled").write_bytes(pickle.dumps((fs, f"{version}/a")))
    script = """
import pickle, sys, pathlib
fs, path = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
assert fs.cat_file(path) == b"from here"
fs.pipe_file(path, b"from there")
"""
    run(script, str(tmp_path / "pickled"))
    assert fs.cat_file(f"{version}/a") == b"from there"
    unreachable = LakeFileSystem(uri="mongodb://127.0.0.1:1/lake")
    assert pickle.loads(pickle.dumps(unreachable)) == unreachable


def test_two_processes_that_write_one_file_leave_one_of_theirs(
    fs: LakeFileSystem, uri: str, version: str
) -> None:
    script = """
import sys, gridfsmount
uri, path, letter = sys.argv[1:]
for size in range(6):
    with gridfsmount.open(path, "wb", uri=uri) as file:
        file.write(letter.encode() * size * 900_000)
"""
    command = [sys.executable, "-c", script, uri, f"{version}/file"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [subprocess.Popen([*command, letter], env=env) for letter in "ab"]
    while any(process.poll() is None for process in processes):
        if fs.exists(f"{version}/file"):
            found = fs.cat_file(f"{version}/file")
            assert len(set(found)) <= 1
            assert len(found) % 900_000 == 0
    assert [process.returncode for process in processes] == [0, 0]
    assert len(fs.cat_file(f"{version}/file")) == 5 * 900_000


def test_importing_costs_nothing_that_is_not_used(uri: str, version: str) -> None:
    script = """
import sys, gridfsmount
gridfsmount.__version__, gridfsmount.open
print(*(each for each in ("pymongo", "fsspec", "trio", "pyfuse3", "click") if each in sys.modules))
path, mode, uri = sys.argv[1:]
gridfsmount.open(path, mode, uri=uri).close()
print(*(each for each in ("fsspec", "trio", "pyfuse3", "click") if each in sys.modules))
"""
    assert run(script, f"{version}/a", "wb", uri).stdout == "\n\n"


def test_the_address_comes_from_where_commands_look_for_it(
    uri: str, version: str, tmp_path: Path
) -> None:
    script = """
import sys, gridfsmount
with gridfsmount.open(sys.argv[1], "ab") as file:
    file.write(b".")
"""
    (tmp_path / "gridfsmount").mkdir()
    run(script, f"{version}/a", GRIDFSMOUNT_URI=uri)
    (tmp_path / "gridfsmount" / "lake.toml").write_text(f'uri = "{uri}"\n')
    run(script, f"{version}/a", XDG_CONFIG_HOME=str(tmp_path), GRIDFSMOUNT_URI="")
    (tmp_path / "uri").write_text(uri)
    with fsspec.open(f"lake://{version}/a", uri_file=tmp_path / "uri") as file:
        assert file.read() == b".."


def test_a_password_is_never_shown(uri: str) -> None:
    uri = uri.replace("//", f"//user:{PASSWORD}@")
    fs = LakeFileSystem(uri=uri)
    shown = [repr(fs), str(fs), repr(Access(uri=uri)), fs.to_json(include_password=False)]
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        fs.ls("")
    assert not any(PASSWORD in text for text in [*shown, str(caught.value)])
