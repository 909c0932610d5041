"""Every key of the config file. A new option of `mount` gets its key here, and nowhere else.

`KEYS` are those outside of all tables, `SECTIONS` the tables. The kind of a key is that of the
option with the same name, so that both take the same texts and refuse the same. A test holds
`[mount]` and `[log]` against the options of `gridfsmount mount`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from gridfsmount.config.kinds import (
    MAX_ID,
    Duration,
    Endpoint,
    Owner,
    Percent,
    Place,
    Rate,
    Size,
    Text,
    TimeZone,
    Umask,
)
from gridfsmount.config.logins import VARIABLES, X509
from gridfsmount.core.chunks import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from gridfsmount.core.preferences import PRIMARY, READ_PREFERENCES

MIN_CACHE: Final = 1 << 20
"""A mebibyte: less holds no chunk of the default size."""

MAX_CACHE: Final = 1 << 40

MAX_DISK_CACHE: Final = 1 << 50

MAX_JOBS: Final = 64

DEADLINES: Final = Duration(1, 3600)

LEASES: Final = Duration(1, 86400)

TEXT: Final = "text"
JSON: Final = "json"
LOG_FORMATS: Final = (TEXT, JSON)

KEPT: Final = click.IntRange(0, 100_000)
"""How many snapshots a rule keeps."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it takes, and what is shown where nobody says anything."""

    kind: click.ParamType[Any]
    default: str = ""
    """As a person would write it; empty if there is none, or it depends on the machine."""
    variable: str = ""
    """The environment variable that goes before it, if there is one."""

    @property
    def form(self) -> type:
        """What TOML calls it: a string, a whole number, or true and false."""
        if isinstance(self.kind, click.types.BoolParamType):
            return bool
        return int if isinstance(self.kind, click.IntRange) else str


def _of_mount(name: str, kind: click.ParamType[Any], default: str = "") -> tuple[str, Key]:
    return name, Key(kind, default, f"GRIDFSMOUNT_{name.upper()}")


KEYS: Final[Mapping[str, Key]] = {
    "uri": Key(Text(), variable="GRIDFSMOUNT_URI"),
    "embedded": Key(Place()),
    "bucket": Key(Text(), "fs", "GRIDFSMOUNT_BUCKET"),
    "user": Key(Text(), variable=VARIABLES["user"]),
    "password_file": Key(Place(), variable=VARIABLES["password_file"]),
    "auth": Key(click.Choice([X509])),
    "tls_ca_file": Key(Place(), variable=VARIABLES["tls_ca_file"]),
    "tls_certificate_key_file": Key(Place(), variable=VARIABLES["tls_certificate_key_file"]),
}
"""Which lake, and who asks."""

SECTIONS: Final[Mapping[str, Mapping[str, Key]]] = {
    "mount": dict(
        [
            ("mountpoint", Key(Place())),
            _of_mount("read_only", click.BOOL, "false"),
            _of_mount("allow_other", click.BOOL, "false"),
            _of_mount("chunk_size", Size(MIN_CHUNK_SIZE, MAX_CHUNK_SIZE), "1MiB"),
            _of_mount("cache_size", Size(MIN_CACHE, MAX_CACHE), "128MiB"),
            _of_mount("disk_cache", Place()),
            _of_mount("disk_cache_size", Size(MIN_CACHE, MAX_DISK_CACHE), "50GiB"),
            _of_mount("read_preference", click.Choice(READ_PREFERENCES), PRIMARY),
            _of_mount("uid", click.IntRange(0, MAX_ID)),
            _of_mount("gid", click.IntRange(0, MAX_ID)),
            _of_mount("umask", Umask()),
            _of_mount("squash", Owner()),
            _of_mount("metrics", Endpoint()),
            _of_mount("deadline", DEADLINES, "30s"),
            _of_mount("lease", LEASES, "5m"),
        ]
    ),
    "vaults": {},  # names that people choose
    "backup": {"limit": Key(Rate()), "jobs": Key(click.IntRange(1, MAX_JOBS), "4")},
    "verify": {"sample": Key(Percent(), "100%"), "max_duration": Key(Duration())},
    "prune": {
        "keep_last": Key(KEPT),
        "keep_daily": Key(KEPT),
        "keep_weekly": Key(KEPT),
        "keep_monthly": Key(KEPT),
        "keep_yearly": Key(KEPT),
        "time_zone": Key(TimeZone(), "UTC"),
        "grace": Key(Duration(), "24h"),
    },
    "status": {
        "backup_max_age": Key(Duration(), "2d"),
        "verify_max_age": Key(Duration(), "35d"),
    },
    "log": {
        "file": Key(Place(), variable="GRIDFSMOUNT_LOG_FILE"),
        "verbose": Key(click.IntRange(0, 2), "0", "GRIDFSMOUNT_VERBOSE"),
        "format": Key(click.Choice(LOG_FORMATS), TEXT, "GRIDFSMOUNT_LOG_FORMAT"),
        "slow": Key(Duration(), "1s", "GRIDFSMOUNT_SLOW"),
    },
}
"""Tables by name, and their keys."""

VAULTS: Final = "vaults"
"""The table whose keys are names of vaults."""

OPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("log", "file"): "log_file",
    ("log", "verbose"): "verbose",
    ("log", "format"): "log_format",
    ("log", "slow"): "slow",
}
"""Names of the options of `mount` for keys of tables other than [mount], where they have the same
name."""


def key_of(section: str, name: str) -> Key | None:
    """A key of a table, or outside of all if `section` is empty; None if there is no such key."""
    if section == VAULTS:
        return Key(Text())
    return (SECTIONS.get(section, {}) if section else KEYS).get(name)
