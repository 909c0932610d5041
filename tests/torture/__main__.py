"""Kills for an hour or so: `make torture`, or `python -m tests.torture --minutes 60 --seed 7`.

Sessions follow each other, on a replica set and on a standalone server by turns, each with a lake
of its own. Ends with 1 if a promise was broken, and keeps the journals, the logs and the server's
data of that session.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.torture.session import HASTY, PATIENT, Report, Session, Target, rounds

KILLS_OF_A_SESSION: Final = {Target.SERVER: 24, Target.MOUNT: 24, Target.BOTH: 12}
"""Before a lake grows too large for a small disk: trash is kept for a day."""

KINDS: Final = ((True, PATIENT), (False, PATIENT), (True, HASTY), (False, HASTY))
"""Whether it is a replica set, and the mount's deadline: by turns."""

REPORT_SECONDS: Final = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, help="what chance follows from; a new one if not given")
    parser.add_argument("--folder", type=Path, help="for journals, logs and data; a temporary one")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="gridfsmount-torture-"))
    print(f"seed {seed}, journals and logs in {folder}", flush=True)
    report = Torture(folder, seed, options.minutes * 60).run()
    print(f"seed {seed}: {report}")
    if report.violations:
        print(f"what the sessions left is in {folder}")
        return 1
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


class Torture:
    """Sessions until the time is over."""

    def __init__(self, folder: Path, seed: int, seconds: float) -> None:
        self._folder = folder
        self._seed = seed
        self._end = time.monotonic() + seconds
        self._told = time.monotonic()
        self._report = Report()

    def run(self) -> Report:
        for number in itertools.count():
            if time.monotonic() >= self._end:
                break
            self._session(number)
        return self._report

    def _session(self, number: int) -> None:
        folder, seed = self._folder / f"session-{number:03}", self._seed + number
        targets = [target for target, count in KILLS_OF_A_SESSION.items() for _ in range(count)]
        replica_set, deadline = KINDS[number % len(KINDS)]
        with Session(folder, seed, replica_set=replica_set, deadline=deadline) as session:
            for each in rounds(targets, seed):
                session.round(each)
                self._tell(number, session.report)
                if time.monotonic() >= self._end or session.report.violations:
                    break
            session.finish()
        for violation in session.report.violations:
            print(f"session {number}: {violation}", flush=True)
        self._report.add(session.report)
        if not session.report.violations:
            shutil.rmtree(folder)

    def _tell(self, number: int, report: Report) -> None:
        if time.monotonic() - self._told < REPORT_SECONDS and not report.violations:
            return
        self._told = time.monotonic()
        sofar = Report()
        sofar.add(self._report)
        sofar.add(report)
        left = max(0.0, self._end - time.monotonic()) / 60
        print(f"session {number}, {left:.0f} minutes left: {sofar}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
