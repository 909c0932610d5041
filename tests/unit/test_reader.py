"""Reading through the cache: each chunk is fetched once, however many want it."""

import threading
import time
from collections import Counter
from typing import cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import chunk_count
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged, FileSystemError, StoreUnavailable
from gridfsmount.reading.reader import Reader
from gridfsmount.store.contents import Contents
from gridfsmount.workers import Workers

PATIENCE = 10.0
ROOMY = 1 << 30


class CountingContents:
    """Contents in memory that count the queries for each chunk, and can be held up."""

    def __init__(self, data: bytes, chunk_size: int) -> None:
        self.data = data
        self.content = Content(ContentId(b"c", "c"), len(data), chunk_size)
        self.fetched: Counter[int] = Counter()
        self.queries: list[tuple[int, int]] = []
        self.failures: list[FileSystemError] = []
        self.damaged: set[int] = set()
        self.gates: dict[tuple[int, int], threading.Event] = {}
        """Queries that wait until somebody lets them go on."""
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def read(self, content: Content, first: int, past: int) -> list[bytes]:
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
        size = content.chunk_size
        return [self.data[n * size : (n + 1) * size] for n in range(first, past)]

    def reader(self, cache: int = ROOMY) -> Reader:
        return Reader(cast(Contents, self), Workers(), ChunkCache(cache))


def eventually_asked(contents: CountingContents, n: int) -> None:
    """Give a second query for a chunk the time to come; it should not."""
    deadline = time.monotonic() + 0.2
    while contents.fetched[n] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


def text(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


async def test_concurrent_readers_of_a_chunk_share_one_query() -> None:
    contents = CountingContents(text(1000), 100)
    reader = contents.reader()
    contents.go_on.clear()
    answers: list[bytes] = []

    async def read_one() -> None:
        answers.append(await reader.read(contents.content, 350, 20))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(read_one)
        await trio.testing.wait_all_tasks_blocked()
        contents.go_on.set()
    assert answers == [contents.data[350:370]] * 50
    assert contents.fetched[3] == 1
    assert len(contents.queries) == 1


async def test_neighbouring_chunks_come_in_one_query() -> None:
    contents = CountingContents(text(1000), 100)
    assert await contents.reader().read(contents.content, 50, 900) == contents.data[50:950]
    assert len(contents.queries) == 1


async def test_what_is_cached_is_not_fetched_again() -> None:
    contents = CountingContents(text(1000), 100)
    reader = contents.reader()
    await reader.read(contents.content, 0, 1000)
    await reader.read(contents.content, 123, 456)
    assert max(contents.fetched.values()) == 1


async def test_overlapping_readers_fetch_each_chunk_once() -> None:
    contents = CountingContents(text(1000), 10)
    reader = contents.reader()
    contents.go_on.clear()

    async def read_one(offset: int) -> None:
        assert await reader.read(contents.content, offset, 300) == text(1000)[offset : offset + 300]

    async with trio.open_nursery() as nursery:
        for offset in range(0, 1000, 37):
            nursery.start_soon(read_one, offset)
        await trio.testing.wait_all_tasks_blocked()
        contents.go_on.set()
    assert max(contents.fetched.values()) == 1


async def test_a_read_with_a_gap_in_it_does_not_fetch_what_another_is_fetching() -> None:
    contents = CountingContents(text(300), 100)
    reader = contents.reader()
    await reader.read(contents.content, 100, 100)
    contents.gates = {(0, 1): threading.Event(), (2, 3): threading.Event()}

    async def read_one(offset: int, size: int) -> None:
        found = await reader.read(contents.content, offset, size)
        assert found == contents.data[offset : offset + size]

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_one, 0, 300)  # wants the first chunk and the last
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(read_one, 200, 100)  # wants the last
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
def test_any_ranges_read_at_once_give_the_right_bytes(
    length: int, chunk_size: int, capacity: int, ranges: list[tuple[int, int]]
) -> None:
    contents = CountingContents(text(length), chunk_size)

    async def read_all() -> None:
        reader = contents.reader(capacity)

        async def read_one(offset: int, size: int) -> None:
            found = await reader.read(contents.content, offset, size)
            assert found == contents.data[offset : offset + size]

        async with trio.open_nursery() as nursery:
            for offset, size in ranges:
                nursery.start_soon(read_one, offset, size)

    trio.run(read_all)
    if capacity == ROOMY:
        assert all(count == 1 for count in contents.fetched.values())


async def test_nothing_is_asked_for_beyond_the_end() -> None:
    contents = CountingContents(text(100), 100)
    assert await contents.reader().read(contents.content, 100, 10) == b""
    assert await contents.reader().read(contents.content, 90, 1000) == contents.data[90:]
    assert contents.queries == [(0, 1)]


async def test_a_failed_fetch_fails_its_reader_and_the_next_one_tries_again() -> None:
    contents = CountingContents(text(100), 100)
    contents.failures = [StoreUnavailable("down")]
    reader = contents.reader()
    with pytest.raises(StoreUnavailable):
        await reader.read(contents.content, 0, 100)
    assert await reader.read(contents.content, 0, 100) == contents.data


async def test_readers_that_waited_for_a_failed_fetch_try_for_themselves() -> None:
    contents = CountingContents(text(100), 100)
    contents.failures = [StoreUnavailable("down")]
    contents.go_on.clear()
    reader = contents.reader()
    outcomes: list[bytes | None] = []

    async def read_one() -> None:
        try:
            outcomes.append(await reader.read(contents.content, 0, 100))
        except StoreUnavailable:
            outcomes.append(None)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read_one)
        await trio.testing.wait_all_tasks_blocked()
        contents.go_on.set()
    assert sorted(outcomes, key=str) == sorted([None, *[contents.data] * 4], key=str)


async def test_a_reader_that_gives_up_takes_nobody_with_it() -> None:
    contents = CountingContents(text(100), 100)
    contents.go_on.clear()
    reader = contents.reader()

    async def read_one() -> None:
        assert await reader.read(contents.content, 0, 100) == contents.data

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            nursery.start_soon(trio.to_thread.run_sync, contents.began.wait, PATIENCE)
            async with trio.open_nursery() as inner:
                inner.start_soon(read_one)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(read_one)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel()
                contents.go_on.set()


async def test_damage_that_nobody_asked_for_disturbs_nobody() -> None:
    contents = CountingContents(text(1000), 100)
    contents.damaged = {7}
    reader = contents.reader()
    for n in range(7):  # in order, so that the reader may look ahead
        found = await reader.read(contents.content, n * 100, 100)
        assert found == contents.data[n * 100 : n * 100 + 100]
    with pytest.raises(Damaged):
        await reader.read(contents.content, 700, 100)
    assert await reader.read(contents.content, 800, 200) == contents.data[800:]
