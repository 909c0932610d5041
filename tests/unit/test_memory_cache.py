"""The chunk cache: bounded, and the least recently used goes first."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.cache.memory import ENTRY_BYTES, ChunkCache
from gridfsmount.core.model import ContentId

CONTENTS = [ContentId(bytes([i]), str(i)) for i in range(3)]
KEYS = st.tuples(st.sampled_from(CONTENTS), st.integers(0, 4))
OPERATIONS = st.lists(
    st.tuples(st.just("put"), KEYS, st.integers(0, 800))
    | st.tuples(st.just("get"), KEYS, st.just(0))
    | st.tuples(st.just("look"), KEYS, st.just(0)),
    max_size=60,
)


@given(st.integers(0, 3000), OPERATIONS)
def test_it_behaves_as_a_bounded_lru(
    capacity: int, operations: list[tuple[str, tuple[ContentId, int], int]]
) -> None:
    cache = ChunkCache(capacity)
    model: OrderedDict[tuple[ContentId, int], bytes] = OrderedDict()
    for number, (what, key, size) in enumerate(operations):
        if what == "put":
            chunk = bytes([number % 256]) * size
            cache.put(*key, chunk)
            if size + ENTRY_BYTES <= capacity:
                model.pop(key, None)
                model[key] = chunk
            while sum(len(each) + ENTRY_BYTES for each in model.values()) > capacity:
                model.popitem(last=False)
        elif what == "get":
            assert cache.get(*key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:  # looking is no use
            assert (key in cache) == (key in model)
        assert cache.size == sum(len(each) + ENTRY_BYTES for each in model.values())
        assert cache.size <= capacity


def test_a_chunk_larger_than_the_cache_drives_nothing_out() -> None:
    cache = ChunkCache(1000)
    cache.put(CONTENTS[0], 0, b"small")
    cache.put(CONTENTS[0], 1, bytes(1001))
    assert cache.get(CONTENTS[0], 0) == b"small"
    assert cache.get(CONTENTS[0], 1) is None


def test_tiny_chunks_count_for_what_they_cost() -> None:
    cache = ChunkCache(10 * ENTRY_BYTES)
    for n in range(100):
        cache.put(CONTENTS[0], n, b"x")
    assert sum((CONTENTS[0], n) in cache for n in range(100)) <= 10


def test_contents_are_kept_apart() -> None:
    cache = ChunkCache(10_000)
    cache.put(CONTENTS[0], 0, b"one")
    cache.put(CONTENTS[1], 0, b"two")
    assert cache.get(CONTENTS[0], 0) == b"one"
    assert cache.get(CONTENTS[1], 0) == b"two"
    assert cache.get(CONTENTS[2], 0) is None


def test_what_came_ahead_was_used_or_wasted_or_waits() -> None:
    cache = ChunkCache(3 * (100 + ENTRY_BYTES))
    for n in range(3):
        cache.put(CONTENTS[0], n, bytes(100), ahead=True)
    cache.get(CONTENTS[0], 0)
    cache.get(CONTENTS[0], 0)
    cache.asked(CONTENTS[0], 1)
    assert (cache.fetched, cache.used, cache.wasted) == (3, 2, 0)

    cache.drop(CONTENTS[0], 0)
    cache.put(CONTENTS[1], 0, bytes(100))
    cache.put(CONTENTS[1], 1, bytes(100))  # drives one out that was used
    cache.put(CONTENTS[1], 2, bytes(100))  # and one that nobody asked for

    assert (cache.fetched, cache.used, cache.wasted) == (3, 2, 1)


def test_what_is_there_already_does_not_come_ahead() -> None:
    cache = ChunkCache(1 << 20)
    cache.put(CONTENTS[0], 0, b"read before")
    cache.put(CONTENTS[0], 0, b"read before", ahead=True)

    assert cache.fetched == 0
