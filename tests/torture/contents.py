"""What a file holds, as a value; and bytes that tell which write they come from.

The bytes of a generation are a function of the generation and of their offset in the file, and each
block of them begins with both. So any range can be checked, and a torn file tells its story.
"""

import functools
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

BLOCK: Final = 4096

HOLE: Final = 0
"""The generation of bytes that nobody wrote: zeros."""

_HEADER: Final = struct.Struct(">8sQQ")
_MAGIC: Final = b"torture:"


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` to `stop` of a file, all of one generation."""

    generation: int
    start: int
    stop: int


Content: TypeAlias = tuple[Extent, ...]
"""Extents without gaps, from offset 0 on; neighbours are of different generations."""

EMPTY: Final[Content] = ()


def size(content: Content) -> int:
    return content[-1].stop if content else 0


def truncated(content: Content, length: int) -> Content:
    """Cut, or extended with zeros."""
    kept = [
        Extent(each.generation, each.start, min(each.stop, length))
        for each in content
        if each.start < length
    ]
    return _joined([*kept, Extent(HOLE, size(content), length)])


def written(content: Content, generation: int, start: int, stop: int) -> Content:
    """The same after a write of bytes `start` to `stop`."""
    if start == stop:
        return content  # as write(2) of no bytes: not even a hole
    before = truncated(content, start)
    after = [
        Extent(each.generation, max(each.start, stop), each.stop)
        for each in content
        if each.stop > stop
    ]
    return _joined([*before, Extent(generation, start, stop), *after])


def _joined(extents: list[Extent]) -> Content:
    joined: list[Extent] = []
    for each in extents:
        if each.start >= each.stop:
            continue
        if joined and joined[-1].generation == each.generation:
            each = Extent(each.generation, joined.pop().start, each.stop)  # noqa: PLW2901
        joined.append(each)
    return tuple(joined)


def generated(generation: int, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of a generation."""
    if generation == HOLE:
        return bytes(stop - start)
    first = start // BLOCK
    blocks = b"".join(_block(generation, n) for n in range(first, -(-stop // BLOCK)))
    return blocks[start - first * BLOCK : stop - first * BLOCK]


@functools.lru_cache(maxsize=4096)
def _block(generation: int, number: int) -> bytes:
    header = _HEADER.pack(_MAGIC, generation, number)
    return header + hashlib.shake_128(header).digest(BLOCK - len(header))


def rendered(content: Content) -> bytes:
    return b"".join(generated(each.generation, each.start, each.stop) for each in content)


def described(content: Content) -> str:
    """For people: which bytes are of which generation."""
    return (
        ", ".join(
            f"{each.start} to {each.stop} of {each.generation or 'zeros'}" for each in content
        )
        or "empty"
    )


def recognized(data: bytes) -> str:
    """For people: the same, read from the bytes themselves, block by block."""
    if not data:
        return "empty"
    runs: list[tuple[str, int, int]] = []
    for offset in range(0, len(data), BLOCK):
        name = _origin(data[offset : offset + BLOCK], offset // BLOCK)
        stop = min(offset + BLOCK, len(data))
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1], stop)
        else:
            runs.append((name, offset, stop))
    return ", ".join(f"{start} to {stop} of {name}" for name, start, stop in runs)


def _origin(block: bytes, number: int) -> str:
    if not any(block):
        return "zeros"
    generations = sorted(set(_headers(block, number)))
    for generation in generations:
        if block == _block(generation, number)[: len(block)]:
            return str(generation)
    return "a mixture" + (f" with {generations}" if generations else "")


def _headers(block: bytes, number: int) -> Iterator[int]:
    if len(block) >= _HEADER.size:
        magic, generation, _ = _HEADER.unpack_from(block)
        if magic == _MAGIC:
            yield generation
