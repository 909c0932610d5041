"""Half an hour of everything at once: `make soak`, or `python -m tests.soak --minutes 30 --seed 7`.

Ends with 1 if a promise was broken or the mount grew, and keeps what there is to look at.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.run import Soak


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds between faults (20)")
    parser.add_argument("--seed", type=int, help="what chance follows from; a new one if not given")
    parser.add_argument("--folder", type=Path, help="for journals, logs and data; a temporary one")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="gridfsmount-soak-"))
    print(f"seed {seed}, journals and logs in {folder}", flush=True)
    soak = Soak(folder, seed, seconds=options.minutes * 60, pause=options.pause)
    report = soak.run()
    for violation in report.violations:
        print(violation)
    print(report)
    if report.violations or report.grown:
        print(f"what is left is in {folder}")
        return 1
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
