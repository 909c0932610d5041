"""`python -m benchmarks.reader`: a program that reads files, as the programs of users do.

One process for one measurement. It gets its work as JSON in its argument, says `ready`, waits for
a line, works, and prints how long that took and how many bytes it saw: its start is not counted.
Nothing of the project is imported here, so that the start is short.
"""

import ctypes
import json
import mmap
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

MIB: Final = 1 << 20
BUFFER: Final = MIB
"""Bytes a read asks for: what cp and most libraries for tensors ask for is near it."""


def read_whole(path: Path, *, forget: bool = False) -> int:
    """Read a file from its start to its end; first `forget` its pages in the kernel's cache."""
    buffer = bytearray(BUFFER)
    total = 0
    with path.open("rb", buffering=0) as file:
        if forget:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while count := file.readinto(buffer):
            total += count
    return total


def read_files(paths: Sequence[Path]) -> int:
    """Read several files at once, each in a thread of its own."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return sum(pool.map(read_whole, paths))


def read_pieces(path: Path, offsets: Iterable[int], size: int, *, random_access: bool) -> int:
    """Read `size` bytes at each of the offsets."""
    file = os.open(path, os.O_RDONLY)
    try:
        if random_access:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        return sum(len(os.pread(file, size, offset)) for offset in offsets)
    finally:
        os.close(file)


def read_mapped(path: Path, threads: int) -> int:
    """Map a file and copy all of it, each thread a part of it from start to end."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        size = len(mapped)
        part = -(-size // threads)
        # A slice of the mapping would be copied under the GIL, and a fault would stop all threads.
        start = ctypes.c_char.from_buffer(mapped)
        address = ctypes.addressof(start)

        def copy(begin: int) -> int:
            end = min(begin + part, size)
            buffer = ctypes.create_string_buffer(BUFFER)
            for offset in range(begin, end, BUFFER):
                ctypes.memmove(buffer, address + offset, min(BUFFER, end - offset))
            return end - begin

        try:
            with ThreadPoolExecutor(threads) as pool:
                return sum(pool.map(copy, range(0, size, part)))
        finally:
            del start, copy  # a mapping that is pointed into cannot be closed


def read_folder(folder: Path, *, seed: int | None, forget: bool = False) -> int:
    """List a folder and read each of its files: in order, or shuffled if there is a `seed`."""
    names = sorted(os.listdir(folder))  # noqa: PTH208 - what users' loaders do
    if seed is not None:
        random.Random(seed).shuffle(names)
    total = 0
    for name in names:
        file = os.open(f"{folder}/{name}", os.O_RDONLY)
        if forget:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := os.read(file, BUFFER):
            total += len(piece)
        os.close(file)
    return total


def prepared(job: dict[str, Any]) -> Callable[[], int]:
    """The work of a job, as a function that gives the bytes it read.

    With `warm`, it is done once beforehand. With `until_told`, it is done again and again, past
    the kernel's cache, until standard input ends.
    """
    work = _work(job)
    if job.get("warm"):
        work()
    if not job.get("until_told"):
        return work
    told = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        told.set()

    def again() -> int:
        threading.Thread(target=wait, daemon=True).start()
        total = 0
        while not told.is_set():
            total += work()
        return total

    return again


def _work(job: dict[str, Any]) -> Callable[[], int]:
    paths = [Path(each) for each in job["paths"]]
    forget = bool(job.get("until_told"))
    match job["kind"]:
        case "whole":
            return lambda: read_whole(paths[0], forget=forget)
        case "files":
            return lambda: read_files(paths)
        case "pieces":
            offsets, size = job["offsets"], job["size"]
            return lambda: read_pieces(paths[0], offsets, size, random_access=job["random"])
        case "mapped":
            return lambda: read_mapped(paths[0], job["threads"])
        case "folder":
            return lambda: read_folder(paths[0], seed=job["seed"], forget=forget)
    raise ValueError(f"no such job: {job['kind']}")


def main() -> None:
    """Do the one job."""
    work = prepared(json.loads(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    count = work()
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "bytes": count}), flush=True)


if __name__ == "__main__":
    main()
