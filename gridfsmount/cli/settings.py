"""What the config file says of backups, in numbers; options of a command go before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import click

from gridfsmount.addresses import find_config, read_config
from gridfsmount.cli.parameters import MAX_JOBS, Duration, Percent, Rate, TimeZone
from gridfsmount.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """[backup]; None is what the file does not say."""

    limit: int | None = None
    """Bytes a second."""
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """[verify]."""

    sample: float | None = None
    """Share of the bytes, above 0 and up to 1."""
    max_duration: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """[prune]."""

    keep_last: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    time_zone: tzinfo | None = None
    grace: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """[status]."""

    backup_max_age: float = 2 * 86400.0
    """Seconds since the last good backup of a vault; more is a problem."""
    verify_max_age: float = 35 * 86400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    vaults: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Addresses by names; they may hold passwords."""
    backup: BackupSettings = BackupSettings()
    verify: VerifySettings = VerifySettings()
    prune: PruneSettings = PruneSettings()
    status: StatusSettings = StatusSettings()


KEPT: Final = click.IntRange(0, 100_000)
"""How many snapshots a rule keeps."""

KINDS: Final[Mapping[str, Mapping[str, click.ParamType[Any]]]] = {
    "backup": {"limit": Rate(), "jobs": click.IntRange(1, MAX_JOBS)},
    "verify": {"sample": Percent(), "max_duration": Duration()},
    "prune": {
        "keep_last": KEPT,
        "keep_daily": KEPT,
        "keep_weekly": KEPT,
        "keep_monthly": KEPT,
        "keep_yearly": KEPT,
        "time_zone": TimeZone(),
        "grace": Duration(),
    },
    "status": {"backup_max_age": Duration(), "verify_max_age": Duration()},
}
"""How values are read; as the options of the same names are."""


def read_settings(config: Path | None) -> Settings:
    """Settings from the config file that was given, else from the user's or the machine's.

    Raises:
        ConfigError: it cannot be read, or something in it makes no sense; the text says what.
    """
    document = read_config(config)
    where = find_config(config)
    values = {
        section: {
            key: _parsed(f"{where}: [{section}]: {key}", kinds[key], value)
            for key, value in document.get(section, {}).items()
        }
        for section, kinds in KINDS.items()
    }
    return Settings(
        vaults=document.get("vaults", {}),
        backup=BackupSettings(**values["backup"]),
        verify=VerifySettings(**values["verify"]),
        prune=PruneSettings(**values["prune"]),
        status=StatusSettings(**values["status"]),
    )


def _parsed(where: str, kind: click.ParamType[Any], value: object) -> Any:
    try:
        return kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ConfigError(f"{where}: {error.message}") from error
