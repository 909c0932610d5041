"""Bytes of one chunk that are not on the server yet.

What a program appends stays as the pieces that the kernel handed over, and is copied once, when
the chunk is complete. A page that is written out of order becomes one buffer.
"""

from typing import Final

from gridfsmount.core.chunks import Bytes

PIECE_BYTES: Final = 16 << 10
"""Smaller pieces are copied together at once: an object for each would outweigh them."""


class Page:
    """The start of a chunk, up to where it was written."""

    __slots__ = ("_buffer", "_length", "_pieces")

    def __init__(self, data: bytes = b"") -> None:
        """Hold `data`."""
        self._pieces: list[Bytes] = [data] if data else []
        self._buffer: bytearray | None = None
        """All of it, once it was written out of order."""
        self._length = len(data)

    def __len__(self) -> int:
        """Bytes up to where it was written."""
        return self._length

    def write(self, start: int, data: Bytes) -> None:
        """Put `data` at `start`; what lies between the end and there becomes zeros.

        `data` is kept as it is: whoever gives it must not change it.
        """
        stop = start + len(data)
        if start > self._length:
            self.extend(start - self._length)
        if self._buffer is None and start == self._length and len(data) >= PIECE_BYTES:
            self._pieces.append(data)
        else:
            self._joined()[start:stop] = data
        self._length = max(self._length, stop)

    def extend(self, count: int) -> None:
        """Add `count` zeros."""
        if count > 0:
            self._joined().extend(bytes(count))
            self._length += count

    def cut(self, length: int) -> None:
        """Forget what comes after `length` bytes."""
        if length < self._length:
            del self._joined()[length:]
            self._length = length

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`, fewer where nothing was written yet."""
        return bytes(self._joined()[start:stop])

    def whole(self) -> bytes:
        """All of it."""
        if self._buffer is not None:
            return bytes(self._buffer)
        if len(self._pieces) == 1 and isinstance(self._pieces[0], bytes):
            return self._pieces[0]
        return b"".join(self._pieces)

    def _joined(self) -> bytearray:
        if self._buffer is None:
            self._buffer = bytearray(b"".join(self._pieces))
            self._pieces.clear()
        return self._buffer
