"""How commands are told which lake they work on, and how they open it.

Without a mount: blocking, on the lake itself.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from gridfsmount.addresses import DEFAULT_BUCKET, URI_VARIABLE, find_uri, read_config, redact
from gridfsmount.core import defaults
from gridfsmount.errors import ConfigError, LakeError

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake

P = ParamSpec("P")

uri_file_option = click.option(
    "--uri-file",
    type=click.Path(path_type=Path),
    help="Read the URI from a file, so that its password is in no command line.",
)

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with `uri` and `bucket`.  [default: ~/.config/gridfsmount/lake.toml, "
    "/etc/gridfsmount/lake.toml]",
)

bucket_option = click.option("--bucket", help="Prefix of the GridFS collections.  [default: fs]")

deadline_option = click.option(
    "--deadline",
    type=click.FloatRange(1, 3600),
    default=defaults.DEFAULT_DEADLINE,
    show_default=True,
    help="Seconds for one database operation, fail-over included.",
)

lease_option = click.option(
    "--lease",
    type=click.FloatRange(1, 86400),
    default=defaults.DEFAULT_LEASE,
    show_default=True,
    help="Seconds after which a dead writer's upload is swept away.",
)


@dataclass(frozen=True, slots=True)
class LakeChoice:
    """What the options of `lake_options` say."""

    uri_file: Path | None
    config: Path | None
    bucket: str | None
    deadline: float
    embedded: Path | None = None


def lake_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options for a command that works on a lake; it gets them as one argument, `choice`."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        uri_file: Path | None,
        config: Path | None,
        bucket: str | None,
        deadline: float,
        embedded: Path | None,
        **rest: Any,
    ) -> None:
        choice = LakeChoice(uri_file, config, bucket, deadline, embedded)
        command(*args, choice=choice, **rest)

    unmounted = click.option(
        "--embedded",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The lake of `mount --embedded DIR`, mounted or not.",
    )
    for option in (deadline_option, bucket_option, unmounted, config_option, uri_file_option):
        wrapped = option(wrapped)
    return wrapped


def says_errors(code: int = 1) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a command that fails say why in one line, and end with `code`.

    One that is interrupted ends as put and get do: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
            except LakeError as error:
                click.echo(f"gridfsmount: {redact(str(error))}", err=True)
                sys.exit(code)
            except KeyboardInterrupt as error:
                click.echo("gridfsmount: interrupted", err=True)
                # click would say 1, which says something else here and there.
                sys.exit(128 + (error.args[0] if error.args else signal.SIGINT))

        return wrapped

    return decorate


def open_lake_for_command(
    choice: LakeChoice,
    uri: str | None,
    *,
    read_only: bool = False,
    existing: bool = False,
    place: str = "as an argument",
    lease: float = defaults.DEFAULT_LEASE,
) -> "AbstractContextManager[Lake]":
    """The lake that was chosen, connected for as long as a block runs.

    What the options say is looked at before that, in this call.

    Args:
        choice: the options.
        uri: the address on the command line, if one was given.
        read_only: the user need not be allowed to write.
        existing: the lake must be there already; else what it lacks is made, unless `read_only`.
        place: where on the command line the address goes.
        lease: seconds after which a dead writer's upload counts as left behind.

    Raises:
        ConfigError: no address, or too many.
        StartupError: at the block's start: no server, no rights, or no lake; the text says which.
    """
    settings = read_config(choice.config)
    bucket = settings.get("bucket", DEFAULT_BUCKET) if choice.bucket is None else choice.bucket
    address = ""
    if choice.embedded is None:
        address = find_uri(uri or "", choice.uri_file, settings, place=place)
    else:
        _check_embedded(choice, uri, must_exist=read_only or existing)
    return _opened(choice, address, bucket, read_only, read_only or existing, lease)


@contextmanager
def _opened(
    choice: LakeChoice, address: str, bucket: str, read_only: bool, existing: bool, lease: float
) -> "Iterator[Lake]":
    # Imported late: pymongo takes a while, and `--help` needs none of it.
    from gridfsmount.store.reaching import reached

    with reached(
        address,
        choice.embedded,
        bucket=bucket,
        deadline=choice.deadline,
        lease=lease,
        writable=not read_only,
        existing=existing,
    ) as lake:
        yield lake


def has_address(choice: LakeChoice, uri: str | None) -> bool:
    """Whether anything says which lake: the command line, the environment or a config file."""
    given = uri or choice.uri_file or choice.embedded or os.environ.get(URI_VARIABLE)
    return bool(given or read_config(choice.config).get("uri"))


def _check_embedded(choice: LakeChoice, uri: str | None, *, must_exist: bool) -> None:
    if uri or choice.uri_file:
        raise ConfigError("--embedded brings its own server: leave the URI out")
    if must_exist and choice.embedded is not None and not choice.embedded.is_dir():
        raise ConfigError(f"--embedded {choice.embedded}: there is no such folder")
