"""`gridfsmount verify`: is every byte of a version what it was."""

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.paths import locate
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import FileSystemError, StartupError

if TYPE_CHECKING:
    from gridfsmount.core.model import Node
    from gridfsmount.places import LakePath
    from gridfsmount.store.lake import Lake
    from gridfsmount.versions.verifying import Fault, Verified

FAULTY: Final = 1
"""Exit code when something is not as it is recorded."""

TROUBLE: Final = 2
"""Exit code when that cannot be told."""

KEPT: Final = 100_000
"""Faults that are printed; more are only counted."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@uri_option
@lake_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@jobs_option("Queries at once.")
@says_errors(code=TROUBLE)
def verify(
    paths: tuple[str, ...], uri: str | None, choice: LakeChoice, as_json: bool, jobs: int
) -> None:
    """Read every byte of versions again, and compare it with what is recorded.

    PATH is a version such as datasets/mnist/v1 or a folder in one, or its place in a mount. Files
    are compared with their SHA-256, their chunks with their own hashes, and a sealed version with
    its digest. The exit code is 0 when all is right, 1 when anything is not, 2 when that cannot be
    told.
    """
    from gridfsmount.mount.runtime import tune_runtime
    from gridfsmount.places import folder_at, parse

    place = locate(paths, uri, choice)
    targets = [parse(each) for each in place.paths]
    report = _Report()
    try:
        with open_lake_for_command(place.choice, place.uri, place=PLACE, read_only=True) as lake:
            tune_runtime()
            found = [folder_at(lake, each) for each in targets]
            for folder, path in found:
                report.verify(lake, folder, path, jobs)
    except FileSystemError as error:
        raise StartupError(f"not all was verified: {printable(str(error))}") from error
    report.print(as_json=as_json)
    if report.faults:
        sys.exit(FAULTY)


class _Report:
    """What was found in all of the versions."""

    def __init__(self) -> None:
        self.faults = 0
        self._versions: list[tuple[str, Verified, float]] = []
        self._kept: list[tuple[str, Fault]] = []

    def verify(self, lake: "Lake", folder: "Node", path: "LakePath", jobs: int) -> None:
        """Verify one."""
        from gridfsmount.versions.verifying import Verifier

        began = time.monotonic()
        name = str(path)
        seal = None if folder.record is None else folder.record.seal

        def measure() -> tuple[int, int]:
            return lake.bulk.measure(name) if seal is None else (seal.files, seal.bytes)

        with file_bar(measure, "verify") as progress:
            told = Verifier(lake, lambda fault: self._keep(name, fault), jobs, progress)
            done = told.verify(folder)
        self._versions.append((name, done, time.monotonic() - began))

    def _keep(self, version: str, fault: "Fault") -> None:
        self.faults += 1
        if len(self._kept) < KEPT:
            self._kept.append((version, fault))

    def print(self, *, as_json: bool) -> None:
        """Say it all."""
        if as_json:
            click.echo(json.dumps(self._as_json(), indent=2))
            return
        if self._kept:
            self._print_table()
        for name, done, seconds in self._versions:
            click.echo(f"{printable(name)}: {_sentence(done, seconds)}")

    def _as_json(self) -> dict[str, Any]:
        return {
            "clean": self.faults == 0,
            "versions": [
                {"path": name, "seconds": round(seconds, 3), **asdict(done)}
                for name, done, seconds in self._versions
            ],
            "faults": [
                {"version": name, "path": fault.path, "detail": fault.detail}
                for name, fault in self._kept
            ],
        }

    def _print_table(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_lines=False)
        table.add_column("path", overflow="fold")
        table.add_column("what", overflow="fold")
        for name, fault in self._kept:
            path = f"{name}/{fault.path}" if fault.path else name
            table.add_row(Text(printable(path)), Text(printable(fault.detail)))
        Console().print(table)
        if self.faults > len(self._kept):
            click.echo(f"and {self.faults - len(self._kept):,} more")


def _sentence(done: "Verified", seconds: float) -> str:
    parts = [
        f"{counted(done.files, 'file')}, {sized(done.bytes)} read in {seconds:.1f} s",
        f"{counted(done.faults, 'fault')}" if done.faults else "all as recorded",
    ]
    if done.changed:
        parts.append(f"{done.changed:,} written meanwhile and not compared")
    if done.noted:
        parts.append(f"{counted(done.noted, 'file')} without a hash before")
    if done.recorded and done.recorded == done.digest:
        parts.append(f"sha256 {done.digest}")
    return "; ".join(parts)
