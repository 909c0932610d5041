"""Which chunks to fetch before anyone asks for them.

Pure: it sees the offsets and sizes of the reads of one content and answers with numbers of
chunks. It knows neither handles nor caches, fetches nothing, and can't tell whether a chunk
it proposes is there already. `ReadAhead.note` is one step without a checkpoint: it runs on
the event loop for every request of the kernel.

A *stream* is a run of reads that follow each other: in sequence, or at a fixed stride.
Everything else looks random, and nothing is proposed for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.chunks import chunk_count

Range = tuple[int, int]
"""Half-open range of chunk numbers: (first, past the last)."""

MAX_STREAMS: Final = 16  # readers of one content that are told apart
MAX_WINDOW: Final = 32 << 20  # bytes ahead of one stream: more leaves the processor's cache
MAX_STRIDES: Final = 32  # reads ahead of a strided stream
ACTIVE_NOTES: Final = 64  # a stream that none of so many notes belonged to is abandoned
REORDERING: Final = 8  # requests the kernel sends at once, whose order may be lost on the way
LATE: Final = 4  # reads behind a stream's position whose requests may still be on their way
VOUCHED: Final = 4  # bytes that may lie ahead of a stream for each byte it has covered
TINY: Final = 64  # so many reads to a chunk: a wrong guess costs that often what was asked for


@dataclass(slots=True, eq=False)
class _Stream:
    """One run of reads: what it has covered, and how far it is proposed."""

    start: int  # first byte of its first read
    position: int  # largest end of its reads
    last: int  # first byte of its last read that moved the position
    size: int  # bytes asked for by that read
    used: int  # number of the last note that belonged to it
    stride: int = 0  # distance between the starts of its last two reads
    gaps: int = 0  # how many times in a row the stride was the same
    evidence: int = 0  # 2 for each read that follows exactly, 1 for each that is only near
    strided: bool = False
    window: int = 0  # chunks (strided: reads) to have ahead; 0 until it is recognised
    ahead: int = 0  # chunks below it are proposed, or were passed
    due: int = 0  # position from which on there may be something to propose
    left: int = 0  # chunks below it were said to be left behind
    most: int = 0  # bytes of its largest read

    def advance(self, offset: int, size: int, end: int) -> None:
        """Take in a read that moves the position."""
        gap = offset - self.last
        if gap == self.stride and size == self.size:
            self.gaps += 1
        else:
            if self.strided:
                self.restart()
            self.stride, self.gaps = gap, int(size == self.size)
        self.evidence += 2 if offset <= self.position or self.gaps >= 2 else 1
        self.last, self.size, self.position = offset, size, end
        self.most = max(self.most, size)

    def fall_behind(self, offset: int) -> None:
        """Take in a read that ends at the position or before: late, or repeated."""
        if self.strided and offset != self.last:
            self.restart()
        elif offset != self.last:
            self.gaps = 0  # swapped requests are no stride, though every second looks like it

    def restart(self) -> None:
        """Be a new stream, of which the last read was the first."""
        self.start = self.last
        self.stride = self.gaps = self.evidence = self.window = self.ahead = self.due = 0
        self.strided = False


class ReadAhead:
    """Which chunks of one content to fetch before they are asked for.

    One state for each stream of reads. A stream in sequence has a window ahead of it that
    begins at one chunk (or what one read takes) and doubles with the reads up to 32 MiB; a
    strided one has the chunks of its next reads. No chunk is proposed twice while it lies
    ahead of an active stream that it was proposed for.

    Args:
        length: Bytes of the content.
        chunk_size: Bytes of each chunk but the last.
        budget: Bytes that may lie ahead, shared equally by the active streams; less than a
            chunk for each proposes nothing. What a stream had before another came, it keeps.
    """

    def __init__(self, length: int, chunk_size: int, *, budget: int) -> None:
        self._length = length
        self._chunk_size = chunk_size
        self._budget = budget
        self._count = chunk_count(length, chunk_size)
        self._most = self._chunks_for(budget)
        self._streams: list[_Stream] = []  # least recently used first
        self._notes = 0

    def resize(self, budget: int) -> None:
        """Have another number of bytes ahead from now on; what is proposed already stays."""
        self._budget = budget
        self._most = self._chunks_for(budget)

    def note(self, offset: int, size: int) -> list[Range]:
        """Note a read of `size` bytes at `offset`, and say which chunks to fetch now.

        Returns:
            Half-open ranges of chunk numbers, ascending and disjoint; never a chunk that the
            read itself asks for.
        """
        if size <= 0 or offset >= self._length or not self._most:
            return []
        self._notes += 1
        streams = self._streams
        end = min(offset + size, self._length)
        if streams and streams[-1].position == offset:
            stream: _Stream | None = streams[-1]
        else:
            stream = self._nearest(offset, size) or self._third_of_a_stride(offset, size)
        if stream is None:
            streams.append(_Stream(offset, end, offset, size, self._notes))
            del streams[:-MAX_STREAMS]
            return []
        stream.used = self._notes
        if end <= stream.position:
            stream.fall_behind(offset)
            return []
        stream.advance(offset, size, end)
        # A stride of a chunk or less touches every chunk, as a sequence does.
        if stream.gaps >= 2 and stream.stride > size and stream.stride > self._chunk_size:
            return self._propose_strided(stream)
        if end < stream.due:
            return []
        if not stream.window and stream.evidence < (2 if size * TINY >= self._chunk_size else 4):
            return []
        return self._propose_sequential(stream)

    def left_behind(self) -> range:
        """Chunks that the last read's stream, if it is in sequence, has left behind by now.

        Each is named once, when the requests that may still be late are past it as well.
        """
        stream = self._streams[-1] if self._streams else None
        if stream is None or not stream.window or stream.strided:
            return range(0)
        past = max(0, stream.position - LATE * stream.most) // self._chunk_size
        behind = range(max(stream.left, stream.start // self._chunk_size), past)
        stream.left = max(stream.left, past)
        return behind

    def _nearest(self, offset: int, size: int) -> _Stream | None:
        """The stream that the read belongs to, made the newest."""
        nearest, least = None, REORDERING * size + 1
        for stream in reversed(self._streams):
            distance = abs(offset - stream.position)
            if stream.gaps and offset - stream.last == stream.stride and size == stream.size:
                distance = 0
            if distance < least:
                nearest, least = stream, distance
        if nearest:
            self._streams.remove(nearest)
            self._streams.append(nearest)
        return nearest

    def _third_of_a_stride(self, offset: int, size: int) -> _Stream | None:
        """A new stream for a read that is as far from another as that one from a third.

        Those two stay: readers in lockstep, each in its part, look strided at first.
        """
        lone = [each for each in self._streams if each.size == size and not each.evidence]
        lasts = {each.last for each in lone}
        for second in reversed(lone):
            gap = offset - second.last
            if gap <= size or second.last - gap not in lasts:
                continue
            # Equal gaps do occur by chance among 16 streams, so one more has to come; among
            # three reads in a row they hardly do.
            in_a_row = [s.last for s in self._streams[-2:]] == [second.last - gap, second.last]
            stream = _Stream(second.last, second.position, second.last, size, self._notes)
            stream.stride, stream.gaps = gap, int(in_a_row)
            self._streams.append(stream)
            del self._streams[:-MAX_STREAMS]
            return stream
        return None

    def _propose_sequential(self, stream: _Stream) -> list[Range]:
        chunk_size = self._chunk_size
        here = -(-stream.position // chunk_size)
        if not stream.window:
            stream.window = min(-(-stream.size // chunk_size), self._most)
        elif 2 * stream.window * chunk_size <= VOUCHED * (stream.position - stream.start):
            stream.window = min(2 * stream.window, self._most)
        reach = min(stream.window, self._share(stream))
        batch = max(1, reach // 4)
        first, past = max(here, stream.ahead), min(here + reach, self._count)
        stream.ahead = first
        proposed = []
        if past - first >= batch or first < past == self._count:
            proposed = self._without_others(stream, [(first, past)])
            stream.ahead = past
        if stream.ahead >= self._count:
            stream.due = self._length + 1
            return proposed
        # Due when a batch is free, or when enough is covered for the window to double.
        turn = min(stream.ahead + batch, self._count) - reach
        stream.due = (turn - 1) * chunk_size + 1
        if stream.window < self._most:
            doubles = stream.start + 2 * stream.window * chunk_size // VOUCHED
            stream.due = min(stream.due, doubles)
        return proposed

    def _propose_strided(self, stream: _Stream) -> list[Range]:
        if not stream.strided:
            if stream.gaps < 3 and stream.stride < REORDERING * stream.size:
                return []
            stream.strided, stream.window, stream.due = True, 0, 0
        if stream.position < stream.due:
            return []
        room = self._share(stream)
        reads, wanted = 0, list[Range]()
        for first, past in self._touched(stream, min(2 * stream.window, MAX_STRIDES) or 1):
            room -= past - first
            if room < 0:
                break
            reads += 1
            if past > stream.ahead:
                wanted.append((max(first, stream.ahead), past))
                stream.ahead = past
        stream.window = max(1, reads)
        stream.due = stream.position + stream.stride * max(1, stream.window // 4)
        return self._without_others(stream, wanted)

    def _touched(self, stream: _Stream, reads: int) -> Iterator[Range]:
        """The chunks ahead that the next `reads` at the stream's stride touch."""
        past = -(-stream.position // self._chunk_size)
        for i in range(1, reads + 1):
            start = stream.last + i * stream.stride
            if start >= self._length:
                return
            first = max(start // self._chunk_size, past)
            past = min(-(-(start + stream.size) // self._chunk_size), self._count)
            yield first, past

    def _pending(self, stream: _Stream) -> list[Range]:
        """The chunks that are proposed for the stream and lie ahead of it."""
        here = -(-stream.position // self._chunk_size)
        if not stream.strided:
            return [(here, stream.ahead)] if here < stream.ahead else []
        return [each for each in self._touched(stream, MAX_STRIDES) if each[1] <= stream.ahead]

    def _without_others(self, stream: _Stream, wanted: list[Range]) -> list[Range]:
        for other in self._others(stream):
            for low, high in self._pending(other):
                pieces = (((a, min(b, low)), (max(a, high), b)) for a, b in wanted)
                wanted = [(a, b) for both in pieces for a, b in both if a < b]
        return wanted

    def _others(self, stream: _Stream) -> list[_Stream]:
        """The other active streams."""
        oldest = self._notes - ACTIVE_NOTES
        return [s for s in self._streams if s.window and s.used > oldest and s is not stream]

    def _share(self, stream: _Stream) -> int:
        """Chunks that the stream may have ahead while the others are active."""
        return self._chunks_for(self._budget // (1 + len(self._others(stream))))

    def _chunks_for(self, budget: int) -> int:
        size = self._chunk_size
        return max(1, min(budget, MAX_WINDOW) // size) if budget >= size else 0
