"""Files of a vault, written past the page cache."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridfsmount.vaults.disk import NEW, Appending

MIB = 1 << 20
EDGES = [0, 1, 511, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1]
SIZES = st.one_of(st.sampled_from(EDGES), st.integers(0, 3 * MIB))
DATA = os.urandom(16 * MIB)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk") / "file"


def write(place: Path, pieces: list[int]) -> bytes:
    place.unlink(missing_ok=True)
    descriptor = os.open(place, NEW, 0o644)
    try:
        file = Appending(descriptor)
        at = 0
        for size in pieces:
            file.write(memoryview(DATA)[at : at + size])
            at += size
        file.finish()
    finally:
        os.close(descriptor)
    return DATA[:at]


@settings(max_examples=40)  # each waits for the disk
@given(st.lists(SIZES, max_size=3))
def test_what_is_written_is_what_was_given(place: Path, pieces: list[int]) -> None:
    data = write(place, pieces)
    assert place.read_bytes() == data
