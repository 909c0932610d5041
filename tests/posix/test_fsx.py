"""One file, changed at random in every way there is; after each change it holds what a model says.

In the spirit of Apple's fsx: reads, writes, appends, mappings, truncations to both sides, holes,
syncs, closing and opening again, through several handles. The seed is in the name of each test and
the steps are in its failure: the same seed does the same again.
"""

import errno
import mmap
import os
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log
from tests.posix.acting import fallocate
from tests.semantics.refusals import refused

KIB, MIB = 1 << 10, 1 << 20

ACCESS: Final = (os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR)
"""Of the handles."""

WAYS: Final = {
    "write": 20,
    "append": 6,
    "write_mapped": 12,
    "write_hole": 5,
    "read": 10,
    "read_mapped": 8,
    "shorten": 6,
    "lengthen": 4,
    "truncate_by_path": 4,
    "empty": 1,
    "punch": 1,
    "sync": 3,
    "reopen_one": 5,
    "reopen_all": 2,
    "copy_within": 3,
}
"""What may be done, and how often."""


@dataclass
class Exerciser:
    """A file on a mount, its handles, and the bytes that it must have."""

    path: Path
    largest: int
    """Bytes that the file never exceeds."""
    chance: random.Random
    model: bytearray = field(default_factory=bytearray, repr=False)
    handles: list[int] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def open(self) -> None:
        for access in ACCESS:
            self.handles.append(os.open(self.path, access | os.O_CREAT, 0o644))

    def close(self) -> None:
        while self.handles:
            os.close(self.handles.pop())

    def step(self) -> None:
        """Do one thing, and look whether the file is what it must be."""
        chosen = self.chance.choices(list(WAYS), weights=list(WAYS.values()))[0]
        self.steps.append(chosen)
        getattr(self, f"_{chosen}")()
        self._compare_size()
        self._read()

    # --- changes ---------------------------------------------------------------------------------

    def _write(self) -> None:
        offset = self._offset(len(self.model))
        data = self._data(self.largest - offset)
        assert os.pwrite(self._handle(), data, offset) == len(data)
        self._put(offset, data)

    def _append(self) -> None:
        data = self._data(self.largest - len(self.model))
        assert os.write(self.handles[1], data) == len(data)
        self._put(len(self.model), data)

    def _write_mapped(self) -> None:
        if not self.model:
            return
        offset = self._offset(len(self.model) - 1)
        data = self._data(len(self.model) - offset)
        with mmap.mmap(self.handles[self.chance.randrange(len(ACCESS))], len(self.model)) as view:
            view[offset : offset + len(data)] = data
            if self.chance.random() < 0.5:
                view.flush()
        self._put(offset, data)

    def _write_hole(self) -> None:
        offset = len(self.model) + self._offset(self.largest // 8)
        if offset < self.largest:
            data = self._data(self.largest - offset)
            os.pwrite(self._handle(), data, offset)
            self._put(offset, data)

    def _shorten(self) -> None:
        size = self._offset(len(self.model))
        os.ftruncate(self._handle(), size)
        del self.model[size:]

    def _lengthen(self) -> None:
        size = min(self.largest, len(self.model) + self._offset(self.largest // 4))
        os.ftruncate(self._handle(), size)
        self.model += bytes(size - len(self.model))

    def _truncate_by_path(self) -> None:
        size = self._offset(self.largest)
        os.truncate(self.path, size)
        del self.model[size:]
        self.model += bytes(size - len(self.model))

    def _empty(self) -> None:
        os.close(os.open(self.path, os.O_WRONLY | os.O_TRUNC))
        self.model.clear()

    def _punch(self) -> None:
        with refused(errno.EOPNOTSUPP):
            fallocate(self._handle(), 3, 0, 4096)  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE

    def _copy_within(self) -> None:
        source, length = self._offset(len(self.model)), self.chance.randrange(1, 64 * KIB)
        offset = self._offset(len(self.model))
        data = bytes(self.model[source : source + length])
        if abs(source - offset) >= length and offset + len(data) <= self.largest:
            done = os.copy_file_range(self.handles[0], self.handles[2], length, source, offset)
            self._put(offset, data[:done])

    def _sync(self) -> None:
        self.chance.choice([os.fsync, os.fdatasync])(self._handle())

    def _reopen_one(self) -> None:
        number = self.chance.randrange(len(ACCESS))
        os.close(self.handles[number])
        self.handles[number] = os.open(self.path, ACCESS[number])

    def _reopen_all(self) -> None:
        self.close()
        self.open()

    # --- looks -----------------------------------------------------------------------------------

    def _read(self) -> None:
        offset = self._offset(len(self.model))
        size = self.chance.choice([1, 100, 4096, 64 * KIB, self.largest])
        found = os.pread(self.handles[self.chance.randrange(len(ACCESS))], size, offset)
        self._compare(found, offset, size)

    def _read_mapped(self) -> None:
        if not self.model:
            return
        offset = self._offset(len(self.model))
        handle = self.handles[self.chance.randrange(len(ACCESS))]
        with mmap.mmap(handle, len(self.model), prot=mmap.PROT_READ) as view:
            self._compare(view[offset:], offset, len(self.model))
            self._compare(view[:offset], 0, offset)

    def compare_all(self) -> None:
        self._compare_size()
        self._compare(self.path.read_bytes(), 0, self.largest + 1)

    def _compare(self, found: bytes, offset: int, size: int) -> None:
        expected = self.model[offset : offset + size]
        if found != expected:
            at = next(
                (
                    i
                    for i, pair in enumerate(zip(found, expected, strict=False))
                    if len(set(pair)) > 1
                ),
                min(len(found), len(expected)),
            )
            pytest.fail(
                f"{len(found)} bytes for {len(expected)}, unlike from {offset + at} on, "
                f"after {self._steps()}"
            )

    def _compare_size(self) -> None:
        size = os.fstat(self.handles[0]).st_size if self.handles else self.path.stat().st_size
        if size != len(self.model):
            pytest.fail(f"{size} bytes for {len(self.model)}, after {self._steps()}")

    def _steps(self) -> str:
        return f"{len(self.steps)} steps: ... {' '.join(self.steps[-40:])}"

    # --- choices ---------------------------------------------------------------------------------

    def _handle(self) -> int:
        """Not the one that appends: it writes at the end, whatever the offset."""
        return self.handles[self.chance.choice([0, 2])]

    def _offset(self, most: int) -> int:
        """At random, often at the border of a page or a chunk."""
        offset = self.chance.randint(0, most)
        if self.chance.random() < 0.4:
            border = self.chance.choice([4 * KIB, 64 * KIB, MIB])
            offset = min(most, max(0, offset // border * border + self.chance.choice([-1, 0, 1])))
        return offset

    def _data(self, most: int) -> bytes:
        size = min(most, self.chance.choice([1, 7, 511, 4096, 4097, 30_000, self.largest // 5]))
        return self.chance.randbytes(self.chance.randint(min(size, 1), size))

    def _put(self, offset: int, data: bytes) -> None:
        if data and offset > len(self.model):
            self.model += bytes(offset - len(self.model))
        self.model[offset : offset + len(data)] = data


@pytest.fixture(scope="module", params=["small chunks", "default chunks", "standalone"])
def mount(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    server: Mongod = request.getfixturevalue(
        "standalone" if request.param == "standalone" else "mongod"
    )
    name = f"fsx_{uuid.uuid4().hex}"
    options = [] if request.param == "default chunks" else ["--chunk-size=4KiB"]
    with Mounted(server.uri_for(name), tmp_path_factory.mktemp("fsx"), *options) as mounted:
        yield mounted
    with server.client() as client:
        client.drop_database(name)
    assert_healthy_log(mounted)


@pytest.mark.parametrize("largest", [256 * KIB, 12 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_is_changed_at_random_holds_what_it_must(
    mount: Mounted, largest: int, seed: int
) -> None:
    path = mount.version() / f"{largest}-{seed}"
    exerciser = Exerciser(path, largest, random.Random(seed))
    exerciser.open()
    for _ in range(150 if largest < MIB else 60):
        exerciser.step()
    exerciser.close()
    exerciser.compare_all()
    mount.restart()
    exerciser.compare_all()
