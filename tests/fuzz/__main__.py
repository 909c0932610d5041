"""`make fuzz`: the fuzz tests with other documents each time, until the time is over.

What fails is told with its seed, which makes the same documents again.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """Returns the exit code: 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="of the first round")
    options = parser.parse_args()
    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    until = time.monotonic() + options.minutes * 60
    while True:
        print(f"seed {seed}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", FOLDER],
            cwd=FOLDER.parent.parent,
            env={**os.environ, "FUZZ_SEED": str(seed), "FUZZ_FACTOR": "5"},
            check=False,
        )
        if done.returncode != 0:
            print(f"again: make fuzz ARGS='--minutes 0 --seed {seed}'")
            return 1
        if time.monotonic() >= until:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
