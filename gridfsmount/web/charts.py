"""Sizes over time, as coordinates for a drawing. Pure: templates turn them into SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gridfsmount.core.wording import sized

WIDTH: Final = 560
HEIGHT: Final = 220
LEFT: Final = 76
"""Room for the longest size at an axis, "1,000 MiB"."""
RIGHT: Final = 28
TOP: Final = 30
BOTTOM: Final = 30

_TICKS: Final = 4
_LABEL_ROOM: Final = 52
"""Between two names above points; those in between have none."""
_LONGEST: Final = 12
"""Characters of a name above a point."""
_DAY_NS: Final = 86400 * 10**9

SPARK_WIDTH: Final = 84
SPARK_HEIGHT: Final = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """How much a version holds, and since when."""

    name: str
    at_ns: int
    bytes: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A version in a chart."""

    x: float
    y: float
    name: str
    label: str
    """Its name, or nothing where there is no room."""
    text: str
    """All of it, for whoever points at it."""
    sealed: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Sizes over time."""

    points: Sequence[Point]
    line: str
    """The points of an SVG polyline."""
    sizes: Sequence[Tick]
    times: Sequence[Tick]
    summary: str
    """In a sentence, for whoever does not see it."""


def chart(versions: Sequence[Measured]) -> Chart | None:
    """A chart of versions, in any order; None for fewer than two."""
    if len(versions) < 2:
        return None
    ordered = sorted(versions, key=lambda each: each.at_ns)
    times = _spread([each.at_ns for each in ordered], LEFT, WIDTH - RIGHT)
    top, sizes = _sizes(max(each.bytes for each in ordered))
    points: list[Point] = []
    free = -math.inf
    for each, x in zip(ordered, times, strict=True):
        label = ""
        if x >= free:
            label, free = _shortened(each.name), x + _LABEL_ROOM
        text = f"{each.name}: {sized(each.bytes)}, {_moment(each.at_ns, _DAY_NS)}"
        points.append(Point(x, _height(each.bytes, top), each.name, label, text, each.sealed))
    first, last = ordered[0], ordered[-1]
    return Chart(
        points=points,
        line=" ".join(f"{each.x},{each.y}" for each in points),
        sizes=sizes,
        times=_times(first.at_ns, last.at_ns),
        summary=f"Sizes of {len(ordered)} versions: from {sized(first.bytes)} ({first.name}) to "
        f"{sized(last.bytes)} ({last.name}). The table has each of them.",
    )


def spark(sizes: Sequence[int]) -> str | None:
    """The points of a small line through sizes, the oldest first; None for fewer than two."""
    if len(sizes) < 2:
        return None
    top = max(*sizes, 1)
    step = (SPARK_WIDTH - 4) / (len(sizes) - 1)
    return " ".join(
        f"{2 + number * step:.1f},{SPARK_HEIGHT - 2 - size / top * (SPARK_HEIGHT - 4):.1f}"
        for number, size in enumerate(sizes)
    )


def _spread(moments: Sequence[int], left: int, right: int) -> list[float]:
    """Places of moments, which are in order; side by side when all are one."""
    span = moments[-1] - moments[0]
    if span <= 0:
        return [
            round(left + (right - left) * number / (len(moments) - 1), 1)
            for number in range(len(moments))
        ]
    return [round(left + (right - left) * (each - moments[0]) / span, 1) for each in moments]


def _sizes(largest: int) -> tuple[int, list[Tick]]:
    """The top of an axis of bytes, and its round places, from 0."""
    unit = 1
    while largest >= 1024 * unit and unit < 1 << 40:
        unit <<= 10
    rough = max(largest, 1) / unit / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    size = max(1, round(step * unit))
    count = max(1, math.ceil(largest / size))
    top = size * count
    return top, [Tick(_height(size * n, top), _round(size * n)) for n in range(count + 1)]


def _round(size: int) -> str:
    return sized(size).replace(".0 ", " ")


def _height(size: int, top: int) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * size / top, 1)


def _times(first: int, last: int) -> list[Tick]:
    span = last - first
    if span <= 0:
        return [Tick(LEFT, _moment(first, span))]
    middle = (first + last) // 2
    return [
        Tick(at, _moment(moment, span))
        for at, moment in (
            (LEFT, first),
            ((LEFT + WIDTH - RIGHT) / 2, middle),
            (WIDTH - RIGHT, last),
        )
    ]


def _moment(at_ns: int, span: int) -> str:
    form = "%Y-%m-%d" if span >= 2 * _DAY_NS else "%Y-%m-%d %H:%M"
    return moment(at_ns).strftime(form)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def moment(at_ns: int) -> datetime:
    """A time of the lake as a date in UTC; the nearest that a date can be, for one that is none."""
    latest = datetime.max.replace(tzinfo=UTC).timestamp() - 86400
    return datetime.fromtimestamp(min(max(at_ns / 1e9, 0), latest), UTC)
