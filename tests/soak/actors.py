"""What people do beside the writers of `tests.torture`: copies, versions, backups.

Each actor is a thread. A step may fail while something is broken; what a program acknowledged must
be there, whole, whatever happens later.
"""

import abc
import hashlib
import random
import subprocess
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.mounting import COMMAND
from tests.torture.checker import Fault, Violation

STEP_SECONDS: Final = 240.0
"""What one program may take: it consists of many calls, each with a deadline."""

SEEN_SECONDS: Final = 60.0
"""For what was acknowledged to be readable, whatever is broken meanwhile."""

POLL_SECONDS: Final = 0.05

NOT_RIGHT: Final = 1
"""The exit code of verify when something is not what it was."""

KEPT: Final = 3
"""Sealed versions, and snapshots: enough to choose from."""

TRASH: Final = "5m"
"""How long removed contents stay: longer than any file is open, so that disks do not fill up."""

FILES: Final = 30
LARGE_BYTES: Final = 6 << 20
SMALL_BYTES: Final = 40_000


class Actor(abc.ABC):
    """One line of steps.

    Attributes:
        done: Steps that were acknowledged, by name.
        refused: Those that failed.
        violations: Broken promises.
    """

    def __init__(self, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._said = ""
        """By the last program."""

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin no other step."""
        self._ending.set()

    def join(self) -> None:
        self._thread.join(STEP_SECONDS + SEEN_SECONDS)
        if self._thread.is_alive():
            self._fail(Fault.OTHER, f"{type(self).__name__} hangs")

    @abc.abstractmethod
    def steps(self) -> Sequence[Callable[[], None]]:
        """What it does, over and over."""

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                for step in self.steps():
                    if self._ending.is_set():
                        return
                    step()
        except Exception:
            self._fail(Fault.OTHER, f"{type(self).__name__} failed:\n{traceback.format_exc()}")

    def _call(self, name: str, *command: str | Path) -> int:
        """Run a program to its end; returns its exit code."""
        try:
            result = subprocess.run(
                [str(each) for each in command],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=STEP_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._fail(Fault.OTHER, f"{name} took more than {STEP_SECONDS:.0f} s")
            return -1
        said = result.stdout + result.stderr
        if "Traceback (most recent call last)" in said:
            self._fail(Fault.OTHER, f"{name} shows a traceback:\n{said[-3000:]}")
        (self.refused if result.returncode else self.done)[name] += 1
        self._said = said
        return result.returncode

    def _lake(self, *arguments: str | Path) -> int:
        name = " ".join(str(each) for each in arguments[: 2 if arguments[0] == "backup" else 1])
        return self._call(name, *COMMAND, *arguments)

    def _fail(self, fault: Fault, text: str) -> None:
        self.violations.append(Violation(fault, text))


def make_tree(folder: Path, seed: int) -> dict[str, str]:
    """Files of many sizes; their digests by name."""
    chance = random.Random(seed)
    digests = {}
    for number in range(FILES):
        name = f"{number % 3}/file-{number}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = chance.randbytes(LARGE_BYTES if number == 0 else chance.randint(0, SMALL_BYTES))
        path.write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


class Copier(Actor):
    """cp, rsync, mv, ls, rm, and a look at every byte that was copied."""

    def __init__(self, version: Path, local: Path, seed: int) -> None:
        super().__init__(seed)
        self._version = version
        self._source = local / f"tree-{seed}"
        self._digests = make_tree(self._source, seed)
        self._number = 0

    def steps(self) -> Sequence[Callable[[], None]]:
        return (self._copy_look_and_remove,)

    def _copy_look_and_remove(self) -> None:
        self._number += 1
        copy = self._version / f"copy-{self._number}"
        moved = self._version / f"moved-{self._number}"
        if self._copy(copy) == 0:
            self._expect(copy)
            if self._call("mv", "mv", "-T", copy, moved) == 0:
                self._expect(moved)
            self._call("ls", "ls", "-lR", self._version)
            self._call("find", "find", self._version, "-type", "f", "-size", "+1k")
        while self._call("rm", "rm", "-rf", copy, moved) and not self._ending.is_set():
            pass  # once all is mended

    def _copy(self, target: Path) -> int:
        if self._random.random() < 0.5:
            return self._call("cp", "cp", "-r", self._source, target)
        return self._call("rsync", "rsync", "-a", f"{self._source}/", f"{target}/")

    def _expect(self, folder: Path) -> None:
        """All that was copied can be read, soon, and is what it was."""
        for name, digest in self._digests.items():
            found = self._digest(folder / name)
            if found == digest:
                self.done["look"] += 1
            else:
                self._fail(Fault.LOST, f"{folder / name} was copied, and is {found}")

    def _digest(self, path: Path) -> str:
        deadline = time.monotonic() + SEEN_SECONDS
        while True:
            try:
                return hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                # While a mount is down there is nothing at its place.
                if time.monotonic() > deadline:
                    return str(error)
                time.sleep(POLL_SECONDS)


class Versions(Actor):
    """put, seal, verify, fork, get, delete."""

    def __init__(self, uri: str, local: Path, seed: int) -> None:
        super().__init__(seed)
        self._at = ("--uri", uri)
        self._local = local
        self._source = local / f"version-{seed}"
        self._digests = make_tree(self._source, seed)
        self._number = 0
        self._sealed: set[str] = set()

    def steps(self) -> Sequence[Callable[[], None]]:
        return (self._put_and_seal, self._fork_and_get, self._verify, self._delete)

    def _next(self) -> str:
        self._number += 1
        return f"datasets/sealed/v{self._number}"

    def _put_and_seal(self) -> None:
        name = self._next()
        if self._lake("put", "-q", f"{self._source}/", f"{name}/", *self._at) == 0 and (
            self._lake("seal", name, "-m", "soak", *self._at) == 0
        ):
            self._sealed.add(name)

    def _fork_and_get(self) -> None:
        if not self._sealed:
            return
        fork = self._next()
        if self._lake("fork", self._random.choice(sorted(self._sealed)), fork, *self._at):
            return
        with tempfile.TemporaryDirectory(dir=self._local) as folder:
            if self._lake("get", "-q", f"{fork}/", f"{folder}/", *self._at) == 0:
                for name, digest in self._digests.items():
                    if hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() != digest:
                        self._fail(Fault.TORN, f"{fork}/{name} is not what was sealed")
        self._lake("delete", fork, "--yes", *self._at)

    def _verify(self) -> None:
        for name in self._random.sample(sorted(self._sealed), min(2, len(self._sealed))):
            if self._lake("verify", name, *self._at) == NOT_RIGHT:
                self._fail(Fault.TORN, f"{name} is sealed, and verify says: {self._said[-500:]}")

    def _delete(self) -> None:
        if len(self._sealed) > KEPT:
            name = self._random.choice(sorted(self._sealed))
            self._sealed.remove(name)  # whatever comes of it
            self._lake("delete", name, "--yes", *self._at)

    def look_at_all(self) -> None:
        """What was sealed and not deleted is there and right, with nothing broken any more."""
        for name in sorted(self._sealed):
            if self._lake("verify", name, *self._at):
                self._fail(Fault.LOST, f"{name} was sealed; verify says: {self._said[-500:]}")


class Backups(Actor):
    """backup create, verify and prune, and gc."""

    def __init__(self, uri: str, vault: Path, seed: int) -> None:
        super().__init__(seed)
        self._at = ("--uri", uri)
        self._vault = ("--vault", vault)

    def begin(self) -> None:
        """Make the vault."""
        if self._lake("backup", "init", *self._vault, *self._at):
            raise RuntimeError(self._said)

    def steps(self) -> Sequence[Callable[[], None]]:
        return (self._create, self._verify, self._prune, self._collect)

    def _create(self) -> None:
        self._lake("backup", "create", *self._vault, *self._at)

    def _verify(self) -> None:
        if self._lake("backup", "verify", *self._vault) == NOT_RIGHT:
            self._fail(Fault.TORN, f"the vault is damaged: {self._said[-2000:]}")

    def _prune(self) -> None:
        keep = ("--keep-last", str(KEPT), "--grace", "5s")
        self._lake("backup", "prune", *self._vault, *keep)

    def _collect(self) -> None:
        self._lake("gc", *self._at[1:], "--grace", TRASH)

    def look_at_all(self) -> None:
        """A backup can be made, and the vault is whole, with nothing broken any more."""
        for command in ("create", "verify"):
            at = self._at if command == "create" else ()
            if self._lake("backup", command, *self._vault, *at):
                self._fail(Fault.LOST, f"backup {command} says at the end: {self._said[-2000:]}")
