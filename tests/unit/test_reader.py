"""Reading through the cache: each chunk is fetched once, ahead of time, however many want it."""

import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple, cast

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ENTRY_BYTES, ChunkCache
from gridfsmount.core.chunks import Bytes, chunk_count
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged, FileSystemError, StoreUnavailable
from gridfsmount.reading.reader import KEEPING, Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.contents import Contents
from gridfsmount.telemetry.counters import Reading
from gridfsmount.workers import AHEAD_THREADS, Errands, Workers

PATIENCE = 10.0
ROOMY = 1 << 30
EXAMPLES = 100
"""Each example reads for a while, through threads."""

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class CountingContents:
    """Contents in memory that count the queries for each chunk, and can be held up."""

    def __init__(self, data: bytes, chunk_size: int, number: int = 0) -> None:
        self.data = data
        identity = ContentId(b"c%d" % number, f"c{number}")
        self.content = Content(identity, len(data), chunk_size, uploaded_ms=1)
        self.fetched: Counter[int] = Counter()
        self.queries: list[tuple[int, int]] = []
        self.failures: list[FileSystemError] = []
        self.damaged: set[int] = set()
        self.out_of_reach: set[int] = set()
        self.gates: dict[tuple[int, int], threading.Event] = {}
        """Queries that wait until somebody lets them go on."""
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def read(
        self, content: Content, first: int, past: int, *, settled: bool = False
    ) -> list[bytes]:
        assert content == self.content
        assert 0 <= first < past <= chunk_count(content.length, content.chunk_size)
        self.queries.append((first, past))
        self.fetched.update(range(first, past))
        self.began.set()
        assert self.go_on.wait(PATIENCE)
        assert self.gates.get((first, past), self.go_on).wait(PATIENCE)
        if self.failures:
            raise self.failures.pop()
        if self.damaged & set(range(first, past)):
            raise Damaged("a chunk was altered")
        if self.out_of_reach & set(range(first, past)):
            raise StoreUnavailable("no answer")
        size = content.chunk_size
        return [self.data[n * size : (n + 1) * size] for n in range(first, past)]

    @property
    def count(self) -> int:
        return chunk_count(self.content.length, self.content.chunk_size)


class Library:
    """Several such contents."""

    def __init__(self, *contents: CountingContents) -> None:
        self.contents = {each.content.id: each for each in contents}

    def read(
        self, content: Content, first: int, past: int, *, settled: bool = False
    ) -> list[bytes]:
        return self.contents[content.id].read(content, first, past, settled=settled)


class HeldWorkers(Workers):
    """Workers whose threads can be held up, lane by lane."""

    def __init__(self) -> None:
        super().__init__()
        self.let_ahead = threading.Event()
        self.let_ahead.set()
        self.let_disk = threading.Event()
        self.let_disk.set()

    async def ahead(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return await super().ahead(_after(self.let_ahead, call, *args))

    async def disk(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return await super().disk(_after(self.let_disk, call, *args))

    def let_go(self) -> None:
        self.let_ahead.set()
        self.let_disk.set()


def _after(gate: threading.Event, call: Callable[[*Ts], T], *args: *Ts) -> Callable[[], T]:
    def wait() -> T:
        assert gate.wait(PATIENCE)
        return call(*args)

    return wait


class Bench:
    """A reader, what it is made of, and its errands."""

    def __init__(
        self,
        contents: CountingContents | Library,
        nursery: trio.Nursery,
        capacity: int,
        disk: DiskCache | None,
    ) -> None:
        self.nursery = nursery
        self.workers = HeldWorkers()
        self.cache = ChunkCache(capacity)
        source = Source(cast(Contents, contents), disk)
        self.counts = Reading()
        self.reader = Reader(source, self.workers, self.cache, Errands(nursery), self.counts)

    async def quiet(self) -> None:
        """Wait until no errand is left."""
        await eventually(lambda: not self.nursery.child_tasks)

    async def read_all(self, contents: CountingContents, size: int, *, start: int = 0) -> None:
        """Read to the end, `size` bytes at a time."""
        for offset in range(start, len(contents.data), size):
            await read_right(self.reader, contents, offset, size)


async def read_right(reader: Reader, contents: CountingContents, offset: int, size: int) -> None:
    found = await reader.read(contents.content, offset, size)
    assert bytes(found) == contents.data[offset : offset + size]


@asynccontextmanager
async def reading(
    contents: CountingContents | Library, capacity: int = ROOMY, disk: DiskCache | None = None
) -> AsyncIterator[Bench]:
    """A reader whose errands are done when the block ends."""
    async with trio.open_nursery() as nursery:
        bench = Bench(contents, nursery, capacity, disk)
        try:
            yield bench
        finally:
            bench.workers.let_go()


def cached(bench: Bench, contents: CountingContents) -> set[int]:
    """Numbers of the chunks that are in memory."""
    return {n for n in range(contents.count) if (contents.content.id, n) in bench.cache}


async def eventually(happened: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not happened():  # noqa: ASYNC110 - some of it happens in threads
            await trio.sleep(0.0005)


def eventually_asked(contents: CountingContents, n: int) -> None:
    """Give a second query for a chunk the time to come; it should not."""
    deadline = time.monotonic() + 0.2
    while contents.fetched[n] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


def text(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


# One fetch for all


async def test_concurrent_readers_of_a_chunk_share_one_query() -> None:
    contents = CountingContents(text(1000), 100)
    contents.go_on.clear()
    answers: list[bytes] = []
    async with reading(contents) as bench:

        async def read_one() -> None:
            answers.append(bytes(await bench.reader.read(contents.content, 350, 20)))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(read_one)
            await trio.testing.wait_all_tasks_blocked()
            contents.go_on.set()
    assert answers == [contents.data[350:370]] * 50
    assert contents.fetched[3] == 1
    assert len(contents.queries) == 1


async def test_each_chunk_that_a_read_looks_for_counts_once() -> None:
    contents = CountingContents(text(1000), 100)
    contents.go_on.clear()
    async with reading(contents) as bench:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read_right, bench.reader, contents, 300, 100)
            await trio.testing.wait_all_tasks_blocked()
            contents.go_on.set()
        await read_right(bench.reader, contents, 350, 100)
        counts = bench.counts
        assert (counts.hits, counts.waits, counts.misses) == (1, 2, 2)
        await bench.quiet()
        assert counts.server.chunks == sum(contents.fetched.values())
        assert counts.server.bytes == 100 * counts.server.chunks


async def test_what_a_read_awaits_was_read_ahead_for_it() -> None:
    contents = CountingContents(text(10_000), 100)
    async with reading(contents) as bench:
        await bench.read_all(contents, 50)
        await bench.quiet()
        assert bench.cache.fetched > 0
        assert (bench.cache.used, bench.cache.wasted) == (bench.cache.fetched, 0)


async def test_neighbouring_chunks_come_in_one_query() -> None:
    contents = CountingContents(text(1000), 100)
    async with reading(contents) as bench:
        await read_right(bench.reader, contents, 50, 900)
    assert len(contents.queries) == 1


async def test_what_is_cached_is_not_fetched_again() -> None:
    contents = CountingContents(text(1000), 100)
    async with reading(contents) as bench:
        await bench.reader.read(contents.content, 0, 1000)
        await bench.reader.read(contents.content, 123, 456)
    assert max(contents.fetched.values()) == 1


async def test_overlapping_readers_fetch_each_chunk_once() -> None:
    contents = CountingContents(text(1000), 10)
    contents.go_on.clear()
    async with reading(contents) as bench, trio.open_nursery() as nursery:
        for offset in range(0, 1000, 37):
            nursery.start_soon(read_right, bench.reader, contents, offset, 300)
        await trio.testing.wait_all_tasks_blocked()
        contents.go_on.set()
    assert max(contents.fetched.values()) == 1


async def test_a_read_with_a_gap_in_it_does_not_fetch_what_another_is_fetching() -> None:
    contents = CountingContents(text(300), 100)
    async with reading(contents) as bench:
        await bench.reader.read(contents.content, 100, 100)
        contents.gates = {(0, 1): threading.Event(), (2, 3): threading.Event()}
        try:
            async with trio.open_nursery() as nursery:
                # Wants all three, and fetches the first of them.
                nursery.start_soon(read_right, bench.reader, contents, 0, 300)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(read_right, bench.reader, contents, 200, 100)  # wants the last
                await trio.testing.wait_all_tasks_blocked()
                contents.gates[0, 1].set()
                await trio.to_thread.run_sync(eventually_asked, contents, 2)
                contents.gates[2, 3].set()
        finally:
            for gate in contents.gates.values():
                gate.set()
    assert contents.fetched == {0: 1, 1: 1, 2: 1}


@given(
    length=st.integers(0, 300),
    chunk_size=st.integers(1, 64),
    capacity=st.sampled_from([0, 400, 1000, ROOMY]),
    ranges=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 320)), max_size=8),
)
@settings(max_examples=EXAMPLES)
def test_any_ranges_read_at_once_give_the_right_bytes(
    length: int, chunk_size: int, capacity: int, ranges: list[tuple[int, int]]
) -> None:
    contents = CountingContents(text(length), chunk_size)

    async def read_all() -> None:
        async with reading(contents, capacity) as bench, trio.open_nursery() as nursery:
            for offset, size in ranges:
                nursery.start_soon(read_right, bench.reader, contents, offset, size)

    trio.run(read_all)
    if capacity == ROOMY:
        wanted = Counter(
            n
            for offset, size in ranges
            for n in range(offset // chunk_size, chunk_count(offset + size, chunk_size))
        )
        # What was left behind is fetched again for who comes back to it.
        assert all(count <= max(1, wanted[n]) for n, count in contents.fetched.items())


async def test_nothing_is_asked_for_beyond_the_end() -> None:
    contents = CountingContents(text(100), 100)
    async with reading(contents) as bench:
        assert await bench.reader.read(contents.content, 100, 10) == b""
        await read_right(bench.reader, contents, 90, 1000)
    assert contents.queries == [(0, 1)]


# Trouble


async def test_a_failed_fetch_fails_its_reader_and_the_next_one_tries_again() -> None:
    contents = CountingContents(text(100), 100)
    contents.failures = [StoreUnavailable("down")]
    async with reading(contents) as bench:
        with pytest.raises(StoreUnavailable):
            await bench.reader.read(contents.content, 0, 100)
        await read_right(bench.reader, contents, 0, 100)


async def test_readers_that_waited_for_a_fetch_without_an_answer_are_told_and_ask_no_more() -> None:
    contents = CountingContents(text(100), 100)
    contents.failures = [StoreUnavailable("down")]
    contents.go_on.clear()
    failed = []
    async with reading(contents) as bench:

        async def read_one() -> None:
            with pytest.raises(StoreUnavailable, match="down"):
                await bench.reader.read(contents.content, 0, 100)
            failed.append(True)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read_one)
            await trio.testing.wait_all_tasks_blocked()
            contents.go_on.set()
        assert len(failed) == 5
        assert contents.queries == [(0, 1)]
        await read_right(bench.reader, contents, 0, 100)


async def test_readers_that_waited_for_a_damaged_fetch_look_for_themselves() -> None:
    contents = CountingContents(text(200), 100)
    contents.damaged = {1}
    contents.go_on.clear()
    async with reading(contents) as bench:

        async def read_both() -> None:
            with pytest.raises(Damaged):
                await bench.reader.read(contents.content, 0, 200)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_both)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(read_right, bench.reader, contents, 0, 100)
            await trio.testing.wait_all_tasks_blocked()
            contents.go_on.set()


async def test_what_a_failed_fetch_did_not_come_to_is_not_asked_for_either() -> None:
    contents = CountingContents(text(5000), 1)  # more chunks than one query brings
    contents.go_on.clear()
    async with reading(contents) as bench:

        async def read_in_vain(offset: int, size: int) -> None:
            with pytest.raises(StoreUnavailable):
                await bench.reader.read(contents.content, offset, size)

        contents.out_of_reach = set(range(5000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_in_vain, 0, 5000)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(read_in_vain, 4990, 10)
            await trio.testing.wait_all_tasks_blocked()
            contents.go_on.set()
    assert len(contents.queries) == 1


async def test_a_reader_that_gives_up_takes_nobody_with_it() -> None:
    contents = CountingContents(text(100), 100)
    contents.go_on.clear()
    async with reading(contents) as bench, trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            nursery.start_soon(trio.to_thread.run_sync, contents.began.wait, PATIENCE)
            async with trio.open_nursery() as inner:
                inner.start_soon(read_right, bench.reader, contents, 0, 100)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(read_right, bench.reader, contents, 0, 100)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel()
                contents.go_on.set()


async def test_damage_that_nobody_asked_for_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    contents = CountingContents(text(1000), 100)
    contents.damaged = {7}
    async with reading(contents) as bench:
        for n in range(7):  # in order, so that the reader may look ahead
            await read_right(bench.reader, contents, n * 100, 100)
        with pytest.raises(Damaged):
            await bench.reader.read(contents.content, 700, 100)
        await read_right(bench.reader, contents, 800, 200)
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


async def test_read_ahead_without_an_answer_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    contents = CountingContents(text(2000), 100)
    async with reading(contents) as bench:
        for n in range(4):
            await read_right(bench.reader, contents, n * 100, 100)
            await bench.quiet()
        contents.out_of_reach = set(range(max(contents.fetched) + 1, 20))
        for n in range(4, min(contents.out_of_reach)):
            await read_right(bench.reader, contents, n * 100, 100)
            await bench.quiet()
        assert set(contents.fetched) & contents.out_of_reach  # it was tried
        contents.out_of_reach = set()
        await bench.read_all(contents, 100, start=400)
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


# Reading ahead


@given(
    chunk_size=st.integers(1, 64),
    size=st.integers(1, 300),
    start=st.integers(0, 200),
)
@settings(max_examples=EXAMPLES)
def test_a_sequence_is_fetched_before_it_is_asked_for_and_once(
    chunk_size: int, size: int, start: int
) -> None:
    contents = CountingContents(text(start + size * 20 + 7), chunk_size)

    async def read_in_order() -> None:
        async with reading(contents) as bench:
            for index, offset in enumerate(range(start, len(contents.data), size)):
                asked = len(contents.queries)
                await read_right(bench.reader, contents, offset, size)
                await bench.quiet()
                if index >= 2:
                    following = chunk_count(offset + size, chunk_size)
                    assert following >= contents.count or following in contents.fetched
                if index >= 3:
                    news = contents.queries[asked:]
                    assert all(first > offset // chunk_size for first, _ in news)

    trio.run(read_in_order)
    assert set(contents.fetched) == set(range(start // chunk_size, contents.count))
    assert max(contents.fetched.values()) == 1


@given(
    chunk_size=st.integers(1, 64),
    size=st.integers(1, 300),
    at_once=st.integers(2, 4),
)
@settings(max_examples=EXAMPLES)
def test_a_sequence_of_requests_that_come_several_at_once_is_fetched_once(
    chunk_size: int, size: int, at_once: int
) -> None:
    contents = CountingContents(text(size * 20), chunk_size)
    offsets = range(0, len(contents.data), size)

    async def read_in_order() -> None:
        async with reading(contents) as bench:
            for begin in range(0, len(offsets), at_once):  # as the kernel's own read-ahead does
                async with trio.open_nursery() as nursery:
                    for offset in offsets[begin : begin + at_once]:
                        nursery.start_soon(read_right, bench.reader, contents, offset, size)

    trio.run(read_in_order)
    assert max(contents.fetched.values()) == 1


async def test_a_request_that_comes_after_a_short_last_one_is_not_fetched_again() -> None:
    contents = CountingContents(text(2547), 21)
    async with reading(contents) as bench:
        for index in [*range(18), 19, 20, 18]:
            await read_right(bench.reader, contents, index * 127, 127)
            await bench.quiet()
    assert max(contents.fetched.values()) == 1


async def test_random_reads_fetch_exactly_the_chunks_they_ask_for() -> None:
    contents = CountingContents(text(1 << 20), 100)
    wanted: Counter[int] = Counter()
    offset = 1
    async with reading(contents) as bench:
        for _ in range(200):
            offset = offset * 48271 % 0x7FFFFFFF  # Park and Miller's generator
            at = offset % (len(contents.data) - 150)
            await read_right(bench.reader, contents, at, 150)
            wanted.update(range(at // 100, chunk_count(at + 150, 100)))
    assert set(contents.fetched) == set(wanted)


async def start_sequences(bench: Bench, contents: CountingContents) -> list[int]:
    """One more than can be read ahead of at once; where each goes on."""
    bench.workers.let_ahead.clear()
    starts = [3000 * n * n for n in range(AHEAD_THREADS + 1)]
    for start in starts:
        await read_right(bench.reader, contents, start, 100)
        await read_right(bench.reader, contents, start + 100, 100)
        await trio.testing.wait_all_tasks_blocked()
    return [start + 200 for start in starts]


async def test_what_waits_for_its_turn_is_flown_at_once_by_who_wants_it() -> None:
    contents = CountingContents(text(100_000), 100)
    async with reading(contents) as bench:
        *others, last = await start_sequences(bench, contents)
        with trio.fail_after(PATIENCE / 2):
            await read_right(bench.reader, contents, last, 100)
        assert contents.fetched[last // 100] == 1
        assert all(contents.fetched[other // 100] == 0 for other in others)
    assert max(contents.fetched.values()) == 1


async def test_two_that_want_what_waits_for_its_turn_share_its_flight() -> None:
    contents = CountingContents(text(100_000), 100)
    async with reading(contents) as bench:
        *_, last = await start_sequences(bench, contents)
        with trio.fail_after(PATIENCE / 2):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(read_right, bench.reader, contents, last, 50)
    assert contents.fetched[last // 100] == 1


async def test_who_waits_is_answered_while_all_read_ahead_is_held_up() -> None:
    contents = CountingContents(text(100_000), 100)
    async with reading(contents) as bench:
        await start_sequences(bench, contents)
        with trio.fail_after(PATIENCE / 2):
            for offset in (90_000, 45_000, 75_000, 33_000):
                await read_right(bench.reader, contents, offset, 100)


# What stays in memory


@pytest.mark.parametrize(("chunk_size", "size"), [(100, 100), (100, 30), (10, 70), (64, 200)])
async def test_a_sequence_leaves_only_its_last_chunks_and_what_is_ahead(
    chunk_size: int, size: int
) -> None:
    contents = CountingContents(text(20_000), chunk_size)
    async with reading(contents) as bench:
        for offset in range(0, 15_000, size):
            await read_right(bench.reader, contents, offset, size)
            await bench.quiet()
        end = offset + size
        held = cached(bench, contents)
        assert min(held) >= (end - 6 * size) // chunk_size  # requests may come late
        assert min(held) <= end // chunk_size
        assert bench.cache.size == sum(
            len(contents.data[n * chunk_size : (n + 1) * chunk_size]) + ENTRY_BYTES for n in held
        )


async def test_what_lies_ahead_unread_never_exceeds_half_of_the_cache() -> None:
    contents = CountingContents(text(200_000), 1000)
    capacity = 40_000
    most = 0
    async with reading(contents, capacity) as bench:
        for offset in range(0, len(contents.data), 1000):
            await read_right(bench.reader, contents, offset, 1000)
            await bench.quiet()
            ahead = [n for n in contents.fetched if n > offset // 1000]
            most = max(most, 1000 * len(ahead))
    assert capacity // 4 <= most <= capacity // 2
    assert max(contents.fetched.values()) == 1


async def test_what_is_fetched_ahead_stays_until_it_is_read_however_small_the_chunks() -> None:
    contents = CountingContents(text(100_000), 100)
    async with reading(contents, 40_000) as bench:
        for offset in range(0, len(contents.data), 100):
            await read_right(bench.reader, contents, offset, 100)
            await bench.quiet()
    assert max(contents.fetched.values()) == 1


async def test_sequences_of_several_contents_share_the_cache() -> None:
    size = 20_000
    shelf = [CountingContents(text(100 * size), size, number) for number in range(4)]
    async with reading(Library(*shelf), 100 * size) as bench:
        for offset in range(0, 100 * size, size):
            for contents in shelf:
                await read_right(bench.reader, contents, offset, size)
                await bench.quiet()
    assert max(max(each.fetched.values()) for each in shelf) == 1


# The local disk


def disk_cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", 100 << 20, lake="lake", reserve=0)


async def test_chunks_go_to_disk_and_come_from_there_without_a_query(tmp_path: Path) -> None:
    contents = CountingContents(text(30_000), 1000)
    async with reading(contents, disk=disk_cache(tmp_path)) as bench:
        await bench.read_all(contents, 700)
    assert contents.fetched == dict.fromkeys(range(30), 1)
    contents.queries.clear()
    async with reading(contents, disk=disk_cache(tmp_path)) as bench:
        await bench.read_all(contents, 700)
        await read_right(bench.reader, contents, 12_345, 10)
    assert contents.queries == []


async def test_what_the_disk_lacks_comes_from_the_store(tmp_path: Path) -> None:
    contents = CountingContents(text(10_000), 1000)
    disk = disk_cache(tmp_path)
    async with reading(contents, disk=disk) as bench:
        await read_right(bench.reader, contents, 2000, 3000)
    contents.queries.clear()
    async with reading(contents, disk=disk) as bench:
        await read_right(bench.reader, contents, 0, 10_000)
    assert contents.queries == [(0, 2), (5, 10)]
    assert disk.holds(contents.content, 0, 10)


async def test_small_contents_that_were_brought_whole_go_to_disk(tmp_path: Path) -> None:
    contents = CountingContents(text(250), 100)
    disk = disk_cache(tmp_path)
    chunks: Sequence[Bytes] = [contents.data[:100], contents.data[100:200], contents.data[200:]]
    async with reading(contents, disk=disk) as bench:
        bench.reader.take(contents.content, chunks)
        await read_right(bench.reader, contents, 0, 250)
    assert contents.queries == []
    assert disk.holds(contents.content, 0, 3)


async def test_a_slow_disk_holds_up_no_reader(tmp_path: Path) -> None:
    contents = CountingContents(text(100_000), 1000)
    disk = disk_cache(tmp_path)
    async with reading(contents, disk=disk) as bench:
        bench.workers.let_disk.clear()
        with trio.fail_after(PATIENCE / 2):
            for n in range(KEEPING):
                await read_right(bench.reader, contents, (n * 37 % 100) * 1000, 1000)
    assert all(disk.holds(contents.content, n, n + 1) for n in contents.fetched)


async def test_a_disk_that_does_not_answer_holds_up_no_reader_for_good(tmp_path: Path) -> None:
    contents = CountingContents(text(100_000), 1000)
    async with reading(contents, disk=disk_cache(tmp_path)) as bench:
        bench.workers.let_disk.clear()
        with trio.fail_after(1):
            for n in range(KEEPING + 2):
                await read_right(bench.reader, contents, (n * 37 % 100) * 1000, 1000)
