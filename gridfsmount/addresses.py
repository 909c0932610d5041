"""Addresses come with passwords: where they are taken from, and kept out of."""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from gridfsmount.errors import ConfigError

URI_VARIABLE: Final = "GRIDFSMOUNT_URI"

DEFAULT_BUCKET: Final = "fs"

# One slash as well: that is what a path makes of an address that was given in its place.
_CREDENTIALS: Final = re.compile(r"(mongodb(?:\+srv)?:/{1,2})(?:[^@\s]*@)+", re.IGNORECASE)
_SECRET_OPTIONS: Final = re.compile(
    r"\b((?:tlsCertificateKeyFilePassword|authMechanismProperties)=)[^&\s]+", re.IGNORECASE
)
_KEYS: Final = {"uri": str, "bucket": str, "vaults": dict}
_FORMS: Final = {str: "a string", dict: "a table"}


def redact(text: str) -> str:
    """`text` without the user, the password and other secrets of any MongoDB address in it."""
    return _SECRET_OPTIONS.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))


def find_uri(
    given: str,
    file: Path | None,
    settings: dict[str, str],
    *,
    place: str,
    file_place: str = "with --uri-file",
    otherwise: str = "",
) -> str:
    """The address: as given, from a file, from the environment, or from the config file.

    Raises:
        ConfigError: there is none; `place` says where it can be given, `file_place` where the name
            of a file, and `otherwise` what else will do.
    """
    if given:
        return given
    if file is not None:
        return read_uri_file(file)
    uri = os.environ.get(URI_VARIABLE) or settings.get("uri", "")
    if not uri:
        raise ConfigError(
            f"no URI: give one {place}, {file_place}, in {URI_VARIABLE}, or in a config file"
            f"{otherwise}"
        )
    return uri


def read_uri_file(path: Path) -> str:
    """The address in a file's first line.

    Raises:
        ConfigError: unreadable, empty, or readable by everybody.
    """
    text = _read_private(path).strip()
    if not text:
        raise ConfigError(f"{path} is empty: it should hold one line, mongodb://...")
    return text.splitlines()[0].strip()


def read_config(path: Path | None) -> dict[str, Any]:
    """Settings from a TOML file, by default the user's or the machine's, if there is one.

    Raises:
        ConfigError: unreadable, no TOML, or an unknown key.
    """
    found = path or next((each for each in _default_configs() if _is_file(each)), None)
    if found is None:
        return {}
    try:
        settings = tomllib.loads(_read_private(found))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{found}: {error}") from error
    for key, value in settings.items():
        if key not in _KEYS:
            raise ConfigError(f"{found}: unknown key {key!r}; known are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{found}: {key} must be {_FORMS[_KEYS[key]]}")
    for name, address in settings.get("vaults", {}).items():
        if not isinstance(address, str):
            raise ConfigError(f"{found}: the vault {name} must be an address in quotes")
    return settings


def _default_configs() -> list[Path]:
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return [
        Path(home).expanduser() / "gridfsmount" / "lake.toml",
        Path("/etc/gridfsmount/lake.toml"),
    ]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # below the home of another user, as after `sudo -u`
        return False


def _read_private(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            open_to_all = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if open_to_all and redact(text) != text:
        raise ConfigError(f"{path} holds a password and everybody may read it: chmod o-r {path}")
    return text
