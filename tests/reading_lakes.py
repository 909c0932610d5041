"""Lakes to read from: filled, sealed, mounted anew, and what their disk caches hold."""

import contextlib
import errno
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.database import Database

from gridfsmount.cache.disk import DiskCache
from gridfsmount.core.chunks import chunk_count
from gridfsmount.store.encoding import decode_content
from tests.mounting import Mounted, eventually
from tests.sealing import seal
from tests.store.lakes import opened

KIB = 1 << 10
MIB = 1 << 20

DATASET = "test"
VERSION = f"datasets/{DATASET}/v1"

LITTLE_MEMORY = "--cache-size=1MiB"
"""So little that what is read again does not come from the mount's own memory."""

CAPACITY = 1 << 40

PIECE = 64 * KIB
"""What a sequential reader asks for at once."""

Files = Mapping[str, bytes]
"""What is in a version: paths and bytes."""


def bytes_of(seed: object, size: int) -> bytes:
    """Bytes that no other file has, and the same ones each time."""
    return random.Random(str(seed)).randbytes(size)


def small_files(count: int, seed: object = "small") -> dict[str, bytes]:
    """Files as a training set has them, in `folder/`; each of another size."""
    return {
        f"folder/{number:04}.bin": bytes_of((seed, number), 500 + 37 * number)
        for number in range(count)
    }


def write(version: Path, files: Files) -> None:
    """Write files below a version, several at a time."""
    for folder in sorted({(version / name).parent for name in files}):
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: (version / item[0]).write_bytes(item[1]), files.items()))


def fill(uri: str, folder: Path, files: Files, *options: str | Path, sealed: bool) -> None:
    """Write files to `VERSION` through a mount that is gone afterwards."""
    with Mounted(uri, folder / "filling", *options) as mount:
        write(mount.version(VERSION), files)
    if sealed:
        with database_of(uri) as database:
            seal(database, DATASET, "v1")


@contextlib.contextmanager
def database_of(uri: str) -> Iterator[Database[dict[str, Any]]]:
    """The database behind a URI, as any client sees it."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client:
        yield client.get_default_database()


def without_chunks(uri: str) -> None:
    """Take all chunks from the server: what can still be read does not come from there."""
    with database_of(uri) as database:
        database["fs.chunks"].delete_many({})


def drop_pages(path: Path) -> None:
    """Have the kernel forget a file's pages, so that reads reach the mount."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def wait_until_cached(uri: str, folder: Path) -> None:
    """Wait until a disk cache has all contents of a lake: it is written behind the readers."""
    with opened(uri, read_only=True) as lake:
        documents = list(lake.connection.collection("files").find())
        contents = [decode_content(each) for each in documents]
        cache = DiskCache(folder, CAPACITY, lake=lake.id)
        for content in contents:
            count = chunk_count(content.length, content.chunk_size)

            def is_cached(content: Any = content, count: int = count) -> bool:
                return cache.holds(content, 0, count)

            eventually(is_cached, f"{content.id} is in the disk cache")


class Inside:
    """A folder that is held open, so that what lies above it is not asked for again."""

    def __init__(self, path: Path) -> None:
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self._folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._folder, follow_symlinks=False)

    def names(self) -> list[str]:
        return sorted(os.listdir(self._folder))  # noqa: PTH208


def read_on(descriptor: int, offset: int, stop: int, data: bytes) -> int:
    """Read on piece by piece as long as that goes well, and compare; returns where it ended."""
    while offset < stop:
        try:
            piece = os.pread(descriptor, min(PIECE, stop - offset), offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            break
        assert piece
        assert piece == data[offset : offset + len(piece)]
        offset += len(piece)
    return offset


def alter(segments: Iterable[Path]) -> None:
    """Change the last byte of files of a disk cache."""
    for path in segments:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
