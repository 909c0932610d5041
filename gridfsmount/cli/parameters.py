"""Options that several commands share; the kinds of their values are those of the config file."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from gridfsmount.config.keys import KEPT, MAX_JOBS
from gridfsmount.config.kinds import (
    MAX_DURATION,
    MAX_ID,
    MAX_RATE,
    Duration,
    Endpoint,
    Owner,
    Percent,
    Rate,
    Size,
    TimeZone,
    Umask,
)

__all__ = [
    "DEFAULT_JOBS",
    "KEPT",
    "MAX_DURATION",
    "MAX_ID",
    "MAX_JOBS",
    "MAX_RATE",
    "Duration",
    "Endpoint",
    "Owner",
    "Percent",
    "Rate",
    "Size",
    "TimeZone",
    "Umask",
    "jobs_option",
]

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
