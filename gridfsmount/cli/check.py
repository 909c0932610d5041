"""`gridfsmount check`: is the lake whole, and what is to be done where it is not."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

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
from rich.table import Table

from gridfsmount.checking import checker
from gridfsmount.checking.checker import Checker
from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.healing import Healer
from gridfsmount.checking.mender import Mender
from gridfsmount.cli.lakes import LakeChoice, open_lake_for_command
from gridfsmount.cli.vaults import VaultChoice, opened
from gridfsmount.core.wording import counted, printable
from gridfsmount.errors import ConfigError, FileSystemError, StartupError
from gridfsmount.store.lake import Lake

KEPT: Final = 100_000
"""Findings that are printed; more are only counted."""

SHOWN: Final = 1000
"""Findings in the table."""

FOUND: Final = 1
"""Exit code when anything was found."""


class _Report:
    """What was found."""

    def __init__(self, mender: Mender | None) -> None:
        self._mender = mender
        self.kept: list[tuple[Finding, bool]] = []
        self.counts: Counter[Fault] = Counter()
        self.mended = 0
        self._seen: set[Finding] = set()

    def add(self, finding: Finding) -> None:
        """Count a finding, once, and mend it if that was asked for."""
        if finding in self._seen:
            return
        if len(self._seen) < KEPT:
            self._seen.add(finding)
        mended = self._mender is not None and self._mender.mend(finding)
        self.counts[finding.fault] += 1
        self.mended += mended
        if len(self.kept) < KEPT:
            self.kept.append((finding, mended))

    @property
    def total(self) -> int:
        """All findings, printed or not."""
        return sum(self.counts.values())


def run_check(
    choice: LakeChoice,
    uri: str | None,
    *,
    data: bool,
    repair: bool,
    vault: VaultChoice | None,
    as_json: bool,
) -> None:
    """Check a lake; ends with exit code 1 when anything was found.

    Raises:
        StartupError: the lake cannot be opened or read.
    """
    began = time.monotonic()
    with open_lake_for_command(choice, uri, read_only=not repair, existing=True) as lake:
        try:
            report, progress = _check(lake, data=data, repair=repair, vault=vault)
        except FileSystemError as error:
            raise StartupError(f"the check could not be finished: {error}") from error
        except KeyboardInterrupt as error:
            raise StartupError("the check was interrupted") from error
        name = str(lake.connection.deployment)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(
            json.dumps(_as_json(name, report, progress, data, seconds), indent=2, default=str)
        )
    else:
        _print(report, progress, data, seconds)
    if report.total:
        sys.exit(FOUND)


def _check(
    lake: Lake, *, data: bool, repair: bool, vault: VaultChoice | None
) -> tuple[_Report, checker.Progress]:
    with _healer(lake, vault) as healer, _bar(lake, data) as moved:
        mender = Mender(lake, healer) if repair else None
        report = _Report(mender)
        check = Checker(lake, data=data, told=report.add, moved=moved)
        check.run()
        if mender is not None and mender.moved_folders:
            check.run_nodes()  # what is below them is seen again
    return report, check.progress


@contextmanager
def _healer(lake: Lake, choice: VaultChoice | None) -> Iterator[Healer | None]:
    if choice is None:
        yield None
        return
    with opened(choice) as vault:
        if vault.header.lake != lake.id:
            raise ConfigError(f"{choice.name} is the vault of another lake ({vault.header.lake})")
        healer = Healer(lake, vault)
        try:
            yield healer
        finally:
            healer.close()


@contextmanager
def _bar(lake: Lake, data: bool) -> Iterator[Callable[[checker.Progress], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    nodes, contents = lake.audit.sizes()
    columns = (
        (DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
        if data
        else ()
    )
    with Progress(
        TextColumn("{task.description}"), BarColumn(), *columns, console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=lake.audit.bytes() if data else nodes + contents)

        def moved(progress: checker.Progress) -> None:
            bar.update(
                task,
                description=_sizes(progress),
                completed=progress.bytes if data else progress.nodes + progress.contents,
            )

        yield moved


def _as_json(
    lake: str, report: _Report, progress: checker.Progress, data: bool, seconds: float
) -> dict[str, Any]:
    return {
        "lake": lake,
        "clean": report.total == 0,
        "data": data,
        "nodes": progress.nodes,
        "contents": progress.contents,
        "bytes": progress.bytes,
        "seconds": round(seconds, 3),
        "counts": {fault.value: count for fault, count in report.counts.items()},
        "mended": report.mended,
        "findings": [
            {
                "fault": finding.fault.value,
                "path": finding.path,
                "inode": finding.inode,
                "content": None if finding.content is None else str(finding.content),
                "detail": finding.detail,
                "todo": finding.todo,
                "mended": mended,
            }
            for finding, mended in report.kept
        ],
    }


def _print(report: _Report, progress: checker.Progress, data: bool, seconds: float) -> None:
    if report.total:
        _print_table(report)
    read = f", {progress.bytes / (1 << 20):,.1f} MiB read" if data else ""
    click.echo(
        f"{_sizes(progress)}{read} in {seconds:.1f} s: "
        + (_verdict(report) if report.total else "clean")
    )


def _sizes(progress: checker.Progress) -> str:
    return f"{counted(progress.nodes, 'node')}, {counted(progress.contents, 'content')}"


def _verdict(report: _Report) -> str:
    counts = ", ".join(f"{count:,} {fault.value}" for fault, count in report.counts.most_common())
    return f"{report.total:,} found ({counts}), {report.mended:,} mended"


def _print_table(report: _Report) -> None:
    console = Console()
    table = Table(show_lines=False)
    table.add_column("path", overflow="fold")
    table.add_column("content", overflow="fold")
    table.add_column("what", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding, mended in report.kept[:SHOWN]:
        table.add_row(
            *map(
                _printable,
                (
                    finding.path,
                    "" if finding.content is None else str(finding.content),
                    f"{finding.fault.value}: {finding.detail}",
                    "mended" if mended else finding.todo,
                ),
            )
        )
    console.print(table)
    if report.total > SHOWN:
        click.echo(f"and {report.total - SHOWN:,} more: see --json")


def _printable(text: str) -> str:
    """Text for a cell, where rich takes brackets for markup."""
    return printable(text).replace("[", r"\[")
