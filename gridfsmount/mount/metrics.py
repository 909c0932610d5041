"""The counters of a mount for Prometheus, over HTTP, from a thread of their own.

Needs prometheus-client, of the extra `metrics`. What is asked for is read when it is asked for.
"""

import ipaddress
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gridfsmount.errors import StartupError
from gridfsmount.telemetry.counters import Operation, Telemetry
from gridfsmount.telemetry.latencies import MICROSECONDS, below
from gridfsmount.telemetry.process import process_figures
from gridfsmount.telemetry.report import About, errno_name

log = logging.getLogger(__name__)

_DOUBLINGS: Final = range(5, 26)
"""Bounds of the buckets: 2 to the power of these, in microseconds; 32 µs to 34 s, beyond which
lies no default deadline."""

_GAUGES: Final = {
    "requests_pending": "Requests of the kernel that wait for their answer.",
    "open_files": "Files that are open.",
    "open_handles": "Open handles of files.",
    "dirty_files": "Files with something that is not committed.",
    "dirty_bytes": "Bytes in memory that are not on the server yet.",
    "memory_cache_bytes": "Bytes of chunks in memory.",
    "memory_cache_capacity_bytes": "Most bytes of chunks in memory.",
    "disk_cache_bytes": "Bytes of chunks in the disk cache.",
    "disk_cache_capacity_bytes": "Most bytes of chunks in the disk cache.",
}


@contextmanager
def serve_metrics(endpoint: tuple[str, int], telemetry: Telemetry, about: About) -> Iterator[None]:
    """Answer for as long as a block runs. Port 0 is any that is free; the log says which.

    Raises:
        StartupError: the address cannot be had.
    """
    host, port = endpoint
    registry = CollectorRegistry()
    registry.register(MountCollector(telemetry, about))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise StartupError(
            f"metrics cannot be served on {host}:{port}: {error.strerror}; choose another "
            "address with --metrics"
        ) from error
    log.info("metrics on http://%s:%d/metrics", _bracketed(host), server.server_port)
    if not _is_loopback(host):
        log.warning("metrics: everybody who reaches %s may read them", host)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class MountCollector(Collector):
    """Makes metrics of counters. From any thread."""

    def __init__(self, telemetry: Telemetry, about: About) -> None:
        """Tell of `telemetry`."""
        self._telemetry = telemetry
        self._about = about

    def collect(self) -> Iterable[Metric]:
        """All metrics, now."""
        about = self._about
        yield InfoMetricFamily(
            "gridfsmount",
            "Which mount it is.",
            {
                "version": about.version,
                "mountpoint": about.mountpoint,
                "lake": about.lake,
                "deployment": about.deployment,
            },
        )
        yield _gauge("start_time_seconds", "When it began, in seconds since 1970.", about.since)
        yield _gauge("threads", "Threads of the process.", process_figures().threads)
        yield from self._operations()
        yield from self._reading()
        yield from self._writing()
        yield from self._database()
        for name, ask in self._telemetry.gauges.copy().items():
            yield _gauge(name, _GAUGES[name], ask())

    def _operations(self) -> Iterable[Metric]:
        durations = HistogramMetricFamily(
            "gridfsmount_operation_duration_seconds",
            "How long the kernel's requests took to answer.",
            labels=["operation"],
        )
        errors = CounterMetricFamily(
            "gridfsmount_operation_errors",
            "Requests that were answered with an errno.",
            labels=["operation", "error"],
        )
        for name, operation in self._telemetry.operations.copy().items():
            buckets = operation.told()
            total = sum(buckets.values())
            rows = [(str((1 << each) / MICROSECONDS), below(buckets, each)) for each in _DOUBLINGS]
            durations.add_metric([name], [*rows, ("+Inf", total)], operation.seconds)
            for code, count in operation.errors.copy().items():
                errors.add_metric([name, errno_name(code)], count)
        yield durations
        yield errors

    def _reading(self) -> Iterable[Metric]:
        reading, operations = self._telemetry.reading, self._telemetry.operations
        yield _counter("read_bytes", "Bytes that were read.", _bytes(operations, "read"))
        yield _counter("written_bytes", "Bytes that were written.", _bytes(operations, "write"))
        yield _labelled(
            "memory_cache_lookups",
            "Chunks that reads looked for in memory: there, on their way, or not there.",
            "result",
            {"hit": reading.hits, "wait": reading.waits, "miss": reading.misses},
        )
        layers = {"disk": reading.disk, "server": reading.server}
        yield _labelled(
            "loaded_chunks",
            "Chunks that came from the disk cache, and from the server or a vault.",
            "layer",
            {name: layer.chunks for name, layer in layers.items()},
        )
        yield _labelled(
            "loaded_bytes",
            "The bytes of those chunks.",
            "layer",
            {name: layer.bytes for name, layer in layers.items()},
        )
        ahead = self._telemetry.ahead()
        yield _counter("readahead_chunks", "Chunks that were read ahead.", ahead.fetched)
        yield _counter("readahead_used_chunks", "Of those, read since.", ahead.used)
        yield _counter("readahead_wasted_chunks", "Of those, dropped unread.", ahead.wasted)
        yield _counter(
            "invalidations",
            "Changes of nodes that the server told of.",
            self._telemetry.invalidations,
        )

    def _writing(self) -> Iterable[Metric]:
        uploads = self._telemetry.uploads
        yield _counter("commits", "Files that got a new content.", uploads.commits)
        yield _counter("uploaded_chunks", "Chunks that were sent.", uploads.chunks)
        yield _counter("uploaded_bytes", "Bytes that were sent.", uploads.bytes)
        yield _counter("upload_failures", "Inserts of chunks that failed.", uploads.failures)
        yield _gauge("uploads", "Inserts of chunks on their way.", uploads.running)
        yield _gauge("upload_bytes", "Bytes on their way to the server.", uploads.running_bytes)

    def _database(self) -> Iterable[Metric]:
        database = self._telemetry.database
        commands = database.commands()
        yield _labelled(
            "database_commands",
            "Commands to the server.",
            "command",
            {name: each.count for name, each in commands.items()},
        )
        yield _labelled(
            "database_command_seconds",
            "Time that they took, all together.",
            "command",
            {name: each.seconds for name, each in commands.items()},
        )
        yield _labelled(
            "database_errors",
            "Commands that were refused, or whose connection was lost.",
            "command",
            {name: each.errors for name, each in commands.items()},
        )
        yield _counter("database_retries", "Commands that were sent again.", database.retries)


def _bytes(operations: dict[str, Operation], name: str) -> int:
    operation = operations.get(name)
    return 0 if operation is None else operation.bytes


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"gridfsmount_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gridfsmount_{name}", text, value=value)


def _labelled(
    name: str, text: str, label: str, values: dict[str, int] | dict[str, float]
) -> Metric:
    family = CounterMetricFamily(f"gridfsmount_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
