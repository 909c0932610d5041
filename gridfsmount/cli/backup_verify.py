"""`gridfsmount backup verify`: is every snapshot whole, and every blob what it was."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.interrupting import interruptible
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.runs import lake_for_notes, noted
from gridfsmount.cli.settings import read_settings
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, opened, vault_option
from gridfsmount.config.kinds import Duration, Percent
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, LakeError, NotFound, StartupError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.backup.verifying import Verified, Wanted
    from gridfsmount.core.vault import Vault
    from gridfsmount.store.lake import Lake

FAULTY: Final = 1
"""Exit code when anything was found, healed or not."""

TROUBLE: Final = 2
"""Exit code when it cannot be told."""

SHOWN: Final = 1000
"""Faults in the table."""


@click.command()
@click.argument("snapshots", nargs=-1, metavar="[SNAPSHOT]...")
@uri_option
@vault_option
@lake_options
@click.option(
    "--sample",
    type=Percent(),
    help="Read so much of all bytes, those first that were not read for longest.  [default: 100%]",
)
@click.option("--max-duration", type=Duration(), help="Begin to read no more after, say, 2h.")
@click.option("--repair", is_flag=True, help="Copy what is damaged or missing from the lake again.")
@jobs_option("Blobs at once.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors(code=TROUBLE)
def verify(
    snapshots: tuple[str, ...],
    uri: str | None,
    vaults: tuple[str, ...],
    choice: LakeChoice,
    sample: float | None,
    max_duration: float | None,
    repair: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Read backups again, every byte, and compare them with their hashes.

    All snapshots of all vaults, or those given: SNAPSHOT is a name such as 2026-11-22T03-00-00Z,
    the beginning of one, or `latest`. Manifests are always checked; of the blobs those come first
    that were not read for longest, so that samples cover all in time, and an interrupted run is
    gone on with by the next. The lake is only needed for --repair. The exit code is 0 when all is
    well, 1 when anything was found, 2 when that cannot be told.
    """
    from gridfsmount.backup.verifying import Wanted

    settings = read_settings(choice.config).verify
    wanted = Wanted(
        sample=sample or settings.sample or 1.0,
        seconds=settings.max_duration if max_duration is None else max_duration,
        jobs=jobs,
    )
    chosen = choose_vaults(choice.config, vaults)
    report = _Report(snapshots, wanted)
    opening = (
        open_lake_for_command(choice, uri, place=PLACE, existing=True, read_only=True)
        if repair
        else lake_for_notes(choice, uri)
    )
    with opening as lake, interruptible():
        for each in chosen:
            report.verify(each, lake, repair=repair)
    report.print(as_json=as_json)
    report.check_complete()
    if report.faulty:
        sys.exit(FAULTY)


class _Report:
    """What was found in all of the vaults."""

    def __init__(self, names: Sequence[str], wanted: "Wanted") -> None:
        self._names = names
        self._wanted = wanted
        self._vaults: list[tuple[str, Verified, float]] = []
        self._known: set[str] = set()
        self._missing = ""
        self._failures: list[str] = []

    @property
    def faulty(self) -> bool:
        """Whether anything was found."""
        return any(done.found for _, done, _ in self._vaults)

    def verify(self, choice: VaultChoice, lake: "Lake | None", *, repair: bool) -> None:
        """Verify one vault, or some of its snapshots; one that fails does not stop the others."""
        from gridfsmount.store.runs import VERIFY

        try:
            # A part of a vault says nothing of the rest.
            notes = None if self._names else lake
            with noted(notes, VERIFY, choice) as outcome, opened(choice) as vault:
                outcome.vault_id = vault.header.id
                began = time.monotonic()
                done = self._verify(choice, vault, lake if repair else None)
                if done is None:
                    return
                seconds = time.monotonic() - began
                self._vaults.append((choice.name, done, seconds))
                outcome.good, outcome.text = not done.found, _sentence(done, seconds)
        except LakeError as error:
            self._failures.append(f"{choice.name}: not all was verified: {error}")

    def _verify(
        self, choice: VaultChoice, vault: "Vault", lake: "Lake | None"
    ) -> "Verified | None":
        from gridfsmount.backup.verifying import Verifier

        if lake is not None and lake.id != vault.header.lake:
            raise ConfigError(
                f"{choice.name} is the vault of another lake ({vault.header.lake}): --repair "
                "needs the address of that one"
            )
        wanted = self._wanted
        if self._names:
            wanted = replace(wanted, snapshots=self._choose(vault))
            if not wanted.snapshots:
                return None
        with Verifier(vault, wanted, who(), lake) as verifier:
            planned = verifier.survey()
            with file_bar(lambda: planned, "verify") as progress:
                verifier.read(progress)
            return verifier.finish()

    def _choose(self, vault: "Vault") -> tuple[str, ...]:
        from gridfsmount.vaults.choosing import choose_snapshot

        chosen = set()
        for each in self._names:
            try:
                chosen.add(choose_snapshot(vault, each))
            except NotFound as error:
                self._missing = str(error)
            else:
                self._known.add(each)
        return tuple(sorted(chosen))

    def check_complete(self) -> None:
        """Make sure that all that was wanted was verified.

        Raises:
            StartupError: a vault failed, or no vault knows a name that was given.
        """
        missing = [self._missing] if set(self._names) - self._known and self._missing else []
        if self._failures or missing:
            raise StartupError("; ".join(map(printable, [*self._failures, *missing])))

    def print(self, *, as_json: bool) -> None:
        """Say it all."""
        if as_json:
            click.echo(json.dumps(self._as_json(), indent=2))
            return
        for name, done, seconds in self._vaults:
            if done.faults:
                _print_faults(done)
            _print_snapshots(done)
            click.echo(f"{printable(name)}: {_sentence(done, seconds)}")

    def _as_json(self) -> dict[str, Any]:
        return {
            "clean": not self.faulty and not self._failures,
            "vaults": [
                {"vault": name, "seconds": round(seconds, 3), **asdict(done)}
                for name, done, seconds in self._vaults
            ],
        }


def _print_faults(done: "Verified") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False)
    for title in ("snapshot", "path", "what"):
        table.add_column(title, overflow="fold")
    for each in done.faults[:SHOWN]:
        what = f"healed: {each.detail}" if each.healed else each.detail
        table.add_row(each.snapshot, Text(printable(each.path)), Text(printable(what)))
    Console().print(table)
    if done.found > SHOWN:
        click.echo(f"and {done.found - SHOWN:,} more: see --json")


def _print_snapshots(done: "Verified") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=False)
    for title in ("snapshot", "is", "blobs", "read now", "damaged"):
        table.add_column(title, justify="left" if title in ("snapshot", "is") else "right")
    for each in done.snapshots:
        state = "[green]good[/]" if each.good else "[red]damaged[/]"
        counts = (f"{each.of:,}", f"{each.blobs:,}", f"{each.damaged:,}")
        table.add_row(each.snapshot, state, *counts)
    Console().print(table)


def _sentence(done: "Verified", seconds: float) -> str:
    parts = [
        f"{counted(len(done.snapshots), 'snapshot')}, {counted(done.blobs, 'blob')} with "
        f"{sized(done.bytes)} read in {seconds:.1f} s",
        f"{counted(done.found, 'fault')}, {done.healed:,} of {counted(done.damaged, 'blob')} healed"
        if done.found
        else "all is well",
    ]
    if done.left:
        parts.append(f"{counted(done.left, 'blob')} left for the next run: the time was up")
    if done.unnoted:
        parts.append(f"not noted in the vault: {printable(done.unnoted)}")
    return "; ".join(parts)
