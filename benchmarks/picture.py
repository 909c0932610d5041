"""The ratios as a picture: a bar for each case, from what it is compared with to the mount."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.comparison import Failure, Result

_REACHED: Final = "#2a7f62"
_SHORT: Final = "#b8442f"
_PLAIN: Final = "#6b7a8f"
_TARGET: Final = "#222222"

_INCHES_WIDE: Final = 9.0
_INCHES_PER_BAR: Final = 0.32
_INCHES_AROUND: Final = 1.4
_ROOM: Final = 1.6
"""Factor of space beside the longest bars, for their figures."""


def check_matplotlib() -> None:
    """Say it before the work, not after it, when the picture cannot be drawn."""
    _figure_module()


def draw(results: Sequence[Result | Failure], path: Path) -> None:
    """Draw the results that there are; the name's ending, .png or .svg, is the format."""
    shown = [each for each in results if isinstance(each, Result)]
    height = _INCHES_AROUND + _INCHES_PER_BAR * len(shown)
    figure = _figure_module().Figure(figsize=(_INCHES_WIDE, height), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(shown):
        _draw_bar(axes, place, each)
    reach = [each.ratio for each in shown] + [each.target for each in shown if each.target]
    axes.set_xscale("log")
    axes.set_xlim(min([*reach, 1.0]) / _ROOM, max([*reach, 1.0]) * _ROOM)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_yticks(range(len(shown)), [f"{each.name}  ({each.against})" for each in shown])
    axes.invert_yaxis()
    axes.axvline(1.0, color=_TARGET, linewidth=1)
    axes.set_xlabel("the mount's speed, where what it is compared with is 1; |: the target")
    axes.set_title("gridfsmount beside the driver, a query, or a disk", loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=150)


def _draw_bar(axes: Any, place: int, result: Result) -> None:
    ratio, target = result.ratio, result.target
    colour = _PLAIN if target is None else _SHORT if result.falls_short else _REACHED
    axes.barh(place, ratio - 1.0, left=1.0, color=colour, height=0.6)
    axes.annotate(
        f"{ratio:.2f}",
        (ratio, place),
        xytext=(4 if ratio >= 1.0 else -4, 0),
        textcoords="offset points",
        ha="left" if ratio >= 1.0 else "right",
        va="center",
        fontsize="small",
    )
    if target is not None:
        axes.plot([target, target], [place - 0.4, place + 0.4], color=_TARGET, linewidth=2)


def _figure_module() -> Any:
    # By its name, so that the types are checked alike with and without it.
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise click.UsageError(
            "--picture needs matplotlib, which is not installed: pip install matplotlib"
        ) from error
