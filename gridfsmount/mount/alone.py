"""A mount of vaults without their lake: the server is gone, and its backups are not."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import trio

from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.model import SNAPSHOTS, Attributes, Kind
from gridfsmount.fuse import session
from gridfsmount.fuse.adapter import LakeOperations
from gridfsmount.fuse.kernel import fill
from gridfsmount.mount.notify import Notifier
from gridfsmount.mount.options import MountOptions
from gridfsmount.mount.probe import Probe
from gridfsmount.mount.runtime import free_in_time, tune_runtime
from gridfsmount.mount.serving import announce, disk_cache, facts, only, stop_on_signal
from gridfsmount.mount.shelves import copies_folder, lake_of, make_shelves, open_all
from gridfsmount.mount.supervision import Supervision
from gridfsmount.mount.telling import Telling
from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.vfs.presentation import DIRECTORY_SIZE, Presentation
from gridfsmount.vfs.slow import SlowLog
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.part import snapshots_part
from gridfsmount.vfs.snapshots.shelf import Engine
from gridfsmount.vfs.snapshots.slots import Slots
from gridfsmount.workers import Errands, Workers

log = logging.getLogger(__name__)


def run_alone(options: MountOptions, ready: Callable[[], None]) -> None:
    """Mount vaults and serve until unmounted or told to stop; see `service.run`."""
    lake = lake_of(options.vaults)
    tune_runtime()
    copies = copies_folder(options)
    telling = Telling(
        options,
        Telemetry(),
        lake=lake,
        deployment=", ".join(each.label for each in options.vaults),
        read_only=True,
    )
    with disk_cache(options, lake) as disk, telling.metrics():
        try:
            trio.run(_serve, options, lake, disk, copies, telling, ready)
        except BaseExceptionGroup as group:
            raise only(group) from group
    log.info("unmounted %s", options.mountpoint)


async def _serve(
    options: MountOptions,
    lake: str,
    disk: DiskCache | None,
    copies: Path,
    telling: Telling,
    ready: Callable[[], None],
) -> None:
    async with trio.open_nursery() as nursery:
        errands = Errands(nursery)
        telemetry, cache = telling.telemetry, ChunkCache(options.cache_size)
        telling.watch(cache, disk)
        engine = Engine(cache, disk, errands, fill, copies, lake, telemetry.reading)
        slots = Slots()
        shelves = make_shelves(options.vaults, slots, engine)
        await open_all(shelves)
        names = ", ".join(shelf.vault().address for shelf in shelves)
        log.info("snapshots of lake %s in %s, mounted on %s", lake, names, options.mountpoint)
        probe = Probe(options.mountpoint)
        supervision = Supervision(
            Notifier.take(os.environ),
            probe,
            serving=f"snapshots of {names} on {options.mountpoint}",
        )
        presentation = Presentation(options.uid, options.gid, options.umask, options.squash)
        part = snapshots_part(Catalogue(shelves, slots, _folder(options)), presentation)
        session.open_session(
            LakeOperations(
                part,
                part,
                telling.stats(),
                facts(options),
                {},
                telemetry,
                slow=SlowLog(part, part, None, slots),
                slow_seconds=options.slow,
            ),
            options.mountpoint,
            name=options.source or shelves[0].vault().address,
            read_only=True,
            allow_other=options.allow_other,
            noexec=options.noexec,
        )
        try:
            nursery.start_soon(stop_on_signal)
            nursery.start_soon(announce, probe, ready, supervision)
            nursery.start_soon(free_in_time)
            for shelf in shelves:
                nursery.start_soon(shelf.run)
            if disk is not None:
                errands.start(Workers().disk, disk.scan)
            await session.serve(lambda: any(shelf.workers.busy for shelf in shelves))
        finally:
            supervision.stopping()
            session.close_session()
        nursery.cancel_scope.cancel()


def _folder(options: MountOptions) -> Attributes:
    """How the folder of all snapshots looks, and the root as well."""
    uid, gid = options.squash or (options.uid, options.gid)
    now = time.time_ns()
    return Attributes(SNAPSHOTS, Kind.DIRECTORY, 0o555, 1, uid, gid, DIRECTORY_SIZE, now, now, now)
