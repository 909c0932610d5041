"""What happened between two reports of one mount. Pure."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gridfsmount.core.errnos import FAULTS
from gridfsmount.telemetry.latencies import percentile
from gridfsmount.telemetry.report import errno_name, latencies_of

Report = Mapping[str, Any]

_FAULTS: Final = frozenset(map(errno_name, FAULTS | {errno.ETIMEDOUT}))


@dataclass(frozen=True, slots=True)
class OperationRate:
    """One kind of request."""

    name: str
    per_second: float
    p50: float
    """Seconds, of those in between."""
    p99: float
    faults: int
    """Answered with an errno that tells of trouble, not of a rule."""


@dataclass(frozen=True, slots=True)
class Rates:
    """All that happened, by the second; and how it is now."""

    seconds: float
    """Between the two."""
    uptime: float
    read_bytes: float
    written_bytes: float
    requests: float
    pending: int
    """Requests that wait now, without the one that asks."""
    operations: tuple[OperationRate, ...]
    """The most frequent first; those that there were."""
    found: float | None
    """Share of chunks that reads found in memory; None when there were no reads. With the next
    two, 1."""
    awaited: float | None
    missed: float | None
    disk_chunks: float
    disk_bytes: float
    server_chunks: float
    server_bytes: float
    ahead_chunks: float
    """Read ahead."""
    ahead_used: float | None
    """Share that was read, of what was read ahead since the mount began and waits no more."""
    sent_bytes: float
    """To the server."""
    commits: float
    upload_failures: int
    commands: float
    """To the server."""
    command_seconds: float
    """What one of them took, on average."""
    command_errors: int
    retries: int
    invalidations: float
    cpu: float
    """Processors that were busy."""
    faults: Mapping[str, int]
    """Since the mount began: how often each was answered, by errno."""
    new_faults: int


def is_same_mount(before: Report, after: Report) -> bool:
    """Whether counters of one can be taken from those of the other."""
    return (before["pid"], before["since"]) == (after["pid"], after["since"])


def rates(before: Report, after: Report) -> Rates:
    """Compare two reports of the same mount, the earlier first."""
    seconds: float = max(after["uptime"] - before["uptime"], 1e-6)

    def each(*path: str) -> float:
        return (_at(after, path) - _at(before, path)) / seconds

    operations = _operations(before, after, seconds)
    memory = {
        what: _at(after, ("reading", "memory", what)) - _at(before, ("reading", "memory", what))
        for what in ("hits", "waits", "misses")
    }
    looked = sum(memory.values())
    shares = {what: count / looked if looked else None for what, count in memory.items()}
    ahead = after["reading"]["ahead"]
    settled = ahead["used"] + ahead["wasted"]
    commands, command_seconds, command_errors = (
        _commands(after, what) - _commands(before, what) for what in ("count", "seconds", "errors")
    )
    faults = _faults(after)
    return Rates(
        seconds=seconds,
        uptime=after["uptime"],
        read_bytes=each("operations", "read", "bytes"),
        written_bytes=each("operations", "write", "bytes"),
        requests=sum(operation.per_second for operation in operations),
        pending=max(0, after["gauges"]["requests_pending"] - 1),
        operations=operations,
        found=shares["hits"],
        awaited=shares["waits"],
        missed=shares["misses"],
        disk_chunks=each("reading", "disk", "chunks"),
        disk_bytes=each("reading", "disk", "bytes"),
        server_chunks=each("reading", "server", "chunks"),
        server_bytes=each("reading", "server", "bytes"),
        ahead_chunks=each("reading", "ahead", "fetched"),
        ahead_used=ahead["used"] / settled if settled else None,
        sent_bytes=each("writing", "bytes"),
        commits=each("writing", "commits"),
        upload_failures=round(each("writing", "failures") * seconds),
        commands=commands / seconds,
        command_seconds=command_seconds / commands if commands else 0.0,
        command_errors=round(command_errors),
        retries=round(each("database", "retries") * seconds),
        invalidations=each("invalidations"),
        cpu=each("process", "cpu_seconds"),
        faults=faults,
        new_faults=sum(faults.values()) - sum(_faults(before).values()),
    )


def _operations(before: Report, after: Report, seconds: float) -> tuple[OperationRate, ...]:
    found = []
    for name, now in after["operations"].items():
        then = before["operations"].get(name, {"count": 0, "errors": {}, "latencies": {}})
        count = now["count"] - then["count"]
        if count <= 0:
            continue
        old = latencies_of(then)
        buckets = {index: number - old.get(index, 0) for index, number in latencies_of(now).items()}
        found.append(
            OperationRate(
                name,
                count / seconds,
                percentile(buckets, 0.5),
                percentile(buckets, 0.99),
                _count_faults(now) - _count_faults(then),
            )
        )
    return tuple(sorted(found, key=lambda each: (-each.per_second, each.name)))


def _count_faults(operation: Report) -> int:
    return sum(count for name, count in operation["errors"].items() if name in _FAULTS)


def _faults(report: Report) -> dict[str, int]:
    faults: dict[str, int] = {}
    for operation in report["operations"].values():
        for name, count in operation["errors"].items():
            if name in _FAULTS:
                faults[name] = faults.get(name, 0) + count
    return faults


def _commands(report: Report, what: str) -> float:
    return float(sum(each[what] for each in report["database"]["commands"].values()))


def _at(report: Report, path: tuple[str, ...]) -> float:
    found: Any = report
    for key in path:
        found = found.get(key, 0)
        if not isinstance(found, Mapping):
            break
    return float(found) if not isinstance(found, Mapping) else 0.0
