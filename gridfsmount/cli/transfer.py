"""`gridfsmount put` and `get`: whole trees in and out of a lake, without a mount."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    lease_option,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.config.kinds import Size
from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from gridfsmount.errors import StartupError

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake
    from gridfsmount.transfer.local import Owners
    from gridfsmount.transfer.report import Report

SHOWN_FAILURES: Final = 100
"""Lines; the rest is counted."""

MIB: Final = 1 << 20


def _transfer_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how to go about it, there and back alike."""
    options = [
        click.option(
            "--owner/--no-owner",
            "keep_owner",
            default=None,
            help="Keep users and groups, or make all yours.  [default: keep them as root]",
        ),
        click.option(
            "-c", "--checksum", is_flag=True, help="Compare by SHA-256, not by size and time."
        ),
        jobs_option("Batches and large files at once."),
        click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=bytes), metavar="LOCAL..."
)
@click.argument("target", metavar="LAKEPATH")
@uri_option
@lake_options
@_transfer_options
@click.option(
    "--chunk-size",
    type=Size(MIN_CHUNK_SIZE, MAX_CHUNK_SIZE),
    default=DEFAULT_CHUNK_SIZE,
    show_default="1MiB",
    help="Chunk size of new files, 4KiB to 8MiB.",
)
@click.option("--verify", is_flag=True, help="Read back all that was written, and compare.")
@lease_option
@says_errors()
def put(
    sources: tuple[bytes, ...],
    target: str,
    uri: str | None,
    choice: LakeChoice,
    keep_owner: bool | None,
    checksum: bool,
    jobs: int,
    quiet: bool,
    chunk_size: int,
    verify: bool,
    lease: float,
) -> None:
    """Copy files and trees into a lake, many at a time and without a mount.

    LAKEPATH is a path such as datasets/mnist/v1; what is missing of it is made. As for rsync -a: a
    folder LOCAL goes into LAKEPATH, and with a slash at its end (LOCAL/) its contents do. A file
    goes into LAKEPATH if that is a folder, a version, or has a slash at its end; else it gets that
    name.

    Each file appears whole. Run again, it skips what is there already with the same size and time.
    """
    from gridfsmount.places import parse
    from gridfsmount.transfer.put import Putter, measure
    from gridfsmount.transfer.put_files import PutOptions

    opened = open_lake_for_command(choice, uri, place=PLACE, lease=lease)
    path = parse(target)
    options = PutOptions(_owners(keep_owner), chunk_size, jobs, checksum, verify)

    def run(lake: "Lake", report: "Report") -> None:
        Putter(lake, report, options).run(sources, path)

    def measure_sources(lake: "Lake") -> tuple[int, int]:
        return measure(sources)

    sys.exit(_transfer(opened, "put", run, measure_sources, quiet=quiet))


@click.command()
@click.argument("source", metavar="LAKEPATH")
@click.argument("target", type=click.Path(path_type=bytes), metavar="LOCAL")
@uri_option
@lake_options
@_transfer_options
@says_errors()
def get(
    source: str,
    target: bytes,
    uri: str | None,
    choice: LakeChoice,
    keep_owner: bool | None,
    checksum: bool,
    jobs: int,
    quiet: bool,
) -> None:
    """Copy a file or a tree out of a lake, many files at a time and without a mount.

    LAKEPATH is a path such as datasets/mnist/latest. As for rsync -a: a folder goes into LOCAL, and
    with a slash at its end (LAKEPATH/) its contents do. A file goes into LOCAL if that is a folder
    or has a slash at its end; else it gets that name.

    Every chunk is checked against its hash. Run again, it skips what is there already with the
    same size and time.
    """
    from gridfsmount.places import parse
    from gridfsmount.transfer.get import Getter
    from gridfsmount.transfer.get_files import GetOptions

    opened = open_lake_for_command(choice, uri, place=PLACE, read_only=True)
    path = parse(source)
    options = GetOptions(_owners(keep_owner), _umask(), jobs, checksum)

    def run(lake: "Lake", report: "Report") -> None:
        Getter(lake, report, options).run(path, target)

    def measure(lake: "Lake") -> tuple[int, int]:
        from gridfsmount.places import resolve

        return lake.bulk.measure("/".join(resolve(lake, path).parts))

    sys.exit(_transfer(opened, "get", run, measure, quiet=quiet))


def _owners(keep: bool | None) -> "Owners":
    from gridfsmount.transfer.local import Owners

    return Owners(os.geteuid() == 0 if keep is None else keep, os.geteuid(), os.getegid())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _transfer(
    opened: "AbstractContextManager[Lake]",
    name: str,
    run: "Callable[[Lake, Report], None]",
    measure: "Callable[[Lake], tuple[int, int]]",
    *,
    quiet: bool,
) -> int:
    """Run a transfer, with a progress bar and a summary; returns the exit code."""
    from gridfsmount.mount.runtime import tune_runtime
    from gridfsmount.transfer.report import Halted, Report, printable

    began = time.monotonic()
    with opened as lake, file_bar(lambda: measure(lake), name, quiet=quiet) as progress:
        tune_runtime()
        report = Report(progress)
        with _told_to_stop(report) as told:
            try:
                run(lake, report)
            except Halted:
                pass
            except OSError as error:
                raise StartupError(f"{printable(error.filename)}: {error.strerror}") from error
    return _sum_up(report, name, time.monotonic() - began, told, quiet=quiet)


def _sum_up(report: "Report", name: str, seconds: float, told: list[int], *, quiet: bool) -> int:
    total = report.total
    if not quiet:
        same = f", {total.same:,} were there already" if total.same else ""
        click.echo(
            f"{name}: {total.files:,} files, {total.bytes / MIB:,.1f} MiB in {seconds:.1f} s{same}"
        )
    for failure in report.failures[:SHOWN_FAILURES]:
        click.echo(f"  {redact(failure)}", err=True)
    if total.failures:
        click.echo(
            f"gridfsmount: not copied: {total.failures:,}, "
            f"{'the first of them ' if total.failures > SHOWN_FAILURES else ''}named above",
            err=True,
        )
    if report.reason is not None:
        click.echo(
            f"gridfsmount: {redact(report.reason)}\n"
            "gridfsmount: stopped; run the same command again to go on from here",
            err=True,
        )
        return 1
    if told:
        click.echo("gridfsmount: stopped; run the same command again to go on from here", err=True)
        return 128 + told[0]
    return 1 if total.failures else 0


@contextmanager
def _told_to_stop(report: "Report") -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the transfer in good order; a second one ends it at once."""
    told: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        told.append(number)
        report.stop()
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
