"""Opening and making vaults in MongoDB."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pymongo
from bson import Int64

from gridfsmount.core.defaults import DEFAULT_DEADLINE
from gridfsmount.core.vault import VAULT_FORMAT
from gridfsmount.errors import AccessDenied, ConfigError, ConnectError
from gridfsmount.store.connection import Connection, connect
from gridfsmount.store.gridfs_vault import BUCKET, HEADER, GridFSVault, address_of
from gridfsmount.store.vault_lease import DEAD_SECONDS


def open_gridfs_vault(
    uri: str, *, deadline: float = DEFAULT_DEADLINE, dead_seconds: float = DEAD_SECONDS
) -> GridFSVault:
    """The vault in the database that a URI names.

    Raises:
        ConfigError: there is none, or the URI makes no sense.
        ConnectError: the server cannot be asked.
        LakeFormatError: it has a newer format.
    """
    connection = _connect(uri, deadline)
    try:
        with _as_connect_error(connection):
            return GridFSVault(connection, dead_seconds)
    except BaseException:
        connection.close()
        raise


def make_gridfs_vault(uri: str, lake: str, *, deadline: float = DEFAULT_DEADLINE) -> GridFSVault:
    """Make a vault in an empty database; raises as `open_gridfs_vault`.

    Raises:
        ConfigError: there is something in it: a vault, a lake.
    """
    connection = _connect(uri, deadline)
    try:
        with _as_connect_error(connection):
            _make(connection, lake)
            return GridFSVault(connection)
    except BaseException:
        connection.close()
        raise


def _make(connection: Connection, lake: str) -> None:
    address = address_of(connection)
    database = connection.database
    files = connection.collection("files")
    with connection.seam.operation(f"{address}: make a vault"):
        found = [each for each in database.list_collection_names() if each[:7] != "system."]
        for each in sorted(found):
            if each.endswith(".lake") and database[each].find_one({"_id": "lake"}) is not None:
                raise ConfigError(
                    f"{address} holds a lake: a backup must not depend on what it protects, so "
                    "choose another database, best on another server"
                )
        if found:
            what = "a vault" if f"{BUCKET}.vault" in found else f"something ({min(found)})"
            raise ConfigError(f"there is {what} in {address}: a new vault needs an empty database")
        files.create_index("filename", unique=True)
        files.create_index([("filename", pymongo.ASCENDING), ("uploadDate", pymongo.ASCENDING)])
        connection.collection("chunks").create_index(
            [("files_id", pymongo.ASCENDING), ("n", pymongo.ASCENDING)], unique=True
        )
        # Last, so that a vault that says it is one is complete.
        connection.collection("vault").insert_one(
            {
                "_id": HEADER,
                "format": VAULT_FORMAT,
                "id": uuid.uuid4().hex,
                "lake": lake,
                "created_ns": Int64(time.time_ns()),
            }
        )


def _connect(uri: str, deadline: float) -> Connection:
    place = uri.partition("://")[2].partition("?")[0]
    if "/" not in place or not place.rpartition("/")[2]:
        raise ConfigError(
            "the address of a vault in MongoDB names its database, as in mongodb://host/vault"
        )
    return connect(uri, bucket=BUCKET, deadline=deadline)


@contextmanager
def _as_connect_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except AccessDenied as error:
        raise ConnectError(
            f"the user lacks rights on {address_of(connection)}, or none was given: {error}"
        ) from error
