"""Chunk arithmetic: every byte lies in exactly one chunk."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.chunks import (
    HASH_BYTES,
    Span,
    chunk_count,
    chunk_length,
    packed_hash,
    runs,
    spans,
)

SIZES = st.integers(1, 64) | st.integers(1, 1 << 24)
LENGTHS = st.integers(0, 500)


@given(offset=st.integers(0, 1 << 40), size=LENGTHS, chunk_size=SIZES)
def test_spans_cover_the_range_in_order(offset: int, size: int, chunk_size: int) -> None:
    position = offset
    for n, start, stop in spans(offset, size, chunk_size):
        assert n * chunk_size + start == position
        assert start < stop
        position += stop - start
    assert position == offset + size


@given(offset=st.integers(0, 1 << 40), size=LENGTHS, chunk_size=SIZES)
def test_spans_never_cross_a_chunk(offset: int, size: int, chunk_size: int) -> None:
    pieces = list(spans(offset, size, chunk_size))
    assert all(0 <= start < stop <= chunk_size for _, start, stop in pieces)
    assert len({n for n, _, _ in pieces}) == len(pieces)


def test_an_empty_range_has_no_spans() -> None:
    assert list(spans(5, 0, 4)) == []


def test_a_span_is_a_piece_of_one_chunk() -> None:
    assert list(spans(3, 6, 4)) == [Span(0, 3, 4), Span(1, 0, 4), Span(2, 0, 1)]


@given(length=LENGTHS, chunk_size=SIZES)
def test_the_chunks_lengths_add_up_to_the_length(length: int, chunk_size: int) -> None:
    count = chunk_count(length, chunk_size)
    lengths = [chunk_length(n, length, chunk_size) for n in range(count)]
    assert sum(lengths) == length
    assert all(each == chunk_size for each in lengths[:-1])
    assert all(each > 0 for each in lengths)
    assert chunk_length(count, length, chunk_size) == 0


def test_an_empty_file_has_no_chunk() -> None:
    assert chunk_count(0, 1 << 20) == 0


@given(st.sets(st.integers(0, 200)))
def test_runs_hold_just_the_numbers_given(numbers: set[int]) -> None:
    joined = list(runs(iter(sorted(numbers))))
    assert {n for first, past in joined for n in range(first, past)} == numbers
    assert all(first < past for first, past in joined)


@given(st.sets(st.integers(0, 200)))
def test_runs_are_as_few_as_can_be(numbers: set[int]) -> None:
    joined = list(runs(iter(sorted(numbers))))
    pairs = itertools.pairwise(joined)
    assert all(past < first for (_, past), (first, _) in pairs)


@given(st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES)), st.binary(max_size=7))
def test_a_packed_list_gives_back_each_hash(hashes: list[bytes], rest: bytes) -> None:
    packed = b"".join(hashes) + rest
    assert [packed_hash(packed, n) for n in range(len(hashes))] == hashes
    assert packed_hash(packed, len(hashes)) is None


def test_an_unknown_list_knows_no_hash() -> None:
    assert packed_hash(None, 0) is None
