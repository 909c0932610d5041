"""How `gridfsmount top` looks: a page of text for 80 columns and 24 lines, and any larger."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.telemetry.rates import Rates

OPERATIONS: Final = 8
"""Kinds of requests that are shown: what is left of 24 lines."""

REMEMBERED: Final = 24
"""Intervals in the picture of what went before."""

MANY: Final = 16
"""Requests that wait: more than there are threads for them at the server."""

_BARS: Final = " ▁▂▃▄▅▆▇█"

_LABEL: Final = "bold cyan"
_DIM: Final = "dim"


class View:
    """The page, and what it remembers."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._read: deque[float] = deque(maxlen=REMEMBERED)
        self._written: deque[float] = deque(maxlen=REMEMBERED)

    def page(self, report: Mapping[str, Any], now: Rates, note: str = "") -> RenderableType:
        """The page of a moment; `note` says what a person should know of it."""
        self._read.append(now.read_bytes)
        self._written.append(now.written_bytes)
        parts: list[RenderableType] = [_head(report, now)]
        if note:
            parts.append(Text(note, "bold red"))
        parts += [Text(), self._throughput(now), Text(), _operations(now), Text()]
        parts.append(_figures(report, now))
        return Group(*parts)

    def _throughput(self, now: Rates) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for is_number in (False, True, False):
            grid.add_column(justify="right" if is_number else "left", no_wrap=True)
        most = max(*self._read, *self._written, 1.0)
        for what, rate, past in (
            ("read", now.read_bytes, self._read),
            ("written", now.written_bytes, self._written),
        ):
            grid.add_row(Text(what, _LABEL), f"{sized(round(rate))}/s", _bars(past, most))
        waiting = f"{counted(now.pending, 'request')} waiting for an answer"
        grid.add_row(
            Text("requests", _LABEL),
            f"{now.requests:,.0f}/s",
            Text(waiting, "yellow" if now.pending >= MANY else _DIM),
        )
        return grid


def _head(report: Mapping[str, Any], now: Rates) -> RenderableType:
    line = Text.assemble(
        ("gridfsmount ", "bold"),
        (printable(report["mountpoint"]), "bold"),
        ("  ", ""),
        printable(report["deployment"]),
        (f"  up {_span(now.uptime)}", _DIM),
        ("  read-only" if report["read_only"] else "", "yellow"),
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _operations(now: Rates) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_LABEL)
    table.add_column("request", min_width=11, no_wrap=True)
    for title in ("per second", "half within", "99 % within", "faults"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = now.operations[:OPERATIONS]
    for each in shown:
        table.add_row(
            each.name,
            f"{each.per_second:,.1f}",
            _duration(each.p50),
            _duration(each.p99),
            Text(f"{each.faults:,}" if each.faults else "", "bold red"),
        )
    for _ in range(OPERATIONS - len(shown)):
        table.add_row()  # what is below stays where it is
    return table


def _figures(report: Mapping[str, Any], now: Rates) -> RenderableType:
    gauges, process = report["gauges"], report["process"]
    faults = ", ".join(f"{count:,} {name}" for name, count in now.faults.items())
    rows = [
        ("memory", _join([_found(now), _full(gauges, "memory_cache")]), ""),
        ("disk", _disk(gauges, now), ""),
        (
            "server",
            f"{sized(round(now.server_bytes))}/s, {now.server_chunks:,.0f} chunks/s read",
            "",
        ),
        ("ahead", _ahead(now), ""),
        (
            "writing",
            _join(
                [
                    f"{sized(round(now.sent_bytes))}/s sent",
                    f"{counted(gauges['uploads'], 'insert')} under way",
                    _uncommitted(gauges),
                    f"{now.upload_failures:,} failed" if now.upload_failures else "",
                ]
            ),
            "",
        ),
        (
            "database",
            _join(
                [
                    f"{now.commands:,.0f} commands/s",
                    f"{_duration(now.command_seconds)} each" if now.commands else "",
                    counted(now.command_errors, "error"),
                    f"{now.retries:,} sent again",
                ]
            ),
            "yellow" if now.command_errors or now.retries else "",
        ),
        (
            "process",
            _join(
                [
                    f"{sized(process['resident_bytes'])}",
                    f"{now.cpu:.0%} of a processor",
                    counted(gauges.get("open_files", 0), "open file"),
                    counted(process["descriptors"], "descriptor"),
                    counted(process["threads"], "thread"),
                ]
            ),
            "",
        ),
        (
            "faults",
            f"{faults} since it was mounted" if faults else "none since it was mounted",
            "bold red" if now.new_faults else "yellow" if faults else "green",
        ),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text, style in rows:
        grid.add_row(Text(label, _LABEL), Text(text, style))
    return grid


def _uncommitted(gauges: Mapping[str, int]) -> str:
    files = gauges.get("dirty_files", 0)
    if not files:
        return "nothing uncommitted"
    return f"{counted(files, 'file')} with {sized(gauges['dirty_bytes'])} uncommitted"


def _found(now: Rates) -> str:
    if now.found is None or now.awaited is None or now.missed is None:
        return "nothing was looked for"
    return f"{now.found:.1%} found, {now.awaited:.1%} on their way, {now.missed:.1%} missing"


def _disk(gauges: Mapping[str, int], now: Rates) -> str:
    full = _full(gauges, "disk_cache")
    if not full:
        return "no cache on a local disk"
    return f"{sized(round(now.disk_bytes))}/s, {now.disk_chunks:,.0f} chunks/s read, {full}"


def _ahead(now: Rates) -> str:
    used = "" if now.ahead_used is None else f"{now.ahead_used:.1%} of them used so far"
    return _join([f"{now.ahead_chunks:,.0f} chunks/s", used])


def _full(gauges: Mapping[str, int], cache: str) -> str:
    if f"{cache}_bytes" not in gauges:
        return ""
    return f"{sized(gauges[f'{cache}_bytes'])} of {sized(gauges[f'{cache}_capacity_bytes'])}"


def _join(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def _bars(past: Iterable[float], most: float) -> Text:
    steps = len(_BARS) - 1
    return Text("".join(_BARS[min(steps, -int(-each * steps // most))] for each in past), "green")


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:,.1f} s"
    return f"{seconds * 1e3:,.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:,.0f} µs"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
