"""Kinds of values, of options and of the config file alike: sizes, durations, masks, owners."""

import re
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE: Final = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)

_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3}(?=\s*s?$))?)\s*(ms|[smhdw]?)", re.IGNORECASE)

_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s*%")

_ENDPOINT: Final = re.compile(
    r"(?:(?:\[(?P<ip6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]*)):)?(?P<port>[0-9]{1,5})"
)

LOOPBACK: Final = "127.0.0.1"

MAX_PORT: Final = 65535

MAX_RATE: Final = 1 << 40
"""Bytes a second: no network is that fast."""

MAX_DURATION: Final = 100 * 365 * 86400.0
"""A century: the server's dates end far beyond."""

MAX_ID: Final = (1 << 32) - 2
"""The largest user or group: the number after it stands for none."""


class Size(click.ParamType[int]):
    """A number of bytes, as in 255KiB or 4M; units are powers of 1024."""

    name = "size"

    def __init__(self, minimum: int, maximum: int) -> None:
        """Accept `minimum` to `maximum` bytes."""
        self.minimum = minimum
        self.maximum = maximum

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse, or fail with what is wrong."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not a size like 255KiB or 1MiB", param, ctx)
        size = int(match[1]) * _UNITS[match[2].lower()]
        if not self.minimum <= size <= self.maximum:
            self.fail(
                f"{value} is not between {self.minimum >> 10} KiB and {self.maximum >> 10} KiB",
                param,
                ctx,
            )
        return size


class Rate(click.ParamType[int]):
    """Bytes a second, as in 100MiB/s; units are powers of 1024."""

    name = "rate"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse, or fail with what is wrong."""
        if isinstance(value, int):
            return value
        amount, slash, second = value.strip().rpartition("/")
        match = _SIZE.fullmatch(amount.strip())
        if match is None or not slash or second.strip().lower() != "s":
            self.fail(f"{value!r} is not a rate like 500KiB/s or 100MiB/s", param, ctx)
        rate = int(match[1]) * _UNITS[match[2].lower()]
        if not 1 << 10 <= rate <= MAX_RATE:
            self.fail(f"{value} is not between 1 KiB/s and 1 TiB/s", param, ctx)
        return rate


class Endpoint(click.ParamType[tuple[str, int]]):
    """Address and port to listen on, as in 127.0.0.1:9464 or [::1]:9464; a port alone: loopback."""

    name = "endpoint"

    def convert(
        self,
        value: str | tuple[str, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        """Parse, or fail with what is wrong."""
        if isinstance(value, tuple):
            return value
        match = _ENDPOINT.fullmatch(value.strip())
        if match is None or int(match["port"]) > MAX_PORT:
            self.fail(f"{value!r} is no address and port like 127.0.0.1:9464", param, ctx)
        return match["ip6"] or match["host"] or LOOPBACK, int(match["port"])


class Percent(click.ParamType[float]):
    """A share from above 0 to 1, written as a percentage: 5% is 0.05."""

    name = "percent"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, or fail with what is wrong."""
        if not isinstance(value, str):
            return value
        match = _PERCENT.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not a percentage like 5% or 0.5%", param, ctx)
        share = float(match[1]) / 100
        if not 0 < share <= 1:
            self.fail(f"{value} is not above 0% and up to 100%", param, ctx)
        return share


class Duration(click.ParamType[float]):
    """Seconds, as in 0s, 90m, 24h or 7d; a number alone is seconds, and may have a fraction."""

    name = "duration"

    def __init__(self, minimum: float = 0.0, maximum: float = MAX_DURATION) -> None:
        """Accept `minimum` to `maximum` seconds."""
        self.minimum = minimum
        self.maximum = maximum

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, or fail with what is wrong."""
        if not isinstance(value, str):
            return value
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not a duration like 0s, 90m, 24h or 7d", param, ctx)
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
        if seconds > MAX_DURATION:
            self.fail(f"{value} is longer than a century", param, ctx)
        if not self.minimum <= seconds <= self.maximum:
            self.fail(
                f"{value} is not in the range of {self.minimum:g}s to {self.maximum:g}s", param, ctx
            )
        return seconds


class TimeZone(click.ParamType[tzinfo]):
    """A time zone, as in UTC or Europe/Berlin."""

    name = "zone"

    def convert(
        self, value: str | tzinfo, param: click.Parameter | None, ctx: click.Context | None
    ) -> tzinfo:
        """Look it up, or fail with what is wrong."""
        if isinstance(value, tzinfo):
            return value
        if value.upper() == "UTC":  # known without any database of time zones
            return UTC
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(
                f"{value!r} is not a time zone of this machine, like Europe/Berlin", param, ctx
            )


class Umask(click.ParamType[int]):
    """Octal permission bits, as umask(1) takes them."""

    name = "octal"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse, or fail with what is wrong."""
        if isinstance(value, int):
            return value
        if re.fullmatch(r"0?[0-7]{1,3}", value) is None:
            self.fail(f"{value!r} is not an octal mask like 022", param, ctx)
        return int(value, 8)


class Owner(click.ParamType[tuple[int, int]]):
    """A numeric user and group, as in 1000:1000."""

    name = "uid:gid"

    def convert(
        self,
        value: str | tuple[int, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """Parse, or fail with what is wrong."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,10}):(\d{1,10})", value)
        if match is None or max(int(match[1]), int(match[2])) > MAX_ID:
            self.fail(f"{value!r} is not UID:GID, as in 1000:1000", param, ctx)
        return int(match[1]), int(match[2])


class Text(click.ParamType[str]):
    """Any text but none."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it as it is, or fail if it is empty."""
        if not value.strip():
            self.fail("it is empty", param, ctx)
        return value


class Place(click.ParamType[Path]):
    """A path that means the same wherever a command is run: absolute, or below ~."""

    name = "path"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Expand ~, or fail with what is wrong."""
        # Who mistakes a file for what belongs in it writes a password here: it is not repeated.
        try:
            path = Path(value).expanduser()
        except RuntimeError:
            self.fail("there is no user of that name, or no home", param, ctx)
        if not path.is_absolute():
            self.fail("must be an absolute path, like /srv/lake or ~/lake", param, ctx)
        return path
