"""What every mount does, with a lake or without: begin to answer, tell so, and stop when told."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from gridfsmount.cache.disk import DiskCache
from gridfsmount.errors import MountError
from gridfsmount.fuse import session
from gridfsmount.fuse.kernel import tune
from gridfsmount.mount.options import MountOptions
from gridfsmount.mount.probe import Probe
from gridfsmount.mount.supervision import Supervision
from gridfsmount.vfs.xattrs import BUCKET, DISK_CACHE

log = logging.getLogger(__name__)


@contextmanager
def disk_cache(options: MountOptions, lake: str) -> Iterator[DiskCache | None]:
    """The disk cache that was chosen, for contents of the lake with the id `lake`."""
    if options.disk_cache is None:
        yield None
        return
    disk = DiskCache(options.disk_cache, options.disk_cache_size, lake=lake)
    try:
        yield disk
    finally:
        disk.close()


def facts(options: MountOptions) -> dict[str, bytes]:
    """What the root's extended attributes tell everybody about the mount."""
    facts = {BUCKET: options.bucket.encode()}
    if options.disk_cache is not None:
        facts[DISK_CACHE] = os.fsencode(options.disk_cache)
    return facts


async def announce(probe: Probe, ready: Callable[[], None], supervision: Supervision) -> None:
    """Call `ready` once the mount answers, and go on telling systemd how it is.

    Raises:
        MountError: it does not.
    """
    try:
        tune(await probe.device())
    except OSError as error:
        raise MountError(
            f"the mount does not answer: {error.strerror}; its log says why"
        ) from error
    ready()
    await supervision.run()


def only(error: BaseException) -> BaseException:
    """The one exception in a nursery's group, or in a group of one such group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def stop_on_signal() -> None:
    """Unmount when the process is told to end."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            log.info("%s: unmounting", signal.Signals(number).name)
            session.stop()
