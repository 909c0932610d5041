"""Filling a mount's disk cache, by reading through the mount.

Past the kernel's page cache (O_DIRECT): what is in there would never reach the mount, and what is
read here is not wanted in there.
"""

import errno
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

READ_BYTES: Final = 1 << 20
"""One request of the kernel."""

QUEUED: Final = 4
"""Files that wait for each thread: the walk need not run far ahead of the reading."""


@dataclass(slots=True)
class Warmed:
    """What was read."""

    files: int = 0
    bytes: int = 0
    failures: list[str] = field(default_factory=list)
    """What could not be read, and why."""


def find_files(paths: Iterable[Path], failures: list[str]) -> Iterator[tuple[Path, int]]:
    """All regular files at and below `paths`, with their sizes in bytes; each once.

    What cannot be listed is added to `failures`. Links are followed only where they are given.
    """
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        failures.append(_failure(error.filename, error))

    def files_of(path: Path) -> Iterator[Path]:
        if path.is_dir():
            for folder, folders, names in os.walk(path, onerror=note):
                folders.sort()
                yield from (Path(folder, name) for name in sorted(names))
        else:
            yield path

    for path in paths:
        for file in files_of(path.resolve()):
            try:
                status = file.lstat()
            except OSError as error:
                note(error)
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield file, status.st_size


def warm(
    files: Iterable[tuple[Path, int]], warmed: Warmed, jobs: int, progress: Callable[[int], None]
) -> None:
    """Read files, several at once.

    Args:
        files: what to read.
        warmed: where to count.
        jobs: threads.
        progress: told the bytes of every piece that was read, from any thread.
    """
    lock = threading.Lock()

    def read(path: Path) -> None:
        try:
            size = _read(path, progress)
        except OSError as error:
            with lock:
                warmed.failures.append(_failure(path, error))
        else:
            with lock:
                warmed.files += 1
                warmed.bytes += size

    with ThreadPoolExecutor(jobs, thread_name_prefix="warm") as pool:
        pending: set[Future[None]] = set()
        try:
            for path, _ in files:
                if len(pending) >= QUEUED * jobs:
                    _, pending = wait(pending, return_when=FIRST_COMPLETED)
                pending.add(pool.submit(read, path))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read(path: Path, progress: Callable[[int], None]) -> int:
    descriptor = _open(path)
    try:
        with mmap.mmap(-1, READ_BYTES) as buffer:  # page-aligned, as O_DIRECT may want it
            offset = 0
            while count := os.preadv(descriptor, [buffer], offset):
                offset += count
                progress(count)
            return offset
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def _failure(path: object, error: OSError) -> str:
    return f"{path}: {error.strerror or error}"
