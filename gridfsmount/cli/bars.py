"""How far a command has got, on a terminal; elsewhere nothing is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from gridfsmount.core.wording import counted, sized

Advance: TypeAlias = Callable[[int, int], None]
"""Told how many files and bytes are done, in addition to what was; from any thread."""


@contextmanager
def file_bar(
    measure: Callable[[], tuple[int, int]], name: str, *, quiet: bool = False
) -> Iterator[Advance]:
    """A progress bar, when it is about known which files and bytes there are: as measured."""
    if quiet or not sys.stderr.isatty():
        yield lambda files, size: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]:,} of {task.fields[all]:,} files"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        count, size = measure()
        task: Any = bar.add_task(name, total=size, files=0, all=count)

        def advance(files: int, size: int) -> None:
            shown = bar.tasks[0].fields["files"] + files
            bar.update(task, advance=size, files=shown, all=max(shown, count))

        yield advance


@contextmanager
def file_count(name: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A line that says how much was done, when nobody knows how much there is."""
    if quiet or not sys.stderr.isatty():
        yield lambda files, size: None
        return
    from rich.console import Console

    done = [0, 0]
    with Console(stderr=True).status(name) as status:

        def advance(files: int, size: int) -> None:
            done[0] += files
            done[1] += size
            status.update(f"{name}: {counted(done[0], 'file')}, {sized(done[1])}")

        yield advance
