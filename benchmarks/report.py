"""Medians of the rounds, as a table for people and as JSON for programs."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from benchmarks.comparison import Failure, Figure, Result

MIB: Final = 1 << 20

_SHORT: Final = "[bold red]✗[/]"
_REACHED: Final = "[green]✓[/]"


def table(results: Sequence[Result | Failure]) -> Table:
    """What is printed."""
    shown = Table(
        caption="Medians. ratio: how many times faster the mount is than what it is compared "
        "with, or how many times less it takes. ✗: short of the target. memory, CPU: of the "
        "mount's process.",
    )
    shown.add_column("case")
    shown.add_column("against", no_wrap=True)
    for heading in ("reference", "mount", "ratio", "target", "", "memory", "CPU"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for each in results:
        target = "" if each.target is None else f"{each.target:.2f}"
        if isinstance(each, Failure):
            shown.add_row(each.name, each.against, "", "[red]failed[/]", "", target, _SHORT)
            continue
        shown.add_row(
            each.name,
            each.against,
            _amount(each, each.reference_cost),
            _amount(each, each.mount_cost),
            f"{each.ratio:.2f}",
            target,
            "" if each.target is None else _SHORT if each.falls_short else _REACHED,
            f"{each.peak / MIB:,.0f} MiB",
            f"{each.cpu_seconds:.2f} s",
        )
    return shown


def summary(result: Result | Failure) -> str:
    """One line, for when the case has ended."""
    if isinstance(result, Failure):
        return f"{result.name}: failed"
    return f"{result.name}: {result.ratio:.2f}"


def failures(results: Sequence[Result | Failure]) -> list[str]:
    """A paragraph for each case that failed; the tracebacks are in the JSON."""
    return [
        f"[bold red]{escape(each.name)}[/] failed: {escape(each.reason)}"
        for each in results
        if isinstance(each, Failure)
    ]


def as_json(
    results: Sequence[Result | Failure],
    *,
    server_version: str,
    file_system: str,
    cold: bool,
    quick: bool,
) -> dict[str, Any]:
    """The same, with every round and what it ran on."""
    return {
        "machine": {
            "processors": os.cpu_count(),
            "load": os.getloadavg()[0],
            "kernel": platform.release(),
            "python": platform.python_version(),
            "mongodb": server_version,
            "disk": file_system,
            "page_cache_dropped": cold,
        },
        "quick": quick,
        "cases": [_case(each) for each in results],
    }


def _case(result: Result | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return asdict(result) | {"failed": True}
    return asdict(result) | {
        "failed": False,
        "figure": result.figure.value,
        "ratio": result.ratio,
        "falls_short": result.falls_short,
        "reference_cost": result.reference_cost,
        "mount_cost": result.mount_cost,
        "peak": result.peak,
        "cpu_seconds": result.cpu_seconds,
    }


def _amount(result: Result, cost: float) -> str:
    match result.figure:
        case Figure.TIME:
            return f"{result.amount / cost:,.0f} {result.unit}/s"
        case Figure.MEMORY:
            return f"{cost / MIB:,.0f} MiB"
        case Figure.CPU:
            return f"{cost:.3f} s"
