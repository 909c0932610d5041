"""What the config file says of backups, in numbers; options of a command go before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from gridfsmount.addresses import sound_config


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


def read_settings(config: Path | None) -> Settings:
    """Settings from the config file that was given, else from the user's or the machine's.

    Raises:
        ConfigError: it cannot be read, or something in it makes no sense; the text says what.
    """
    found = sound_config(config)
    return Settings(
        vaults=found.table("vaults"),
        backup=BackupSettings(**found.table("backup")),
        verify=VerifySettings(**found.table("verify")),
        prune=PruneSettings(**found.table("prune")),
        status=StatusSettings(**found.table("status")),
    )
