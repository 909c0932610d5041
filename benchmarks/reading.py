"""Starting the program that reads (`benchmarks.reader`), and what it is told to do."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 600.0
"""Seconds for one job; what takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to read, and how: see the functions of `benchmarks.reader`."""

    kind: str
    """`whole`, `files`, `pieces`, `mapped` or `folder`."""
    paths: tuple[str, ...]
    offsets: tuple[int, ...] = ()
    size: int = 0
    random: bool = False
    threads: int = 1
    seed: int | None = None
    warm: bool = False
    """Do it once before it is timed."""
    until_told: bool = False
    """Do it again and again, as load beside another job."""


def whole(path: Path, *, warm: bool = False, until_told: bool = False) -> Job:
    """A file from its start to its end, in pieces of 1 MiB."""
    return Job("whole", (str(path),), warm=warm, until_told=until_told)


def files(paths: Sequence[Path]) -> Job:
    """Several files at once, a thread for each."""
    return Job("files", tuple(map(str, paths)))


def pieces(path: Path, offsets: Sequence[int], size: int, *, random: bool) -> Job:
    """`size` bytes at each offset; `random` tells the kernel to expect no order."""
    return Job("pieces", (str(path),), offsets=tuple(offsets), size=size, random=random)


def mapped(path: Path, threads: int = 1) -> Job:
    """All of a mapped file, each thread a part of it."""
    return Job("mapped", (str(path),), threads=threads)


def folder(path: Path, *, seed: int | None = None, until_told: bool = False) -> Job:
    """All files of a folder: in the order of their names, or shuffled."""
    return Job("folder", (str(path),), seed=seed, until_told=until_told)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader did."""

    seconds: float
    bytes: int


class Reader:
    """A process with one job."""

    def __init__(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Speak to a process that has its job."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._job = job
        self._to, self._from = process.stdin, process.stdout

    def begin(self) -> None:
        """Let it work."""
        self._to.write("go\n")
        self._to.flush()

    def result(self) -> Reading:
        """Wait until it has done its job; one that goes on until it is told is told."""
        if self._job.until_told:
            self._to.close()
        found = json.loads(self.hear())
        return Reading(found["seconds"], found["bytes"])

    def hear(self) -> str:
        """Wait for the next line that it prints."""
        if not select.select([self._from], [], [], PATIENCE)[0]:
            raise TimeoutError(f"not read after {PATIENCE:.0f} s: {', '.join(self._job.paths)}")
        line = self._from.readline()
        if not line:
            raise OSError(f"the reader failed: {', '.join(self._job.paths)}")
        return line


@contextmanager
def reader(job: Job) -> Iterator[Reader]:
    """A process that is ready to do its job; it ends with the block at the latest."""
    command = [sys.executable, "-m", "benchmarks.reader", json.dumps(asdict(job))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            found = Reader(job, process)
            found.hear()
            yield found
        finally:
            process.kill()
