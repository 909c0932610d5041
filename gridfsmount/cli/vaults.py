"""How commands are told which vaults they work on, and how they open them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gridfsmount.addresses import read_config, redact
from gridfsmount.config.logins import log_in_to_vault
from gridfsmount.errors import ConfigError
from gridfsmount.mount.options import VaultPlace

if TYPE_CHECKING:
    from gridfsmount.core.vault import Vault

vault_option = click.option(
    "--vault",
    "vaults",
    multiple=True,
    allow_from_autoenv=False,
    metavar="URL",
    help="Where backups are: a directory, file:///path or mongodb://host/database; or the name of "
    "a vault in the config file. Can be given several times.  [default: all of the config file]",
)


@dataclass(frozen=True, slots=True)
class VaultChoice:
    """One vault that was chosen. The address may hold a password: it is never shown."""

    name: str
    """As in the config file; else its address, without secrets."""
    address: str = field(repr=False)


def choose_vaults(config: Path | None, given: tuple[str, ...]) -> list[VaultChoice]:
    """The vaults of the command line, else all of the config file; there is one at least.

    Raises:
        ConfigError: there is none, or the password of one is missing.
    """
    return _chosen(read_config(config).get("vaults", {}), given)


def _chosen(known: Mapping[str, str], given: tuple[str, ...]) -> list[VaultChoice]:
    if not given:
        if not known:
            raise ConfigError(
                "no vault: give one with --vault, or name some below [vaults] in the config file"
            )
        given = tuple(known)
    return [
        VaultChoice(each, log_in_to_vault(each, known[each]))
        if each in known
        else VaultChoice(redact(each), each)
        for each in given
    ]


def mounted_vaults(
    known: Mapping[str, str], given: tuple[str, ...], *, needed: bool
) -> tuple[VaultPlace, ...]:
    """The vaults that a mount shows, each with a short name of its own; `known` has the file's.

    Raises:
        ConfigError: there is none, and one is `needed`.
    """
    if not needed and not given and not known:
        return ()
    places: dict[str, VaultPlace] = {}
    for choice in _chosen(known, given):
        address = choice.address
        if "://" not in address:  # the mount's process may be at home elsewhere
            address = str(Path(address).expanduser().absolute())
        if any(address == each.address for each in places.values()):
            continue
        short = choice.name.partition("?")[0].rstrip("/").rpartition("/")[2] or "vault"
        numbered = (f"{short}-{number}" for number in count(2))
        label = next(each for each in chain([short], numbered) if each not in places)
        places[label] = VaultPlace(label, address)
    return tuple(places.values())


@contextmanager
def opened(choice: VaultChoice) -> "Iterator[Vault]":
    """A vault, for as long as a block runs.

    Raises:
        StartupError: it is not there, or cannot be used; the text says why.
    """
    from gridfsmount.vaults.opening import open_vault

    vault = open_vault(choice.address)
    try:
        yield vault
    finally:
        vault.close()
