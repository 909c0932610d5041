"""A mount from start to end: config to objects to nursery to signals."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from gridfsmount.adopting.watcher import Watcher
from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.model import SNAPSHOTS, Inode
from gridfsmount.errors import FileSystemError, StartupError
from gridfsmount.fuse import session
from gridfsmount.fuse.adapter import LakeOperations
from gridfsmount.fuse.kernel import fill, forget_attributes
from gridfsmount.mount.alone import run_alone
from gridfsmount.mount.janitor import Janitor
from gridfsmount.mount.notify import Notifier
from gridfsmount.mount.options import TRASH_GRACE, MountOptions
from gridfsmount.mount.probe import Probe
from gridfsmount.mount.runtime import free_in_time, tune_runtime
from gridfsmount.mount.serving import announce, disk_cache, facts, only, stop_on_signal
from gridfsmount.mount.shelves import copies_folder, make_shelves, open_some
from gridfsmount.mount.supervision import Supervision
from gridfsmount.mount.telling import Telling
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.connection import Connection, connect
from gridfsmount.store.embedded import EmbeddedServer
from gridfsmount.store.lake import Founder, Lake, open_lake
from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.vfs.aging import Aging
from gridfsmount.vfs.answering import Answering
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.invalidation import Invalidation
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.lake_tree import LakeTree
from gridfsmount.vfs.pages import KernelPages
from gridfsmount.vfs.parts import Part
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.slow import SlowLog
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.part import snapshots_part
from gridfsmount.vfs.snapshots.shelf import Engine
from gridfsmount.vfs.snapshots.slots import Slots
from gridfsmount.vfs.xattrs import ADDRESS
from gridfsmount.workers import Errands, Workers

log = logging.getLogger(__name__)

FAREWELL_SECONDS: Final = 10.0
"""For the last writes of a mount that ends while its server is gone."""


def run(options: MountOptions, ready: Callable[[], None]) -> None:
    """Mount and serve until unmounted or told to stop; `ready` is called when it answers.

    Raises:
        StartupError: it cannot begin; the text says why.
    """
    if not options.lake:
        run_alone(options, ready)
        return
    tune_runtime()  # before the first thread: one that runs keeps what memory it has
    telemetry = Telemetry()
    with _server(options) as uri, _connection(options, uri, telemetry) as connection:
        lake = _open(options, connection)
        deployment = connection.deployment
        read_only = options.read_only or not deployment.writable
        log.info(
            "lake %s on a %s (MongoDB %s), mounted %s on %s",
            deployment,
            deployment.kind,
            deployment.version,
            "read-only" if read_only else "read-write",
            options.mountpoint,
        )
        if read_only and not options.read_only:
            log.warning("read-only: the server takes no writes from this user")
        telling = Telling(
            options, telemetry, lake=lake.id, deployment=str(deployment), read_only=read_only
        )
        with disk_cache(options, lake.id) as disk, telling.metrics():
            try:
                trio.run(_serve, options, uri, lake, disk, read_only, telling, ready)
            except BaseExceptionGroup as group:
                raise only(group) from group
        log.info("unmounted %s", options.mountpoint)


@contextmanager
def _server(options: MountOptions) -> Iterator[str]:
    if options.embedded is None:
        yield options.uri
        return
    with EmbeddedServer(options.embedded) as server:
        yield server.uri


@contextmanager
def _connection(options: MountOptions, uri: str, telemetry: Telemetry) -> Iterator[Connection]:
    connection = connect(
        uri,
        bucket=options.bucket,
        deadline=options.deadline,
        settled_from=options.read_preference,
        tally=telemetry.database,
    )
    try:
        yield connection
    finally:
        connection.close()


def _open(options: MountOptions, connection: Connection) -> Lake:
    deployment = connection.deployment
    try:
        lake = open_lake(
            connection,
            lease_seconds=options.lease,
            founder=Founder(options.uid, options.gid),
            read_only=options.read_only,
        )
        if deployment.writable and not options.read_only and not deployment.transactions:
            lake.commits.recover()
    except FileSystemError as error:
        raise StartupError(f"the lake cannot be opened: {error}") from error
    return lake


async def _serve(
    options: MountOptions,
    uri: str,
    lake: Lake,
    disk: DiskCache | None,
    read_only: bool,
    telling: Telling,
    ready: Callable[[], None],
) -> None:
    telemetry, workers = telling.telemetry, Workers()
    recent = RecentNodes(lake.tree, workers)
    janitor = Janitor(lake, workers, recent, TRASH_GRACE, options.mountpoint)
    presentation = Presentation(options.uid, options.gid, options.umask, options.squash)
    async with trio.open_nursery() as nursery:
        errands = Errands(nursery)
        pages = KernelPages()
        source = Source(lake.contents, disk)
        cache = ChunkCache(options.cache_size)
        telling.watch(cache, disk)
        reader = Reader(source, workers, cache, errands, telemetry.reading)
        folders = FolderAhead(
            lake.tree,
            lake.contents,
            source,
            reader,
            workers,
            errands,
            budget=options.cache_size // 4,
            settled=recent.is_fresh,
            fill=fill,
            filled=pages.note,
        )
        files = Files(
            lake,
            workers,
            reader,
            folders,
            recent,
            pages,
            chunk_size=options.chunk_size,
            errands=errands,
            uploads=telemetry.uploads,
        )
        telemetry.gauges.update(files.gauges())
        known = KnownTree(lake, workers, files, folders, recent, presentation)
        tree = LakeTree(known, errands)

        def forget(inodes: Iterable[Inode]) -> None:
            gone = tuple(inodes)
            tree.removed.forget(gone)
            pages.gone(gone)

        def drop(before: float) -> None:
            recent.drop(before, files.open_inodes())
            folders.drop(before)

        shown = Part(tree, tree.renaming, files, tree.directories, tree.annotations, forget)
        slots = Slots()
        copies = copies_folder(options)
        engine = Engine(cache, disk, errands, fill, copies, lake.id, telemetry.reading)
        shelves = make_shelves(options.vaults, slots, engine)
        await open_some(shelves)
        snapshots = shown
        if shelves:
            folder = await tree.attributes(SNAPSHOTS)
            snapshots = snapshots_part(Catalogue(shelves, slots, folder), presentation)
        deployment = lake.connection.deployment
        probe = Probe(options.mountpoint)
        supervision = Supervision(
            Notifier.take(os.environ),
            probe,
            serving=f"{deployment}, {'read-only' if read_only else 'read-write'},"
            f" on {options.mountpoint}",
            server=deployment.address,
            reachable=lake.connection.reachable,
        )
        answering = Answering(lake.versions, workers, recent, files)
        session.open_session(
            LakeOperations(
                shown,
                snapshots,
                telling.stats(),
                facts(options),
                {ADDRESS: uri.encode()},
                telemetry,
                slow=SlowLog(shown, snapshots, recent, slots),
                slow_seconds=options.slow,
            ),
            options.mountpoint,
            name=options.source or str(deployment),
            read_only=read_only,
            allow_other=options.allow_other,
            noexec=options.noexec,
        )
        try:
            nursery.start_soon(stop_on_signal)
            nursery.start_soon(announce, probe, ready, supervision)
            nursery.start_soon(Aging(options.deadline, drop).run)
            nursery.start_soon(free_in_time)
            if disk is not None:
                errands.start(workers.disk, disk.scan)
            if lake.connection.deployment.transactions:
                following = Invalidation(
                    lake.changes,
                    workers,
                    recent,
                    files,
                    forget_attributes,
                    answering.asked,
                    telemetry,
                )
                nursery.start_soon(following.run)
            if not read_only:
                nursery.start_soon(janitor.run)
                nursery.start_soon(answering.run)
                nursery.start_soon(Watcher(lake, workers).run)
            for shelf in shelves:
                nursery.start_soon(shelf.run)
            lanes = (workers, *(shelf.workers for shelf in shelves))
            await session.serve(lambda: any(each.busy for each in lanes))
        finally:
            supervision.stopping()
            session.close_session()
            files.close()
            with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                await janitor.end(announced=not read_only)
        nursery.cancel_scope.cancel()
