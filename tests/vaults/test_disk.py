"""Files of a vault, written and read past the page cache."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.vaults.disk import NEW, Appending, opened, read_direct

MIB = 1 << 20
EDGES = [0, 1, 511, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1]
SIZES = st.one_of(st.sampled_from(EDGES), st.integers(0, 3 * MIB))
PLAIN = "/sys/kernel/mm/transparent_hugepage/enabled"  # no direct reads in there
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


@given(st.lists(SIZES, max_size=3))
def test_what_is_written_is_what_was_given(place: Path, pieces: list[int]) -> None:
    data = write(place, pieces)
    assert place.read_bytes() == data


@given(SIZES, SIZES, SIZES)
def test_any_part_of_a_file_can_be_read(place: Path, length: int, offset: int, size: int) -> None:
    data = write(place, [length])
    with opened(place) as descriptor:
        assert bytes(read_direct(descriptor, offset, size)) == data[offset : offset + size]


def test_a_file_system_without_direct_reads_is_read_through_the_page_cache() -> None:
    with opened(PLAIN) as descriptor:
        assert bytes(read_direct(descriptor, 0, MIB)) == Path(PLAIN).read_bytes()
