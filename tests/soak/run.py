"""A lake on two mounts, used by eight workers for as long as it takes, while faults strike.

Writers with a journal (`tests.torture.writer`) on both mounts, copies with everyday programs,
versions and backups. One mount is killed now and then; the other must live, recover by itself and
hold no more at the end than in the middle. Everything that was acknowledged is looked at in the
end, through the mount that lived, and by drivers.
"""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient

from tests.mongod import Mongod
from tests.mounting import Mounted
from tests.proxy import Proxy
from tests.soak.actors import Backups, Copier, Versions
from tests.soak.faults import all_faults
from tests.soak.gauges import Gauge, described, growth
from tests.torture.checker import Drivers, Fault, Folder, Violation
from tests.torture.journal import UNFINISHED, Follower, Record
from tests.torture.writer import CHUNK, GENERATIONS, running

DEADLINE: Final = 10.0
LEASE: Final = 30.0

CACHE: Final = "16MiB"
"""Full after a minute or so: what grows after that is no cache."""

HANG_SECONDS: Final = 8 * DEADLINE
"""What one operation of a writer may take: several calls, each with a deadline, and a fault."""

WRITERS: Final = {"steady": 3, "killed": 2}
"""Workers with a journal, by mount; copies, versions and backups make eight."""

VERSION: Final = "datasets/soak/v1"

TELL_SECONDS: Final = 60.0


@dataclass(slots=True)
class Report:
    """What happened, and what is wrong."""

    struck: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    files: int = 0
    """That had to be there at the end, each compared byte for byte."""
    process: str = ""
    """What the mount that lived held, in the thirds of the time."""
    grown: Sequence[str] = ()
    violations: list[Violation] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.struck.total()} faults ({_counted(self.struck)})\n"
            f"{self.done.total()} operations acknowledged ({_counted(self.done)})\n"
            f"{self.refused.total()} refused ({_counted(self.refused)})\n"
            f"{self.files} files whole at the end\n"
            f"the mount that lived: {self.process}; "
            f"{'grew: ' + ', '.join(self.grown) if self.grown else 'nothing grew'}\n"
            f"{len(self.violations)} violations"
        )


class Soak:
    """One soak."""

    def __init__(self, folder: Path, seed: int, *, seconds: float, pause: float) -> None:
        """Keep all data below `folder`; strike every `pause` seconds."""
        self._folder = folder
        self._chance = random.Random(seed)
        self._seconds = seconds
        self._pause = pause
        self._server = Mongod(directory=_made(folder / "server"))
        self._report = Report()

    def run(self) -> Report:
        """Until the time is over and everything was looked at."""
        with ExitStack() as stack:
            server = stack.enter_context(self._server)
            proxy = stack.enter_context(Proxy(server.port))
            uri = proxy.uri_for("lake")
            mounts = {
                name: stack.enter_context(
                    Mounted(
                        uri,
                        self._folder / name,
                        f"--deadline={DEADLINE:g}",
                        f"--lease={LEASE:g}",
                        f"--chunk-size={CHUNK}",
                        f"--cache-size={CACHE}",
                    )
                )
                for name in WRITERS
            }
            gauge = Gauge(mounts["steady"].pid)
            with gauge:
                self._work(uri, proxy, mounts)
            self._report.process = described(gauge.samples)
            self._report.grown = growth(gauge.samples)
            self._check_logs(mounts)
        return self._report

    def _work(self, uri: str, proxy: Proxy, mounts: dict[str, Mounted]) -> None:
        local = _made(self._folder / "local")
        steady = mounts["steady"]
        copier = Copier(steady.version("datasets/copies/v1"), local, 1)
        versions = Versions(uri, local, 2)
        backups = Backups(uri, self._folder / "vault", 3)
        backups.begin()
        actors = (copier, versions, backups)
        with ExitStack() as stack:
            journals = {
                name: stack.enter_context(self._writer(mount, name))
                for name, mount in mounts.items()
            }
            for actor in actors:
                actor.start()
            self._strike(proxy, mounts)
            for actor in actors:
                actor.end()
            for name, (writer, _) in journals.items():
                self._end_writer(writer, name)
            for actor in actors:
                actor.join()
            versions.look_at_all()
            backups.look_at_all()
            for actor in actors:
                self._report.done += actor.done
                self._report.refused += actor.refused
                self._report.violations += actor.violations
            with self._server.client() as client:
                for name, (_, journal) in journals.items():
                    self._account(journal.read(), name, steady, client)

    def _strike(self, proxy: Proxy, mounts: dict[str, Mounted]) -> None:
        faults = all_faults(self._server, proxy, mounts["killed"], mounts["steady"], self._chance)
        end = told = time.monotonic()
        end += self._seconds
        turn = list(faults)
        number = 0
        while time.monotonic() < end:
            if number % len(turn) == 0:
                self._chance.shuffle(turn)
            time.sleep(self._chance.uniform(0.5, 1.5) * self._pause)  # at a random moment
            fault = turn[number % len(turn)]
            fault.strike()
            self._report.struck[fault.name] += 1
            number += 1
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                print(f"{(end - told) / 60:.0f} minutes left: {number} faults", flush=True)
        proxy.heal()

    # --- writers -------------------------------------------------------------------------------

    @contextmanager
    def _writer(
        self, mount: Mounted, name: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Follower]]:
        for number in range(WRITERS[name]):
            mount.version(f"{VERSION}/{name}/{number}")
        path = self._folder / f"{name}.jsonl"
        with (
            Follower(path) as journal,
            running(
                mount.path / VERSION / name,
                path,
                workers=WRITERS[name],
                seed=self._chance.getrandbits(32),
                first_generation=1 + list(WRITERS).index(name) * 100 * GENERATIONS,
            ) as process,
        ):
            yield process, journal

    def _end_writer(self, writer: subprocess.Popen[bytes], name: str) -> None:
        writer.terminate()
        try:
            code = writer.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            self._fail(Fault.OTHER, f"an operation on the {name} mount hangs")
            writer.kill()
            return
        if code:
            self._fail(Fault.OTHER, f"the writer of the {name} mount failed with {code}")

    def _account(
        self, record: Record, name: str, mount: Mounted, client: MongoClient[dict[str, Any]]
    ) -> None:
        for each in record.operations:
            if each.outcome == "done":
                self._report.done[each.name] += 1
            else:
                self._report.refused[each.error or "never returned"] += 1
            if each.ended != UNFINISHED and each.ended - each.begun > HANG_SECONDS:
                self._fail(Fault.OTHER, f"{each.name} took {each.ended - each.begun:.0f} s")
        for text in record.wrong:
            self._fail(Fault.TORN, text)
        for worker in record.workers:
            belief = record.belief(worker)
            folder = Folder(mount.path / VERSION / name / str(worker))
            prefix = f"{VERSION}/{name}/{worker}"
            self._report.violations += folder.check(belief)
            self._report.violations += folder.check_digests(belief)
            self._report.violations += Drivers(client["lake"], folder, prefix).check(belief)
            self._report.files += sum(isinstance(each, tuple) for each in belief.certain.values())

    def _check_logs(self, mounts: dict[str, Mounted]) -> None:
        for mount in mounts.values():
            text = mount.log_text()
            for words in ("Traceback", "please report this"):
                if words in text:
                    self._fail(Fault.OTHER, f"the mount's log has {words!r}: {mount.log}")

    def _fail(self, fault: Fault, text: str) -> None:
        self._report.violations.append(Violation(fault, text))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
