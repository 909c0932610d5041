"""Where chunks come from: the local disk if they are there, else a lake or a vault. Blocking."""

from collections.abc import Sequence
from typing import Protocol

from gridfsmount.cache.disk import DiskCache
from gridfsmount.core.chunks import Bytes, chunk_count, runs
from gridfsmount.core.model import Content

Numbered = Sequence[tuple[int, Bytes]]
"""Chunks with their numbers."""


class Chunked(Protocol):
    """What has contents, in chunks: the store of a lake, or a vault."""

    def read(
        self, content: Content, first: int, past: int, *, settled: bool = False
    ) -> Sequence[Bytes]:
        """Chunks `first` up to, not including, `past`, each checked.

        Raises:
            Damaged: a chunk is missing or altered.
            StoreUnavailable: no answer within the deadline.
        """

    def read_whole(self, contents: Sequence[Content]) -> Sequence[tuple[Content, Sequence[Bytes]]]:
        """All chunks of many small contents; those that are damaged are left out."""


class Source:
    """Chunks, each checked; safe to call from several threads."""

    def __init__(self, contents: Chunked, disk: DiskCache | None = None) -> None:
        """Read from `contents`, through `disk` if there is one."""
        self._contents = contents
        self._disk = disk

    @property
    def keeps(self) -> bool:
        """Whether there is a local disk."""
        return self._disk is not None

    def load(
        self, content: Content, first: int, past: int, settled: bool
    ) -> tuple[list[Bytes], Numbered]:
        """Chunks `first` up to, not including, `past`; and those of them to `keep` on disk.

        Raises:
            Damaged: a chunk is missing or altered.
            StoreUnavailable: no answer within the deadline.
        """
        if self._disk is None:
            return list(self._contents.read(content, first, past, settled=settled)), ()
        found: dict[int, Bytes] = {
            n: chunk
            for n, chunk in enumerate(self._disk.get(content, first, past), first)
            if chunk is not None
        }
        missing = (n for n in range(first, past) if n not in found)
        fresh: list[tuple[int, Bytes]] = []
        for begin, end in list(runs(missing)):
            chunks = self._contents.read(content, begin, end, settled=settled)
            fresh.extend(enumerate(chunks, begin))
        found.update(fresh)
        return [found[n] for n in range(first, past)], fresh

    def load_whole(
        self, contents: Sequence[Content]
    ) -> tuple[list[tuple[Content, list[Bytes]]], list[tuple[Content, Numbered]]]:
        """All chunks of small contents, as far as they can be had; and what to `keep` on disk.

        Raises:
            StoreUnavailable: no answer within the deadline.
        """
        whole: list[tuple[Content, list[Bytes]]] = []
        missing = []
        for content in contents:
            chunks = self._from_disk(content)
            if chunks is None:
                missing.append(content)
            else:
                whole.append((content, chunks))
        fresh: list[tuple[Content, Numbered]] = []
        if missing:
            for content, read in self._contents.read_whole(missing):
                whole.append((content, list(read)))
                fresh.append((content, list(enumerate(read))))
        return whole, fresh if self._disk is not None else []

    def keep(self, content: Content, chunks: Numbered) -> None:
        """Put chunks on the local disk, where there is one."""
        if self._disk is not None and chunks:
            self._disk.put(content, chunks)

    def _from_disk(self, content: Content) -> list[Bytes] | None:
        if self._disk is None:
            return None
        count = chunk_count(content.length, content.chunk_size)
        found = [chunk for chunk in self._disk.get(content, 0, count) if chunk is not None]
        return [*found] if len(found) == count else None
