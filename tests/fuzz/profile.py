"""How long to look for hostile documents: seconds in CI, as long as one likes with `make fuzz`."""

import os
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, seed, settings

FACTOR: Final = int(os.environ.get("FUZZ_FACTOR", "1"))
"""Multiple of the examples of a test run."""

SEED: Final = os.environ.get("FUZZ_SEED")


def fuzz(examples: int) -> Callable[[Any], Any]:
    """Settings of a fuzz test: the same examples in each test run, others with a seed."""
    chosen = settings(
        max_examples=examples * FACTOR,
        deadline=None,
        database=None,
        derandomize=SEED is None,
        print_blob=True,
        # What fails is told as it is: each step of making it smaller would take seconds.
        phases=[Phase.generate] if FACTOR == 1 else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    if SEED is None:
        return chosen
    return lambda test: seed(int(SEED))(chosen(test))
