"""What a mount's process holds, over time: memory, file descriptors, threads."""

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SAMPLE_SECONDS: Final = 2.0

MORE_MEMORY: Final = 0.05
"""By how much the last third may be above the middle one."""

MORE_OF_OTHERS: Final = 4
"""File descriptors, and threads, that come and go with what is going on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment."""

    resident: int
    """Bytes."""
    descriptors: int
    threads: int


def sample(process: int) -> Sample:
    """Of a process that runs."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Sample(
        int(status["VmRSS"].split()[0]) << 10,
        sum(1 for _ in (folder / "fd").iterdir()),
        int(status["Threads"]),
    )


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew from the middle third to the last one; of few samples nothing can be told."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    if not middle:
        return []
    grown = []
    before, after = (statistics.median(each.resident for each in part) for part in (middle, last))
    if after > before * (1 + MORE_MEMORY):
        grown.append(f"memory from {before / 2**20:.1f} MiB to {after / 2**20:.1f} MiB")
    for name in ("descriptors", "threads"):
        before, after = (
            statistics.median(getattr(each, name) for each in part) for part in (middle, last)
        )
        if after > before + MORE_OF_OTHERS:
            grown.append(f"{name} from {before:.0f} to {after:.0f}")
    return grown


def described(samples: Sequence[Sample]) -> str:
    """The thirds, for people."""
    third = max(1, len(samples) // 3)
    parts = [samples[:third], samples[third : 2 * third], samples[2 * third :]]
    return "; ".join(
        f"{statistics.median(each.resident for each in part) / 2**20:.1f} MiB, "
        f"{statistics.median(each.descriptors for each in part):.0f} descriptors, "
        f"{statistics.median(each.threads for each in part):.0f} threads"
        for part in parts
        if part
    )


class Gauge:
    """Looks at a process all the time. A context manager."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due += SAMPLE_SECONDS
            try:
                self.samples.append(sample(self._process))
            except OSError:
                return  # it ended, which is for others to tell

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
