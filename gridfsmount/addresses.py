"""Addresses come with passwords: where they are taken from, and kept out of.

And the config file, which may hold some.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gridfsmount.config.document import Config
from gridfsmount.config.logins import NO_LOGIN, Login, credential, log_in, read_text
from gridfsmount.errors import ConfigError

CONFIG_VARIABLE: Final = "GRIDFSMOUNT_CONFIG"

URI_VARIABLE: Final = "GRIDFSMOUNT_URI"

BUCKET_VARIABLE: Final = "GRIDFSMOUNT_BUCKET"

DEFAULT_BUCKET: Final = "fs"

# One slash as well: that is what a path makes of an address that was given in its place.
_CREDENTIALS: Final = re.compile(r"(mongodb(?:\+srv)?:/{1,2})(?:[^@\s]*@)+", re.IGNORECASE)
_SECRET_OPTIONS: Final = re.compile(
    r"\b((?:tlsCertificateKeyFilePassword|authMechanismProperties)=)[^&\s]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """`text` without the user, the password and other secrets of any MongoDB address in it."""
    return _SECRET_OPTIONS.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))


def find_uri(
    given: str,
    file: Path | None,
    settings: Mapping[str, Any],
    *,
    place: str,
    file_place: str = "with --uri-file",
    otherwise: str = "",
    login: Login = NO_LOGIN,
) -> str:
    """The address: as given, from a file, from the environment, or from the config file.

    With the user, the password and the certificates of `login`, the environment and the config
    file in it.

    Raises:
        ConfigError: there is none; `place` says where it can be given, `file_place` where the name
            of a file, and `otherwise` what else will do. Or the login makes no sense.
    """
    from_file = False
    if given:
        uri = given
    elif file is not None:
        uri = read_uri_file(file)
    else:
        uri = known_uri(settings)
        from_file = uri == settings.get("uri")
    if not uri:
        raise ConfigError(
            f"no URI: give one {place}, {file_place}, in {URI_VARIABLE}, or in a config file"
            f"{otherwise}"
        )
    return log_in(uri, login, settings, from_file=from_file)


def known_uri(settings: Mapping[str, Any]) -> str:
    """The address that needs not be given, or empty.

    Of the environment, of a credential of systemd, or of the config file.
    """
    return os.environ.get(URI_VARIABLE) or credential("uri") or str(settings.get("uri", ""))


def known_bucket(settings: Mapping[str, Any]) -> str:
    """The bucket that needs not be given: of the environment, of the config file, or the usual."""
    return os.environ.get(BUCKET_VARIABLE) or str(settings.get("bucket", DEFAULT_BUCKET))


def known_embedded(settings: Mapping[str, Any]) -> Path | None:
    """The folder of a private server in the config file, unless an address goes before that."""
    folder = settings.get("embedded")
    if folder is None or os.environ.get(URI_VARIABLE) or credential("uri"):
        return None
    return Path(folder).expanduser()


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
    """The config file: as given, of the environment, else the user's or the machine's, if any."""
    named = os.environ.get(CONFIG_VARIABLE)
    if path is None and named:
        return Path(named)
    return path or next((each for each in default_configs() if _is_file(each)), None)


def load_config(path: Path | None) -> Config:
    """What a config file says, and all that is wrong in it; the one `find_config` finds.

    Raises:
        ConfigError: it cannot be read.
    """
    found = find_config(path)
    if found is None:
        return Config()
    from gridfsmount.config.checking import check_text  # click takes a while to import

    text, mode = read_text(found)
    config = check_text(found, text)
    complaint = _open_to_all(found, text, mode)
    return replace(config, problems=(complaint, *config.problems)) if complaint else config


def sound_config(path: Path | None) -> Config:
    """What a config file says, if nothing is wrong in it; else as `load_config`.

    Raises:
        ConfigError: it cannot be read, or something in it makes no sense; the text says what and
            where.
    """
    config = load_config(path)
    if config.problems:
        first, *others = config.problems
        which = f" --config {config.path}" if path else ""
        more = f" (and {len(others)} more: gridfsmount config check{which})" if others else ""
        raise ConfigError(f"{first}{more}")
    return config


def read_config(path: Path | None) -> Mapping[str, Any]:
    """The settings of a config file as they are written there; raises as `sound_config`."""
    return sound_config(path).values


def default_configs() -> list[Path]:
    """Where a config file is looked for: the user's, then the machine's."""
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
    text, mode = read_text(path)
    complaint = _open_to_all(path, text, mode)
    if complaint:
        raise ConfigError(complaint)
    return text


def _open_to_all(path: Path, text: str, mode: int) -> str:
    if mode & stat.S_IROTH and _holds_secret(text):
        return f"{path} holds a password and everybody may read it: chmod o-r {path}"
    return ""


def _holds_secret(text: str) -> bool:
    """Whether an address in it has a password, or an option that is one: a user is no secret."""
    logins = (each[0].removeprefix(each[1]) for each in _CREDENTIALS.finditer(text))
    return any(":" in login for login in logins) or _SECRET_OPTIONS.search(text) is not None
