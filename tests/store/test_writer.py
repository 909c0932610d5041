"""The chunked writer against a bytearray: what is written is what is read and committed."""

import hashlib
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import pytest
import trio
from gridfs import GridFSBucket
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import MIN_CHUNK_SIZE, chunk_count
from gridfsmount.core.model import Content, Node
from gridfsmount.errors import FileTooBig, NoSpace
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.contents import Contents
from gridfsmount.store.encoding import content_id, content_key
from gridfsmount.store.lake import Lake
from gridfsmount.workers import Errands, Workers
from gridfsmount.writing import writer as module
from gridfsmount.writing.flights import DirtyBudget
from gridfsmount.writing.writer import ChunkedWriter
from tests.store.lakes import Garden, one_deployment, raw

pytestmark = one_deployment

CHUNK = MIN_CHUNK_SIZE
WRITER_BYTES = 3 * CHUNK
BATCH_BYTES = 2 * CHUNK
MOST = 10 * CHUNK
PATIENCE = 30.0

EDGES = st.builds(
    lambda n, d: max(0, n * CHUNK + d), st.integers(0, 9), st.sampled_from([-1, 0, 0, 0, 1])
)
OFFSETS = EDGES | st.integers(0, MOST)
SIZES = EDGES | st.integers(0, 200) | st.integers(0, 4 * CHUNK)
OPERATIONS = st.lists(
    st.tuples(st.just("write"), OFFSETS, SIZES)
    | st.tuples(st.just("append"), st.just(0), SIZES)
    | st.tuples(st.just("truncate"), OFFSETS | st.just(0), st.just(0))
    | st.tuples(st.just("read"), OFFSETS, SIZES)
    | st.tuples(st.just("commit"), st.just(0), st.just(0)),
    max_size=14,
)
FAILED_COMMIT = st.just(("finish", 0, 0))
Operation: TypeAlias = tuple[str, int, int]
T = TypeVar("T")


class WatchedBudget(DirtyBudget):
    """Remembers the most that was ever held."""

    most = 0

    def __setattr__(self, name: str, value: int) -> None:
        super().__setattr__(name, value)
        if name == "used":
            assert value >= 0
            self.most = max(self.most, value)


class Bench:
    """One file of a lake, its writer, and what the file should be."""

    def __init__(
        self,
        garden: Garden,
        errands: Errands,
        node: Node,
        base: Content | None,
        data: bytes,
        whole: bool,
    ) -> None:
        self.garden, self.lake, self.node = garden, garden.lake, node
        self.model = bytearray(data)
        self.budget = WatchedBudget()
        workers = Workers()
        reader = Reader(Source(self.lake.contents), workers, ChunkCache(1 << 20), errands)
        self.writer = ChunkedWriter(
            contents=self.lake.contents,
            leases=self.lake.leases,
            read_base=reader.read,
            workers=workers,
            errands=errands,
            budget=self.budget,
            inode=node.inode,
            name="file",
            base=base,
            chunk_size=CHUNK,
            whole=whole,
        )

    async def do(self, operation: Operation, random_: random.Random) -> None:
        what, offset, size = operation
        match what:
            case "write" | "append":
                offset = len(self.model) if what == "append" else offset
                data = random_.randbytes(size)
                await self.writer.write(offset, data)
                if data:
                    self.model.extend(bytes(max(0, offset - len(self.model))))
                    self.model[offset : offset + size] = data
            case "truncate":
                await self.writer.truncate(offset)
                del self.model[offset:]
                self.model.extend(bytes(offset - len(self.model)))
            case "read":
                assert await self.writer.read(offset, size) == self.model[offset : offset + size]
            case "finish":
                await self.writer.finish()  # and then the commit failed
            case "commit":
                await self.commit()
        assert self.writer.size == len(self.model)

    async def commit(self) -> Content | None:
        finished = await self.writer.finish()
        content = None if finished is None else finished.content
        pages = () if finished is None else finished.pages
        node = self.lake.commits.commit(
            self.node, "datasets/test/v1/file", content, pages, time.time_ns(), 0
        )
        assert node is not None
        self.node = node
        target = self.writer.target
        if target is not None and (content is None or content.id != target):
            self.lake.commits.abandon(target)  # the owner's duty
        self.writer.committed(content)
        assert self.budget.used == 0
        if content is None:
            assert len(self.model) == 0
            return None
        stored = self.lake.contents.get(content.id)
        assert replace(stored, uploaded_ms=0) == content  # the moment is the store's to choose
        self.check(content)
        return content

    def check(self, content: Content) -> None:
        assert content.length == len(self.model)
        past = chunk_count(content.length, content.chunk_size)
        pieces = self.lake.contents.read(content, 0, past)
        assert b"".join(pieces) == self.model
        assert content.sha256 in (None, hashlib.sha256(self.model).digest())
        hashes = b"".join(map(xxh3_64_digest, pieces))
        assert content.chunk_xxh3 in (None, hashes)
        of_it = {"files_id": content_key(content.id)}
        assert self.lake.connection.collection("chunks").count_documents(of_it) == past

    async def end(self) -> None:
        assert await self.writer.read(0, len(self.model) + 10) == self.model
        self.writer.drop_pages()
        await self.writer.landed()
        assert self.budget.used == 0
        if self.writer.target is not None:
            self.lake.commits.abandon(self.writer.target)
        self.lake.leases.release_finished()
        assert self.lake.connection.collection("uploads").count_documents({}) == 0
        known = set(self.lake.connection.collection("files").distinct("_id"))
        known |= set(self.lake.connection.collection("trash").distinct("_id"))
        assert set(self.lake.connection.collection("chunks").distinct("files_id")) <= known
        # A finished upload holds a batch beside what the writer may keep.
        assert self.budget.most <= WRITER_BYTES + BATCH_BYTES + 4 * CHUNK


def with_errands(main: Callable[[Errands], Awaitable[T]]) -> T:
    async def run_all() -> T:
        async with trio.open_nursery() as nursery:
            return await main(Errands(nursery))

    return trio.run(run_all)


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spilling, batches and hand-overs in files of a few chunks."""
    monkeypatch.setattr(module, "WRITER_BYTES", WRITER_BYTES)
    monkeypatch.setattr(module, "BATCH_BYTES", BATCH_BYTES)


@pytest.fixture
def node(garden: Garden) -> Node:
    return garden.file(garden.version(), "file")


def run(
    garden: Garden,
    node: Node,
    operations: list[Operation],
    *,
    seed: int = 0,
    base: Content | None = None,
    data: bytes = b"",
    whole: bool = False,
) -> Bench:
    async def main(errands: Errands) -> Bench:
        garden.lake.connection.collection("uploads").delete_many({})  # of an example that failed
        current = garden.lake.tree.get(node.inode)
        assert current is not None
        bench = Bench(garden, errands, current, base, data, whole)
        random_ = random.Random(seed)
        for operation in operations:
            await bench.do(operation, random_)
        await bench.commit()
        await bench.end()
        return bench

    return with_errands(main)


many = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(operations=OPERATIONS, seed=st.integers(0, 1000), whole=st.booleans())
def test_a_new_file_is_what_was_written(
    garden: Garden, node: Node, operations: list[Operation], seed: int, whole: bool
) -> None:
    run(garden, node, operations, seed=seed, whole=whole)


@many
@given(
    length=OFFSETS,
    operations=OPERATIONS,
    more=OPERATIONS,
    seed=st.integers(0, 1000),
    whole=st.booleans(),
)
def test_a_file_that_is_opened_again_is_what_was_written(
    garden: Garden,
    node: Node,
    length: int,
    operations: list[Operation],
    more: list[Operation],
    seed: int,
    whole: bool,
) -> None:
    first = run(garden, node, [("write", 0, length), *operations], seed=seed)
    content = None if first.node.content is None else garden.lake.contents.get(first.node.content)
    assert content is None or content.chunk_xxh3 is not None
    second = run(
        garden, node, more, seed=seed + 1, base=content, data=bytes(first.model), whole=whole
    )
    if second.node.content is not None:
        # All hashes of the base were known, so all of the new content are.
        assert garden.lake.contents.get(second.node.content).chunk_xxh3 is not None


@many
@given(
    length=st.integers(0, 4 * CHUNK),
    chunk_size=st.sampled_from([700, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]),
    operations=OPERATIONS,
    whole=st.booleans(),
)
def test_a_foreign_file_of_any_chunk_size_can_be_changed(
    garden: Garden,
    node: Node,
    any_uri: str,
    length: int,
    chunk_size: int,
    operations: list[Operation],
    whole: bool,
) -> None:
    data = random.Random(length).randbytes(length)
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=chunk_size)
        identity = bucket.upload_from_stream("foreign", data)
    base = garden.lake.contents.get(content_id(identity))
    run(garden, node, operations, base=base, data=data, whole=whole)


@settings(many, phases=[Phase.explicit, Phase.generate])
@given(
    operations=st.lists(FAILED_COMMIT | OPERATIONS.filter(bool).map(lambda some: some[0])),
    whole=st.booleans(),
)
@example(
    operations=[("write", 0, 2 * CHUNK), ("commit", 0, 0), ("finish", 0, 0), ("truncate", 1, 0)],
    whole=False,
)
def test_after_a_commit_that_failed_a_file_is_what_was_written(
    garden: Garden, node: Node, operations: list[Operation], whole: bool
) -> None:
    run(garden, node, operations, whole=whole)


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_written_in_order_has_its_digest(garden: Garden, node: Node, whole: bool) -> None:
    writes: list[Operation] = [("append", 0, size) for size in (1000, CHUNK, 5 * CHUNK, 1)]
    bench = run(garden, node, writes, whole=whole)
    assert bench.node.content is not None
    content = garden.lake.contents.get(bench.node.content)
    assert content.sha256 == hashlib.sha256(bench.model).digest()


def test_appending_after_a_commit_keeps_the_digest(garden: Garden, node: Node) -> None:
    operations: list[Operation] = []
    for size in (1000, CHUNK, 100, CHUNK - 1200, 5):
        operations += [("append", 0, size), ("commit", 0, 0)]
    bench = run(garden, node, operations)
    assert bench.node.content is not None
    content = garden.lake.contents.get(bench.node.content)
    assert content.sha256 == hashlib.sha256(bench.model).digest()


def test_a_file_that_is_emptied_and_written_anew_has_its_digest(garden: Garden, node: Node) -> None:
    again: list[Operation] = [("write", 0, 5 * CHUNK), ("write", CHUNK, 10), ("truncate", 0, 0)]
    bench = run(garden, node, [*again, ("append", 0, 5 * CHUNK + 7)])
    assert bench.node.content is not None
    content = garden.lake.contents.get(bench.node.content)
    assert content.sha256 == hashlib.sha256(bench.model).digest()


def test_memory_stays_bounded_while_a_large_file_is_written(garden: Garden, node: Node) -> None:
    bench = run(garden, node, [("append", 0, 7_000)] * 60)
    assert bench.budget.most <= WRITER_BYTES + BATCH_BYTES + 4 * CHUNK
    assert len(bench.model) == 420_000


def test_a_tight_budget_lets_even_the_page_that_is_filled_go(garden: Garden, node: Node) -> None:
    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        bench.budget.limit = 100
        random_ = random.Random(0)
        for _ in range(20):
            await bench.do(("append", 0, 700), random_)
            assert bench.budget.used <= 2 * bench.budget.limit + CHUNK
        await bench.commit()
        await bench.end()

    with_errands(main)


def test_chunks_that_nobody_touched_are_not_read(
    garden: Garden, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(garden, node, [("append", 0, 10 * CHUNK)])
    assert first.node.content is not None
    content = garden.lake.contents.get(first.node.content)
    read: list[tuple[int, int]] = []
    contents: Any = garden.lake.contents
    original = contents.read

    def counting(content: Content, first: int, past: int) -> list[bytes]:
        read.append((first, past))
        answer: list[bytes] = original(content, first, past)
        return answer

    async def main(errands: Errands) -> None:
        current = garden.lake.tree.get(node.inode)
        assert current is not None
        bench = Bench(garden, errands, current, content, bytes(first.model), whole=False)
        with monkeypatch.context() as patch:
            patch.setattr(type(contents), "read", lambda self, *a, **_: counting(*a))
            await bench.writer.write(3 * CHUNK + 5, b"patch")
            bench.model[3 * CHUNK + 5 : 3 * CHUNK + 10] = b"patch"
            await bench.writer.finish()
        assert read == [(3, 4)]
        await bench.commit()
        await bench.end()

    with_errands(main)


def test_a_size_that_gridfs_cannot_number_is_refused(garden: Garden, node: Node) -> None:
    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        with pytest.raises(FileTooBig):
            await bench.writer.write((1 << 31) * CHUNK, b"x")
        with pytest.raises(FileTooBig):
            await bench.writer.truncate((1 << 31) * CHUNK)
        assert bench.writer.size == 0
        await bench.end()

    with_errands(main)


def test_a_failed_upload_can_be_finished_again(
    store: Lake, garden: Garden, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        random_ = random.Random(0)
        await bench.do(("append", 0, 2 * CHUNK + 5), random_)
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise OSError("no answer")

            patch.setattr(type(store.contents), "put_chunks", full)
            with pytest.raises(OSError, match="no answer"):
                await bench.writer.finish()
        await bench.commit()
        await bench.end()

    with_errands(main)


def test_writes_go_on_while_chunks_are_on_their_way(
    garden: Garden, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_arrive = threading.Event()
    original = Contents.put_chunks

    def held_up(self: Contents, *args: Any) -> None:
        assert may_arrive.wait(PATIENCE)
        original(self, *args)

    monkeypatch.setattr(Contents, "put_chunks", held_up)
    monkeypatch.setattr(module, "WRITER_BYTES", 8 * CHUNK)

    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        random_ = random.Random(0)
        try:
            for _ in range(6):
                await bench.do(("append", 0, CHUNK), random_)
            await bench.do(("write", 5, 10), random_)  # the older bytes are on their way
            await bench.do(("read", 0, 6 * CHUNK), random_)
        finally:
            may_arrive.set()
        await bench.commit()
        await bench.end()

    with_errands(main)


@many
@given(operations=OPERATIONS, seed=st.integers(0, 1000))
def test_chunks_that_arrive_late_and_out_of_order_never_replace_newer_ones(
    garden: Garden, node: Node, operations: list[Operation], seed: int
) -> None:
    delays = random.Random(seed)
    original = Contents.put_chunks

    def late(self: Contents, *args: Any) -> None:
        time.sleep(delays.choice([0, 0, 0.002, 0.01]))
        original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Contents, "put_chunks", late)
        run(garden, node, [("append", 0, 5 * CHUNK), *operations], seed=seed)


def test_the_next_write_tells_that_chunks_did_not_arrive(
    garden: Garden, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        random_ = random.Random(0)

        def full(*_: object) -> None:
            raise NoSpace("the server's disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(Contents, "put_chunks", full)
            await bench.do(("append", 0, 3 * CHUNK), random_)
            await bench.writer.landed()
            with pytest.raises(NoSpace):
                await bench.writer.write(len(bench.model), b"more")
            assert await bench.writer.read(0, 3 * CHUNK) == bench.model
            with pytest.raises(NoSpace):
                await bench.writer.finish()
        await bench.commit()  # there is room again, and nothing was lost
        await bench.end()

    with_errands(main)


def test_what_is_given_up_on_its_way_leaves_nothing(
    garden: Garden, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Contents.put_chunks

    def late(self: Contents, *args: Any) -> None:
        time.sleep(0.05)
        original(self, *args)

    async def main(errands: Errands) -> None:
        bench = Bench(garden, errands, node, None, b"", whole=False)
        await bench.do(("append", 0, 4 * CHUNK), random.Random(0))
        bench.writer.drop_pages()
        bench.model.clear()
        await bench.writer.truncate(0)
        await bench.end()

    monkeypatch.setattr(Contents, "put_chunks", late)
    with_errands(main)
