"""`gridfsmount gc`: what nobody refers to any more, removed now."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console

from gridfsmount.checking.sweeping import Sweep, Tell, foresee, sweep
from gridfsmount.cli.lakes import LakeChoice, open_lake_for_command
from gridfsmount.core.wording import counted
from gridfsmount.errors import FileSystemError, StartupError
from gridfsmount.store.orphans import ORPHAN_GRACE


def run_gc(
    choice: LakeChoice,
    uri: str | None,
    *,
    grace: float,
    lease: float,
    strays: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sweep a lake, and say what was removed.

    Raises:
        StartupError: the lake cannot be opened or swept.
    """
    began = time.monotonic()
    with open_lake_for_command(choice, uri, read_only=dry_run, existing=True, lease=lease) as lake:
        try:
            if dry_run:
                done = foresee(lake, grace=grace, orphan_grace=ORPHAN_GRACE, strays=strays)
            else:
                with _status() as tell:
                    done = sweep(
                        lake, grace=grace, orphan_grace=ORPHAN_GRACE, strays=strays, tell=tell
                    )
        except FileSystemError as error:
            raise StartupError(f"the sweep ended early; run it again: {error}") from error
    seconds = time.monotonic() - began
    if as_json:
        click.echo(
            json.dumps({"dry_run": dry_run, **asdict(done), "seconds": round(seconds, 3)}, indent=2)
        )
        return
    verb = "would be removed" if dry_run else f"removed in {seconds:.1f} s"
    click.echo(f"{_summary(done)}: {verb}")


@contextmanager
def _status() -> Iterator[Tell]:
    """A line that shows how far it got, on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("looking") as status:
        yield lambda done: status.update(_summary(done))


def _summary(done: Sweep) -> str:
    strays = f", {counted(done.strays, 'stray content')}" if done.strays else ""
    versions = f", {counted(done.versions, 'unfinished version')}" if done.versions else ""
    return (
        f"{counted(done.contents, 'content')} of {done.bytes / (1 << 20):,.1f} MiB, "
        f"{counted(done.leases, 'dead upload')}, "
        f"{counted(done.orphans, 'orphan')}{strays}{versions}"
    )
