"""A program that uses a mounted version hard, and writes down what it was told.

Several workers, each in a folder of its own, each with one operation at a time. It goes on whatever
fails, until it is told to end (SIGTERM): then every worker finishes what it is at.

    python -m tests.torture.writer FOLDER JOURNAL --workers 4 --seed 7 --first-generation 1000
"""

# ruff: noqa: PTH102, PTH104, PTH105, PTH106, PTH108
# The system calls themselves, for their errno.

import argparse
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.torture import contents
from tests.torture.belief import FOLDER, Belief, State, Step
from tests.torture.contents import EMPTY, Content
from tests.torture.journal import Journal

CHUNK: Final = 64 << 10
"""That of the mount: files have many of them, and sizes are around multiples of it."""

MIB: Final = 1 << 20

GENERATIONS: Final = 1_000_000
"""Numbers that one worker has for itself."""

FOLDERS: Final = ("a", "b", "c")
NAMES: Final = ("one", "two", "three", "four", "five", "six")

MAX_WORLDS: Final = 8
"""Paths with more possible states than this are left alone: enough is told by those that are."""

AWAIT_SECONDS: Final = 0.02


class Refused(Exception):
    """An operation failed with an errno; what it did is in doubt."""


class Worker:
    """One line of operations."""

    def __init__(
        self, folder: str, journal: Journal, number: int, seed: int, first_generation: int
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._number = number
        self._random = random.Random(seed)
        self._generation = first_generation
        self._operation = 0
        self._belief = Belief()
        self._ending = threading.Event()

    def run(self) -> None:
        """Work until `end`."""
        kinds: dict[Callable[[], None], int] = {
            self._write: 10,
            self._save: 6,
            self._append: 5,
            self._patch: 5,
            self._keep_log: 3,
            self._truncate: 3,
            self._rename: 4,
            self._unlink: 3,
            self._make_folder: 3,
            self._rename_folder: 2,
            self._remove_folder: 1,
            self._look: 4,
        }
        while not self._ending.is_set():
            (kind,) = self._random.choices(list(kinds), list(kinds.values()))
            try:
                kind()
            except Refused:
                self._await_mount()

    def end(self) -> None:
        """Finish the operation that is under way, and no other."""
        self._ending.set()

    def _await_mount(self) -> None:
        """A dead mount refuses everything at once: no use to go on asking it."""
        while not self._ending.wait(AWAIT_SECONDS):
            with suppress(OSError):
                os.statvfs(self._folder)  # which the kernel never answers by itself
                return

    # --- operations ----------------------------------------------------------------------------

    def _write(self) -> None:
        """A whole file, new or in place of what was there, in some cases in two commits."""
        path = self._pick(self._is_place_for_file)
        if path is None:
            return
        if self._random.random() < 0.7:
            self._write_whole(path, self._size())
        else:
            self._write_synced(path)

    def _save(self) -> None:
        """As editors and checkpoints do: beside it, then in its place."""
        path = self._pick(self._is_place_for_file)
        if path is None or not self._is_place_for_file(beside := f"{path}.tmp"):
            return
        content = self._write_whole(beside, self._size(), sync=True)
        with self._doing("replace", Step({beside: None, path: content})):
            os.replace(self._at(beside), self._at(path))

    def _append(self) -> None:
        found = self._pick_file()
        if found is None:
            return
        path, old = found
        start = contents.size(old)
        length = self._size(large=False)
        new = contents.written(old, generation := self._next(), start, start + length)
        with (
            self._doing("append", Step({path: new})),
            self._opened(path, os.O_WRONLY | os.O_APPEND) as descriptor,
        ):
            self._put(descriptor, generation, start, start + length)
            if self._random.random() < 0.3:
                os.fsync(descriptor)

    def _patch(self) -> None:
        """Rewrite pieces of a file in place."""
        found = self._pick_file()
        if found is None:
            return
        path, new = found
        length = contents.size(new)
        pieces = []
        for _ in range(self._random.randint(1, 3)):
            start = self._random.randint(0, length + CHUNK)
            stop = start + self._random.choice((1, 1000, CHUNK, 3 * CHUNK + 1))
            pieces.append((generation := self._next(), start, stop))
            new = contents.written(new, generation, start, stop)
        with self._doing("patch", Step({path: new})), self._opened(path, os.O_RDWR) as descriptor:
            for piece in pieces:
                self._put(descriptor, *piece)

    def _keep_log(self) -> None:
        """Append with fsync after each, as databases do."""
        found = self._pick_file()
        if found is None:
            return
        path, content = found
        with self._held(path, os.O_WRONLY) as descriptor:
            for _ in range(3):
                start = contents.size(content)
                stop = start + self._random.randint(1, 2 * CHUNK)
                content = contents.written(content, generation := self._next(), start, stop)
                with self._doing("log", Step({path: content})):
                    self._put(descriptor, generation, start, stop)
                    os.fdatasync(descriptor)

    def _truncate(self) -> None:
        found = self._pick_file()
        if found is None:
            return
        path, old = found
        length = self._random.choice(
            (0, self._random.randint(0, contents.size(old)), contents.size(old) + 5000, 2 * CHUNK)
        )
        step = Step({path: contents.truncated(old, length)})
        if self._random.random() < 0.5:
            with self._doing("truncate", step):
                os.truncate(self._at(path), length)
        else:
            with self._doing("ftruncate", step), self._opened(path, os.O_WRONLY) as descriptor:
                os.ftruncate(descriptor, length)

    def _rename(self) -> None:
        found = self._pick_file()
        path = self._pick(self._is_place_for_file)
        if found is None or path is None or path == found[0]:
            return
        old, content = found
        with self._doing("rename", Step({old: None, path: content})):
            os.rename(self._at(old), self._at(path))

    def _unlink(self) -> None:
        found = self._pick_file()
        if found is None:
            return
        path, _ = found
        with self._doing("unlink", Step({path: None})):
            os.unlink(self._at(path))

    def _make_folder(self) -> None:
        path = self._random.choice(FOLDERS)
        if self._known(path) is not None or not self._belief.is_certain(path):
            return
        with self._doing("mkdir", Step({path: FOLDER})):
            os.mkdir(self._at(path))

    def _rename_folder(self) -> None:
        """With all that is in it, to a name that is free."""
        old, new = self._random.sample(FOLDERS, 2)
        inside = self._inside(old)
        certain = all(map(self._belief.is_certain, (old, new, *inside, *self._inside(new))))
        if not certain or self._known(old) != FOLDER or self._known(new) is not None:
            return
        moved: dict[str, State] = {old: None, new: FOLDER}
        for path in inside:
            moved[new + path.removeprefix(old)] = self._known(path)
            moved[path] = None
        with self._doing("rename folder", Step(moved)):
            os.rename(self._at(old), self._at(new))

    def _remove_folder(self) -> None:
        path = self._random.choice(FOLDERS)
        inside = self._inside(path)
        certain = all(map(self._belief.is_certain, (path, *inside)))
        empty = all(self._known(each) is None for each in inside)
        if not certain or not empty or self._known(path) != FOLDER:
            return
        with self._doing("rmdir", Step({path: None})):
            os.rmdir(self._at(path))

    def _look(self) -> None:
        """Read a file that was acknowledged, as it must be at any time."""
        found = self._pick_file()
        if found is None:
            return
        path, content = found
        with self._doing("read"):
            data = Path(self._at(path)).read_bytes()
        if data != contents.rendered(content):
            self._journal.wrong(
                self._number,
                self._operation,
                f"{self._at(path)} was read as {contents.recognized(data)}, "
                f"but is {contents.described(content)}",
            )

    # --- parts of them -------------------------------------------------------------------------

    def _write_whole(self, path: str, length: int, *, sync: bool = False) -> Content:
        generation = self._next()
        content = contents.written(EMPTY, generation, 0, length)
        with (
            self._doing("write", Step({path: EMPTY}, if_missing=path), Step({path: content})),
            self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor,
        ):
            self._put(descriptor, generation, 0, length)
            if sync:
                os.fsync(descriptor)
        return content

    def _write_synced(self, path: str) -> None:
        """A part, fsync, the rest, close: both commits are acknowledged by themselves."""
        generation = self._next()
        half, length = sorted((self._size(), self._size()))
        first = contents.written(EMPTY, generation, 0, half)
        whole = contents.written(EMPTY, generation, 0, length)
        descriptor = -1
        try:
            with self._doing("sync", Step({path: EMPTY}, if_missing=path), Step({path: first})):
                descriptor = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                self._put(descriptor, generation, 0, half)
                os.fsync(descriptor)
            with self._doing("close", Step({path: whole})):
                self._put(descriptor, generation, half, length)
                closing, descriptor = descriptor, -1
                os.close(closing)
        finally:
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)

    def _put(self, descriptor: int, generation: int, start: int, stop: int) -> None:
        piece = self._random.choice((CHUNK // 3, CHUNK, MIB))
        for begin in range(start, stop, piece):
            data = contents.generated(generation, begin, min(begin + piece, stop))
            if os.pwrite(descriptor, data, begin) != len(data):
                raise OSError(errno.EIO, "a short write")

    @contextmanager
    def _doing(self, name: str, *steps: Step) -> Iterator[None]:
        """Write down what the block is about to do, and what came of it."""
        self._operation += 1
        self._journal.intend(self._number, self._operation, name, steps)
        try:
            yield
        except OSError as error:
            self._journal.failed(
                self._number, self._operation, errno.errorcode.get(error.errno or 0, str(error))
            )
            self._belief.failed(steps)
            raise Refused from error
        self._journal.done(self._number, self._operation)
        self._belief.done(steps)

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        """An open file, whose close is part of the operation around it."""
        descriptor = os.open(self._at(path), flags, 0o666)
        try:
            yield descriptor
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)

    @contextmanager
    def _held(self, path: str, flags: int) -> Iterator[int]:
        """An open file around operations: opening and closing it changes nothing."""
        descriptor = -1
        try:
            with self._doing("open"):
                descriptor = os.open(self._at(path), flags)
            yield descriptor
        finally:
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)

    def _at(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def _next(self) -> int:
        self._generation += 1
        return self._generation

    def _size(self, *, large: bool = True) -> int:
        kind = self._random.random()
        if kind < 0.1:
            return self._random.choice((0, 1))
        if kind < 0.4:
            return self._random.randint(2, 4095)
        if kind < 0.65:
            return self._random.randint(1, 3) * CHUNK + self._random.randint(-1, 1)
        if kind < 0.93 or not large:
            return self._random.randint(4096, 6 * CHUNK)
        if kind < 0.98:
            return self._random.randint(MIB, 5 * MIB)
        return self._random.randint(9 * MIB, 12 * MIB)  # more than a writer keeps in memory

    # --- choosing paths ------------------------------------------------------------------------

    def _known(self, path: str) -> State:
        """What is there; meaningful for paths that are certain."""
        return self._belief.certain.get(path)

    def _pick(self, fits: Callable[[str], bool]) -> str | None:
        folder = self._random.choice(("", "", *(f"{each}/" for each in FOLDERS)))
        path = folder + self._random.choice(NAMES)
        return path if fits(path) else None

    def _pick_file(self) -> tuple[str, Content] | None:
        """A file whose content is certain."""
        files = [
            (path, state)
            for path, state in self._belief.certain.items()
            if isinstance(state, tuple)
        ]
        return self._random.choice(files) if files else None

    def _is_place_for_file(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder and not (self._known(folder) == FOLDER and self._belief.is_certain(folder)):
            return False
        assert name
        return self._belief.uncertainty(path) <= MAX_WORLDS

    def _inside(self, folder: str) -> list[str]:
        return [path for path in self._belief.paths() if path.startswith(f"{folder}/")]


@contextmanager
def running(
    folder: Path, journal: Path, *, workers: int, seed: int, first_generation: int
) -> Iterator[subprocess.Popen[bytes]]:
    """This program, at work for as long as a block runs."""
    command = [
        *(sys.executable, "-m", "tests.torture.writer", str(folder), str(journal)),
        *("--workers", str(workers), "--seed", str(seed)),
        *("--first-generation", str(first_generation)),
    ]
    # In a session of its own: Ctrl-C is for who started it, who then ends it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _run(worker: Worker) -> None:
    """A worker that fails by itself ends the program: its promises would go unchecked."""
    try:
        worker.run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("journal", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first-generation", type=int, required=True)
    options = parser.parse_args(arguments)
    with Journal(options.journal) as journal:
        workers = [
            Worker(
                f"{options.folder}/{number}",
                journal,
                number,
                options.seed * 1000 + number,
                options.first_generation + number * GENERATIONS,
            )
            for number in range(options.workers)
        ]
        threads = [threading.Thread(target=_run, args=(each,)) for each in workers]

        def end(*_: object) -> None:
            for each in workers:
                each.end()

        signal.signal(signal.SIGTERM, end)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
