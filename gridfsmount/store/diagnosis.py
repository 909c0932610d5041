"""What `gridfsmount doctor` asks of a deployment, beside what everything else needs to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from gridfsmount.errors import AccessDenied, ConfigError, ConnectError, StoreFailed
from gridfsmount.store.connection import COLLECTIONS, Connection
from gridfsmount.store.rights import missing_actions

_WRITE: Final = ("insert", "update", "remove")

RESOLVE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says of the way to the server."""

    hosts: tuple[tuple[str, int | None], ...]
    """Names and ports; without a port it is the path of a Unix socket."""
    tls: bool
    ca_file: str | None
    certificate_file: str | None
    """With the key of this client in it."""
    certificate_password: str | None
    lax: bool
    """Certificates are not verified, or not fully."""


def address_of(uri: str) -> Address:
    """Read an address; that of a service (mongodb+srv) is looked up.

    Raises:
        ConfigError: it makes no sense.
        ConnectError: the service cannot be looked up.
    """
    try:
        parts = parse_uri(uri, validate=True, warn=False, connect_timeout=RESOLVE_SECONDS)
    except PyMongoError as error:
        if uri.lower().startswith("mongodb+srv://"):
            service = uri.rpartition("@")[2].rpartition("://")[2].partition("/")[0]
            raise ConnectError(f"the service {service} cannot be looked up: {error}") from error
        raise ConfigError("the address is no MongoDB URI: check its spelling") from error
    except (ValueError, TypeError) as error:
        raise ConfigError("the address is no MongoDB URI: check its spelling") from error
    options: Mapping[str, Any] = {key.lower(): each for key, each in parts["options"].items()}
    lax = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
    return Address(
        hosts=tuple(parts["nodelist"]),
        tls=options.get("tls") is True,
        ca_file=options.get("tlscafile"),
        certificate_file=options.get("tlscertificatekeyfile"),
        certificate_password=options.get("tlscertificatekeyfilepassword"),
        lax=any(options.get(each) is True for each in lax),
    )


@dataclass(frozen=True, slots=True)
class Rights:
    """What the user lacks on the collections of a lake, as in "find in fs.tree"."""

    user: str
    """Empty when nobody is logged in: then the server lets everybody do everything."""
    to_read: Sequence[str]
    to_write: Sequence[str]
    to_tell: Sequence[str]
    """For figures, and for what other mounts do to show at once; all else works without."""
    writes_nothing: bool
    """None of what it takes to write is there: it is a reader on purpose."""


def rights(connection: Connection) -> Rights:
    """What the user lacks.

    Raises:
        FileSystemError: the server does not tell.
    """
    deployment = connection.deployment
    with connection.seam.operation("ask for the user's rights"):
        status = connection.client.admin.command("connectionStatus", showPrivileges=True)
    users = status["authInfo"].get("authenticatedUsers", [])
    files, chunks, tree, uploads, *_ = names = [
        f"{deployment.bucket}.{each}" for each in COLLECTIONS
    ]

    def lacking(actions: Sequence[str], collections: Sequence[str]) -> dict[str, list[str]]:
        return missing_actions(status, deployment.database, collections, actions)

    to_write = lacking(_WRITE, names)
    writes_nothing = sum(map(len, to_write.values())) == len(_WRITE) * len(names)
    to_read = lacking(("find",), names) | lacking(("listIndexes",), [files, chunks, tree, uploads])
    to_tell = lacking(("collStats",), [chunks])
    if deployment.transactions:
        # Uploads of other clients are looked for by mounts that write.
        watched = [tree] if writes_nothing else [files, tree]
        to_tell |= lacking(("changeStream",), watched)
    to_tell |= {each: [deployment.database] for each in lacking(("dbStats",), [""])}
    return Rights(
        user=", ".join(f"{each['user']}@{each['db']}" for each in users),
        to_read=_listed(to_read),
        to_write=_listed(to_write),
        to_tell=_listed(to_tell),
        writes_nothing=writes_nothing,
    )


def _listed(missing: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{action} in {', '.join(where)}" for action, where in missing.items()]


def default_write_concern(connection: Connection) -> str | None:
    """The write concern of clients that choose none, as in "majority" and "1".

    None where that is not told: a standalone server has none, a user may lack the right to ask.

    Raises:
        StoreUnavailable: no answer in time.
    """
    try:
        with connection.seam.operation("ask for the default write concern"):
            answer = connection.client.admin.command("getDefaultRWConcern")
    except (AccessDenied, StoreFailed):
        return None
    return str((answer.get("defaultWriteConcern") or {}).get("w", 1))
