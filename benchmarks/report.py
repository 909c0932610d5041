"""Medians of the rounds, as a table for people and as JSON for programs."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from benchmarks.cases import Case
from benchmarks.rig import Measurement


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one case."""

    name: str
    amount: float
    unit: str
    driver: Sequence[Measurement]
    mount: Sequence[Measurement]

    @property
    def driver_seconds(self) -> float:
        """Median of the driver's runs."""
        return statistics.median(each.seconds for each in self.driver)

    @property
    def mount_seconds(self) -> float:
        """Median of the mount's runs."""
        return statistics.median(each.seconds for each in self.mount)

    @property
    def ratio(self) -> float:
        """The mount's speed in units of the driver's: above 1, the mount is faster."""
        return self.driver_seconds / self.mount_seconds

    @property
    def peak(self) -> int:
        """Most memory of the mount's process in any run, in bytes."""
        return max(each.peak for each in self.mount)

    @property
    def cpu_seconds(self) -> float:
        """Median processor time of the mount's process."""
        return statistics.median(each.cpu_seconds for each in self.mount)


def measure(case: Case, rounds: int) -> Result:
    """Run both sides in turns, so that what else the machine does meets both."""
    driver, mount = [], []
    for _ in range(rounds):
        driver.append(case.driver())
        mount.append(case.mount())
    return Result(case.name, case.amount, case.unit, driver, mount)


def table(results: Sequence[Result]) -> Table:
    """What is printed."""
    shown = Table(
        caption="Medians. ratio: the mount's speed in units of the driver's; "
        "memory, CPU: of the mount's process.",
    )
    shown.add_column("case", no_wrap=True)
    for heading in ("driver", "mount", "ratio", "memory", "CPU"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for each in results:
        shown.add_row(
            each.name,
            _speed(each, each.driver_seconds),
            _speed(each, each.mount_seconds),
            f"{each.ratio:.2f}",
            f"{each.peak / (1 << 20):,.0f} MiB",
            f"{each.cpu_seconds:.2f} s",
        )
    return shown


def as_json(results: Sequence[Result], *, server_version: str, cold: bool) -> dict[str, Any]:
    """The same, with every round and what it ran on."""
    return {
        "machine": {
            "processors": os.cpu_count(),
            "load": os.getloadavg()[0],
            "kernel": platform.release(),
            "python": platform.python_version(),
            "mongodb": server_version,
            "page_cache_dropped": cold,
        },
        "cases": [
            asdict(each)
            | {
                "ratio": each.ratio,
                "driver_seconds": each.driver_seconds,
                "mount_seconds": each.mount_seconds,
                "peak": each.peak,
                "cpu_seconds": each.cpu_seconds,
            }
            for each in results
        ],
    }


def _speed(result: Result, seconds: float) -> str:
    return f"{result.amount / seconds:,.0f} {result.unit}/s"
