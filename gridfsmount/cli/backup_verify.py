"""`gridfsmount backup verify`: is every snapshot whole, and every blob what it was."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.addresses import read_config
from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.lakes import LakeChoice, lake_options, open_lake_for_command, says_errors
from gridfsmount.cli.parameters import Duration, Percent, jobs_option
from gridfsmount.cli.transfer import PLACE, uri_option
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, opened, vault_option
from gridfsmount.cli.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, FileSystemError, NotFound, StartupError
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

    settings = read_config(choice.config).get("verify", {})
    wanted = Wanted(
        sample=_setting(settings, "sample", Percent()) or 1.0 if sample is None else sample,
        seconds=_setting(settings, "max_duration", Duration())
        if max_duration is None
        else max_duration,
        jobs=jobs,
    )
    report = _Report()
    with ExitStack() as stack:
        chosen = choose_vaults(choice.config, vaults)
        lake = None
        if repair:
            lake = stack.enter_context(
                open_lake_for_command(choice, uri, place=PLACE, existing=True, read_only=True)
            )
        try:
            for each in chosen:
                with opened(each) as vault:
                    report.verify(each, vault, snapshots, wanted, lake)
        except FileSystemError as error:
            raise StartupError(f"not all was verified: {printable(str(error))}") from error
    report.check_names(snapshots)
    report.print(as_json=as_json)
    if report.faulty:
        sys.exit(FAULTY)


def _setting(settings: dict[str, Any], name: str, kind: click.ParamType[float]) -> float | None:
    """A value of the config file, as its option takes it."""
    if name not in settings:
        return None
    try:
        return float(kind.convert(settings[name], None, None))
    except click.UsageError as error:
        raise ConfigError(f"[verify] {name}: {error.format_message()}") from error


class _Report:
    """What was found in all of the vaults."""

    def __init__(self) -> None:
        self._vaults: list[tuple[str, Verified, float]] = []
        self._known: set[str] = set()

    @property
    def faulty(self) -> bool:
        """Whether anything was found."""
        return any(done.found for _, done, _ in self._vaults)

    def verify(
        self,
        choice: VaultChoice,
        vault: "Vault",
        names: Sequence[str],
        wanted: "Wanted",
        lake: "Lake | None",
    ) -> None:
        """Verify one vault, or some of its snapshots."""
        from dataclasses import replace

        from gridfsmount.backup.verifying import Verifier

        if lake is not None and lake.id != vault.header.lake:
            raise ConfigError(
                f"{choice.name} is the vault of another lake ({vault.header.lake}): --repair "
                "needs the address of that one"
            )
        began = time.monotonic()
        if names:
            wanted = replace(wanted, snapshots=self._choose(vault, names))
            if not wanted.snapshots:
                return
        with Verifier(vault, wanted, who(), lake) as verifier:
            planned = verifier.survey()
            with file_bar(lambda: planned, "verify") as progress:
                verifier.read(progress)
            done = verifier.finish()
        self._vaults.append((choice.name, done, time.monotonic() - began))

    def _choose(self, vault: "Vault", names: Sequence[str]) -> tuple[str, ...]:
        from gridfsmount.vaults.choosing import choose_snapshot

        chosen = set()
        for each in names:
            try:
                chosen.add(choose_snapshot(vault, each))
            except NotFound as error:
                self._missing = str(error)
            else:
                self._known.add(each)
        return tuple(sorted(chosen))

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse names that no vault knows.

        Raises:
            StartupError: there is one.
        """
        if set(names) - self._known:
            raise StartupError(self._missing)

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
            "clean": not self.faulty,
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
