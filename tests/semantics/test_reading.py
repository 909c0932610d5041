"""What is promised of reads that the server does not answer: from the local disk, or the kernel."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually, mounted
from tests.reading_lakes import (
    LITTLE_MEMORY,
    MIB,
    VERSION,
    Inside,
    alter,
    bytes_of,
    fill,
    read_on,
    small_files,
    wait_until_cached,
    without_chunks,
    write,
)

DEADLINE = 2.0
MARGIN = 10.0
"""Seconds, on top of the deadline, for a busy machine."""

CHUNK = MIB
FILES = {"folder/large": bytes_of("large", 4 * CHUNK), **small_files(10)}


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    """A server that tests may pause, and kill if they start it again."""
    with Mongod() as server:
        yield server


@pytest.fixture
def uri(server: Mongod) -> str:
    return server.uri_for(f"lake_{uuid.uuid4().hex}")


def read_all(version: Path) -> dict[str, bytes]:
    return {name: (version / name).read_bytes() for name in FILES}


def test_a_chunk_that_was_altered_on_the_local_disk_is_fetched_again(
    lake_uri: str, tmp_path: Path
) -> None:
    fill(lake_uri, tmp_path, FILES, sealed=True)
    cache = tmp_path / "cache"
    with mounted(lake_uri, tmp_path, "--disk-cache", cache, LITTLE_MEMORY) as mount:
        path = mount.path / VERSION / "folder" / "large"
        assert read_all(mount.path / VERSION) == FILES
        wait_until_cached(lake_uri, cache)
        mount.stop()
        segments = list(cache.glob("v1/*/*"))
        assert len(segments) == len(FILES)
        alter(segments)
        mount.start()

        assert path.read_bytes() == FILES["folder/large"]

        wait_until_cached(lake_uri, cache)
        mount.restart()
        without_chunks(lake_uri)
        assert path.read_bytes() == FILES["folder/large"]
    assert_healthy_log(mount)


def test_a_disk_cache_that_fails_costs_no_read(lake_uri: str, tmp_path: Path) -> None:
    fill(lake_uri, tmp_path, FILES, sealed=True)
    cache = tmp_path / "cache"
    with mounted(lake_uri, tmp_path, "--disk-cache", cache, LITTLE_MEMORY) as mount:
        version = mount.path / VERSION
        name = next(iter(small_files(1)))
        assert (version / name).read_bytes() == FILES[name]
        eventually(lambda: list(cache.glob("v1/*/*")), "something is in the cache")

        cache.rename(tmp_path / "elsewhere")
        cache.write_bytes(b"in its way")

        assert read_all(version) == FILES
    assert_healthy_log(mount)


def test_what_a_sealed_version_showed_is_there_without_the_server(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    fill(uri, tmp_path, FILES, sealed=True)
    with (
        mounted(uri, tmp_path, f"--deadline={DEADLINE}") as mount,
        Inside(mount.path / VERSION / "folder") as folder,
    ):
        names = [Path(name).name for name in FILES]
        seen = {name: (folder.stat(name), folder.read(name)) for name in names}
        with pytest.raises(FileNotFoundError):
            folder.stat("missing")

        server.pause()
        try:
            assert {name: (folder.stat(name), folder.read(name)) for name in names} == seen
            with pytest.raises(FileNotFoundError):
                folder.stat("missing")
        finally:
            server.resume()
    assert {f"folder/{name}": data for name, (_, data) in seen.items()} == FILES
    assert_healthy_log(mount)


def test_reading_ahead_across_files_keeps_close_to_open(lake_uri: str, tmp_path: Path) -> None:
    files = small_files(60)
    with Mounted(lake_uri, tmp_path / "one") as one, Mounted(lake_uri, tmp_path / "other") as other:
        write(other.version(VERSION), files)
        here, there = (mount.path / VERSION for mount in (one, other))
        names = [f"folder/{each.name}" for each in sorted((here / "folder").iterdir())]
        for name in names[:20]:
            assert (here / name).read_bytes() == files[name]

        for name in names[15:40]:  # of the same size, so that nothing but the bytes tells
            files[name] = bytes_of(("new", name), len(files[name]))
            (there / name).write_bytes(files[name])

        assert {name: (here / name).read_bytes() for name in names[20:] + names[:20]} == files
    assert_healthy_log(one)
    assert_healthy_log(other)


def test_a_reader_within_a_deadline_of_a_dead_server_has_what_was_there_and_then_an_error(
    server: Mongod, uri: str, tmp_path: Path
) -> None:
    data = bytes_of("large", 24 * MIB)
    fill(uri, tmp_path, {"large": data}, sealed=False)
    with mounted(uri, tmp_path, "--cache-size=8MiB", f"--deadline={DEADLINE}") as mount:
        with (mount.path / VERSION / "large").open("rb", buffering=0) as file:
            assert read_on(file.fileno(), 0, CHUNK, data) == CHUNK
            server.kill()
            try:
                began = time.monotonic()
                reached = read_on(file.fileno(), CHUNK, len(data), data)
                lasted = time.monotonic() - began
            finally:
                server.start()
        assert CHUNK <= reached < len(data)
        assert lasted < DEADLINE + MARGIN
        assert "Traceback" not in mount.log_text()
