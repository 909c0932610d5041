"""Chores of a mount that nobody waits for; an outage only postpones them."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gridfsmount.core.model import NO_FOLDER, Inode
from gridfsmount.errors import FileSystemError
from gridfsmount.store.lake import Lake
from gridfsmount.store.orphans import ORPHAN_GRACE
from gridfsmount.store.processes import BEAT_SECONDS, MOUNT
from gridfsmount.store.versions import CLAIM_SECONDS
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

LEAVE_SECONDS: Final = 1.0
"""For the last word of a mount that ends."""

TICK_SECONDS: Final = 1.0
"""RecentNodes' times may be this late on other machines."""

TRASH_SECONDS: Final = 600.0

RETRY_SECONDS: Final = 5.0
"""After an outage: leases that are not renewed soon then are taken away."""

TRASH_BATCH: Final = 1000
"""Contents that are swept before the next look at what else is due."""

VERSION_SECONDS: Final = 60.0

ORPHAN_SECONDS: Final = 24 * 3600.0
"""One mount of a lake looks through its whole tree as often as that."""

QUESTION_SECONDS: Final = 1800.0
"""Between questions whether it is time for that."""


class Janitor:
    """Writes folders' times, renews and releases leases, sweeps."""

    def __init__(
        self,
        lake: Lake,
        workers: Workers,
        recent: RecentNodes,
        trash_grace: float,
        mountpoint: Path,
    ) -> None:
        """Look after `lake` for the mount on `mountpoint`; `trash_grace` in seconds."""
        self._lake = lake
        self._workers = workers
        self._recent = recent
        self._trash_grace = trash_grace
        self._mountpoint = str(mountpoint.absolute())
        self._clearing: Iterator[object] | None = None
        """Removes what forks and removals of versions left behind; None while there is nothing."""
        self._orphans_after: Inode | None = None
        """Where the look for orphans goes on; None while there is none."""

    async def run(self) -> None:
        """Do the chores until cancelled."""
        lease = self._lake.leases.seconds
        async with trio.open_nursery() as nursery:
            # Apart from each other: a long sweep must not let leases expire.
            nursery.start_soon(
                self._keep,
                [
                    _Chore(self._announce, BEAT_SECONDS),
                    _Chore(self._renew, lease / 4),
                    _Chore(self._finish_renames, TICK_SECONDS),
                ],
            )
            nursery.start_soon(
                self._sweep,
                [
                    _Chore(self._sweep_leases, min(lease, 60.0)),
                    _Chore(self._end_seals, CLAIM_SECONDS),
                    _Chore(self._sweep_trash, TRASH_SECONDS),
                    _Chore(self._sweep_versions, VERSION_SECONDS),
                    _Chore(self._sweep_orphans, QUESTION_SECONDS),
                ],
            )

    async def tidy(self) -> None:
        """Write what is pending."""
        await self._recent.write_times()
        await _postponable(self._release)

    async def _keep(self, chores: "list[_Chore]") -> None:
        while True:
            await self.tidy()
            await _do(chores)
            await trio.sleep(TICK_SECONDS)

    async def _sweep(self, chores: "list[_Chore]") -> None:
        while True:
            await _do(chores)
            await trio.sleep(TICK_SECONDS)

    async def end(self, *, announced: bool) -> None:
        """Do what is left to be done; `announced`: others were told of this mount."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tidy)
            if announced:
                nursery.start_soon(self._leave)

    async def _leave(self) -> None:
        with contextlib.suppress(FileSystemError):  # then others find out
            with trio.move_on_after(LEAVE_SECONDS):  # so they do if the server is gone
                await self._workers.wait(self._lake.processes.leave)

    async def _announce(self) -> bool:
        announce = partial(self._lake.processes.announce, MOUNT, place=self._mountpoint)
        await self._workers.wait(announce)  # abandoned when the mount ends: nobody needs it then
        return False

    async def _end_seals(self) -> bool:
        """Open the versions again that somebody began to seal, and did not go on with."""
        await self._workers.background(self._lake.versions.end_given_up)
        return False

    async def _release(self) -> bool:
        if self._lake.leases.finished:
            await self._workers.background(self._lake.leases.release_finished)
        return False

    async def _renew(self) -> bool:
        if self._lake.leases.active:
            await self._workers.background(self._lake.leases.renew)
        return False

    async def _finish_renames(self) -> bool:
        if self._lake.commits.unfinished:
            await self._workers.background(self._lake.commits.finish_renames)
        return False

    async def _sweep_leases(self) -> bool:
        sweep = partial(self._lake.commits.sweep_leases, patiently=True)
        await self._workers.background(sweep)
        return False

    async def _sweep_trash(self) -> bool:
        swept = await self._workers.background(
            self._lake.trash.sweep, self._trash_grace, TRASH_BATCH
        )
        return swept.more

    async def _sweep_versions(self) -> bool:
        """Remove a batch of a version that was left half made or half removed."""
        clearing = self._clearing or self._lake.removals.clear()
        self._clearing = None  # it ends when it fails
        if await self._workers.background(next, clearing, None) is None:
            return False
        self._clearing = clearing
        return True

    async def _sweep_orphans(self) -> bool:
        """Look at one stretch of the tree, once a day in turn at all of it.

        Only what holds no data is removed: whatever made a file an orphan, a person should say
        that it may go (`gc`), or bring it back (`check`).
        """
        orphans = self._lake.orphans
        if self._orphans_after is None:
            if not await self._workers.background(orphans.is_due, ORPHAN_SECONDS):
                return False
            self._orphans_after = NO_FOLDER
        stretch = await self._workers.background(orphans.look, self._orphans_after, ORPHAN_GRACE)
        for node in stretch.orphans:
            if node.content is None:
                await self._workers.background(orphans.remove, node)
            else:
                log.warning(
                    "no folder leads to %r (inode %s): see `gridfsmount check`",
                    node.names[0].name,
                    node.inode,
                )
        self._orphans_after = stretch.last
        return stretch.last is not None


@dataclass(slots=True)
class _Chore:
    work: Callable[[], Awaitable[bool]]
    """Tells whether there is more of it, to be done soon."""
    seconds: float
    due: float = 0.0


async def _do(chores: list[_Chore]) -> None:
    for chore in chores:
        if time.monotonic() >= chore.due:
            more = await _postponable(chore.work)
            soon = min(chore.seconds, RETRY_SECONDS)
            wait = {True: 0.0, False: chore.seconds, None: soon}[more]
            chore.due = time.monotonic() + wait


async def _postponable(chore: Callable[[], Awaitable[bool]]) -> bool | None:
    """Do a chore; whether there is more of it, None if it failed."""
    try:
        return await chore()
    except FileSystemError as error:
        log.warning("postponed: %s", error)
        return False
    except Exception:  # a document that nobody foresaw must not end the mount
        log.exception("a chore failed; please report this")
    return None
