"""Programs that ask more of a disk than copying: databases, repositories, archives, checkpoints."""

import itertools
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually

KIB, MIB = 1 << 10, 1 << 20

STDLIB: Final = Path(sysconfig.get_path("stdlib"))
"""A large source tree that every Python has: some 500 files and 11 MB of what is taken here."""

LEFT_OUT: Final = (
    *("__pycache__", "test", "tests", "site-packages", "dist-packages", "*.so", "config-*"),
    *("idlelib", "lib2to3", "tkinter", "turtledemo", "encodings", "ensurepip"),
)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def mount(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    name = f"programs_{uuid.uuid4().hex}"
    with Mounted(mongod.uri_for(name), tmp_path_factory.mktemp("programs")) as mounted:
        yield mounted
    with mongod.client() as client:
        client.drop_database(name)
    assert_healthy_log(mounted)


NUMBERS: Final = itertools.count()


@pytest.fixture
def version(mount: Mounted) -> Path:
    return mount.version(f"datasets/programs/v{next(NUMBERS)}")


# --- SQLite --------------------------------------------------------------------------------------

WRITER: Final = """
import sqlite3, sys
path, journal, name, count, size = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
database = sqlite3.connect(path, timeout=60, isolation_level=None)
database.execute(f"pragma journal_mode={journal}")
database.execute("pragma cache_spill=1")
for number in range(count):
    database.execute("begin immediate")
    # Two rows that belong together: a torn transaction has one of them.
    database.execute("insert into t values (?, ?, randomblob(?))", (name, number, size))
    database.execute("insert into t values (?, ?, randomblob(?))", (name, -number - 1, size))
    database.execute("commit")
    print(number, flush=True)
"""


def database_at(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=60)
    database.execute("create table if not exists t (name text, number integer, data blob)")
    database.commit()
    return database


def write(path: Path, journal: str, name: str, count: int, size: int) -> subprocess.Popen[str]:
    """A process that commits `count` transactions, and prints the number of each when it has."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, journal, name, str(count), str(size)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist"])
def test_two_processes_write_one_sqlite_database(version: Path, journal: str) -> None:
    path = version / "data.db"
    database = database_at(path)
    writers = [write(path, journal, name, 20, 5000) for name in "ab"]
    for writer in writers:
        assert writer.communicate(timeout=120)[0].split()[-1] == "19"
        assert writer.returncode == 0
    expected = [(name, 40) for name in "ab"]
    found = database.execute("select name, count(*) from t group by name order by name").fetchall()
    assert found == expected
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.parametrize("journal", ["delete", "truncate"])
def test_a_sqlite_writer_that_is_killed_leaves_whole_transactions(
    mount: Mounted, version: Path, journal: str
) -> None:
    path = version / "data.db"
    database_at(path).close()
    chance, acknowledged = random.Random(1), 0
    for name in "abc":
        writer = write(path, journal, name, 10_000, 20_000)
        assert writer.stdout is not None
        for _ in range(chance.randint(2, 8)):  # then it is in the middle of the next
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        acknowledged += last + 1
        database = database_at(path)  # rolls back what was begun
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        pairs = database.execute(
            "select count(*) from (select 1 from t"
            " group by name, max(number, -number - 1) having count(*) = 2)"
        ).fetchone()[0]
        rows = database.execute("select count(*) from t").fetchone()[0]
        assert rows == 2 * pairs
        assert pairs >= acknowledged
        acknowledged = pairs
        database.close()
    mount.restart()
    reopened = database_at(path)
    assert reopened.execute("select count(*) from t").fetchone() == (2 * acknowledged,)
    assert reopened.execute("pragma integrity_check").fetchone() == ("ok",)
    reopened.close()


def test_sqlite_vacuums_and_backs_up_a_database(version: Path, tmp_path: Path) -> None:
    database = database_at(version / "data.db")
    with database:
        database.executemany(
            "insert into t values ('n', ?, randomblob(4000))", ((n,) for n in range(1000))
        )
    with database:
        database.execute("delete from t where number % 3")
    size = (version / "data.db").stat().st_size
    database.execute("vacuum")
    assert (version / "data.db").stat().st_size < size / 2
    with sqlite3.connect(version / "copy.db") as copy:
        database.backup(copy)
    copy.close()
    database.close()
    shutil.copy(version / "copy.db", tmp_path / "copy.db")
    local = sqlite3.connect(tmp_path / "copy.db")
    assert local.execute("pragma integrity_check").fetchone() == ("ok",)
    assert local.execute("select count(*) from t").fetchone() == (334,)
    local.close()


# --- archives, repositories, rsync ---------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources") / "lib"
    shutil.copytree(STDLIB, root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return root


def test_tar_unpacks_a_large_source_tree(version: Path, sources: Path, tmp_path: Path) -> None:
    archive = tmp_path / "sources.tar"
    run("tar", "--format=posix", "-cf", archive, "-C", sources, ".")
    tree, again = version / "tree", version / "again.tar.gz"
    tree.mkdir()
    run("tar", "-xpf", archive, "-C", tree)
    run("tar", "-df", archive, "-C", tree)  # contents, modes, owners, times
    run("tar", "-czf", again, "-C", tree, ".")
    assert sorted(run("tar", "-tzf", again).split()) == sorted(run("tar", "-tf", archive).split())


def test_git_packs_many_commits_and_collects_what_is_unreachable(
    version: Path, sources: Path
) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0")
        return run("git", *identity, *arguments, cwd=version)

    git("init", "-q", ".")
    shutil.copytree(sources / "json", version / "json")
    for number in range(4):
        (version / "json" / "decoder.py").write_text(f"# {number}\n" * 1000)
        (version / f"blob{number}").write_bytes(os.urandom(100 * KIB))
        git("add", ".")
        git("commit", "-qm", f"number {number}")
    git("branch", "side", "HEAD~1")
    git("reset", "-q", "--hard", "HEAD~2")
    git("checkout", "-q", "side")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "-q", "--prune=now")
    assert git("fsck", "--full", "--strict", "--no-dangling") == ""
    assert git("count-objects").startswith("0 objects")
    assert git("status", "--short") == ""
    assert git("log", "--format=%s").split("\n")[0] == "number 2"


def changed_in_the_middle(data: bytes) -> bytes:
    return data[: MIB + 77] + os.urandom(10_000) + data[MIB + 10_077 :]


def test_rsync_changes_files_in_place(version: Path, tmp_path: Path) -> None:
    source, copy = tmp_path / "file", version / "file"
    source.write_bytes(data := os.urandom(3 * MIB))
    run("rsync", "-a", source, copy)
    inode = copy.stat().st_ino
    for changed in (
        changed_in_the_middle(data),
        data + os.urandom(2 * MIB + 1),
        data[: 2 * MIB - 3],
        os.urandom(1000) + data,
        b"",
        data,
    ):
        source.write_bytes(changed)
        # Only what differs is sent, as over a network.
        run("rsync", "-a", "--inplace", "--no-whole-file", "--ignore-times", source, copy)
        assert copy.read_bytes() == changed
        assert copy.stat().st_ino == inode
        assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns
    source.write_bytes(data + b"appended")
    run("rsync", "-a", "--append-verify", source, copy)
    assert copy.read_bytes() == data + b"appended"


def test_rsync_replaces_files_and_keeps_partial_and_sparse_ones(
    version: Path, tmp_path: Path
) -> None:
    source, copy = tmp_path / "source", version / "copy"
    source.mkdir()
    (source / "file").write_bytes(data := os.urandom(3 * MIB))
    with (source / "sparse").open("wb") as sparse:
        sparse.seek(2 * MIB)
        sparse.write(b"end")
    run("rsync", "-aS", "--partial", "--delay-updates", f"{source}/", f"{copy}/")
    (source / "file").write_bytes(changed_in_the_middle(data))
    run("rsync", "-aSI", "--no-whole-file", "--fsync", f"{source}/", f"{copy}/")
    run("diff", "-r", source, copy)
    assert sorted(path.name for path in copy.iterdir()) == ["file", "sparse"]


# --- checkpoints ---------------------------------------------------------------------------------

READER: Final = """
import pickle, sys
path, = sys.argv[1:]
seen, last = 0, -1
print("ready", flush=True)
while last < 14:
    with open(path, "rb") as file:
        number, data = pickle.load(file)  # fails when it is torn
    assert data == bytes([number]) * len(data) and len(data) > 100_000, number
    assert number >= last, (number, last)
    last, seen = number, seen + 1
print(seen)
"""


def save(path: Path, number: int, size: int) -> None:
    """As torch.save and most trainers do: a file beside, synced, and renamed over."""
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        pickle.dump((number, bytes([number]) * size), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def test_a_checkpoint_that_is_saved_over_and_over_is_always_whole_for_its_readers(
    mount: Mounted, version: Path, tmp_path: Path
) -> None:
    path = version / "model.pt"
    save(path, 0, 300_000)
    with Mounted(mount.uri, tmp_path) as other:
        there = other.path / path.relative_to(mount.path)
        eventually(there.exists, "the other mount has it")
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", READER, each], stdout=subprocess.PIPE, text=True
            )
            for each in (path, there)
        ]
        try:
            for reader in readers:
                assert reader.stdout is not None
                reader.stdout.readline()
            for number in range(1, 15):
                save(path, number, 300_000 + 123_456 * (number % 5))
            for reader in readers:
                seen, _ = reader.communicate(timeout=60)
                assert reader.returncode == 0
                assert int(seen) > 1
        finally:
            for reader in readers:
                reader.kill()
                reader.wait()
        assert_healthy_log(other)
    assert [each.name for each in version.iterdir()] == ["model.pt"]


def test_editors_save_over_a_file_that_is_open(version: Path) -> None:
    text = version / "text"
    text.write_text("one\n" * 1000)
    with text.open() as reading:
        assert reading.readline() == "one\n"
        run("sed", "-i", "s/one/uno/", text)
        run("perl", "-pi", "-e", "s/uno/due/", text)
        assert set(reading) == {"one\n"}
    assert set(text.read_text().splitlines()) == {"due"}
