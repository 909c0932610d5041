"""`gridfsmount warm`: what is going to be read, brought to the local disk beforehand."""

import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gridfsmount.errors import MountError
from gridfsmount.mount.mountpoint import disk_cache_of, mount_of
from gridfsmount.mount.warming import Warmed, find_files, warm

SHOWN_FAILURES: Final = 20


def run_warm(paths: tuple[Path, ...], jobs: int) -> None:
    """Read everything below `paths`, with a progress bar and a summary.

    Raises:
        MountError: a path is no part of a mount with a disk cache, or something cannot be read.
    """
    for path in paths:
        if not path.exists():
            raise MountError(f"{path} does not exist")
    for mountpoint in {mount_of(path) for path in paths}:
        disk_cache_of(mountpoint)
    warmed = Warmed()
    began = time.monotonic()
    files = list(find_files(paths, warmed.failures))
    total = sum(size for _, size in files)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(f"{len(files):,} files", total=total)
        warm(files, warmed, jobs, lambda count: bar.advance(task, count))
    click.echo(
        f"{warmed.files:,} files, {warmed.bytes / (1 << 20):,.1f} MiB read in "
        f"{time.monotonic() - began:.1f} s"
    )
    if warmed.failures:
        for failure in warmed.failures[:SHOWN_FAILURES]:
            click.echo(f"  {failure}", err=True)
        raise MountError(f"could not be read: {len(warmed.failures):,}, named above")
