"""A connection to any MongoDB deployment, and the facts about it that the lake depends on."""

import logging
from dataclasses import dataclass
from typing import Any, Final

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import uri_parser
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import (
    ReadPreference,
    make_read_preference,
    read_pref_mode_from_name,
)

from gridfsmount import __version__
from gridfsmount.core.preferences import PRIMARY
from gridfsmount.errors import ConfigError, ConnectError
from gridfsmount.store.encoding import CODEC, Document
from gridfsmount.store.listening import CommandListener, Tally
from gridfsmount.store.rights import may_write
from gridfsmount.store.seam import Seam, reason_of
from gridfsmount.store.tls import Tls, check_files, explain, tls_of

log = logging.getLogger(__name__)

DEFAULT_DATABASE: Final = "lake"
"""When the URI names none."""

DURABLE: Final = pymongo.WriteConcern("majority", j=True)
"""A commit survives fail-over and power loss: measured 1.3 ms against 0.5 ms for `w: 1`."""

ACKNOWLEDGED: Final = pymongo.WriteConcern(1)
"""For writes whose loss costs nothing but disk space until the next check."""

CONNECT_DEADLINE: Final = 10.0
"""Seconds to find a server at start; afterwards the operations' own deadline holds."""

CLOSE_DEADLINE: Final = 1.0
"""Seconds to tell the server which sessions end: a courtesy, which a dead server cannot take."""

COLLECTIONS: Final = ("files", "chunks", "tree", "uploads", "trash", "lake")

LEAST_POOL: Final = 8
"""Connections that a mount needs at the least: what the server tells by itself keeps some of them
all the time, and everything else would wait for its deadline."""

_BAD_CREDENTIALS: Final = frozenset({18, 8000})  # AuthenticationFailed, AtlasError
_UNAUTHORIZED: Final = 13
_USER_NOT_FOUND: Final = 11  # of the certificate's name; with a password no server says so


@dataclass(frozen=True, slots=True)
class Deployment:
    """What kind of deployment answers, and what the user may do there."""

    address: str
    """Hosts, without credentials."""
    database: str
    bucket: str
    kind: str
    """"standalone", "replica set" or "sharded cluster"."""
    writable: bool
    """Whether this user may write here, now."""
    version: str
    primary: bool = True
    """Whether the member that answers takes writes, whoever may make them."""

    @property
    def transactions(self) -> bool:
        """Whether transactions and change streams are available."""
        return self.kind != "standalone"

    def __str__(self) -> str:
        return f"{self.address}/{self.database}.{self.bucket}"


class Connection:
    """The collections of one lake, each with the concerns that the promises need."""

    def __init__(
        self,
        client: pymongo.MongoClient[Document],
        deployment: Deployment,
        seam: Seam,
        settled_from: str = PRIMARY,
    ) -> None:
        """Wrap a client that has been checked by `connect`.

        `settled_from` is the read preference for contents of sealed versions.
        """
        self.client = client
        self._settled_from = make_read_preference(read_pref_mode_from_name(settled_from), None)
        self.deployment = deployment
        self.seam = seam
        codec: CodecOptions[Document] = CODEC
        self.database: Database[Document] = client.get_database(
            deployment.database,
            codec_options=codec,
            # The primary alone knows the newest commit.
            read_preference=ReadPreference.PRIMARY,
            write_concern=DURABLE,
            read_concern=ReadConcern("local"),
        )

    def collection(self, name: str) -> Collection[Document]:
        """A collection of the lake, by its short name."""
        return self.database[f"{self.deployment.bucket}.{name}"]

    def acknowledged(self, name: str) -> Collection[Document]:
        """The same, for writes that need not be durable before they return."""
        return self.collection(name).with_options(write_concern=ACKNOWLEDGED)

    def anywhere(self, name: str) -> Collection[Document] | None:
        """The same, for documents that never change; None if they come from the primary too."""
        if self._settled_from == ReadPreference.PRIMARY:
            return None
        return self.collection(name).with_options(read_preference=self._settled_from)

    def reachable(self) -> bool:
        """Whether the server that all but sealed contents come from is known to answer.

        Does not ask: the driver looks every ten seconds, and notices a lost connection at once.
        """
        return bool(self.client.topology_description.has_readable_server(ReadPreference.PRIMARY))

    def answers_anywhere(self) -> bool:
        """Whether a member is known to be up that `anywhere` would ask."""
        topology = self.client.topology_description
        return bool(topology.has_readable_server(self._settled_from))

    def raw(self, name: str) -> Collection[RawBSONDocument]:
        """The same, for documents that are passed on as they are."""
        options = CODEC.with_options(document_class=RawBSONDocument)
        return self.acknowledged(name).with_options(codec_options=options)

    def close(self) -> None:
        """End all connections."""
        with pymongo.timeout(CLOSE_DEADLINE):
            self.client.close()


def connect(
    uri: str,
    *,
    bucket: str,
    deadline: float,
    settled_from: str = PRIMARY,
    tally: Tally | None = None,
) -> Connection:
    """Connect and find out what answers.

    Args:
        uri: a `mongodb://` or `mongodb+srv://` address; its options are kept.
        bucket: prefix of the collections.
        deadline: seconds for every later operation.
        settled_from: read preference for contents of sealed versions, by its name.
        tally: counts the commands that are sent.

    Raises:
        ConfigError: the address, a file that it names, or the bucket name makes no sense.
        ConnectError: no server answers in time, or it refuses the credentials.
    """
    tls = tls_of(uri)
    check_files(tls)
    client, name = _client(uri, tally)
    address = _address(client)
    try:
        with pymongo.timeout(CONNECT_DEADLINE):
            hello = client.admin.command("hello")
            status = client.admin.command("connectionStatus", showPrivileges=True)
            version = str(client.admin.command("buildInfo")["version"])
            _check_bucket(client[name], bucket)
    except InvalidName as error:
        client.close()
        raise ConfigError(f"{bucket!r} cannot be a bucket's name: {error}") from error
    except PyMongoError as error:
        client.close()
        raise ConnectError(_refusal(address, error, tls)) from error
    collections = [f"{bucket}.{each}" for each in COLLECTIONS]
    deployment = Deployment(
        address=address,
        database=name,
        bucket=bucket,
        kind=_kind(hello),
        writable=bool(hello.get("isWritablePrimary")) and may_write(status, name, collections),
        version=version,
        primary=bool(hello.get("isWritablePrimary")),
    )
    return Connection(client, deployment, Seam(deadline), settled_from)


def _client(uri: str, tally: Tally | None) -> tuple[pymongo.MongoClient[Document], str]:
    try:
        if "://" not in uri:  # pymongo takes that for the name of a host
            raise ConfigurationError("it does not begin with mongodb:// or mongodb+srv://")
        client = _made(uri, tally)
        most = client.options.pool_options.max_pool_size or 0
        if 0 < most < LEAST_POOL:  # 0 is as many as it takes
            log.warning("maxPoolSize=%d is too little: it is taken for %d", most, LEAST_POOL)
            client.close()
            client = _made(uri, tally, maxPoolSize=LEAST_POOL)
        return client, client.get_default_database(DEFAULT_DATABASE).name
    except (ConfigurationError, InvalidName, ValueError, TypeError) as error:
        raise ConfigError(_no_uri(uri, error)) from error


def complaint_about(uri: str) -> str:
    """What is wrong with the spelling of an address; empty if nothing is. Asks no server."""
    if uri.startswith("mongodb+srv://"):  # whose hosts are in the DNS
        return ""
    try:
        uri_parser.parse_uri(uri, validate=True, warn=False)
    except (ConfigurationError, InvalidURI, InvalidName, ValueError, TypeError) as error:
        return _no_uri(uri, error)
    return ""


def _no_uri(uri: str, error: Exception) -> str:
    # pymongo quotes pieces of the address: with credentials in it, its words may be a secret.
    reason = "check its spelling" if "@" in uri else str(error)
    return (
        "the address is no MongoDB URI (mongodb://host:port/database, with user:password@ "
        f"before the host if need be): {reason}"
    )


def _made(uri: str, tally: Tally | None, **options: Any) -> pymongo.MongoClient[Document]:
    if tally is not None:
        options["event_listeners"] = [CommandListener(tally)]
    return pymongo.MongoClient(
        uri,
        appname=f"gridfsmount {__version__}",
        tz_aware=True,
        document_class=dict,
        **options,
    )


def _check_bucket(database: Database[Document], bucket: str) -> None:
    if not bucket:
        raise InvalidName("it is empty")
    _ = database[f"{bucket}.files"]


def _address(client: pymongo.MongoClient[Document]) -> str:
    seeds: Any = client.topology_description.server_descriptions()
    return ",".join(sorted(host if port is None else f"{host}:{port}" for host, port in seeds))


def _kind(hello: Document) -> str:
    if hello.get("msg") == "isdbgrid":
        return "sharded cluster"
    return "replica set" if "setName" in hello else "standalone"


def _refusal(address: str, error: PyMongoError, tls: Tls) -> str:
    reason = reason_of(error)
    if isinstance(error, OperationFailure):
        if error.code == _USER_NOT_FOUND:
            return (
                f"the server at {address} has no user for the client's certificate: {reason} "
                "(make one of that name in $external)"
            )
        if error.code in _BAD_CREDENTIALS:
            return (
                f"the server at {address} refuses the user name or the password "
                "(the user may also live in another database: add ?authSource=...)"
            )
        if error.code == _UNAUTHORIZED:
            return f"the server at {address} wants a user and a password: {reason}"
        return f"the server at {address} refuses the connection: {reason}"
    return explain(address, reason, tls) or (
        f"no server answered at {address} within {CONNECT_DEADLINE:.0f} s: {reason}"
    )
