"""`gridfsmount put` and `get`: whole trees in and out of a lake, without a mount."""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import click

from gridfsmount.cli.parameters import Size
from gridfsmount.cli.secrets import URI_VARIABLE, read_config, read_uri_file, redact
from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from gridfsmount.errors import ConfigError, FileSystemError, LakeError, StartupError
from gridfsmount.mount import options as defaults

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake
    from gridfsmount.transfer.local import Owners
    from gridfsmount.transfer.report import Progress, Report

P = ParamSpec("P")

SHOWN_FAILURES: Final = 100
"""Lines; the rest is counted."""

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Where:
    """Which lake; the URI may hold a password."""

    uri: str
    embedded: Path | None
    bucket: str
    deadline: float
    lease: float


def _says_errors(command: Callable[P, int]) -> Callable[P, None]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except LakeError as error:
            click.echo(f"gridfsmount: {redact(str(error))}", err=True)
            sys.exit(1)
        sys.exit(code)

    return wrapped


def _lake_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which lake, and how to go about it."""
    options = [
        click.option("--uri", help="Address of the lake, mongodb://..."),
        click.option(
            "--uri-file",
            type=click.Path(path_type=Path),
            help="Read the URI from a file, so that its password is in no command line.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="TOML file with `uri` and `bucket`.  [default: ~/.config/gridfsmount/lake.toml, "
            "/etc/gridfsmount/lake.toml]",
        ),
        click.option(
            "--embedded",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Run a private mongod with its data in DIR meanwhile.",
        ),
        click.option("--bucket", help="Prefix of the GridFS collections.  [default: fs]"),
        click.option(
            "--owner/--no-owner",
            "keep_owner",
            default=None,
            help="Keep users and groups, or make all yours.  [default: keep them as root]",
        ),
        click.option(
            "-c", "--checksum", is_flag=True, help="Compare by SHA-256, not by size and time."
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(1, 64),
            default=4,
            show_default=True,
            help="Batches and large files at once.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary."),
        click.option(
            "--deadline",
            type=click.FloatRange(1, 3600),
            default=defaults.DEFAULT_DEADLINE,
            show_default=True,
            help="Seconds for one database operation, fail-over included.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=bytes), metavar="LOCAL..."
)
@click.argument("target", metavar="LAKEPATH")
@_lake_options
@click.option(
    "--chunk-size",
    type=Size(MIN_CHUNK_SIZE, MAX_CHUNK_SIZE),
    default=DEFAULT_CHUNK_SIZE,
    show_default="1MiB",
    help="Chunk size of new files, 4KiB to 8MiB.",
)
@click.option("--verify", is_flag=True, help="Read back all that was written, and compare.")
@click.option(
    "--lease",
    type=click.FloatRange(1, 86400),
    default=defaults.DEFAULT_LEASE,
    show_default=True,
    help="Seconds after which a dead writer's upload is swept away.",
)
@_says_errors
def put(
    sources: tuple[bytes, ...],
    target: str,
    uri: str | None,
    uri_file: Path | None,
    config: Path | None,
    embedded: Path | None,
    bucket: str | None,
    keep_owner: bool | None,
    checksum: bool,
    jobs: int,
    quiet: bool,
    deadline: float,
    chunk_size: int,
    verify: bool,
    lease: float,
) -> int:
    """Copy files and trees into a lake, many at a time and without a mount.

    LAKEPATH is a path such as datasets/mnist/v1; what is missing of it is made. As for rsync -a: a
    folder LOCAL goes into LAKEPATH, and with a slash at its end (LOCAL/) its contents do. A file
    goes into LAKEPATH if that is a folder, a version, or has a slash at its end; else it gets that
    name.

    Each file appears whole. Run again, it skips what is there already with the same size and time.
    """
    from gridfsmount.transfer.places import parse
    from gridfsmount.transfer.put import Putter, measure
    from gridfsmount.transfer.put_files import PutOptions

    where = _where(uri, uri_file, config, embedded, bucket, deadline, lease)
    path = parse(target)
    options = PutOptions(_owners(keep_owner), chunk_size, jobs, checksum, verify)

    def run(lake: "Lake", report: "Report") -> None:
        Putter(lake, report, options).run(sources, path)

    def measure_sources(lake: "Lake") -> tuple[int, int]:
        return measure(sources)

    return _transfer(where, "put", run, measure_sources, quiet=quiet, writes=True)


@click.command()
@click.argument("source", metavar="LAKEPATH")
@click.argument("target", type=click.Path(path_type=bytes), metavar="LOCAL")
@_lake_options
@_says_errors
def get(
    source: str,
    target: bytes,
    uri: str | None,
    uri_file: Path | None,
    config: Path | None,
    embedded: Path | None,
    bucket: str | None,
    keep_owner: bool | None,
    checksum: bool,
    jobs: int,
    quiet: bool,
    deadline: float,
) -> int:
    """Copy a file or a tree out of a lake, many files at a time and without a mount.

    LAKEPATH is a path such as datasets/mnist/latest. As for rsync -a: a folder goes into LOCAL, and
    with a slash at its end (LAKEPATH/) its contents do. A file goes into LOCAL if that is a folder
    or has a slash at its end; else it gets that name.

    Every chunk is checked against its hash. Run again, it skips what is there already with the
    same size and time.
    """
    from gridfsmount.transfer.get import Getter
    from gridfsmount.transfer.get_files import GetOptions
    from gridfsmount.transfer.places import parse

    where = _where(uri, uri_file, config, embedded, bucket, deadline, defaults.DEFAULT_LEASE)
    path = parse(source)
    options = GetOptions(_owners(keep_owner), _umask(), jobs, checksum)

    def run(lake: "Lake", report: "Report") -> None:
        Getter(lake, report, options).run(path, target)

    def measure(lake: "Lake") -> tuple[int, int]:
        from gridfsmount.transfer.places import resolve

        return lake.bulk.measure("/".join(resolve(lake, path).parts))

    return _transfer(where, "get", run, measure, quiet=quiet, writes=False)


def _where(
    uri: str | None,
    uri_file: Path | None,
    config: Path | None,
    embedded: Path | None,
    bucket: str | None,
    deadline: float,
    lease: float,
) -> Where:
    settings = read_config(config)
    if embedded is not None and (uri or uri_file):
        raise ConfigError("--embedded brings its own server: leave the URI out")
    address = ""
    if embedded is None:
        address = uri or (read_uri_file(uri_file) if uri_file is not None else "")
        address = address or os.environ.get(URI_VARIABLE) or settings.get("uri", "")
        if not address:
            raise ConfigError(
                f"no URI: give one with --uri or --uri-file, in {URI_VARIABLE}, or in a config "
                "file; or --embedded DIR for a private server"
            )
    return Where(
        address,
        embedded.absolute() if embedded else None,
        settings.get("bucket", "fs") if bucket is None else bucket,
        deadline,
        lease,
    )


def _owners(keep: bool | None) -> "Owners":
    from gridfsmount.transfer.local import Owners

    return Owners(os.geteuid() == 0 if keep is None else keep, os.geteuid(), os.getegid())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _transfer(
    where: Where,
    name: str,
    run: "Callable[[Lake, Report], None]",
    measure: "Callable[[Lake], tuple[int, int]]",
    *,
    quiet: bool,
    writes: bool,
) -> int:
    """Run a transfer, with a progress bar and a summary; returns the exit code."""
    from gridfsmount.transfer.report import Halted, Report, printable

    began = time.monotonic()
    with _opened(where, writes=writes) as lake, _bar(lake, measure, name, quiet=quiet) as progress:
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
def _opened(where: Where, *, writes: bool) -> "Iterator[Lake]":
    from gridfsmount.mount.runtime import tune_runtime
    from gridfsmount.store.connection import connect
    from gridfsmount.store.embedded import EmbeddedServer
    from gridfsmount.store.lake import Founder, open_lake

    @contextmanager
    def server() -> Iterator[str]:
        if where.embedded is None:
            yield where.uri
            return
        with EmbeddedServer(where.embedded) as running:
            yield running.uri

    with server() as uri:
        connection = connect(uri, bucket=where.bucket, deadline=where.deadline)
        try:
            if writes and not connection.deployment.writable:
                raise StartupError(
                    f"{connection.deployment}: the server takes no writes from this user"
                )
            try:
                lake = open_lake(
                    connection,
                    lease_seconds=where.lease,
                    founder=Founder(os.geteuid(), os.getegid()),
                    read_only=not writes,
                )
            except FileSystemError as error:
                raise StartupError(f"the lake cannot be opened: {error}") from error
            tune_runtime()
            yield lake
        finally:
            connection.close()


@contextmanager
def _bar(
    lake: "Lake", measure: "Callable[[Lake], tuple[int, int]]", name: str, *, quiet: bool
) -> "Iterator[Progress]":
    """A progress bar on a terminal; nothing elsewhere."""
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
        count, size = measure(lake)
        task: Any = bar.add_task(name, total=size, files=0, all=count)

        def advance(files: int, size: int) -> None:
            shown = bar.tasks[0].fields["files"] + files
            bar.update(task, advance=size, files=shown, all=max(shown, count))

        yield advance


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
