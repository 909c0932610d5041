"""What a mount tells of itself while it works: `.stats`, and metrics where they were asked for."""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from gridfsmount import __version__
from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.mount.options import MountOptions
from gridfsmount.telemetry.counters import Ahead, Telemetry
from gridfsmount.telemetry.report import About, report
from gridfsmount.vfs.parts import Part
from gridfsmount.vfs.stats import stats_part


class Telling:
    """The counters of a mount, with those who are told of them."""

    def __init__(
        self,
        options: MountOptions,
        telemetry: Telemetry,
        *,
        lake: str,
        deployment: str,
        read_only: bool,
    ) -> None:
        """Tell of `telemetry`; `lake` is its id, `deployment` where it is, without credentials."""
        self.telemetry = telemetry
        self._about = About(
            version=__version__,
            pid=os.getpid(),
            mountpoint=os.fsencode(options.mountpoint).decode(errors="backslashreplace"),
            lake=lake,
            deployment=deployment,
            read_only=read_only,
        )
        self._owner = options.squash or (options.uid, options.gid)
        self._endpoint = options.metrics

    def watch(self, cache: ChunkCache, disk: DiskCache | None) -> None:
        """Tell how full the caches are, and what became of what was read ahead."""
        telemetry = self.telemetry
        telemetry.ahead = lambda: Ahead(cache.fetched, cache.used, cache.wasted)
        telemetry.gauges["memory_cache_bytes"] = lambda: cache.size
        telemetry.gauges["memory_cache_capacity_bytes"] = lambda: cache.capacity
        if disk is not None:
            telemetry.gauges["disk_cache_bytes"] = lambda: disk.size
            telemetry.gauges["disk_cache_capacity_bytes"] = lambda: disk.capacity

    def stats(self) -> Part:
        """The part of the mount that is `.stats`."""
        return stats_part(partial(report, self.telemetry, self._about), self._owner)

    def metrics(self) -> AbstractContextManager[None]:
        """Serves metrics for as long as a block runs, if that was chosen.

        Raises:
            StartupError: at its start: it cannot.
        """
        if self._endpoint is None:
            return nullcontext()
        from gridfsmount.mount.metrics import serve_metrics  # not everybody has its package

        return serve_metrics(self._endpoint, self.telemetry, self._about)
