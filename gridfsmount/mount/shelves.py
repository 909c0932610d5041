"""The vaults of a mount: put together, and opened at its start as far as they are there."""

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gridfsmount.errors import ConfigError, LakeError, StartupError, WrongVault
from gridfsmount.mount.options import MountOptions, VaultPlace
from gridfsmount.vaults.opening import open_vault
from gridfsmount.vfs.snapshots.shelf import Engine, Place, Shelf
from gridfsmount.vfs.snapshots.slots import Slots

log = logging.getLogger(__name__)

START_SECONDS: Final = 5.0
"""How long the mount of a lake waits for vaults that do not answer."""


def make_shelves(vaults: Sequence[VaultPlace], slots: Slots, engine: Engine) -> list[Shelf]:
    """One for each vault, not yet opened; inside of a running trio loop."""
    return [
        Shelf(Place(number, each.label, partial(open_vault, each.address)), slots, engine)
        for number, each in enumerate(vaults)
    ]


async def open_all(shelves: Sequence[Shelf]) -> None:
    """Open vaults for a mount that is nothing without them.

    Raises:
        StartupError: one cannot be opened.
    """
    for shelf in shelves:
        try:
            await shelf.open()
        except StartupError:
            raise
        except LakeError as error:
            raise StartupError(f"the vault cannot be opened: {error}") from error


async def open_some(shelves: Sequence[Shelf]) -> None:
    """Open vaults for a mount that does without those that are not there.

    Raises:
        WrongVault: one is of another lake.
    """

    async def attempt(shelf: Shelf) -> None:
        try:
            await shelf.open()
        except WrongVault:
            raise
        except LakeError as error:
            shelf.note_trouble(error)

    with trio.move_on_after(START_SECONDS) as patience:
        async with trio.open_nursery() as nursery:
            for shelf in shelves:
                nursery.start_soon(attempt, shelf)
    if patience.cancelled_caught:
        log.warning("a vault does not answer: it is tried again")


def lake_of(vaults: Sequence[VaultPlace]) -> str:
    """The id of the lake that all vaults are of. Blocking.

    Raises:
        StartupError: they are of several, or one cannot be opened.
    """
    lakes = {}
    for each in vaults:
        vault = open_vault(each.address)
        lakes[vault.header.lake] = each.label
        vault.close()
    if len(lakes) > 1:
        raise ConfigError(
            f"the vaults {' and '.join(lakes.values())} are of different lakes: mount them apart"
        )
    return next(iter(lakes))


def copies_folder(options: MountOptions) -> Path:
    """Where copies of manifests are kept.

    Raises:
        ConfigError: there is no place for them.
    """
    if options.disk_cache is not None:
        return options.disk_cache / "manifests"
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise ConfigError("there is no home folder: set XDG_CACHE_HOME") from error
    return Path(home) / "gridfsmount" / "manifests"
