"""What an address says of TLS, and what to do when there is no connection for its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from gridfsmount.config.certificates import unfit_authority, unfit_certificate
from gridfsmount.errors import ConfigError

CA_FILE: Final = "tlsCAFile"
KEY_FILE: Final = "tlsCertificateKeyFile"
KEY_PASSWORD: Final = "tlsCertificateKeyFilePassword"

_CLOSED: Final = "connection closed"
"""What pymongo says when a server ends a connection without a word."""

_VERIFY: Final = "certificate verify failed"


@dataclass(frozen=True, slots=True)
class Tls:
    """The options of an address that are about TLS."""

    used: bool
    ca_file: str = ""
    key_file: str = ""
    """The client's key and certificate."""
    password: str | None = None
    """Of that key."""

    def __repr__(self) -> str:
        return f"Tls({self.used}, {self.ca_file!r}, {self.key_file!r})"


def tls_of(uri: str) -> Tls:
    """What an address says of it, with the driver's rules for what is left out."""
    given = _options(uri)
    ca_file, key_file = given.get(CA_FILE.lower(), ""), given.get(KEY_FILE.lower(), "")
    used = given.get("tls", given.get("ssl"))
    implied = bool(ca_file or key_file) or uri.lower().startswith("mongodb+srv:")
    return Tls(
        implied if used is None else used.lower() == "true",
        ca_file,
        key_file,
        given.get(KEY_PASSWORD.lower()),
    )


def _options(uri: str) -> Mapping[str, str]:
    query = uri.partition("?")[2]
    return {name.lower(): value for name, value in parse_qsl(query)}


def check_files(tls: Tls) -> None:
    """Look into the files that an address names.

    Raises:
        ConfigError: one cannot be read, is not what it should be, or shows a key to everybody.
    """
    complaint = (tls.ca_file and unfit_authority(Path(tls.ca_file))) or (
        tls.key_file and unfit_certificate(Path(tls.key_file), tls.password)
    )
    if complaint:
        raise ConfigError(complaint)


def explain(address: str, reason: str, tls: Tls) -> str | None:
    """What to do about a connection that did not come about, if that is for reasons of TLS.

    Args:
        address: of the server, without secrets.
        reason: what the driver says.
        tls: what was tried.
    """
    if _VERIFY in reason:
        return f"the server at {address} {_mistrust(reason)}: {reason}"
    if _CLOSED in reason:
        return f"the server at {address} closes every connection: {_wanted(tls)}"
    if tls.used and ("SSL" in reason or "TLS" in reason or "EOF occurred" in reason):
        return (
            f"no secure connection to {address}: {reason}. A server that knows no TLS "
            "wants an address without tls=true"
        )
    return None


def _mistrust(reason: str) -> str:
    if "mismatch" in reason:
        return "has a certificate for another name: give the name that is in it"
    if "expired" in reason:
        return "has a certificate that has expired, by this machine's clock: renew it"
    if "not yet valid" in reason:
        return "has a certificate that is not valid yet, by this machine's clock"
    return f"has a certificate of an unknown authority: name the right one with {CA_FILE}=FILE"


def _wanted(tls: Tls) -> str:
    if not tls.used:
        return "it may want TLS: add ?tls=true, and tlsCAFile=FILE for an authority of your own"
    if not tls.key_file:
        return f"it may want a client's certificate: add {KEY_FILE}=FILE; its log says why"
    return (
        f"it may not trust the certificate in {tls.key_file}, or that has expired; its log says why"
    )
