"""Chunks that were altered on the server, met by what reads ahead: EIO for them alone."""

import errno
import os
from pathlib import Path

import pytest

from tests.faults.lakes import Lake, assert_alive, errno_of
from tests.mounting import mounted
from tests.reading_lakes import KIB, VERSION, bytes_of, fill, small_files

CHUNK = 64 * KIB
CHUNKS = 96
ALTERED = 41
DATA = bytes_of("altered ahead", CHUNK * CHUNKS - 1000)


def alter(lake: Lake, name: str, n: int) -> object:
    """Flip a bit of a chunk; returns the id of the content."""
    content: object = lake.node(name)["content"]
    chunk = lake.chunks.find_one({"files_id": content, "n": n})
    assert chunk is not None
    data = bytearray(chunk["data"])
    data[len(data) // 2] ^= 1
    lake.chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": bytes(data)}})
    return content


@pytest.mark.parametrize("flags", [0, os.O_DIRECT], ids=["cached", "direct"])
@pytest.mark.parametrize("sealed", [False, True], ids=["draft", "sealed"])
def test_only_reads_that_touch_an_altered_chunk_fail(
    breakable: Lake, tmp_path: Path, flags: int, sealed: bool
) -> None:
    fill(breakable.uri, tmp_path, {"file": DATA}, f"--chunk-size={CHUNK}", sealed=sealed)
    content = alter(breakable, "file", ALTERED)
    with mounted(breakable.uri, tmp_path) as mount:
        descriptor = os.open(mount.path / VERSION / "file", os.O_RDONLY | flags)
        try:
            for n in range(CHUNKS):
                offset = n * CHUNK
                if n == ALTERED:
                    found = errno_of(lambda at=offset: os.pread(descriptor, CHUNK, at))  # type: ignore[misc]
                    assert found == errno.EIO
                else:
                    assert os.pread(descriptor, CHUNK, offset) == DATA[offset:][:CHUNK], n
        finally:
            os.close(descriptor)
        assert f"content {content}: chunk {ALTERED} was altered" in mount.log_text()
        assert_alive(mount)


@pytest.mark.parametrize("sealed", [False, True], ids=["draft", "sealed"])
def test_an_altered_file_among_those_that_are_brought_ahead_spoils_no_other(
    breakable: Lake, tmp_path: Path, sealed: bool
) -> None:
    files = small_files(100)
    fill(breakable.uri, tmp_path, files, sealed=sealed)
    content = alter(breakable, "0060.bin", 0)
    with mounted(breakable.uri, tmp_path) as mount:
        for path in sorted((mount.path / VERSION / "folder").iterdir()):
            if path.name == "0060.bin":
                assert errno_of(path.read_bytes) == errno.EIO
            else:
                assert path.read_bytes() == files[f"folder/{path.name}"], path.name
        assert f"content {content}: chunk 0 was altered" in mount.log_text()
        assert_alive(mount)
