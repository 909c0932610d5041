"""All counters of a mount as a JSON object: what `.stats` holds and `top` reads."""

import errno
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gridfsmount.telemetry.counters import Operation, Telemetry
from gridfsmount.telemetry.latencies import percentile
from gridfsmount.telemetry.process import process_figures

FORMAT: Final = 1
"""Grows when a field changes its meaning or goes; new ones may come at any time."""

_PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class About:
    """Which mount it is. Nothing here is a secret: everybody who may enter the mount reads it."""

    version: str
    """Of the program."""
    pid: int
    mountpoint: str
    lake: str
    """Its id."""
    deployment: str
    """Hosts, database and bucket; or the address of a vault."""
    read_only: bool
    since: float = field(default_factory=time.time)
    """Seconds since 1970."""
    began: float = field(default_factory=time.monotonic)


def report(telemetry: Telemetry, about: About) -> dict[str, Any]:
    """The state of a mount, now. Durations are in seconds, sizes in bytes."""
    reading, uploads = telemetry.reading, telemetry.uploads
    gauges = {name: ask() for name, ask in telemetry.gauges.copy().items()}
    return {
        "format": FORMAT,
        "version": about.version,
        "pid": about.pid,
        "mountpoint": about.mountpoint,
        "lake": about.lake,
        "deployment": about.deployment,
        "read_only": about.read_only,
        "since": datetime.fromtimestamp(about.since, UTC).isoformat(timespec="seconds"),
        "uptime": round(time.monotonic() - about.began, 6),
        "operations": {
            name: _operation(each) for name, each in telemetry.operations.copy().items()
        },
        "reading": {
            "memory": {
                "hits": reading.hits,
                "waits": reading.waits,
                "misses": reading.misses,
            },
            "disk": asdict(reading.disk),
            "server": asdict(reading.server),
            "ahead": asdict(telemetry.ahead()),
        },
        "writing": {
            "commits": uploads.commits,
            "chunks": uploads.chunks,
            "bytes": uploads.bytes,
            "failures": uploads.failures,
        },
        "database": {
            "commands": {
                name: {**asdict(each), "seconds": round(each.seconds, 6)}
                for name, each in sorted(telemetry.database.commands().items())
            },
            "retries": telemetry.database.retries,
        },
        "invalidations": telemetry.invalidations,
        "gauges": {
            **gauges,
            "uploads": uploads.running,
            "upload_bytes": uploads.running_bytes,
        },
        "process": asdict(process_figures()),
    }


def _operation(operation: Operation) -> dict[str, Any]:
    buckets, most = operation.told(), operation.most
    return {
        "count": sum(buckets.values()),
        "seconds": round(operation.seconds, 6),
        "bytes": operation.bytes,
        "errors": {errno_name(code): count for code, count in operation.errors.copy().items()},
        "max": round(most, 6),
        **{
            name: round(min(percentile(buckets, share), most), 6)
            for name, share in _PERCENTILES.items()
        },
        "latencies": {str(index): count for index, count in buckets.items()},
    }


def errno_name(code: int) -> str:
    """As in "EIO"."""
    return errno.errorcode.get(code, str(code))


def latencies_of(operation: Mapping[str, Any]) -> dict[int, int]:
    """The buckets of an operation in a report."""
    return {int(index): count for index, count in operation["latencies"].items()}
