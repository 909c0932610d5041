"""`gridfsmount warm`: what is going to be read is brought to the local disk."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from bson import Binary

from tests.mounting import Mounted, assert_healthy_log, mounted, run_command
from tests.reading_lakes import (
    LITTLE_MEMORY,
    MIB,
    VERSION,
    bytes_of,
    database_of,
    fill,
    small_files,
    wait_until_cached,
    without_chunks,
)

# The mount's memory has no room for a chunk of the large file, but for all others.
FILES = {"large": bytes_of("large", 3 * MIB), "empty": b"", **small_files(20, "warm")}
TOTAL_MIB = sum(map(len, FILES.values())) / MIB


@dataclass(frozen=True, slots=True)
class Warming:
    """A lake whose files nobody has read yet, on a mount with a disk cache."""

    mount: Mounted
    cache: Path

    @property
    def version(self) -> Path:
        return self.mount.path / VERSION

    def remount(self) -> None:
        """Mount anew, so that nothing but the disk cache remembers."""
        wait_until_cached(self.mount.uri, self.cache)
        self.mount.restart()
        without_chunks(self.mount.uri)


@pytest.fixture
def warming(lake_uri: str, tmp_path: Path) -> Iterator[Warming]:
    fill(lake_uri, tmp_path, FILES, sealed=True)
    cache = tmp_path / "cache"
    with mounted(lake_uri, tmp_path, "--disk-cache", cache, LITTLE_MEMORY) as mount:
        yield Warming(mount, cache)


def assert_warmed(done: CompletedProcess[str], files: int, mebibytes: float) -> None:
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{files} files, {mebibytes:.1f} MiB read in \d+\.\d s\n", done.stdout), (
        done.stdout
    )


def assert_refused(done: CompletedProcess[str], message: str) -> None:
    """It failed, with one line that says why."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(f"gridfsmount: .*{message}.*\n", done.stderr), done.stderr


def files_of(version: Path) -> dict[str, bytes]:
    return {name: (version / name).read_bytes() for name in FILES}


def test_a_version_that_was_warmed_is_read_from_the_local_disk(warming: Warming) -> None:
    assert_warmed(run_command("warm", warming.version), len(FILES), TOTAL_MIB)

    warming.remount()
    assert files_of(warming.version) == FILES
    assert_warmed(run_command("warm", "-j", "1", warming.version), len(FILES), TOTAL_MIB)
    assert_healthy_log(warming.mount)


def test_what_the_kernel_has_already_is_warmed_all_the_same(warming: Warming) -> None:
    path = warming.version / "large"
    assert files_of(warming.version) == FILES
    wait_until_cached(warming.mount.uri, warming.cache)
    for segment in (warming.cache / "v1").glob("*/*"):  # as somebody who needs room may do
        if segment.stat().st_size > MIB:
            segment.unlink()

    assert_warmed(run_command("warm", path), 1, len(FILES["large"]) / MIB)

    warming.remount()
    assert path.read_bytes() == FILES["large"]


def test_the_newest_version_is_warmed_by_its_link_and_files_in_several_paths_once(
    warming: Warming,
) -> None:
    latest = warming.version.with_name("latest")
    paths = [latest, warming.version / "large", warming.version / "folder", warming.version]

    assert_warmed(run_command("warm", *paths), len(FILES), TOTAL_MIB)

    warming.remount()
    assert files_of(latest) == FILES


def test_a_single_file_is_warmed(warming: Warming) -> None:
    with database_of(warming.mount.uri) as database:
        for document in database["fs.files"].find({"filename": {"$ne": f"{VERSION}/large"}}):
            database["fs.chunks"].delete_many({"files_id": document["_id"]})

    done = run_command("warm", warming.version / "large")

    assert_warmed(done, 1, len(FILES["large"]) / MIB)


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_warmed(warming: Warming) -> None:
    with database_of(warming.mount.uri) as database:
        document = database["fs.files"].find_one({"filename": f"{VERSION}/large"})
        assert document is not None
        chunk = {"files_id": document["_id"], "n": 1}
        altered = Binary(bytes(MIB))
        assert database["fs.chunks"].update_one(chunk, {"$set": {"data": altered}}).modified_count

    done = run_command("warm", "-j", "2", warming.version)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    path = (warming.version / "large").resolve()
    assert done.stderr.splitlines()[-2:] == [
        f"  {path}: Input/output error",
        "gridfsmount: could not be read: 1, named above",
    ]
    assert done.stdout.startswith(f"{len(FILES) - 1} files, ")
    with database_of(warming.mount.uri) as database:
        database["fs.files"].delete_one({"_id": document["_id"]})
    wait_until_cached(warming.mount.uri, warming.cache)


def test_what_cannot_be_warmed_is_refused_with_the_reason(warming: Warming, tmp_path: Path) -> None:
    missing = warming.version / "missing"
    assert_refused(run_command("warm", warming.version, missing), f"{missing} does not exist")
    assert_refused(run_command("warm", tmp_path), f"{tmp_path} lies in no mounted lake")
    assert_refused(run_command("warm", warming.version, "/"), "/ lies in no mounted lake")

    for done in (run_command("warm", "-j", "0", warming.version), run_command("warm")):
        assert (done.returncode, done.stdout) == (2, "")
        lines = done.stderr.splitlines()
        assert lines[0].startswith("Usage: gridfsmount warm")
        assert [line.startswith("Error: ") for line in lines].count(True) == 1
    assert not list((warming.cache / "v1").iterdir())


def test_a_mount_without_a_disk_cache_cannot_be_warmed(lake_uri: str, tmp_path: Path) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        (mount.version() / "file").write_bytes(b"content")

        done = run_command("warm", mount.path)

        assert_refused(done, f"the mount on {mount.path} has no disk cache: mount it with --disk-")


def test_what_the_mount_has_in_memory_is_warmed_all_the_same(warming: Warming) -> None:
    assert files_of(warming.version) == FILES
    wait_until_cached(warming.mount.uri, warming.cache)
    for segments in (warming.cache / "v1").iterdir():
        shutil.rmtree(segments)

    assert_warmed(run_command("warm", warming.version), len(FILES), TOTAL_MIB)

    warming.remount()
    assert files_of(warming.version) == FILES
