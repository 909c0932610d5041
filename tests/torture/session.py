"""One lake on one server, used hard, killed many times, and checked after each few kills.

A round: fresh folders, a writer program in them, one to four kills at random moments, and a check
of all that the writer was told. At the end everything of all rounds is checked again from a fresh
mount, as drivers see it too, and that nothing is left over.
"""

import enum
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pymongo import MongoClient

from tests.mongod import Mongod
from tests.mounting import Mounted, eventually
from tests.torture.checker import (
    Drivers,
    Fault,
    Folder,
    Violation,
    leftovers,
    quiet_paths,
)
from tests.torture.journal import UNFINISHED, Follower, Operation, Record
from tests.torture.writer import CHUNK, GENERATIONS, running

WORKERS: Final = 4

PATIENT: Final = 10.0
"""A deadline that is longer than a restart takes: most operations go on after it."""

HASTY: Final = 2.0
"""One that is not: operations fail, and the server may do later what was given up."""

LEASE: Final = 4.0

HANG_SECONDS: Final = 60.0
"""What one operation of a worker may take: it consists of several calls, each with a deadline."""

MANY_OPERATIONS: Final = 20
"""Up to so many succeed between two kills before `MOMENT_SECONDS` begin, however slow it is."""

MOMENT_SECONDS: Final = 1.5
"""Kills come up to so long afterwards."""

PAUSE_SECONDS: Final = 0.4
"""For so long, at most, a server hangs before it is killed, when the deadline is long."""

VERSION: Final = "datasets/torture/v1"

EXPECTED: Final = frozenset({"EIO", "ENOTCONN", "ECONNABORTED", ""})
"""What operations may fail with; with anything else only where no mount is. "" never returned."""


class Target(enum.Enum):
    """What is killed."""

    SERVER = "server"
    MOUNT = "mount"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, in seconds of the machine's monotonic clock."""

    target: Target
    hit: float
    """When the signal was sent."""
    over: float
    """When everything ran again."""


@dataclass(slots=True)
class Report:
    """What happened, and what is wrong.

    Attributes:
        kills: All of them.
        hits: Those that cut into an operation.
        acknowledged: Operations that were acknowledged, by name.
        refused: Operations that failed, by errno.
        files: Files that had to be there, each compared byte for byte.
        doubtful: Paths that could show one thing or another.
        by_name: Files that drivers had to see under their path.
        violations: Broken promises.
    """

    kills: list[Kill] = field(default_factory=list)
    hits: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    files: int = 0
    doubtful: int = 0
    by_name: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take in what another session has to report."""
        self.kills += other.kills
        self.hits += other.hits
        self.acknowledged += other.acknowledged
        self.refused += other.refused
        self.files += other.files
        self.doubtful += other.doubtful
        self.by_name += other.by_name
        self.violations += other.violations

    def count(self, fault: Fault) -> int:
        return sum(each.fault is fault for each in self.violations)

    def __str__(self) -> str:
        kinds = Counter(each.target.value for each in self.kills)
        kills = ", ".join(f"{kinds[each.value]} {each.value}" for each in Target)
        return (
            f"{len(self.kills)} kills ({kills}), {self.hits} of them in operations; "
            f"{self.acknowledged.total()} operations acknowledged, {self.refused.total()} refused "
            f"({dict(self.refused)}); {self.files} files whole, {self.doubtful} in doubt; "
            f"{self.count(Fault.LOST)} lost, {self.count(Fault.TORN)} torn, "
            f"{self.count(Fault.OTHER)} other faults"
        )


@dataclass(slots=True)
class Round:
    """What one writer did, and where."""

    name: str
    record: Record
    kills: list[Kill]


class Session:
    """A server and a mount, to be killed. A context manager."""

    def __init__(
        self, folder: Path, seed: int, *, replica_set: bool, deadline: float = PATIENT
    ) -> None:
        """Keep journals, logs and, while it lasts, the data below `folder`."""
        self._longest_pause = PAUSE_SECONDS if deadline == PATIENT else 1.5 * deadline
        self._folder = folder
        self._transactions = replica_set
        self._random = random.Random(seed)
        self._seed = seed
        self._data = folder / "server"
        self._data.mkdir(parents=True)
        self._server = Mongod(replica_set=replica_set, directory=self._data)
        self._mount = Mounted(
            self._server.uri_for("lake"),
            folder,
            f"--deadline={deadline:g}",
            f"--lease={LEASE:g}",
            f"--chunk-size={CHUNK}",
        )
        self._rounds: list[Round] = []
        self.report = Report()

    def __enter__(self) -> Self:
        try:
            self._server.start()
            self._mount.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._mount.stop()
        self._server.close()
        if not self.report.violations:
            shutil.rmtree(self._data)

    def round(self, targets: Sequence[Target]) -> None:
        """Work, with these kills at random moments; then check."""
        name = f"round-{len(self._rounds):04}"
        try:
            for number in range(WORKERS):
                self._mount.version(f"{VERSION}/{name}/{number}")
        except OSError as error:
            self._fail(Fault.OTHER, f"a folder cannot be made with everything running: {error}")
            return
        kills: list[Kill] = []
        with Follower(self._folder / f"{name}.jsonl") as journal, self._writer(name) as writer:
            for left, target in zip(reversed(range(len(targets))), targets, strict=True):
                self._await_progress(journal, kills[-1].over if kills else 0.0)
                kills.append(self._kill(target, None if left else writer))
            self._end_writer(writer)
            record = journal.read()
        self._rounds.append(Round(name, record, kills))
        self._account(record, kills)
        if not self._transactions:
            self._mount.restart()  # ends renames that the server's death cut short: S-RENAME-6
        self._check_folders(self._rounds[-1])

    def finish(self) -> None:
        """Check everything once more, from a fresh mount."""
        self._mount.restart()
        with self._server.client() as client:
            for each in self._rounds:
                self._check_folders(each)
                self._check_drivers(each, client)
            self._check_leftovers(client)
        self._check_log()

    # --- the writer ----------------------------------------------------------------------------

    def _writer(self, name: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return running(
            self._mount.path / VERSION / name,
            self._folder / f"{name}.jsonl",
            workers=WORKERS,
            seed=self._random.getrandbits(32),
            first_generation=1 + len(self._rounds) * WORKERS * GENERATIONS,
        )

    def _await_progress(self, journal: Follower, since: float) -> None:
        """The mount recovers by itself: operations that begin after a kill succeed."""
        wanted = self._random.randint(1, MANY_OPERATIONS)
        try:
            eventually(
                lambda: (
                    sum(
                        each.outcome == "done" and bool(each.steps) and each.begun > since
                        for each in journal.read().operations
                    )
                    >= wanted
                ),
                f"{wanted} operations succeed",
                HANG_SECONDS,
            )
        except AssertionError:
            self._fail(
                Fault.OTHER,
                f"fewer than {wanted} operations succeed within {HANG_SECONDS} s of a kill",
            )

    def _end_writer(self, writer: subprocess.Popen[bytes]) -> None:
        writer.terminate()
        try:
            code = writer.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            self._fail(Fault.OTHER, f"an operation hangs for more than {HANG_SECONDS} s")
            writer.kill()
            self._mount.kill()  # which frees what hangs in it
            self._mount.start()
            code = writer.wait()
        if code not in (0, -signal.SIGKILL):
            self._fail(Fault.OTHER, f"the writer itself failed with {code}")

    # --- kills ---------------------------------------------------------------------------------

    def _kill(self, target: Target, writer: subprocess.Popen[bytes] | None) -> Kill:
        """Kill at a random moment and restart; `writer` is told to end in between."""
        time.sleep(self._random.uniform(0, MOMENT_SECONDS))  # what makes the moment a random one
        if target is not Target.MOUNT and self._random.random() < 0.3:
            self._server.pause()
            time.sleep(self._random.uniform(0, self._longest_pause))
            if self._random.random() < 0.5:
                self._server.resume()  # to meet what came meanwhile
                time.sleep(self._random.uniform(0, PAUSE_SECONDS))
        hit = time.monotonic()
        if target is not Target.MOUNT:
            os.kill(self._server.process_id, signal.SIGKILL)
        if target is not Target.SERVER:
            os.kill(self._mount.pid, signal.SIGKILL)
        if writer is not None and self._random.random() < 0.5:
            writer.terminate()  # else it goes on afterwards
        if target is not Target.MOUNT:
            self._server.kill()
        if target is not Target.SERVER:
            self._mount.kill()
        if target is not Target.MOUNT:
            self._server.start()
        if target is not Target.SERVER:
            self._mount.start()
        return Kill(target, hit, time.monotonic())

    # --- checks --------------------------------------------------------------------------------

    def _account(self, record: Record, kills: Sequence[Kill]) -> None:
        report = self.report
        report.kills += kills
        for kill in kills:
            report.hits += any(each.begun <= kill.hit < each.ended for each in record.operations)
        for each in record.operations:
            if each.outcome == "done":
                report.acknowledged[each.name] += 1
                continue
            report.refused[each.error or "never returned"] += 1
            if each.error not in EXPECTED and not _met_a_dead_mount(each, kills):
                self._fail(Fault.OTHER, f"{each.name} failed with {each.error}: {each.paths}")
        for each in record.operations:
            if each.ended - each.begun > HANG_SECONDS and each.ended != UNFINISHED:
                self._fail(Fault.OTHER, f"{each.name} took {each.ended - each.begun:.1f} s")
        for text in record.wrong:
            self._fail(Fault.TORN, text)

    def _check_folders(self, round_: Round) -> None:
        for worker in round_.record.workers:
            belief = round_.record.belief(worker)
            self.report.violations += self._place(round_, worker).check(belief)

    def _check_drivers(self, round_: Round, client: MongoClient[dict[str, Any]]) -> None:
        for worker in round_.record.workers:
            operations = list(round_.record.of_worker(worker))
            belief = round_.record.belief(worker)
            folder = self._place(round_, worker)
            drivers = Drivers(client["lake"], folder, f"{VERSION}/{round_.name}/{worker}")
            quiet = quiet_paths(
                belief,
                operations,
                round_.record.operations,
                # Not when it was paused: what came meanwhile it may have done before it died.
                [kill.hit for kill in round_.kills if kill.target is not Target.MOUNT],
            )
            self.report.violations += folder.check_digests(belief)
            self.report.violations += drivers.check(belief)
            self.report.violations += drivers.check_names(belief, quiet, operations)
            self.report.by_name += sum(
                isinstance(state, tuple) and bool(state)
                for path, state in belief.certain.items()
                if path in quiet
            )
            self.report.files += sum(isinstance(each, tuple) for each in belief.certain.values())
            self.report.doubtful += sum(len(worlds[0]) for worlds in belief.doubts)

    def _place(self, round_: Round, worker: int) -> Folder:
        return Folder(self._mount.path / VERSION / round_.name / str(worker))

    def _check_leftovers(self, client: MongoClient[dict[str, Any]]) -> None:
        database = client["lake"]
        with suppress(AssertionError):
            eventually(
                lambda: not database["fs.uploads"].count_documents({}) and not leftovers(database),
                "everything is swept",
                5 * LEASE,
            )
        for each in leftovers(database):
            self._fail(Fault.OTHER, f"left over: {each}")
        if leases := database["fs.uploads"].count_documents({}):
            self._fail(Fault.OTHER, f"{leases} leases never end")

    def _check_log(self) -> None:
        text = self._mount.log_text()
        for words in ("Traceback", "please report this"):
            if words in text:
                self._fail(Fault.OTHER, f"the mount's log has {words!r}: {self._mount.log}")

    def _fail(self, fault: Fault, text: str) -> None:
        self.report.violations.append(Violation(fault, text))


def rounds(targets: Sequence[Target], seed: int) -> Iterator[list[Target]]:
    """All these kills in a random order, in rounds of one to four."""
    chance = random.Random(seed)
    left = chance.sample(targets, len(targets))
    while left:
        count = chance.randint(1, 4)
        yield left[:count]
        left = left[count:]


def _met_a_dead_mount(operation: Operation, kills: Sequence[Kill]) -> bool:
    return any(
        operation.begun <= kill.over and operation.ended >= kill.hit
        for kill in kills
        if kill.target is not Target.SERVER
    )
