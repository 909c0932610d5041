"""Vaults by their addresses."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from gridfsmount.core.vault import Vault
from gridfsmount.errors import ConfigError
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault


def open_vault(address: str) -> Vault:
    """The vault at an address: a path, file:///path, or mongodb://host/database.

    Raises:
        ConfigError: there is none, or the address makes no sense.
        ConnectError: its server cannot be asked.
        LakeFormatError: it has a newer format.
    """
    return DirectoryVault(_path(address))


def make_vault(address: str, lake: str) -> Vault:
    """Make a new vault at an address, for the lake with the id `lake`; raises as `open_vault`."""
    return make_directory_vault(_path(address), lake)


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
