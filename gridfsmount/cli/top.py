"""`gridfsmount top`: what a mount is doing, as it does it."""

import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from gridfsmount.cli.asking import FIRST_SECONDS, Question, first_report, read_report
from gridfsmount.cli.interrupting import interruptible
from gridfsmount.cli.top_view import View
from gridfsmount.errors import MountError
from gridfsmount.telemetry.rates import Rates, is_same_mount, rates

WIDE: Final = 100
"""Columns where there is no terminal."""

_QUIT: Final = frozenset(b"qQ\x04")


def run_top(path: Path, interval: float, *, once: bool, as_json: bool) -> None:
    """Show what the mount that `path` lies in is doing, until somebody has seen enough.

    Raises:
        MountError: there is none, or it ends meanwhile.
    """
    try:
        with interruptible():
            mountpoint, first = first_report(path)
            if as_json:
                _print_objects(mountpoint, first, interval, once=once)
            elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
                _print_page(mountpoint, first, interval)
            else:
                _watch(mountpoint, first, interval)
    except KeyboardInterrupt as error:
        if error.args and error.args[0] != signal.SIGINT:
            raise


def _print_page(mountpoint: Path, first: dict[str, Any], interval: float) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    report, now = _next(mountpoint, first, interval)
    console.print(View().page(report, now))


def _print_objects(
    mountpoint: Path, report: dict[str, Any], interval: float, *, once: bool
) -> None:
    """One JSON object a line, for each interval."""
    while True:
        report, now = _next(mountpoint, report, interval)
        figures = {
            "mountpoint": report["mountpoint"],
            "deployment": report["deployment"],
            **asdict(now),
            "gauges": report["gauges"],
            "process": report["process"],
        }
        click.echo(json.dumps(figures, indent=2 if once else None))
        if once:
            return


def _next(
    mountpoint: Path, before: dict[str, Any], interval: float
) -> tuple[dict[str, Any], Rates]:
    """The report after an interval, and what happened in it."""
    while True:
        time.sleep(interval)
        question = Question(lambda: read_report(mountpoint))
        if not question.answered(max(interval, FIRST_SECONDS)):
            raise MountError(f"the mount on {mountpoint} does not answer")
        report = question.answer()
        if is_same_mount(before, report):
            return report, rates(before, report)
        before = report  # mounted anew: its counters began again


def _watch(mountpoint: Path, before: dict[str, Any], interval: float) -> None:
    view, console = View(), Console(highlight=False)
    page = view.page(before, rates(before, before))
    with _keys() as keys, Live(page, console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        while not keys.pressed(interval):
            question, asked = Question(lambda: read_report(mountpoint)), time.monotonic()
            while not question.answered(interval / 2):
                silent = time.monotonic() - asked
                if silent >= interval:
                    live.update(_silent(page, silent), refresh=True)
                if keys.pressed(0):
                    return
            report = question.answer()
            if is_same_mount(before, report):
                page = view.page(report, rates(before, report))
                live.update(page, refresh=True)
            before = report


def _silent(page: RenderableType, seconds: float) -> RenderableType:
    return Group(Text(f"the mount has not answered for {seconds:.0f} s", "bold red"), page)


class _Keys:
    """What is typed, one key at a time."""

    def pressed(self, seconds: float) -> bool:
        """Whether the key to quit is pressed within some time."""
        until = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], max(0, until - time.monotonic()))
            if not ready:
                return False
            typed = os.read(sys.stdin.fileno(), 64)
            if not typed or not _QUIT.isdisjoint(typed):
                return True


@contextmanager
def _keys() -> Iterator[_Keys]:
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)  # what was typed meanwhile counts
        yield _Keys()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
