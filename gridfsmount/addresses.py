"""Addresses come with passwords: where they are taken from, and kept out of."""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
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
_KEYS: Final[Mapping[str, type]] = {"uri": str, "bucket": str}
SECTIONS: Final[Mapping[str, Mapping[str, type]]] = {
    "vaults": {},
    "backup": {"limit": str, "jobs": int},
    "verify": {"sample": str, "max_duration": str},
    "prune": {
        "keep_last": int,
        "keep_daily": int,
        "keep_weekly": int,
        "keep_monthly": int,
        "keep_yearly": int,
        "time_zone": str,
        "grace": str,
    },
    "status": {"backup_max_age": str, "verify_max_age": str},
}
"""Tables of a config file and their keys; those of `vaults` are names that people choose."""

_FORMS: Final[Mapping[type, str]] = {
    str: 'a string, as in key = "..."',
    int: "a whole number",
    dict: "a table, as in [name]",
}


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
    uri = known_uri(settings)
    if not uri:
        raise ConfigError(
            f"no URI: give one {place}, {file_place}, in {URI_VARIABLE}, or in a config file"
            f"{otherwise}"
        )
    return uri


def known_uri(settings: dict[str, Any]) -> str:
    """The address that needs not be given: of the environment, or of the config file; or empty."""
    return os.environ.get(URI_VARIABLE) or str(settings.get("uri", ""))


def read_uri_file(path: Path) -> str:
    """The address in a file's first line.

    Raises:
        ConfigError: unreadable, empty, or readable by everybody.
    """
    text = _read_private(path).strip()
    if not text:
        raise ConfigError(f"{path} is empty: it should hold one line, mongodb://...")
    return text.splitlines()[0].strip()


def find_config(path: Path | None) -> Path | None:
    """The config file: the one that was given, else the user's or the machine's, if any."""
    return path or next((each for each in _default_configs() if _is_file(each)), None)


def read_config(path: Path | None) -> dict[str, Any]:
    """Settings from a TOML file, by default the user's or the machine's, if there is one.

    Raises:
        ConfigError: unreadable, no TOML, an unknown key, or a value of another type.
    """
    found = find_config(path)
    if found is None:
        return {}
    try:
        settings = tomllib.loads(_read_private(found))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{found}: {error}") from error
    known: dict[str, type] = {**_KEYS, **dict.fromkeys(SECTIONS, dict)}
    _check_keys(str(found), settings, known)
    for section, keys in SECTIONS.items():
        values = settings.get(section, {})
        names = dict.fromkeys(values, str) if section == "vaults" else keys
        _check_keys(f"{found}: [{section}]", values, names)
    return settings


def _check_keys(where: str, values: dict[str, Any], known: Mapping[str, type]) -> None:
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{_meant(key, known)}")
        if type(value) is not known[key]:  # a bool is an int, but none here
            raise ConfigError(f"{where}: {key} must be {_FORMS[known[key]]}")


def _meant(key: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


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
