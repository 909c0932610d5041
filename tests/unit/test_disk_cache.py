"""The disk cache: what it gives was put there; bounded; a bad disk or a bad file is a miss."""

import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from gridfsmount.cache.disk import COUNT_SECONDS, PAUSE_SECONDS, USE_SECONDS, DiskCache
from gridfsmount.cache.folder import MARKER, SEGMENTS, CacheFolder
from gridfsmount.cache.segments import PREFIX_BYTES, SEGMENT_BYTES
from gridfsmount.core.chunks import chunk_count, chunk_length
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import ConfigError

KIB = 1 << 10
MIB = 1 << 20
PAGE = 4096

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")


class Clock:
    """The time, until somebody moves it on."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += seconds


class Source:
    """A content and its bytes."""

    def __init__(self, number: int, length: int, chunk_size: int, *, hashed: bool = False) -> None:
        pattern = (b"%d:" % number) + os.urandom(13)
        data = (pattern * (length // len(pattern) + 1))[:length]
        self.chunks = [
            data[n * chunk_size : n * chunk_size + chunk_length(n, length, chunk_size)]
            for n in range(chunk_count(length, chunk_size))
        ]
        self.content = Content(
            ContentId(b"%d" % number, str(number)),
            length,
            chunk_size,
            chunk_xxh3=b"".join(map(xxh3_64_digest, self.chunks)) if hashed else None,
            uploaded_ms=number,
        )

    def put(self, cache: DiskCache, numbers: Sequence[int] | None = None) -> None:
        chosen = range(len(self.chunks)) if numbers is None else numbers
        cache.put(self.content, [(n, self.chunks[n]) for n in chosen])

    def held(self, cache: DiskCache) -> set[int]:
        """Numbers of the chunks that the cache has; they must be the right ones."""
        found = cache.get(self.content, 0, len(self.chunks))
        assert len(found) == len(self.chunks)
        numbers = set()
        for n, chunk in enumerate(found):
            if chunk is not None:
                assert chunk.readonly
                assert chunk == self.chunks[n]
                numbers.add(n)
        return numbers


def open_cache(folder: Path, capacity: int = 1 << 30, *, now: Clock | None = None) -> DiskCache:
    return DiskCache(folder, capacity, lake="lake", reserve=0, now=now or Clock())


def segment_files(folder: Path) -> list[Path]:
    return sorted(
        (each for each in (folder / SEGMENTS).glob("*/*") if each.is_file()),
        key=lambda path: int(path.name.partition("-")[2]),
    )


def bytes_on_disk(folder: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in segment_files(folder))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 0x10]))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# What is put is found


@given(
    length=st.integers(0, 60_000),
    chunk_size=st.sampled_from([1, 7, 100, 4095, 4096, 5000, 40_000]) | st.integers(1, 70_000),
    hashed=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60)  # in CI too: it is the disk that takes the time
def test_what_is_put_is_found_again_chunk_by_chunk(
    length: int, chunk_size: int, hashed: bool, data: st.DataObject
) -> None:
    length = min(length, 600 * chunk_size)
    source = Source(1, length, chunk_size, hashed=hashed)
    count = len(source.chunks)
    numbers = st.lists(st.integers(0, max(0, count - 1)), max_size=10 if count else 0)
    puts = data.draw(st.lists(numbers | st.just(list(range(count))), max_size=4))
    first = data.draw(st.integers(0, count))
    past = data.draw(st.integers(first, count + 2))
    with tempfile.TemporaryDirectory() as path:
        cache = open_cache(Path(path))
        expected: set[int] = set()
        for chosen in puts:
            source.put(cache, chosen)
            expected.update(chosen)

        assert source.held(cache) == expected
        assert source.held(open_cache(Path(path))) == expected
        part = cache.get(source.content, first, past)
        assert part == [source.chunks[n] if n in expected else None for n in range(first, past)]
        wanted = set(range(first, past))
        assert cache.holds(source.content, first, past) == (wanted <= expected)


@pytest.mark.parametrize("chunk_size", [255 * KIB, MIB, 3 * MIB, 17 * MIB])
def test_large_contents_are_cut_into_segments(folder: Path, chunk_size: int) -> None:
    source = Source(1, 40 * MIB + 5, chunk_size, hashed=True)
    cache = open_cache(folder)

    source.put(cache)

    assert source.held(cache) == set(range(len(source.chunks)))
    most = max(SEGMENT_BYTES, chunk_size) + PAGE
    files = segment_files(folder)
    assert len(files) >= 3
    assert all(each.stat().st_size <= most for each in files)


def test_many_tiny_chunks_make_few_files(folder: Path) -> None:
    source = Source(1, 10_000, 1)
    cache = open_cache(folder)
    source.put(cache)
    assert source.held(cache) == set(range(10_000))
    assert len(segment_files(folder)) == 3


def test_a_small_content_is_one_small_file(folder: Path) -> None:
    source = Source(1, 3000, MIB)
    source.put(open_cache(folder))
    (file,) = segment_files(folder)
    assert file.stat().st_size == PAGE + 3000


def test_chunks_that_are_not_the_contents_are_not_kept(folder: Path) -> None:
    source = Source(1, 25, 10, hashed=True)
    cache = open_cache(folder)
    wrong = [(0, bytes(10)), (1, bytes(9)), (2, bytes(10)), (3, b""), (-1, bytes(10))]

    cache.put(source.content, wrong)

    assert cache.get(source.content, 0, 4) == [None] * 4
    assert not segment_files(folder)


def test_views_may_be_put(folder: Path) -> None:
    source = Source(1, 30, 10)
    cache = open_cache(folder)
    whole = memoryview(b"".join(source.chunks))
    cache.put(source.content, [(n, whole[n * 10 : n * 10 + 10]) for n in (2, 0, 2)])
    assert source.held(cache) == {0, 2}


@pytest.mark.parametrize(
    "change",
    [
        {"length": 29_999},
        {"chunk_size": 10_001},
        {"chunk_xxh3": bytes(24)},
        {"uploaded_ms": 99},
        {"id": ContentId(b"other", "1")},
    ],
)
def test_another_content_under_the_same_id_finds_nothing(
    folder: Path, change: dict[str, int]
) -> None:
    source = Source(1, 30_000, 10_000)
    cache = open_cache(folder)
    source.put(cache)
    other: Content = replace(source.content, **change)  # type: ignore[arg-type]
    assert cache.get(other, 0, 3) == [None] * 3
    assert not cache.holds(other, 0, 1)


def test_contents_of_another_lake_are_not_found(folder: Path) -> None:
    source = Source(1, 30, 10)
    source.put(open_cache(folder))
    other = DiskCache(folder, MIB, lake="other", reserve=0)
    assert source.held(other) == set()


# What is damaged is a miss


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize("where", ["data", "hash"])
def test_a_flipped_bit_costs_its_chunk_alone(
    folder: Path, where: str, size: int, hashed: bool
) -> None:
    source = Source(1, 5 * size, size, hashed=hashed)
    cache = open_cache(folder)
    source.put(cache)
    (file,) = segment_files(folder)

    flip(file, PAGE + 3 * size - 1 if where == "data" else PREFIX_BYTES + 2 * 8 + 7)

    assert source.held(cache) == {0, 1, 3, 4}
    assert not cache.holds(source.content, 0, 5)
    source.put(cache)
    assert source.held(cache) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("offset", [0, 8, 31])
def test_a_file_that_is_another_segment_or_none_is_removed(folder: Path, offset: int) -> None:
    source = Source(1, 50, 10)
    cache = open_cache(folder)
    source.put(cache)
    (file,) = segment_files(folder)

    flip(file, offset)

    assert source.held(cache) == set()
    assert not file.exists()
    source.put(cache)
    assert source.held(cache) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_file_cut_off_keeps_what_is_left_of_it(folder: Path, size: int) -> None:
    source = Source(1, 5 * size, size)
    cache = open_cache(folder)
    for length, left in (
        (PAGE + 3 * size - 1, {0, 1}),
        (PAGE, set()),
        (PREFIX_BYTES + 7, set()),
        (PREFIX_BYTES - 1, set()),
        (1, set()),
        (0, set()),
    ):
        source.put(cache)
        (file,) = segment_files(folder)
        os.truncate(file, length)
        assert source.held(cache) == left
        source.put(cache)
        source.put(cache)  # the first may only have removed the stump
        assert source.held(cache) == {0, 1, 2, 3, 4}


def test_any_garbage_in_a_segment_is_a_miss(folder: Path) -> None:
    source = Source(1, 5000, 1000)
    cache = open_cache(folder)
    source.put(cache)
    (file,) = segment_files(folder)
    good = file.read_bytes()
    for seed in range(200):
        damaged = bytearray(good)
        start = (seed * 7919) % len(good)
        damaged[start : start + 50] = os.urandom(50)
        file.write_bytes(damaged[: len(good) - seed])
        source.held(cache)
        file.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_a_miss(
    folder: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(1, 5000, 1000)
    cache = open_cache(folder)
    source.put(cache)
    (file,) = segment_files(folder)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    before = elsewhere.read_bytes()
    if kind == "link":
        file.symlink_to(elsewhere)
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.mkdir()

    assert source.held(cache) == set()
    source.put(cache)
    source.put(cache)

    assert source.held(cache) == (set() if kind == "folder" else {0, 1, 2, 3, 4})
    assert elsewhere.read_bytes() == before
    assert len(warnings(caplog)) <= 1


def test_files_of_other_names_are_cleared_away(folder: Path) -> None:
    source = Source(1, 5000, 1000)
    cache = open_cache(folder)
    source.put(cache)
    (file,) = segment_files(folder)
    (file.parent / "foreign").write_bytes(b"x")
    (folder / SEGMENTS / "foreign").write_bytes(b"x")
    (folder / "mine").write_bytes(b"x")

    cache.scan()

    assert segment_files(folder) == [file]
    assert not (folder / SEGMENTS / "foreign").exists()
    assert (folder / "mine").exists()
    assert source.held(cache) == {0, 1, 2, 3, 4}


# Bounded


@given(
    capacity=st.integers(0, 60) | st.sampled_from([5, 100]),
    smaller=st.integers(0, 30),
    operations=st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 9), st.booleans()), min_size=1, max_size=25
    ),
)
@settings(max_examples=40)  # in CI too: it is the disk that takes the time
def test_it_never_takes_more_than_its_capacity(
    capacity: int, smaller: int, operations: list[tuple[int, int, bool]]
) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as path:
        cache = open_cache(Path(path), capacity * PAGE, now=clock)
        for number, pages, scans in operations:
            Source(number, pages * PAGE - 5, 2 * PAGE).put(cache)
            if scans:
                cache.scan()
            assert bytes_on_disk(Path(path)) == cache.size <= capacity * PAGE
            clock.pass_by(20)
        again = open_cache(Path(path), smaller * PAGE, now=clock)
        again.scan()
        assert bytes_on_disk(Path(path)) == again.size <= smaller * PAGE


def test_a_restarted_cache_keeps_its_bound_even_if_nobody_counts(folder: Path) -> None:
    clock = Clock()
    cache = open_cache(folder, 100 * PAGE, now=clock)
    for number in range(60):
        Source(number, PAGE, PAGE).put(cache)
    assert bytes_on_disk(folder) > 90 * PAGE
    again = open_cache(folder, 100 * PAGE, now=clock)
    for number in range(100, 160):
        Source(number, PAGE, PAGE).put(again)
    assert bytes_on_disk(folder) <= 110 * PAGE


def test_the_least_recently_used_go_first(folder: Path, clock: Clock) -> None:
    cache = open_cache(folder, 22 * PAGE, now=clock)
    sources = [Source(number, PAGE, PAGE) for number in range(11)]
    for source in sources[:10]:
        source.put(cache)
        clock.pass_by(1)
    clock.pass_by(USE_SECONDS)
    for used in (0, 3):
        assert sources[used].held(cache)
    clock.pass_by(1)
    sources[10].put(cache)  # full: each takes two pages
    Source(11, 2 * PAGE, PAGE).put(cache)  # three, and a twentieth to spare

    assert [n for n, source in enumerate(sources) if not source.held(cache)] == [1, 2, 4]


def test_what_cannot_fit_drives_nothing_out(folder: Path) -> None:
    cache = open_cache(folder, 10 * PAGE)
    small, large = Source(1, PAGE, PAGE), Source(2, 20 * PAGE, 20 * PAGE)
    small.put(cache)
    large.put(cache)
    assert small.held(cache) == {0}
    assert large.held(cache) == set()


def test_nothing_is_written_that_would_not_leave_the_reserve(
    folder: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    source = Source(1, 5000, 1000)
    source.put(open_cache(folder))
    status = os.statvfs(folder)
    reserve = 2 * status.f_blocks * status.f_frsize
    cache = DiskCache(folder, 1 << 30, lake="lake", reserve=reserve, now=clock)

    for number in range(5):
        Source(number, 5000, 1000).put(cache)

    assert len(segment_files(folder)) == 1
    assert source.held(cache)
    assert len(warnings(caplog)) == 1
    clock.pass_by(PAUSE_SECONDS)
    cache.scan()
    assert not segment_files(folder)


# Shared


def test_caches_that_share_a_folder_see_each_others_chunks(folder: Path) -> None:
    one, other = open_cache(folder), open_cache(folder)
    source = Source(1, 50_000, 10_000)
    source.put(one, [0, 1])
    source.put(other, [3])
    assert source.held(one) == source.held(other) == {0, 1, 3}


def test_caches_that_share_a_folder_stay_near_the_bound_together(
    folder: Path, clock: Clock
) -> None:
    capacity = 200 * PAGE
    caches = [open_cache(folder, capacity, now=clock) for _ in range(2)]
    for number in range(300):
        Source(number, PAGE, PAGE).put(caches[number % 2])
        clock.pass_by(COUNT_SECONDS / 3)
        assert bytes_on_disk(folder) <= capacity * 1.15
    for cache in caches:
        cache.scan()
        assert cache.size == bytes_on_disk(folder) <= capacity


def test_what_another_process_evicts_is_a_miss(folder: Path, clock: Clock) -> None:
    one = open_cache(folder, now=clock)
    sources = [Source(number, 50_000, 10_000) for number in range(10)]
    for source in sources:
        source.put(one)
    other = open_cache(folder, 0, now=clock)
    other.scan()
    assert not any(source.held(one) for source in sources)
    sources[0].put(one)
    assert len(sources[0].held(one)) == 5
    one.scan()
    assert one.size == bytes_on_disk(folder)


WORKER = """
import sys
from pathlib import Path
from gridfsmount.cache.disk import DiskCache
from gridfsmount.core.model import Content, ContentId

cache = DiskCache(Path(sys.argv[1]), int(sys.argv[2]), lake="lake", reserve=0)
cache.scan()
found = 0
for turn in range(3):
    for number in range(40):
        content = Content(ContentId(b"%d" % number, ""), 90_000, 10_000)
        chunks = [(n, bytes([number, n]) * 5_000) for n in range(9)]
        for (n, chunk), got in zip(chunks, cache.get(content, 0, 9), strict=True):
            if got is not None:
                assert got == chunk, (number, n)
                found += 1
        cache.put(content, chunks)
print(found)
"""


def test_processes_may_share_a_folder(folder: Path) -> None:
    capacity = 20 * 100_000  # half of what they write, so that they evict each other's
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, folder, str(capacity)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert (worker.returncode, err) == (0, "")
        assert int(out) >= 0
    cache = open_cache(folder, capacity)
    cache.scan()
    assert cache.size <= capacity
    assert segment_files(folder)


def test_threads_may_use_it_at_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = open_cache(folder, 60 * 30_000)
    sources = [Source(number, 100_000, 10_000, hashed=number % 2 == 0) for number in range(40)]
    failures: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for turn in range(3 * len(sources)):
                source = sources[(turn * 7 + offset) % len(sources)]
                source.held(cache)
                source.put(cache, range(offset, 10, 2))
                if turn % 20 == 0:
                    cache.scan()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert not warnings(caplog)
    cache.scan()
    assert cache.size == bytes_on_disk(folder) <= cache.capacity


# Folders


def test_a_missing_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    open_cache(tmp_path / "some" / "where")
    folder = tmp_path / "some" / "where"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert json.loads((folder / MARKER).read_bytes()) == {"format": 1}


def test_an_empty_folder_and_a_fresh_file_system_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    source = Source(1, 50, 10)
    cache = open_cache(tmp_path)
    source.put(cache)
    assert source.held(cache)


@pytest.mark.parametrize("name", ["data.bin", "v1"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path} holds files and is not a cache"):
        open_cache(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="is no folder"):
        open_cache(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be used: Not a directory"):
        open_cache(tmp_path / "file" / "below")


@pytest.mark.parametrize("text", ['{"format": 2}', "{}", "[]", "garbage", "\0\0"])
def test_another_format_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(ConfigError, match="choose another folder, or remove it"):
        open_cache(tmp_path)
    assert (tmp_path / MARKER).read_text() == text


@pytest.mark.parametrize("text", ["", '{"for'])
def test_a_marker_cut_short_by_a_crash_is_mended(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    open_cache(tmp_path)
    open_cache(tmp_path)
    assert json.loads((tmp_path / MARKER).read_bytes()) == {"format": 1}


@pytest.mark.parametrize("what", ["folder", "segments", "fan-out"])
def test_a_folder_removed_under_it_costs_what_was_in_it(
    folder: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    cache = open_cache(folder)
    source = Source(1, 50, 10)
    source.put(cache)
    (file,) = segment_files(folder)
    gone = {"folder": folder, "segments": folder / SEGMENTS, "fan-out": file.parent}[what]
    gone.rename(folder.parent / "gone")

    assert source.held(cache) == set()
    cache.scan()
    assert cache.size == 0
    source.put(cache)
    assert source.held(cache) == {0, 1, 2, 3, 4}
    assert source.held(open_cache(folder)) == {0, 1, 2, 3, 4}
    assert not warnings(caplog)


def test_what_takes_the_place_of_its_folder_is_left_alone(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(folder)
    source = Source(1, 50, 10)
    folder.rename(folder.parent / "gone")
    folder.mkdir()
    (folder / "mine").write_bytes(b"x")

    for _ in range(3):
        source.put(cache)
        assert source.held(cache) == set()
    cache.scan()

    assert [each.name for each in folder.iterdir()] == ["mine"]
    assert len(warnings(caplog)) == 1


# Bad disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "gridfsmount-tests", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@needs_root
def test_a_full_disk_costs_what_does_not_fit(
    small_disk: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    cache = open_cache(small_disk, now=clock)
    old, new = Source(1, 100_000, 10_000), Source(2, MIB, 100_000)
    old.put(cache)
    filler = small_disk / "filler"
    status = os.statvfs(small_disk)
    filler.write_bytes(bytes(status.f_bavail * status.f_frsize))

    for _ in range(5):
        new.put(cache)

    assert new.held(cache) == set()
    assert old.held(cache) == set(range(10))
    assert len(warnings(caplog)) == 1
    cache.scan()
    assert cache.size == bytes_on_disk(small_disk)

    filler.unlink()
    new.put(cache)
    assert new.held(cache) == set()
    clock.pass_by(PAUSE_SECONDS)
    new.put(cache)
    assert new.held(cache) == set(range(len(new.chunks)))
    assert len(warnings(caplog)) == 1


@needs_root
def test_a_disk_that_others_fill_takes_room_from_the_cache(small_disk: Path, clock: Clock) -> None:
    reserve = 200_000
    cache = DiskCache(small_disk, 1 << 30, lake="lake", reserve=reserve, now=clock)
    sources = [Source(number, 100_000, 10_000) for number in range(30)]
    for source in sources:
        source.put(cache)
        clock.pass_by(1)

    status = os.statvfs(small_disk)
    assert status.f_bavail * status.f_frsize >= reserve
    held = [number for number, source in enumerate(sources) if source.held(cache)]
    assert held == list(range(held[0], 30))
    assert len(held) > 10


@needs_root
def test_a_disk_that_runs_full_while_writing_leaves_no_stumps(
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Others may take the room between the question and the write.
    monkeypatch.setattr(CacheFolder, "free", lambda _: 1 << 40)
    cache = open_cache(small_disk, now=clock)
    old, new = Source(1, 100_000, 10_000), Source(2, 4 * MIB, 100_000)
    old.put(cache)

    for _ in range(3):
        new.put(cache)

    assert new.held(cache) == set()
    assert len(segment_files(small_disk)) == 1
    assert cache.size == bytes_on_disk(small_disk)
    assert old.held(cache) == set(range(10))
    (warning,) = warnings(caplog)
    assert warning == f"disk cache {small_disk}: cannot write: No space left on device"


@needs_root
def test_a_disk_that_turns_read_only_is_still_read(
    small_disk: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    cache = open_cache(small_disk, now=clock)
    old, new = Source(1, 100_000, 10_000), Source(2, 100_000, 10_000)
    old.put(cache)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    clock.pass_by(2 * USE_SECONDS)

    for _ in range(3):
        new.put(cache)
        assert old.held(cache) == set(range(10))
    cache.scan()

    assert warnings(caplog) == [f"disk cache {small_disk}: cannot write: Read-only file system"]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    clock.pass_by(PAUSE_SECONDS)
    new.put(cache)
    assert new.held(cache) == set(range(10))


@needs_root
def test_a_read_only_cache_is_read(
    small_disk: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    source = Source(1, 100_000, 10_000)
    source.put(open_cache(small_disk))
    (file,) = segment_files(small_disk)
    flip(file, PAGE)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    cache = open_cache(small_disk, 10, now=clock)
    assert "cannot be written, only read" in warnings(caplog)[0]
    for _ in range(3):
        clock.pass_by(2 * USE_SECONDS)
        cache.scan()
        source.put(cache)
        assert source.held(cache) == set(range(1, 10))

    assert not [each for each in warnings(caplog)[1:] if "altered" not in each]


@needs_root
def test_a_read_only_folder_that_is_no_cache_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ConfigError, match=f"{small_disk} cannot be used: Read-only file system"):
        open_cache(small_disk)


def test_a_disk_that_fails_to_read_is_told_of_once_a_minute(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = open_cache(folder, now=clock)
    source = Source(1, 100_000, 10_000)
    source.put(cache)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("os.pread", fail)
        for _ in range(5):
            assert cache.get(source.content, 0, 3) == [None] * 3
            assert not cache.holds(source.content, 0, 3)
            source.put(cache)
    assert 1 <= len(warnings(caplog)) <= 2  # one of reading, one of writing
    assert source.held(cache) == set()
    clock.pass_by(PAUSE_SECONDS)
    source.put(cache)
    assert source.held(cache) == set(range(10))


# Ends


def test_a_closed_cache_finds_and_keeps_nothing(folder: Path) -> None:
    cache = open_cache(folder)
    source, other = Source(1, 50, 10), Source(2, 50, 10)
    source.put(cache)
    cache.close()
    other.put(cache)
    cache.scan()
    assert source.held(cache) == set()
    assert not cache.holds(source.content, 0, 1)
    assert len(segment_files(folder)) == 1


def test_no_descriptor_is_left_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # as short as that
    cache = open_cache(folder, 20 * PAGE)
    for number in range(30):
        source = Source(number, 5 * PAGE, PAGE)
        source.put(cache)
        source.held(cache)
        cache.holds(source.content, 0, 5)
        for file in segment_files(folder)[:1]:
            flip(file, (number * 1009) % (6 * PAGE))
    cache.scan()
    cache.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
