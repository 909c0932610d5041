"""How commands are told which lake they work on, and how they open it.

Without a mount: blocking, on the lake itself.
"""

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

from gridfsmount.addresses import (
    find_uri,
    known_bucket,
    known_embedded,
    known_uri,
    read_config,
    redact,
)
from gridfsmount.config.keys import DEADLINES, LEASES
from gridfsmount.config.logins import NO_LOGIN, Login
from gridfsmount.core import defaults
from gridfsmount.errors import ConfigError, LakeError

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")

PLACE: Final = "with --uri"
"""Where the address goes: the arguments are paths."""

uri_option = click.option("--uri", help="Address of the lake, mongodb://...")

uri_file_option = click.option(
    "--uri-file",
    type=click.Path(path_type=Path),
    allow_from_autoenv=False,
    help="Read the URI from a file, so that its password is in no command line.",
)


def config_option_with(**more: Any) -> Callable[[F], F]:
    """--config, with more attributes of a click option."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="TOML file with `uri` and more: see `gridfsmount config show`.  "
        "[default: ~/.config/gridfsmount/lake.toml, /etc/gridfsmount/lake.toml]",
        **more,
    )


config_option = config_option_with()

bucket_option = click.option("--bucket", help="Prefix of the GridFS collections.  [default: fs]")

deadline_option = click.option(
    "--deadline",
    type=DEADLINES,
    default=defaults.DEFAULT_DEADLINE,
    show_default="30s",
    help="Time for one database operation, fail-over included.",
)

lease_option = click.option(
    "--lease",
    type=LEASES,
    default=defaults.DEFAULT_LEASE,
    show_default="5m",
    help="Time after which a dead writer's upload is swept away.",
)


@dataclass(frozen=True, slots=True)
class LakeChoice:
    """What the options of `lake_options` say."""

    uri_file: Path | None
    config: Path | None
    bucket: str | None
    deadline: float
    embedded: Path | None = None
    login: Login = NO_LOGIN
    is_whole: bool = False
    """The address is a mount's, which has its login in it: no other is looked for."""


def login_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say who asks; the command gets them as one argument, `login`."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        user: str | None,
        password_file: Path | None,
        ask_password: bool,
        tls_ca_file: Path | None,
        tls_cert_file: Path | None,
        **rest: Any,
    ) -> None:
        login = Login(user, password_file, ask_password, tls_ca_file, tls_cert_file)
        command(*args, login=login, **rest)

    file = click.Path(path_type=Path)
    # Their variables are looked at where the address is put together, for Python's callers too.
    options = [
        click.option(name, help=text, allow_from_autoenv=False, **more)
        for name, text, more in (
            ("--user", "User of the server, unless the URI names one.", {}),
            ("--password-file", "Read that user's password from a file.", {"type": file}),
            ("--ask-password", "Ask for the password at the terminal.", {"is_flag": True}),
            ("--tls-ca-file", "Trust servers with certificates of this CA.", {"type": file}),
            ("--tls-cert-file", "Certificate and key of this client, as PEM.", {"type": file}),
        )
    ]
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


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
        login: Login,
        **rest: Any,
    ) -> None:
        choice = LakeChoice(uri_file, config, bucket, deadline, embedded, login)
        command(*args, choice=choice, **rest)

    unmounted = click.option(
        "--embedded",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The lake of `mount --embedded DIR`, mounted or not.",
    )
    decorated: Callable[..., None] = wrapped
    for option in (
        deadline_option,
        login_options,
        bucket_option,
        unmounted,
        config_option,
        uri_file_option,
    ):
        decorated = option(decorated)
    return decorated


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
    bucket = known_bucket(settings) if choice.bucket is None else choice.bucket
    address = ""
    if choice.embedded is None and not (uri or choice.uri_file):
        choice = replace(choice, embedded=known_embedded(settings))
    if choice.is_whole:
        address = uri or ""
    elif choice.embedded is None:
        address = find_uri(uri or "", choice.uri_file, settings, place=place, login=choice.login)
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
    given = uri or choice.uri_file or choice.embedded
    settings = read_config(choice.config)
    return bool(given or known_uri(settings) or known_embedded(settings))


def check_embedded(uri: str | None, uri_file: Path | None, login: Login) -> None:
    """Refuse what does not go with --embedded.

    Raises:
        ConfigError: another server is named, or a user.
    """
    if uri or uri_file:
        raise ConfigError("--embedded brings its own server: leave the URI out")
    if login.is_given:
        raise ConfigError("--embedded brings its own server, without users: leave the user out")


def _check_embedded(choice: LakeChoice, uri: str | None, *, must_exist: bool) -> None:
    check_embedded(uri, choice.uri_file, choice.login)
    if must_exist and choice.embedded is not None and not choice.embedded.is_dir():
        raise ConfigError(f"--embedded {choice.embedded}: there is no such folder")
