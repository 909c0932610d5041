"""Everything that the person who mounts can choose, checked."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE
from gridfsmount.core.defaults import (
    DEFAULT_CACHE,
    DEFAULT_DEADLINE,
    DEFAULT_DISK_CACHE,
    DEFAULT_LEASE,
    DEFAULT_SLOW,
)
from gridfsmount.core.preferences import PRIMARY

TRASH_GRACE: Final = 24 * 3600.0
"""Seconds that removed contents stay readable through open handles."""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """One vault that was chosen. The address may hold a password: it is never shown."""

    label: str
    """Short name; no two have the same."""
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """One mount. `uri` may hold a password: it is never shown."""

    mountpoint: Path
    uri: str = field(default="", repr=False)
    embedded: Path | None = None
    """Where the private mongod keeps its data; None to use `uri`."""
    bucket: str = "fs"
    lake: bool = True
    """There is one; else nothing but snapshots is shown."""
    vaults: tuple[VaultPlace, ...] = ()
    read_only: bool = False
    allow_other: bool = False
    chunk_size: int = DEFAULT_CHUNK_SIZE
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    umask: int = field(default_factory=_umask)
    squash: tuple[int, int] | None = None
    cache_size: int = DEFAULT_CACHE
    """Bytes of chunks in memory."""
    disk_cache: Path | None = None
    """Where chunks are kept on a local disk; None for nowhere."""
    disk_cache_size: int = DEFAULT_DISK_CACHE
    """Bytes of chunks there."""
    read_preference: str = PRIMARY
    """Which members of a replica set are asked for contents of sealed versions."""
    metrics: tuple[str, int] | None = None
    """Address and port to serve Prometheus metrics on; None for nowhere."""
    deadline: float = DEFAULT_DEADLINE
    slow: float = DEFAULT_SLOW
    """Seconds: an operation that takes as long is told of in the log."""
    lease: float = DEFAULT_LEASE
    source: str | None = None
    """What df(1) and /proc/mounts show; None for the lake's address, which has no secrets."""
    noexec: bool = False
    """Let the kernel run no program from the mount."""
