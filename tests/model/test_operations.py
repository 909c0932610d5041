"""The mount against an ordinary directory: the same operations, the same outcomes."""

import contextlib
import errno
import itertools
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gridfs
import pytest
from hypothesis import given, settings

from tests.model.drivers import check_drivers_view
from tests.model.operations import Operation, Place, outcome
from tests.model.strategies import CHUNK, LANDSCAPE, large_programs, programs
from tests.model.trees import tree
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log

CI = bool(os.environ.get("CI"))
AREA = "datasets/model"


@dataclass
class Arena:
    """A mount and an ordinary directory, with a fresh folder in both for each list."""

    mount: Mounted
    ordinary: Path
    bucket: gridfs.GridFSBucket
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def compare(self, program: Sequence[Operation]) -> None:
        """Do the same in both; every outcome must be the same, and in the end all that is there."""
        name = f"v{next(self.numbers)}"
        version = self.mount.version(f"{AREA}/{name}")
        folder = self.ordinary / name
        folder.mkdir()
        with Place(str(version)) as mounted, Place(str(folder)) as ordinary:
            for number, operation in enumerate((*LANDSCAPE, *program)):
                expected = outcome(operation, ordinary)
                assert outcome(operation, mounted) == expected, f"step {number}: {operation}"
        leaves = tree(folder)
        assert tree(version) == leaves
        check_drivers_view(self.bucket, f"{AREA}/{name}/", leaves)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def arena(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Small chunks, so that small files have many."""
    yield from _arena(mongod, tmp_path_factory, f"--chunk-size={CHUNK}")


@pytest.fixture(scope="module")
def arena_without_transactions(
    standalone: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    """On a standalone server, where renames go in steps."""
    yield from _arena(standalone, tmp_path_factory, f"--chunk-size={CHUNK}")


@pytest.fixture(scope="module")
def arena_of_large_files(
    mongod: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    """Chunks as they are by default."""
    yield from _arena(mongod, tmp_path_factory)


def _arena(
    mongod: Mongod, tmp_path_factory: pytest.TempPathFactory, *options: str
) -> Iterator[Arena]:
    database = f"lake_{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("model")
    with (
        mongod.client() as client,
        _with_user_attributes(folder) as ordinary,
        Mounted(mongod.uri_for(database), folder, *options) as mount,
    ):
        yield Arena(mount, ordinary, gridfs.GridFSBucket(client[database]))
        client.drop_database(database)
    assert_healthy_log(mount)


@contextlib.contextmanager
def _with_user_attributes(folder: Path) -> Iterator[Path]:
    """A directory whose file system keeps user.* attributes, as tmpfs did not before Linux 6.6."""
    ordinary = folder / "ordinary"
    ordinary.mkdir()
    try:
        os.setxattr(ordinary, "user.probe", b"")
        os.removexattr(ordinary, "user.probe")
    except OSError:
        with tempfile.TemporaryDirectory(prefix=".model-", dir=Path.cwd()) as elsewhere:
            yield Path(elsewhere)
        return
    yield ordinary


@pytest.mark.long
@settings(max_examples=500 if CI else 60)
@given(program=programs)
def test_operations_have_the_outcomes_that_they_have_on_an_ordinary_directory(
    arena: Arena, program: list[Operation]
) -> None:
    arena.compare(program)


@settings(max_examples=100 if CI else 10)
@given(program=programs)
def test_operations_have_the_same_outcomes_without_transactions(
    arena_without_transactions: Arena, program: list[Operation]
) -> None:
    arena_without_transactions.compare(program)


@settings(max_examples=40 if CI else 5)
@given(program=large_programs)
def test_operations_on_files_larger_than_a_writer_keeps_in_memory_have_the_same_outcomes(
    arena_of_large_files: Arena, program: list[Operation]
) -> None:
    arena_of_large_files.compare(program)


# --- promised differences, which no list above comes to ------------------------------------------

NO_UTF8 = os.fsdecode(b"\xff\xfe")


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(lambda at: (at / NO_UTF8).stat(), id="stat"),
        pytest.param(lambda at: (at / NO_UTF8).touch(), id="create"),
        pytest.param(lambda at: (at / NO_UTF8).mkdir(), id="mkdir"),
        pytest.param(lambda at: os.mkfifo(at / NO_UTF8), id="mkfifo"),
        pytest.param(lambda at: (at / NO_UTF8).symlink_to("file"), id="symlink"),
        pytest.param(lambda at: (at / "link").symlink_to(NO_UTF8), id="target"),
        pytest.param(lambda at: (at / NO_UTF8).hardlink_to(at / "file"), id="link"),
        pytest.param(lambda at: (at / "file").rename(at / NO_UTF8), id="rename"),
        pytest.param(lambda at: os.setxattr(at / "file", f"user.{NO_UTF8}", b""), id="setxattr"),
    ],
)
def test_names_that_are_not_utf8_are_refused(
    arena: Arena, attempt: Callable[[Path], object]
) -> None:
    version = arena.mount.version(f"{AREA}/no-utf8")
    (version / "file").write_bytes(b"data")
    with pytest.raises(OSError, match=os.strerror(errno.EILSEQ)):
        attempt(version)
    assert [path.name for path in version.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["character", "block"])
def test_devices_cannot_be_made(arena: Arena, kind: int) -> None:
    version = arena.mount.version(f"{AREA}/devices")
    with pytest.raises(PermissionError) as refusal:
        os.mknod(version / "device", kind | 0o600, os.makedev(1, 3))
    assert refusal.value.errno == errno.EPERM
    assert list(version.iterdir()) == []
