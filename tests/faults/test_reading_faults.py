"""Faults in the middle of reading: right bytes or an error, soon, and it goes on afterwards."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bson import Binary

from tests.faults.lakes import Lake, assert_alive, recovered
from tests.mongod import Mongod
from tests.mounting import PATIENCE, assert_healthy_log, eventually, mounted, run_command
from tests.reading_lakes import (
    KIB,
    LITTLE_MEMORY,
    MIB,
    PIECE,
    VERSION,
    alter,
    bytes_of,
    database_of,
    drop_pages,
    fill,
    read_on,
    small_files,
    wait_until_cached,
)

DEADLINE = 2.0
# Seconds. The kernel may ask once more for what it could not read ahead, and the machine be busy.
BOUND = 2 * DEADLINE + 10

AHEAD = "--cache-size=8MiB"
"""Room to read ahead, but not as far as the end of the file."""

LARGE = bytes_of("large", 24 * MIB)
BEGINNING = 4 * MIB
CHUNK = 256 * KIB

SMALL_FILES = small_files(120)
SMALL = {"large": bytes_of("quite large", 5 * MIB + 3), **SMALL_FILES}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")


# --- the server -----------------------------------------------------------------------------------


def test_a_server_that_dies_in_the_middle_is_an_error_in_time_and_reading_goes_on_later(
    server: Mongod, tmp_path: Path
) -> None:
    uri = server.uri_for("lake")
    fill(uri, tmp_path, {"large": LARGE}, "--chunk-size=256KiB", sealed=True)
    with mounted(uri, tmp_path, AHEAD, f"--deadline={DEADLINE}") as mount:
        path = mount.path / VERSION / "large"
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert read_on(descriptor, 0, BEGINNING, LARGE) == BEGINNING
            server.kill()
            began = time.monotonic()
            reached = read_on(descriptor, BEGINNING, len(LARGE), LARGE)
            lasted = time.monotonic() - began

            assert reached < len(LARGE)
            assert lasted < BOUND
            assert_alive(mount)
            server.start()

            def goes_on() -> bool:
                return read_on(descriptor, reached, len(LARGE), LARGE) == len(LARGE)

            eventually(goes_on, "the same handle reads on")
        finally:
            os.close(descriptor)
        eventually(lambda: recovered(path, LARGE), "a new handle reads all of it")
        drop_pages(path)
        assert path.read_bytes() == LARGE
        assert_alive(mount)


def waits_for_an_answer(process_id: int) -> bool:
    """Whether a process is asleep until a FUSE file system answers, or until a page has come."""
    place = Path(f"/proc/{process_id}/wchan").read_text()
    return place == "request_wait_answer" or place.startswith(("folio_wait", "wait_on_page"))


def test_a_server_that_hangs_for_a_moment_in_the_middle_goes_unnoticed(
    server: Mongod, tmp_path: Path
) -> None:
    uri = server.uri_for("lake")
    fill(uri, tmp_path, {"large": LARGE}, "--chunk-size=256KiB", sealed=False)
    with mounted(uri, tmp_path, AHEAD) as mount:
        rest = tmp_path / "rest"
        with (mount.path / VERSION / "large").open("rb", buffering=0) as file:
            assert read_on(file.fileno(), 0, BEGINNING, LARGE) == BEGINNING
            file.seek(BEGINNING)
            server.pause()
            try:
                with rest.open("wb") as output:
                    reader = subprocess.Popen(["cat"], stdin=file, stdout=output)
                try:
                    eventually(lambda: waits_for_an_answer(reader.pid), "it waits for the server")
                    assert rest.stat().st_size < len(LARGE) - BEGINNING
                finally:
                    server.resume()
                assert reader.wait(2 * PATIENCE) == 0
            finally:
                reader.kill()
                reader.wait()
        assert rest.read_bytes() == LARGE[BEGINNING:]
        assert_healthy_log(mount)


def test_altered_chunks_are_errors_for_their_parts_only_of_what_is_read_in_order(
    lake_uri: str, tmp_path: Path
) -> None:
    numbers = [0, 37, 38, len(LARGE) // CHUNK - 1]
    fill(lake_uri, tmp_path, {"large": LARGE}, "--chunk-size=256KiB", sealed=True)
    with Lake(lake_uri) as lake, mounted(lake_uri, tmp_path, AHEAD) as mount:
        content = lake.node("large")["content"]
        altered = {"$set": {"data": Binary(bytes(CHUNK))}}
        lake.chunks.update_many({"files_id": content, "n": {"$in": numbers}}, altered)

        failed = []
        with (mount.path / VERSION / "large").open("rb", buffering=0) as file:
            offset = 0
            while offset < len(LARGE):
                offset = read_on(file.fileno(), offset, len(LARGE), LARGE)
                if offset < len(LARGE):
                    failed.append(offset)
                    offset += PIECE

        assert failed == [
            offset for n in numbers for offset in range(n * CHUNK, (n + 1) * CHUNK, PIECE)
        ]
        for n in numbers:
            assert f"content {content}: chunk {n} was altered" in mount.log_text()
        assert_alive(mount)


# --- the local disk -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pond(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lake with small files in a sealed version, which no test changes."""
    uri = mongod.uri_for("reading_faults")
    fill(uri, tmp_path_factory.mktemp("pond"), SMALL, sealed=True)
    yield uri
    with database_of(uri) as database:
        database.client.drop_database(database.name)


def read_all(version: Path) -> dict[str, bytes]:
    return {name: (version / name).read_bytes() for name in SMALL}


def drop_all(version: Path) -> None:
    for name in SMALL:
        drop_pages(version / name)


def cut(paths: list[Path]) -> None:
    for path in paths:
        os.truncate(path, path.stat().st_size - 1)


def swap(paths: list[Path]) -> None:
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)


def make_folders_of(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()
        path.mkdir()


def test_segments_that_were_damaged_do_not_matter(pond: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with mounted(pond, tmp_path, "--disk-cache", cache, LITTLE_MEMORY) as mount:
        version = mount.path / VERSION
        assert read_all(version) == SMALL
        wait_until_cached(pond, cache)
        mount.stop()
        segments = sorted(cache.glob("v1/*/*"), key=lambda path: path.stat().st_size)
        assert len(segments) == len(SMALL)
        # The largest, which is not read whole when it is opened, is among the altered ones.
        for number, damage in enumerate((alter, cut, swap, make_folders_of)):
            damage(segments[-1 - number :: -4])
        mount.start()

        for _ in range(2):
            assert read_all(version) == SMALL
            drop_all(version)

    assert "chunks were altered on disk" in mount.log_text()
    assert_healthy_log(mount)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room beyond what a cache leaves to others."""
    path = tmp_path / "disk"
    path.mkdir()
    size = "size=3g"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "gridfsmount-tests", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def remount(disk: Path, options: str) -> bool:
    done = subprocess.run(
        ["mount", "-o", f"remount,{options}", disk], check=False, capture_output=True
    )
    return done.returncode == 0


def leave_no_space(disk: Path) -> None:
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, 8 * MIB)
    assert remount(disk, "size=16m")


def leave_no_inodes(disk: Path) -> None:
    def limit() -> bool:  # the mount may make some in the meantime
        figures = os.statvfs(disk)
        return remount(disk, f"nr_inodes={figures.f_files - figures.f_ffree + 3}")

    eventually(limit, "there are few inodes left")


def make_read_only(disk: Path) -> None:
    eventually(lambda: remount(disk, "ro"), "nobody is writing at the moment")


def remove(disk: Path) -> None:
    (disk / "cache").rename(disk / "moved")
    shutil.rmtree(disk / "moved")


def put_a_file_in_its_place(disk: Path) -> None:
    (disk / "cache").rename(disk / "moved")
    (disk / "cache").write_bytes(b"content")


def remove_segments(disk: Path) -> None:
    (disk / "cache" / "v1").rename(disk / "moved")
    shutil.rmtree(disk / "moved")


BREAKING = [
    leave_no_space,
    leave_no_inodes,
    make_read_only,
    remove,
    put_a_file_in_its_place,
    remove_segments,
]


@needs_root
@pytest.mark.parametrize("break_it", BREAKING)
def test_a_local_disk_that_fails_while_mounted_costs_no_read(
    pond: str, tmp_path: Path, disk: Path, break_it: Callable[[Path], object]
) -> None:
    some = [name for number, name in enumerate(SMALL) if number % 10 == 1]
    options = ("--disk-cache", disk / "cache", "--disk-cache-size=1GiB", LITTLE_MEMORY)
    with mounted(pond, tmp_path, *options) as mount:
        version = mount.path / VERSION
        for name in some:
            assert (version / name).read_bytes() == SMALL[name]
        eventually(lambda: list(disk.glob("cache/v1/*/*")), "something is on the local disk")

        break_it(disk)

        for _ in range(3):
            assert read_all(version) == SMALL
            drop_all(version)
    assert_healthy_log(mount)


@needs_root
def test_a_local_disk_that_is_full_from_the_beginning_costs_no_read(
    pond: str, tmp_path: Path, disk: Path
) -> None:
    assert remount(disk, "size=1m")
    options = ("--disk-cache", disk / "cache", "--disk-cache-size=1MiB", LITTLE_MEMORY)
    with mounted(pond, tmp_path, *options) as mount:
        version = mount.path / VERSION
        for _ in range(2):
            assert read_all(version) == SMALL
            drop_all(version)
        eventually(lambda: "no room to spare" in mount.log_text(), "there is a warning")
    assert_healthy_log(mount)


# --- the mount ------------------------------------------------------------------------------------

READER = """
import os, sys
folder = sys.argv[1]
try:
    while True:
        for number, name in enumerate(sorted(os.listdir(folder))):
            with open(os.path.join(folder, name), "rb") as file:
                file.read()
            if number % 50 == 40:
                print("on", flush=True)
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize("lines", [1, 7], ids=["the first time", "from the caches"])
def test_a_mount_that_dies_while_small_files_are_read_is_an_error_and_can_be_cleared_away(
    pond: str, tmp_path: Path, lines: int
) -> None:
    with mounted(pond, tmp_path) as mount:
        folder = mount.path / VERSION / "folder"
        command: list[str | Path] = [sys.executable, "-S", "-c", READER, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            for _ in range(lines):
                assert reader.stdout.readline() == b"on\n"
            assert mount.process is not None

            mount.process.kill()
            mount.process.wait()
            try:
                reader.communicate(timeout=PATIENCE)
            finally:
                reader.kill()

        assert reader.returncode in {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}
        done = run_command("umount", mount.path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not os.path.ismount(mount.path)
        mount.stop()
        mount.start()
        name = next(iter(SMALL_FILES))
        assert (mount.path / VERSION / name).read_bytes() == SMALL_FILES[name]
