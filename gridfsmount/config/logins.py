"""Who asks a server, and what proves it: put into the address, which holds all of it from then on.

A secret is in the address itself, or comes from a file that others may not read, from the
environment, from a credential of systemd, or from a prompt. No message repeats one.
"""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote_plus

from gridfsmount.config.certificates import open_to_others
from gridfsmount.errors import ConfigError

PASSWORD_VARIABLE: Final = "GRIDFSMOUNT_PASSWORD"

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential=` names (systemd.exec(5))."""

_TERMINAL: Final = "/dev/tty"

X509: Final = "x509"
"""Log in with the client's certificate, without a password."""

VARIABLES: Final = {
    "user": "GRIDFSMOUNT_USER",
    "password_file": "GRIDFSMOUNT_PASSWORD_FILE",
    "tls_ca_file": "GRIDFSMOUNT_TLS_CA_FILE",
    "tls_certificate_key_file": "GRIDFSMOUNT_TLS_CERT_FILE",
}
"""Of the environment, by the key of the config file that each goes before."""

_PARTS: Final = re.compile(
    r"(mongodb(?:\+srv)?://)(?:([^/?]*)@)?([^/?]*)(/[^?]*)?(?:\?(.*))?", re.S
)

_MECHANISMS_WITHOUT_PASSWORD: Final = frozenset(
    {"MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "GSSAPI"}
)


@dataclass(frozen=True, slots=True)
class Login:
    """What the options of a command say; None is what they do not."""

    user: str | None = None
    password_file: Path | None = None
    ask: bool = False
    """At the terminal."""
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    """The client's certificate and its key."""

    @property
    def is_given(self) -> bool:
        """Whether they say anything at all."""
        return self != NO_LOGIN


NO_LOGIN: Final = Login()
"""No option says anything."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A value, and what it was given by."""

    value: str
    source: str


def log_in(uri: str, login: Login, settings: Mapping[str, Any], *, from_file: bool) -> str:
    """The address with the user, the password and the certificates that go with it.

    Options go before the environment, and that before `settings`, the keys of the config file.
    Those go with the file's own address (`from_file`), or with any if the file has none: no
    server gets the password of another one.

    Raises:
        ConfigError: something is given twice, missing, or cannot be read; the text says what.
    """
    match = _PARTS.fullmatch(uri)
    if match is None:
        return uri  # the driver says what is wrong with it
    scheme, userinfo, hosts, path, query = match.groups()
    options = _options_of(query or "")
    in_file = settings if from_file or "uri" not in settings else {}
    theirs = userinfo
    if from_file:
        userinfo = _unless_said(theirs, login)
        is_another = userinfo is None and theirs is not None
    else:
        is_another = theirs is not None and _user_of(theirs) != in_file.get("user")
    if is_another:  # than the one whose password is in the file
        in_file = {name: in_file[name] for name in in_file if name.startswith("tls_")}
    added = _certificates(login, in_file, options, from_file=from_file)
    mechanism = options.get("authmechanism", "").upper()
    if in_file.get("auth") == X509 and not mechanism:
        mechanism = "MONGODB-X509"
        added["authMechanism"] = mechanism
        added.setdefault("tls", "true")
    if options.keys() & {"tls", "ssl"}:
        added.pop("tls", None)
    userinfo = _userinfo(userinfo, login, in_file, mechanism)
    more = "&".join(f"{name}={quote(value, safe='/')}" for name, value in added.items())
    who = "" if userinfo is None else f"{userinfo}@"
    if not more:
        return f"{scheme}{who}{uri[match.start(3) :]}"
    return f"{scheme}{who}{hosts}{path or '/'}?{f'{query}&' if query else ''}{more}"


def log_in_to_vault(name: str, address: str) -> str:
    """The address of a vault of the config file, with the password of its credential.

    Raises:
        ConfigError: there is a user, and no password from anywhere.
    """
    match = _PARTS.fullmatch(address)
    if match is None or match[2] is None or ":" in match[2]:
        return address
    if _options_of(match[5] or "").get("authmechanism", "").upper() in _MECHANISMS_WITHOUT_PASSWORD:
        return address
    password = credential(f"vault-{name}")
    if password is None:
        raise ConfigError(
            f"the vault {name!r} has a user and no password: put it in the vault's address, or "
            f"name it for systemd, LoadCredential=vault-{name}:FILE"
        )
    begin = match.end(2)
    return f"{address[:begin]}:{quote(password, safe='')}{address[begin:]}"


def credential(name: str) -> str | None:
    """What systemd was told to pass under a name, if it was."""
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    if not folder or "/" in name or not name.isprintable():
        return None
    path = Path(folder, name)
    try:
        is_there = path.exists()
    except PermissionError:  # another user's, as after `sudo -u`
        return None
    return read_secret(path) if is_there else None


def read_secret(path: Path) -> str:
    """The first line of a file that others may not read.

    Raises:
        ConfigError: they may, it is empty, or it cannot be read.
    """
    text, mode = read_text(path)
    complaint = open_to_others(path, mode)
    if complaint:
        raise ConfigError(complaint)
    first = text.removeprefix("\ufeff").split("\n", 1)[0].removesuffix("\r")
    if not first:
        raise ConfigError(f"{path} is empty: its first line should be the secret")
    return first


def read_text(path: Path) -> tuple[str, int]:
    """What is in a file, and its mode.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read(), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        # The error itself would quote a piece of it.
        raise ConfigError(f"{path} cannot be read: it is no text in UTF-8") from error


def _options_of(query: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in re.split("[&;]", query) if each)
    return {name.lower(): unquote_plus(value) for name, _, value in pairs}


def _user_of(userinfo: str) -> str:
    return unquote_plus(userinfo.partition(":")[0])


def _said(option: str, value: object, name: str, in_file: Mapping[str, Any]) -> _Named | None:
    """A value by its option, else its variable, else its key, with what it was given by."""
    if value is not None:
        return _Named(str(value), option)
    variable = VARIABLES[name]
    if variable and os.environ.get(variable):
        return _Named(os.environ[variable], variable)
    if name in in_file:
        return _Named(str(in_file[name]), f"`{name}` of the config file")
    return None


def _unless_said(userinfo: str | None, login: Login) -> str | None:
    """What the file's address says of a user, as far as what goes before the file says nothing."""
    if userinfo is None:
        return None
    user = login.user or os.environ.get(VARIABLES["user"])
    if user and user != _user_of(userinfo):
        return None
    is_said = login.ask or login.password_file is not None
    if is_said or _password_of_environment() is not None:
        return userinfo.partition(":")[0]
    return userinfo


def _certificates(
    login: Login, in_file: Mapping[str, Any], options: Mapping[str, str], *, from_file: bool
) -> dict[str, str]:
    """The options of the address that name certificates."""
    added: dict[str, str] = {}
    for option, value, name, key in (
        ("--tls-ca-file", login.tls_ca_file, "tlsCAFile", "tls_ca_file"),
        (
            "--tls-cert-file",
            login.tls_cert_file,
            "tlsCertificateKeyFile",
            "tls_certificate_key_file",
        ),
    ):
        said = _said(option, value, key, in_file)
        if said is None:
            continue
        if name.lower() in options and said.source == VARIABLES[key] and not from_file:
            continue
        if name.lower() in options:
            raise ConfigError(f"the URI says {name} already: leave {said.source} out")
        path = Path(said.value).expanduser().absolute()
        if options.get("tls", options.get("ssl", "true")).lower() != "true":
            raise ConfigError(f"the URI says tls=false: leave that or {said.source} out")
        added |= {"tls": "true", name: str(path)}
    return added


def _userinfo(
    userinfo: str | None, login: Login, in_file: Mapping[str, Any], mechanism: str
) -> str | None:
    said = _said("--user", login.user, "user", in_file)
    if said is not None and said.source == VARIABLES["user"]:
        # It is for addresses that leave the user open, and this one may not.
        said = None if userinfo is not None or mechanism == "MONGODB-X509" else said
    if said is not None and userinfo is not None and said.value != _user_of(userinfo):
        raise ConfigError(
            f"there is another user in the URI than by {said.source}: leave one of them out"
        )
    if said is not None and in_file.get("user", said.value) != said.value:
        in_file = {}  # what is there is another user's
    if said is not None and userinfo is None:
        userinfo = quote(said.value, safe="")
    if login.ask and login.password_file is not None:
        raise ConfigError(
            "the password comes from --password-file or from --ask-password: not both"
        )
    given = "--ask-password" if login.ask else ""
    given = "--password-file" if login.password_file is not None else given
    # What is said in the environment may be for other addresses than this one.
    given = given or ("`password_file` of the config file" if "password_file" in in_file else "")
    if mechanism in _MECHANISMS_WITHOUT_PASSWORD:
        if given:
            raise ConfigError(f"{mechanism} takes no password: leave {given} out")
        return userinfo
    if userinfo is None:
        if given:
            raise ConfigError(f"{given} gives a password, but there is no user: give --user")
        return None
    if ":" in userinfo:
        if given:
            raise ConfigError(f"there is a password in the URI already: leave {given} out")
        return userinfo
    password = _password(login, in_file, _user_of(userinfo))
    return f"{userinfo}:{quote(password, safe='')}"


def _password(login: Login, in_file: Mapping[str, Any], user: str) -> str:
    if login.ask:
        return _asked(user)
    if login.password_file is not None:
        return read_secret(login.password_file)
    password = _password_of_environment()
    if password is not None:
        return password
    if "password_file" in in_file:
        return read_secret(Path(in_file["password_file"]).expanduser())
    raise ConfigError(
        f"there is a user and no password: give it with --password-file or --ask-password, in "
        f"{PASSWORD_VARIABLE}, or as `password_file` of the config file"
    )


def _password_of_environment() -> str | None:
    named = os.environ.get(VARIABLES["password_file"])
    if named:
        return read_secret(Path(named))
    return os.environ.get(PASSWORD_VARIABLE) or credential("password")


def _asked(user: str) -> str:
    try:
        # Not getpass's own way out, which would read from standard input and show what is typed.
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
        password = getpass.getpass(f"Password of {user}: ")
    except (OSError, EOFError) as error:
        raise ConfigError(
            "--ask-password needs a terminal to ask at: use --password-file instead"
        ) from error
    if not password:
        raise ConfigError("the password is empty")
    return password
