"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from gridfsmount.config.keys import MAX_JOBS

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_JOBS: Final = 4


def jobs_option(what: str, *, default: int | None = DEFAULT_JOBS) -> Callable[[F], F]:
    """How much goes on at once; `what` says of what, in the help.

    Without a `default`, the command finds it itself: in the config file, else DEFAULT_JOBS.
    """
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, MAX_JOBS),
        default=default,
        show_default=str(DEFAULT_JOBS),
        help=what,
    )
