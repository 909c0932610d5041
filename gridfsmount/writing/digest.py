"""The SHA-256 of a file whose chunks come in order, taken on the way to the server."""

import hashlib
from collections.abc import Sequence

from xxhash import xxh3_64_digest


class Digest:
    """Takes in full chunks from the first on; knows the whole file's digest when it had all.

    Not to be called from two threads at once. Whoever changes a chunk that was taken in, or may be
    just now, throws this away: the digest then stays unknown until the file is emptied.
    """

    def __init__(self, chunk_size: int) -> None:
        """Start with nothing, in chunks of `chunk_size` bytes."""
        self._chunk_size = chunk_size
        self._sha256 = hashlib.sha256()
        self.taken = 0
        """Number of full chunks, from the first on, that were taken in."""
        self._tail: tuple[int, bytes] = (-1, b"")
        """The chunk after those, as it last came while it was not full."""

    def take(self, n: int, chunk: bytes) -> None:
        """Take in chunk `n`, if it is the next."""
        if n != self.taken:
            return
        if len(chunk) == self._chunk_size:
            self._sha256.update(chunk)
            self.taken += 1
        else:
            self._tail = (n, chunk)

    def of(self, size: int) -> bytes | None:
        """The digest of a file of `size` bytes; None if not all of it was taken in."""
        full, rest = divmod(size, self._chunk_size)
        if self.taken != full:
            return None
        if not rest:
            return self._sha256.digest()
        n, chunk = self._tail
        if n != full or len(chunk) != rest:
            return None
        whole = self._sha256.copy()
        whole.update(chunk)
        return whole.digest()


def hash_chunks(chunks: Sequence[tuple[int, bytes]], digest: Digest | None) -> list[bytes]:
    """The XXH3-64 of each chunk; `digest` takes them in on the way."""
    if digest is not None:
        for n, chunk in chunks:
            digest.take(n, chunk)
    return [xxh3_64_digest(chunk) for _, chunk in chunks]
