"""`gridfsmount gc`: what nobody refers to any more, removed now."""

import json
import time
from dataclasses import asdict

import click
from rich.console import Console

from gridfsmount.checking.sweeping import Sweep, foresee, sweep
from gridfsmount.cli.lakes import LakeChoice, open_lake_for_command
from gridfsmount.errors import FileSystemError, StartupError
from gridfsmount.store.orphans import ORPHAN_GRACE


def run_gc(
    choice: LakeChoice,
    uri: str | None,
    *,
    grace: float,
    lease: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sweep a lake, and say what was removed.

    Raises:
        StartupError: the lake cannot be opened or swept.
    """
    began = time.monotonic()
    console = Console(stderr=True)
    with open_lake_for_command(choice, uri, read_only=dry_run, existing=True, lease=lease) as lake:
        try:
            if dry_run:
                done = foresee(lake, grace=grace, orphan_grace=ORPHAN_GRACE)
            elif console.is_terminal:
                with console.status("looking") as status:
                    done = sweep(
                        lake,
                        grace=grace,
                        orphan_grace=ORPHAN_GRACE,
                        tell=lambda each: status.update(_summary(each)),
                    )
            else:
                done = sweep(lake, grace=grace, orphan_grace=ORPHAN_GRACE, tell=lambda _: None)
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


def _summary(done: Sweep) -> str:
    return (
        f"{_count(done.contents, 'content')} of {done.bytes / (1 << 20):,.1f} MiB, "
        f"{_count(done.leases, 'dead upload')}, {_count(done.orphans, 'orphan')}"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
