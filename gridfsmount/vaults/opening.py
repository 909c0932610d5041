"""Vaults by their addresses."""

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from gridfsmount.core.vault import Vault
from gridfsmount.errors import ConfigError
from gridfsmount.store.gridfs_vault import GridFSVault
from gridfsmount.store.lake import Lake
from gridfsmount.store.vault_opening import make_gridfs_vault, open_gridfs_vault
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault

_MONGODB: Final = ("mongodb://", "mongodb+srv://")


def open_vault(address: str) -> Vault:
    """The vault at an address: a path, file:///path, or mongodb://host/database.

    Raises:
        ConfigError: there is none, or the address makes no sense.
        ConnectError: its server cannot be asked.
        LakeFormatError: it has a newer format.
    """
    if address.startswith(_MONGODB):
        return open_gridfs_vault(address)
    return DirectoryVault(_path(address))


def make_vault(address: str, lake: str) -> Vault:
    """Make a new vault at an address, for the lake with the id `lake`; raises as `open_vault`."""
    if address.startswith(_MONGODB):
        return make_gridfs_vault(address, lake)
    return make_directory_vault(_path(address), lake)


def is_beside(vault: Vault, lake: Lake) -> bool:
    """Whether a vault is on the same MongoDB as a lake, and so is lost with it."""
    deployment = lake.connection.deployment
    return isinstance(vault, GridFSVault) and vault.shows(
        deployment.database, deployment.bucket, lake.id
    )


def _path(address: str) -> Path:
    if "://" not in address:
        return Path(address).expanduser().absolute()
    parts = urlsplit(address)
    if parts.scheme != "file":
        raise ConfigError(
            f"{parts.scheme}:// is no address of a vault: give a path, file:///path or "
            "mongodb://host/database"
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigError(f"{address}: a file address has three slashes, as in file:///srv/backup")
    return Path(unquote(parts.path))
