"""Chores of a mount that nobody waits for; an outage only postpones them."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from gridfsmount.errors import FileSystemError
from gridfsmount.store.lake import Lake
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""RecentNodes' times may be this late on other machines."""

TRASH_SECONDS: Final = 600.0

RETRY_SECONDS: Final = 5.0


class Janitor:
    """Writes folders' times, renews and releases leases, sweeps."""

    def __init__(
        self, lake: Lake, workers: Workers, recent: RecentNodes, trash_grace: float
    ) -> None:
        """Look after `lake`; `trash_grace` in seconds."""
        self._lake = lake
        self._workers = workers
        self._recent = recent
        self._trash_grace = trash_grace
        lease = lake.leases.seconds
        self._chores: list[tuple[float, Callable[[], Awaitable[object]]]] = [
            (lease / 4, self._renew),
            (min(lease, 60.0), self._sweep_leases),
            (TRASH_SECONDS, self._sweep_trash),
        ]

    async def run(self) -> None:
        """Do the chores until cancelled."""
        due = [0.0] * len(self._chores)
        while True:
            await self.tidy()
            for index, (seconds, chore) in enumerate(self._chores):
                if time.monotonic() >= due[index]:
                    done = await _postponable(chore)
                    # Soon after an outage: leases that are not renewed then are taken away.
                    wait = seconds if done else min(seconds, RETRY_SECONDS)
                    due[index] = time.monotonic() + wait
            await trio.sleep(TICK_SECONDS)

    async def tidy(self) -> None:
        """Write what is pending."""
        await self._recent.write_times()
        await _postponable(self._release)

    async def _release(self) -> None:
        if self._lake.leases.finished:
            await self._workers.background(self._lake.leases.release_finished)

    async def _renew(self) -> None:
        if self._lake.leases.active:
            await self._workers.background(self._lake.leases.renew)

    async def _sweep_leases(self) -> None:
        sweep = partial(self._lake.commits.sweep_leases, patiently=True)
        await self._workers.background(sweep)

    async def _sweep_trash(self) -> None:
        await self._workers.background(self._lake.trash.sweep, self._trash_grace)


async def _postponable(chore: Callable[[], Awaitable[object]]) -> bool:
    """Do a chore; whether that went well."""
    try:
        await chore()
    except FileSystemError as error:
        log.warning("postponed: %s", error)
        return False
    except Exception:  # a document that nobody foresaw must not end the mount
        log.exception("a chore failed; please report this")
    return True
