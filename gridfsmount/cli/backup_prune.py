"""`gridfsmount backup prune`: snapshots and blobs that are not kept, removed."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.interrupting import interruptible
from gridfsmount.cli.lakes import LakeChoice, lake_options, says_errors, uri_option
from gridfsmount.cli.runs import lake_for_notes, noted
from gridfsmount.cli.settings import read_settings
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, opened, vault_option
from gridfsmount.config.keys import KEPT
from gridfsmount.config.kinds import Duration, TimeZone
from gridfsmount.core.retention import Policy
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, LakeError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.backup.pruning import Pruned
    from gridfsmount.store.lake import Lake

FAULTY: Final = 1
"""Exit code when something is wrong."""

GRACE: Final = 86400.0
"""Seconds that a blob stays when no snapshot names it any more: a backup that was interrupted
today is gone on with tomorrow."""


@click.command()
@uri_option
@vault_option
@lake_options
@click.option("--keep-last", type=KEPT, help="Keep the N newest.", metavar="N")
@click.option("--keep-daily", type=KEPT, help="Keep one of each of N days.", metavar="N")
@click.option("--keep-weekly", type=KEPT, help="Keep one of each of N weeks.", metavar="N")
@click.option("--keep-monthly", type=KEPT, help="Keep one of each of N months.", metavar="N")
@click.option("--keep-yearly", type=KEPT, help="Keep one of each of N years.", metavar="N")
@click.option(
    "--time-zone",
    type=TimeZone(),
    metavar="ZONE",
    help="Where days and weeks begin, as in Europe/Berlin.  [default: UTC]",
)
@click.option(
    "--grace",
    type=Duration(),
    help="Keep blobs that no snapshot names for so long, as in 0s, 90m, 24h, 7d.  [default: 24h]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def prune(
    uri: str | None,
    vaults: tuple[str, ...],
    choice: LakeChoice,
    grace: float | None,
    dry_run: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Remove the snapshots that no rule keeps, and what only they held.

    Of each of the N newest days (weeks, months, years) that have snapshots, the newest is kept;
    weeks begin on Monday. What one rule keeps, stays. So do pinned snapshots (`backup pin`) and the
    newest that is not known to be damaged. Each option may be in the config file instead, below
    [prune]. Blobs that no snapshot names any more go when the grace is over. The exit code is 0
    when all is well, 1 when something is wrong.
    """
    policy, grace = _policy(choice.config, grace, numbers)
    report = _Report(dry_run=dry_run, as_json=as_json)
    chosen = choose_vaults(choice.config, vaults)
    if dry_run:
        for each in chosen:
            report.add(each, _prune(None, each, policy, grace, dry_run=True))
    else:
        with lake_for_notes(choice, uri) as lake, interruptible():
            for each in chosen:
                report.add(each, _prune(lake, each, policy, grace, dry_run=False))
    report.finish()


def _policy(
    config: Path | None, grace: float | None, numbers: dict[str, Any]
) -> tuple[Policy, float]:
    """What the command line says, else the config file."""
    settings = read_settings(config).prune
    chosen = {
        key: getattr(settings, key) if value is None else value for key, value in numbers.items()
    }
    zone: tzinfo = chosen.pop("time_zone") or UTC
    rules = {key.removeprefix("keep_"): value or 0 for key, value in chosen.items()}
    if grace is None:
        grace = GRACE if settings.grace is None else settings.grace
    return Policy(**rules, zone=zone), grace


def _prune(
    lake: "Lake | None", choice: VaultChoice, policy: Policy, grace: float, *, dry_run: bool
) -> "Pruned | LakeError":
    """Prune one vault; what goes wrong with it is no reason to leave out the others."""
    from gridfsmount.backup.pruning import prune
    from gridfsmount.store.runs import PRUNE

    try:
        with noted(lake, PRUNE, choice) as outcome, opened(choice) as vault, _status() as tell:
            outcome.vault_id = vault.header.id
            if lake is not None and lake.id != vault.header.lake:
                raise ConfigError(
                    f"{choice.name} is a vault of another lake (id {vault.header.lake}), so it is "
                    f"not pruned for this one ({lake.id})"
                )
            done = prune(
                vault,
                policy,
                grace=grace,
                now_ns=time.time_ns(),
                by=who(),
                dry_run=dry_run,
                tell=tell,
            )
            outcome.good, outcome.text = not done.stopped, _sentence(done)
            return done
    except LakeError as error:
        return error


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """A line that shows what is going on, on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("looking") as status:
        yield status.update


class _Report:
    """What was done with each vault."""

    def __init__(self, *, dry_run: bool, as_json: bool) -> None:
        self._dry_run = dry_run
        self._as_json = as_json
        self._vaults: list[dict[str, Any]] = []

    def add(self, choice: VaultChoice, done: "Pruned | LakeError") -> None:
        """One more."""
        name = printable(choice.name)
        if isinstance(done, LakeError):
            error = printable(redact(str(done)))
            self._vaults.append({"vault": choice.name, "good": False, "error": error})
            click.echo(f"gridfsmount: {name}: not pruned: {error}", err=True)
            return
        self._vaults.append(_as_json(choice, done))
        if self._as_json:
            return
        if done.verdicts:
            _print_table(done, dry_run=self._dry_run)
        would = "would have " if self._dry_run else ""
        click.echo(f"{name}: {would}{_sentence(done)}")

    def finish(self) -> None:
        """Print the JSON object, and end with the exit code."""
        good = all(each["good"] for each in self._vaults)
        if self._as_json:
            document = {"good": good, "dry_run": self._dry_run, "vaults": self._vaults}
            click.echo(json.dumps(document, indent=2))
        if not good:
            sys.exit(FAULTY)


def _as_json(choice: VaultChoice, done: "Pruned") -> dict[str, Any]:
    return {
        "vault": choice.name,
        "good": not done.stopped,
        "snapshots": [asdict(each) for each in done.verdicts],
        "removed": done.removed,
        "blobs": None if done.swept is None else asdict(done.swept),
        "stopped": done.stopped or None,
    }


def _sentence(done: "Pruned") -> str:
    removed, all_of_them = len(done.removed), len(done.verdicts)
    text = f"removed {removed:,} of {counted(all_of_them, 'snapshot')}"
    if done.swept is None:
        return f"{text}, but no blobs: {printable(done.stopped)}"
    gone, new, old = done.swept.removed, done.swept.condemned, done.swept.waiting
    text += f" and {counted(gone.blobs, 'blob')} of {sized(gone.bytes)}"
    waiting = new.blobs + old.blobs
    if waiting:
        text += (
            f"; {counted(waiting, 'blob')} of {sized(new.bytes + old.bytes)} that none names will "
            "go when the grace is over"
        )
    return text


def _print_table(done: "Pruned", *, dry_run: bool) -> None:
    from rich.text import Text

    from gridfsmount.cli.tables import print_table

    removed = Text("would go" if dry_run else "removed", "red")
    print_table(
        ("snapshot", "", "why"),
        (
            (
                Text(each.name),
                Text("kept") if each.kept else removed,
                Text("; ".join(map(printable, each.reasons))),
            )
            for each in done.verdicts
        ),
    )
