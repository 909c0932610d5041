"""The commands and their common manners: one message for an error, no traceback, exit code 1."""

import importlib.util
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from gridfsmount import __version__
from gridfsmount.addresses import (
    find_uri,
    known_bucket,
    known_embedded,
    known_uri,
    redact,
)
from gridfsmount.cli.defaults import MOUNT, named_by_source, with_config
from gridfsmount.cli.lakes import (
    LakeChoice,
    bucket_option,
    check_embedded,
    deadline_option,
    lake_options,
    lease_option,
    login_options,
    says_errors,
    uri_file_option,
    uri_option,
)
from gridfsmount.cli.logs import log_format_option, set_up_logging, slow_option
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.secrets import forbid_core_dumps, forget_secrets, scrub_process_title
from gridfsmount.cli.vaults import choose_vaults, mounted_vaults, vault_option
from gridfsmount.config.document import Config
from gridfsmount.config.keys import SECTIONS
from gridfsmount.config.kinds import Duration
from gridfsmount.config.logins import Login
from gridfsmount.core import defaults
from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE
from gridfsmount.core.preferences import PRIMARY
from gridfsmount.errors import ConfigError, MountError
from gridfsmount.mount.daemon import default_log_file, run_in_background
from gridfsmount.mount.mountpoint import check_mountpoint, clear_dead, unmount
from gridfsmount.mount.options import MountOptions

_ELSEWHERE: Final = {
    "backup": "backup:backup",
    "completion": "manual:completion",
    "config": "config:config_commands",
    "delete": "versions:delete",
    "diff": "diff:diff",
    "doctor": "doctor.command:doctor",
    "fork": "versions:fork",
    "get": "transfer:get",
    "install-units": "units:install_units",
    "link": "versions:link",
    "log": "history:log",
    "man": "manual:man",
    "manifest": "manifest:manifest",
    "put": "transfer:put",
    "seal": "sealing:seal",
    "show": "history:show",
    "tag": "versions:tag",
    "tune": "units:tune",
    "verify": "verify:verify",
    "web": "web:web",
}
"""Commands of other modules, each of which is imported when its command is asked for: all of them
take as long as the rest of a short command."""

MOUNT_KINDS: Final = {name: key.kind for name, key in SECTIONS["mount"].items()}
"""Options take what the keys of the same names take."""


def main() -> None:
    """Entry point of the console script."""
    scrub_process_title()
    commands(prog_name="gridfsmount")


class _Commands(click.Group):
    """Knows commands without importing them, and tells what is wrong without secrets."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        if cmd_name in _ELSEWHERE:
            module, _, name = _ELSEWHERE[cmd_name].partition(":")
            command: click.Command = getattr(import_module(f"gridfsmount.cli.{module}"), name)
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:  # a group alone: the help, not an error
            raise
        except click.UsageError as error:
            raise click.UsageError(redact(named_by_source(error)), error.ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Mount a MongoDB GridFS data lake as an ordinary directory tree."""


@commands.command(context_settings=MOUNT)
@click.argument("arguments", nargs=-1, metavar="[URI] [MOUNTPOINT]")
@uri_file_option
@with_config
@login_options
@click.option(
    "--embedded",
    type=click.Path(path_type=Path),
    metavar="DIR",
    allow_from_autoenv=False,
    help="Run a private mongod with its data in DIR; it ends with the mount.",
)
@bucket_option
@vault_option
@click.option(
    "--no-lake",
    is_flag=True,
    allow_from_autoenv=False,
    help="Mount the snapshots of vaults alone, as when the server is gone.",
)
@click.option("--read-only/--read-write", default=False, help="Refuse all changes.")
@click.option("--allow-other/--no-allow-other", default=False, help="Let other users in.")
@click.option(
    "-f",
    "--foreground",
    is_flag=True,
    allow_from_autoenv=False,
    help="Stay here; log to standard error.",
)
@click.option(
    "--chunk-size",
    type=MOUNT_KINDS["chunk_size"],
    default=DEFAULT_CHUNK_SIZE,
    show_default="1MiB",
    help="Chunk size of new files, 4KiB to 8MiB.",
)
@click.option(
    "--cache-size",
    type=MOUNT_KINDS["cache_size"],
    default=defaults.DEFAULT_CACHE,
    show_default="128MiB",
    help="Memory for chunks that were read.",
)
@click.option(
    "--disk-cache",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep what was read in DIR on a local disk, for the next epoch and the next mount.",
)
@click.option(
    "--disk-cache-size",
    type=MOUNT_KINDS["disk_cache_size"],
    help="Most of it that may be kept.  [default: 50GiB]",
)
@click.option(
    "--read-preference",
    type=MOUNT_KINDS["read_preference"],
    default=PRIMARY,
    show_default=True,
    help="Members of a replica set to ask for what lies in sealed versions.",
)
@click.option("--uid", type=MOUNT_KINDS["uid"], help="Owner of adopted files.")
@click.option("--gid", type=MOUNT_KINDS["gid"], help="Group of adopted files.")
@click.option(
    "--umask", type=MOUNT_KINDS["umask"], help="Permissions that adopted files lack, as in 022."
)
@click.option(
    "--squash",
    type=MOUNT_KINDS["squash"],
    metavar="UID:GID",
    help="Show everything as owned by this user and group.",
)
@click.option(
    "--metrics",
    type=MOUNT_KINDS["metrics"],
    metavar="[ADDR:]PORT",
    help="Serve metrics for Prometheus there; a port alone is one of 127.0.0.1.",
)
@deadline_option
@lease_option
@click.option(
    "--log-file",
    type=click.Path(path_type=Path),
    help="Log here.  [default: below /var/log/gridfsmount or ~/.local/state/gridfsmount]",
)
@log_format_option
@slow_option
@click.option("-v", "--verbose", count=True, help="Log more.")
@click.option("--source", hidden=True, help="What df(1) shows: mount(8) looks for its SPEC there.")
@click.option("--noexec", is_flag=True, hidden=True, help="Run no program from it: mount(8).")
@says_errors()
def mount(
    arguments: tuple[str, ...],
    uri_file: Path | None,
    config: Config,
    login: Login,
    embedded: Path | None,
    bucket: str | None,
    vaults: tuple[str, ...],
    no_lake: bool,
    read_only: bool,
    allow_other: bool,
    foreground: bool,
    chunk_size: int,
    cache_size: int,
    disk_cache: Path | None,
    disk_cache_size: int | None,
    read_preference: str,
    uid: int | None,
    gid: int | None,
    umask: int | None,
    squash: tuple[int, int] | None,
    metrics: tuple[str, int] | None,
    deadline: float,
    lease: float,
    log_file: Path | None,
    log_format: str,
    slow: float,
    verbose: int,
    source: str | None,
    noexec: bool,
) -> None:
    """Mount a lake on MOUNTPOINT, an empty directory.

    The URI (mongodb://user:password@host/database) may also come from --uri-file, from the
    environment (GRIDFSMOUNT_URI) or from a config file, where nobody else sees its password. So
    may every option: GRIDFSMOUNT_CACHE_SIZE goes before `cache_size` below [mount] of the file,
    and --cache-size before both. MOUNTPOINT may be `mountpoint` there.

    The snapshots of vaults, of --vault or of the config file, are shown below `snapshots`. With
    --vault and no URI from anywhere, or with --no-lake, there is nothing else in the mount.

    Returns when the mount answers; `gridfsmount umount MOUNTPOINT` ends it.
    """
    settings = config.values
    given, mountpoint = _split(arguments, config.table("mount").get("mountpoint"))
    if no_lake and (given or uri_file or embedded):
        raise ConfigError("--no-lake mounts vaults alone: leave the lake out")
    if not (given or uri_file or no_lake):
        embedded = embedded or known_embedded(settings)
    alone = no_lake or (bool(vaults) and not (given or uri_file or embedded or known_uri(settings)))
    optional = {"uid": uid, "gid": gid, "umask": umask}
    options = MountOptions(
        mountpoint=mountpoint.absolute(),
        uri=""
        if embedded or alone
        else find_uri(
            given,
            uri_file,
            settings,
            place="before the mount point",
            otherwise="; or --embedded DIR for a private server, or --no-lake for vaults alone",
            login=login,
        ),
        embedded=embedded.absolute() if embedded else None,
        lake=not alone,
        vaults=mounted_vaults(config.table("vaults"), vaults, needed=alone),
        bucket=known_bucket(settings) if bucket is None else bucket,
        read_only=read_only,
        allow_other=allow_other,
        chunk_size=chunk_size,
        cache_size=cache_size,
        disk_cache=disk_cache.absolute() if disk_cache else None,
        disk_cache_size=_disk_cache_size(disk_cache, disk_cache_size),
        read_preference=read_preference,
        squash=squash,
        metrics=_metrics(metrics),
        deadline=deadline,
        lease=lease,
        slow=slow,
        source=source,
        noexec=noexec,
        **{name: value for name, value in optional.items() if value is not None},
    )
    if embedded:
        check_embedded(given, uri_file, login)
    forget_secrets()
    forbid_core_dumps()
    check_mountpoint(options.mountpoint)
    log_file = log_file.absolute() if log_file else None
    _check_outside(options.mountpoint, "--log-file", log_file)
    _check_outside(options.mountpoint, "--disk-cache", options.disk_cache)
    _check_outside(options.mountpoint, "--embedded", options.embedded)
    if foreground:
        set_up_logging(log_file, verbose, log_format)
        _run(options, lambda: None)
        return
    log_file = log_file or default_log_file(options.mountpoint)
    set_up_logging(log_file, verbose, log_format)
    reason = run_in_background(lambda ready: _run(options, ready))
    if reason is not None:
        raise MountError(reason)


@commands.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@says_errors()
def umount(mountpoint: Path) -> None:
    """Unmount the lake on MOUNTPOINT and wait until everything is written."""
    unmount(mountpoint)


@commands.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option(
    "--interval",
    type=Duration(),
    default="1s",
    show_default=True,
    help="Between two looks, as in 1s, 1m.",
)
@click.option("--once", is_flag=True, help="Look for one interval, print a page, and end.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON object for each interval, on a line of its own.",
)
@says_errors()
def top(mountpoint: Path, interval: float, once: bool, as_json: bool) -> None:
    """Show what the mount on MOUNTPOINT is doing, live.

    Throughput, requests with their latencies, caches, uploads, the database, faults. `q` or Ctrl-C
    ends it. Where there is no terminal, one page of text is printed.
    """
    if interval < 1:
        raise click.UsageError("--interval is a second at least")
    from gridfsmount.cli.top import run_top  # rich takes a while to import

    run_top(mountpoint, interval, once=once, as_json=as_json)


@commands.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@jobs_option("Files to read at once.")
@says_errors()
def warm(paths: tuple[Path, ...], jobs: int) -> None:
    """Read what lies in PATHS of a mount into its disk cache.

    For a mount with --disk-cache: what is trained on next then comes from the local disk, already
    in the first epoch.
    """
    from gridfsmount.cli.warm import run_warm  # rich.progress takes a while to import

    run_warm(paths, jobs)


@commands.command()
@click.argument("uri", required=False)
@lake_options
@click.option(
    "--grace",
    type=Duration(),
    default="24h",
    show_default=True,
    help="Keep what was removed since then, as in 0s, 90m, 24h, 7d.",
)
@lease_option
@click.option(
    "--stray-chunks",
    is_flag=True,
    help="Remove chunks, a day old, that belong to nothing as well: `check` finds them.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def gc(
    uri: str | None,
    choice: LakeChoice,
    grace: float,
    lease: float,
    stray_chunks: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what nothing in a lake refers to any more.

    That is: removed and replaced contents past their grace, uploads of writers that died, and
    nodes that no folder leads to. Mounts do the same at leisure. With a grace shorter than a
    file may be open, programs that still read what was removed get errors.
    """
    from gridfsmount.cli.gc import run_gc

    run_gc(
        choice,
        uri,
        grace=grace,
        lease=lease,
        strays=stray_chunks,
        dry_run=dry_run,
        as_json=as_json,
    )


@commands.command()
@click.argument("uri", required=False)
@lake_options
@click.option(
    "--data/--no-data",
    default=False,
    help="Read and verify every byte too.  [default: only what documents say]",
)
@click.option("--repair", is_flag=True, help="Mend what can be mended; nothing is ever deleted.")
@click.option(
    "--from",
    "vault",
    metavar="VAULT",
    help="With --repair: heal contents that lost bytes from this vault, as given to --vault of "
    "`backup`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors(code=2)
def check(
    uri: str | None,
    choice: LakeChoice,
    data: bool,
    repair: bool,
    vault: str | None,
    as_json: bool,
) -> None:
    """Compare a lake's tree, contents and chunks, and tell what does not fit.

    The lake may be mounted and in use. The exit code is 0 when it is clean, 1 when something was
    found, 2 when the check could not be made.
    """
    from gridfsmount.cli.check import run_check

    if vault is not None and not repair:
        raise click.UsageError("--from says what --repair heals from: give both")
    source = None if vault is None else choose_vaults(choice.config, (vault,))[0]
    run_check(choice, uri, data=data, repair=repair, vault=source, as_json=as_json)


@commands.command()
@click.argument("address", required=False, metavar="[URI]")
@uri_option
@lake_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors(code=2)
def status(address: str | None, uri: str | None, choice: LakeChoice, as_json: bool) -> None:
    """Tell how a lake is: what is in it, what is going on, what needs a person.

    Quick, however large the lake is, and without writing anything. The exit code is 0 when all is
    well, 1 when something needs a person, 2 when the lake could not be asked.
    """
    from gridfsmount.cli.status import run_status

    run_status(choice, uri or address, as_json=as_json)


def _run(options: MountOptions, ready: Callable[[], None]) -> None:
    # Imported late: pymongo starts threads' machinery that must not exist before the fork.
    from gridfsmount.mount.service import run

    clear_dead(options.mountpoint)
    run(options, ready)


def _split(arguments: tuple[str, ...], known: Path | None) -> tuple[str, Path]:
    """The URI, or an empty string, and the mount point: `known` is that of the config file."""
    match arguments:
        case [] if known is not None:
            return "", known
        case [only]:
            if "://" not in only:
                return "", Path(only)
            if known is not None:
                return only, known
            raise click.UsageError("MOUNTPOINT is missing after the URI")
        case [uri, mountpoint]:
            if "://" in mountpoint:
                raise click.UsageError("the URI comes first, then MOUNTPOINT")
            return uri, Path(mountpoint)
    raise click.UsageError("give a URI and a MOUNTPOINT, or a MOUNTPOINT alone")


def _metrics(endpoint: tuple[str, int] | None) -> tuple[str, int] | None:
    if endpoint is not None and importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError(
            "--metrics needs the package prometheus-client: pip install 'gridfsmount[metrics]'"
        )
    return endpoint


def _check_outside(mountpoint: Path, option: str, path: Path | None) -> None:
    """What the mount itself uses cannot be in it: it would wait for itself."""
    if path is not None and path.resolve().is_relative_to(mountpoint.resolve()):
        raise ConfigError(f"{option} {path}: that is below the mount point")


def _disk_cache_size(folder: Path | None, size: int | None) -> int:
    if size is None:
        return defaults.DEFAULT_DISK_CACHE
    if folder is None:
        raise ConfigError("--disk-cache-size says how much, --disk-cache DIR where: give both")
    existing = next(
        (each for each in (folder, *folder.absolute().parents) if each.exists()), folder
    )
    try:
        total = shutil.disk_usage(existing).total
    except OSError as error:
        raise ConfigError(f"--disk-cache {folder}: {error.strerror}") from error
    if size > total:
        raise ConfigError(
            f"--disk-cache-size is {size >> 20} MiB, but the disk of {folder} has {total >> 20} MiB"
        )
    return size
