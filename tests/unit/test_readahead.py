"""Read-ahead: what sequences and strides are given, and that nothing else is given anything."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core import readahead as module
from gridfsmount.core.chunks import chunk_count
from gridfsmount.core.readahead import (
    ACTIVE_NOTES,
    MAX_STREAMS,
    MAX_STRIDES,
    Range,
    ReadAhead,
)

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
BUDGET = 256 * MIB
WINDOW = 64 * MIB

Read = tuple[int, int]


@pytest.fixture(scope="module", autouse=True)
def window() -> Iterator[None]:
    """Many chunks, whatever is best for a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_WINDOW", WINDOW)
        yield


def reads_at(start: int, stride: int, size: int, count: int) -> list[Read]:
    return [(start + i * stride, size) for i in range(count)]


def sequence(start: int, size: int, count: int) -> list[Read]:
    return reads_at(start, size, size, count)


def swapped(reads: list[Read]) -> list[Read]:
    """The same reads, the second of each pair before the first."""
    return [read for i in range(0, len(reads), 2) for read in reversed(reads[i : i + 2])]


def replay(ahead: ReadAhead, reads: list[Read]) -> list[list[Range]]:
    return [ahead.note(offset, size) for offset, size in reads]


def chunks_of(ranges: list[Range]) -> list[int]:
    return [n for first, past in ranges for n in range(first, past)]


def count_of(ranges: list[Range]) -> int:
    return sum(past - first for first, past in ranges)


@st.composite
def readers(draw: st.DrawFn, length: int) -> list[Read]:
    """Reads of one reader: in sequence, strided, backwards, or swapped in pairs."""
    size = draw(st.integers(0, 40) | st.integers(1, max(1, length)))
    start = draw(st.integers(0, length + 10))
    stride = draw(st.sampled_from([size, size, 2 * size, 5 * size, 20 * size + 1, -size]))
    reads = reads_at(start, stride, size, draw(st.integers(1, 30)))
    reads = [(offset, size) for offset, size in reads if offset >= 0]
    return swapped(reads) if draw(st.booleans()) else reads


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[int, int, int, list[Read]]:
    """A length, a chunk size, a budget, and the interleaved reads of several readers."""
    length = draw(st.sampled_from([0, 1, 1000]) | st.integers(0, 10_000))
    anywhere = st.tuples(st.integers(0, length + 10), st.integers(0, 40))
    several = [draw(readers(length)) for _ in range(draw(st.integers(1, 4)))]
    several.append(draw(st.lists(anywhere, max_size=20)))
    turns = draw(st.permutations([i for i, reads in enumerate(several) for _ in reads]))
    queues = [iter(reads) for reads in several]
    chunk_size = draw(st.sampled_from([1, 3, 16, 100, 1 << 20]))
    budget = draw(st.sampled_from([0, chunk_size - 1, chunk_size, 7 * chunk_size, 1 << 24]))
    return length, chunk_size, budget, [next(queues[i]) for i in turns]


@given(mixtures())
def test_proposals_are_ascending_ranges_within_the_file(
    mixture: tuple[int, int, int, list[Read]],
) -> None:
    length, chunk_size, budget, reads = mixture
    for ranges in replay(ReadAhead(length, chunk_size, budget=budget), reads):
        bounds = [0, *itertools.chain(*ranges), chunk_count(length, chunk_size)]
        assert bounds == sorted(bounds)
        assert all(first < past for first, past in ranges)


@given(mixtures())
def test_what_a_read_asks_for_is_not_proposed_as_well(
    mixture: tuple[int, int, int, list[Read]],
) -> None:
    length, chunk_size, budget, reads = mixture
    proposals = replay(ReadAhead(length, chunk_size, budget=budget), reads)
    for (offset, size), ranges in zip(reads, proposals, strict=True):
        asked_first, asked_past = offset // chunk_size, chunk_count(offset + size, chunk_size)
        assert all(past <= asked_first or asked_past <= first for first, past in ranges)


@given(mixtures())
def test_no_proposal_exceeds_the_budget(mixture: tuple[int, int, int, list[Read]]) -> None:
    length, chunk_size, budget, reads = mixture
    for ranges in replay(ReadAhead(length, chunk_size, budget=budget), reads):
        assert count_of(ranges) * chunk_size <= budget


@given(
    st.sampled_from([1, 3, 16, 100, 5000]),
    st.integers(1, 60),
    st.lists(st.integers(1, 300), min_size=1, max_size=60),
    st.booleans(),
)
def test_a_sequence_never_has_more_ahead_than_the_budget_and_no_chunk_twice(
    chunk_size: int, budget_chunks: int, sizes: list[int], swap: bool
) -> None:
    # The kernel swaps requests of one size; swapped ones of very different sizes are several
    # streams.
    sizes = [sizes[0]] * len(sizes) if swap else sizes
    length, budget = sum(sizes), budget_chunks * chunk_size
    offsets = itertools.accumulate(sizes, initial=0)
    reads = list(zip(offsets, sizes, strict=False))
    ahead = ReadAhead(length, chunk_size, budget=budget)
    position, proposed = 0, Counter[int]()
    for offset, size in swapped(reads) if swap else reads:
        proposed.update(chunks_of(ahead.note(offset, size)))
        position = max(position, offset + size)
        assert sum(n * chunk_size >= position for n in proposed) * chunk_size <= budget
    assert not proposed or max(proposed.values()) == 1


@given(
    st.sampled_from([1, 3, 16, 100, 5000]), st.integers(1, 300), st.integers(1, 60), st.booleans()
)
def test_a_sequence_finds_every_chunk_proposed_once_it_is_recognised(
    chunk_size: int, size: int, count: int, swap: bool
) -> None:
    reads = sequence(0, size, count)
    ahead = ReadAhead(size * count, chunk_size, budget=BUDGET)
    known = set[int]()
    for i, (offset, _) in enumerate(swapped(reads) if swap else reads):
        touched = set(range(offset // chunk_size, chunk_count(offset + size, chunk_size)))
        assert i < 8 or touched <= known
        known |= touched
        known.update(chunks_of(ahead.note(offset, size)))
    assert known == set(range(chunk_count(size * count, chunk_size)))


def test_the_first_read_proposes_nothing_and_the_second_the_next_chunk() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    assert replay(ahead, sequence(0, 128 * KIB, 2)) == [[], [(1, 2)]]


def test_the_window_doubles_with_each_of_the_first_reads_and_then_with_what_is_covered() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, sequence(0, MIB, 8))
    assert proposals == [[], [(2, 3)], [(3, 5)], [(5, 8)], [(8, 13)], [(13, 22)], [], [(22, 40)]]


def test_no_more_is_ahead_than_four_times_what_was_covered() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    mark = 0
    for i, (offset, size) in enumerate(sequence(0, 128 * KIB, 200)):
        mark = max([mark, *chunks_of(ahead.note(offset, size))])
        covered = (i + 1) * 128 * KIB
        assert (mark + 1) * MIB - covered <= max(2 * MIB, 4 * covered + MIB)


def test_reads_of_many_chunks_have_as_much_ahead_as_reads_of_one() -> None:
    ahead = ReadAhead(GIB, 255 * KIB, budget=BUDGET)
    ranges = list(itertools.chain(*replay(ahead, sequence(0, MIB, 6))))
    assert ranges[-1][1] * 255 * KIB - 6 * MIB >= 16 * MIB


def test_a_long_sequence_is_served_in_large_batches_up_to_the_full_window() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, sequence(0, 128 * KIB, 8 * 1024))
    late = [(i, ranges) for i, ranges in enumerate(proposals) if ranges][12:-1]
    assert all(count_of(ranges) == 16 for _, ranges in late)
    assert all(ranges[-1][1] == chunk_count((i + 1) * 128 * KIB, MIB) + 64 for i, ranges in late)
    assert proposals[-1] == []


def test_chunks_larger_than_the_largest_window_are_proposed_one_by_one() -> None:
    size = 2 * WINDOW
    ahead = ReadAhead(10 * size, size, budget=4 * size)
    proposals = replay(ahead, sequence(0, size // 2, 6))
    assert proposals == [[], [(1, 2)], [(2, 3)], [], [(3, 4)], []]


def test_a_budget_of_less_than_a_chunk_proposes_nothing() -> None:
    ahead = ReadAhead(GIB, MIB, budget=MIB - 1)
    assert not any(replay(ahead, sequence(0, MIB, 50)))


def test_reads_of_nothing_or_beyond_the_end_are_not_noted() -> None:
    ahead = ReadAhead(10 * MIB, MIB, budget=BUDGET)
    reads = [(0, MIB), (MIB, 0), (10 * MIB, MIB), (99 * MIB, MIB), (MIB, MIB)]
    assert replay(ahead, reads) == [[], [], [], [], [(2, 3)]]


def test_an_empty_file_has_nothing_to_propose() -> None:
    assert not any(replay(ReadAhead(0, MIB, budget=BUDGET), sequence(0, MIB, 5)))


def test_reading_the_same_again_is_no_progress() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    assert not any(replay(ahead, [(0, MIB)] * 10))


@pytest.mark.parametrize("size", [4 * KIB, 128 * KIB, MIB])
def test_reading_backwards_proposes_nothing(size: int) -> None:
    ahead = ReadAhead(512 * MIB, MIB, budget=BUDGET)
    assert not any(replay(ahead, reads_at(200 * MIB, -size, size, 200)))


@pytest.mark.parametrize("alignment", [1, 4 * KIB])
@pytest.mark.parametrize("seed", range(20))
def test_random_reads_propose_nothing(seed: int, alignment: int) -> None:
    choice = random.Random(seed)
    last = (512 * MIB - 4 * KIB) // alignment
    reads = [(choice.randint(0, last) * alignment, 4 * KIB) for _ in range(1000)]
    assert not any(replay(ReadAhead(512 * MIB, MIB, budget=BUDGET), reads))


@pytest.mark.parametrize("readers_count", [4, 8, MAX_STREAMS])
def test_interleaved_sequences_are_all_recognised(readers_count: int) -> None:
    part = 1600 // readers_count
    ahead = ReadAhead(1600 * MIB, MIB, budget=BUDGET)
    known = set[int]()
    for i in range(part):
        for first in range(0, 1600, part):
            assert i < 10 or first + i in known
            known.update(chunks_of(ahead.note((first + i) * MIB, MIB)))


@pytest.mark.parametrize("order", [(1, 0), (0, 2, 1), (3, 2, 1, 0), (0, 3, 1, 2), (2, 3, 0, 1)])
def test_a_sequence_is_recognised_when_its_requests_arrive_reordered(
    order: tuple[int, ...],
) -> None:
    group = len(order)
    reads = [((i + j) * MIB, MIB) for i in range(0, 40 * group, group) for j in order]
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    known = set[int]()
    for i, (offset, size) in enumerate(reads):
        assert i < 6 * group or offset // MIB in known
        known.add(offset // MIB)
        known.update(chunks_of(ahead.note(offset, size)))
    assert 40 * group + 47 <= max(known) < 40 * group + 64


def test_two_readers_share_the_budget() -> None:
    ahead = ReadAhead(GIB, MIB, budget=32 * MIB)
    known = set[int]()
    for i in range(100):
        for first in (0, 512):
            known.update(chunks_of(ahead.note((first + i) * MIB, MIB)))
            mine = [n for n in known if first + i < n < first + 512]
            assert i < 10 or 12 <= len(mine) <= 16


def test_a_reader_that_left_gives_its_share_back() -> None:
    ahead = ReadAhead(GIB, MIB, budget=32 * MIB)
    replay(ahead, sequence(512 * MIB, MIB, 10))
    known = set[int]()
    lengths = []
    for i in range(ACTIVE_NOTES + 40):
        known.update(chunks_of(ahead.note(i * MIB, MIB)))
        lengths.append(sum(n > i for n in known))
    assert max(lengths[:ACTIVE_NOTES]) == 16
    assert max(lengths) == 32


def test_what_lies_ahead_of_one_reader_is_not_proposed_for_another() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    first = set(itertools.chain(*map(chunks_of, replay(ahead, sequence(0, MIB, 30)))))
    start = max(first) - 20
    second = list(itertools.chain(*map(chunks_of, replay(ahead, sequence(start * MIB, MIB, 10)))))
    assert second[0] == max(first) + 1
    assert not first & set(second)


def test_a_stride_is_given_just_the_chunks_of_its_next_reads() -> None:
    ahead = ReadAhead(10 * GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, reads_at(0, 100 * MIB, 2 * MIB, 5))
    assert proposals[:2] == [[], []]
    assert proposals[2:] == [
        [(300, 302)],
        [(400, 402), (500, 502)],
        [(600, 602), (700, 702), (800, 802)],
    ]


@given(
    chunk_size=st.sampled_from([7, 16, 100]),
    size=st.integers(1, 400),
    more=st.integers(1, 5000),
    start=st.integers(0, 500),
    count=st.integers(3, 80),
)
def test_a_stride_finds_its_chunks_proposed_and_no_others(
    chunk_size: int, size: int, more: int, start: int, count: int
) -> None:
    stride = max(size, chunk_size) + more
    reads = reads_at(start, stride, size, count)
    ahead = ReadAhead(start + (count + 100) * stride, chunk_size, budget=BUDGET)
    touched = [
        set(range(offset // chunk_size, chunk_count(offset + size, chunk_size)))
        for offset, _ in reads_at(start, stride, size, count + 100)
    ]
    known, proposed = set[int](), list[int]()
    for i, (offset, _) in enumerate(reads):
        new = chunks_of(ahead.note(offset, size))
        # A stride that might be a sequence with requests still missing takes longer to tell.
        if i >= 4 or stride > 9 * size:
            assert set(new) <= set().union(*touched[i + 1 : i + 1 + MAX_STRIDES])
        assert i < 6 or touched[i] <= known
        known |= touched[i]
        known.update(new)
        proposed += new
    assert len(proposed) == len(set(proposed))


def test_a_narrow_stride_needs_three_equal_gaps_and_no_chunk_between_is_proposed() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, reads_at(0, 4 * MIB, MIB, 6))
    assert proposals[:3] == [[], [], []]
    assert chunks_of(list(itertools.chain(*proposals))) == [16, 20, 24, 28, 32, 36]


def test_a_stride_within_a_chunk_is_read_as_a_sequence() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, reads_at(0, MIB // 2, 16 * KIB, 40))
    numbers = chunks_of(list(itertools.chain(*proposals)))
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= 3
    assert numbers[-1] > 40


def test_a_strides_reads_ahead_are_bounded_by_the_budget() -> None:
    ahead = ReadAhead(100 * GIB, MIB, budget=5 * MIB)
    known = set[int]()
    for i, (offset, size) in enumerate(reads_at(0, 100 * MIB, 2 * MIB, 50)):
        known.update(chunks_of(ahead.note(offset, size)))
        assert sum(n >= 100 * i + 2 for n in known) == (0 if i < 2 else 2 if i == 2 else 4)


def test_a_long_stride_is_served_in_batches() -> None:
    ahead = ReadAhead(100 * GIB, MIB, budget=BUDGET)
    proposals = replay(ahead, reads_at(0, 100 * MIB, 512 * KIB, 200))
    sizes = [count_of(ranges) for ranges in proposals[60:] if ranges]
    assert set(sizes) == {MAX_STRIDES // 4}


def test_a_stride_whose_gaps_are_read_later_was_a_reordered_sequence() -> None:
    ahead = ReadAhead(GIB, MIB, budget=BUDGET)
    replay(ahead, reads_at(1 * MIB, 2 * MIB, MIB, 8))
    replay(ahead, reads_at(8 * MIB, 2 * MIB, MIB, 4))
    proposals = replay(ahead, swapped(sequence(16 * MIB, MIB, 4)))
    assert proposals == [[], [], [(20, 21)], []]


def test_a_stride_that_turns_into_a_sequence_is_recognised_again() -> None:
    ahead = ReadAhead(10 * GIB, MIB, budget=BUDGET)
    replay(ahead, reads_at(0, 100 * MIB, MIB, 8))
    proposals = replay(ahead, sequence(701 * MIB, MIB, 2))
    assert proposals == [[(702, 703)], [(703, 705)]]


def test_a_forgotten_reader_starts_anew() -> None:
    ahead = ReadAhead(100 * GIB, MIB, budget=BUDGET)
    replay(ahead, sequence(0, MIB, 2))
    strangers = [(GIB + i * i * 50 * MIB, MIB + i) for i in range(MAX_STREAMS)]
    assert not any(replay(ahead, strangers))
    assert replay(ahead, sequence(2 * MIB, MIB, 2)) == [[], [(4, 5)]]
