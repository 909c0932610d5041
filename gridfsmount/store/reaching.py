"""From an address, or the folder of a private server, to an open lake."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gridfsmount.errors import ConfigError, FileSystemError, StartupError
from gridfsmount.store.connection import connect
from gridfsmount.store.embedded import EmbeddedServer, running_uri
from gridfsmount.store.lake import Founder, Lake, open_lake


@contextmanager
def reached(
    address: str,
    embedded: Path | None,
    *,
    bucket: str,
    deadline: float,
    lease: float,
    writable: bool,
    existing: bool,
) -> Iterator[Lake]:
    """A lake, connected for as long as a block runs.

    Args:
        address: where it is, unless `embedded` says.
        embedded: the folder of a private server, which runs meanwhile if it does not already.
        bucket: prefix of the collections.
        deadline: seconds for one operation.
        lease: seconds after which a dead writer's upload counts as left behind.
        writable: the user must be allowed to write.
        existing: the lake must be there already; else what it lacks is made.

    Raises:
        StartupError: no server, no rights, or no lake; the text says which.
    """
    with ExitStack() as resources:
        if embedded is not None:
            running = running_uri(embedded)
            address = running or resources.enter_context(EmbeddedServer(embedded)).uri
        connection = connect(address, bucket=bucket, deadline=deadline)
        resources.callback(connection.close)
        if writable and not connection.deployment.writable:
            raise ConfigError(
                f"{connection.deployment}: this user may not write there; the role readWrite may"
            )
        try:
            lake = open_lake(
                connection,
                lease_seconds=lease,
                founder=Founder(os.getuid(), os.getgid()),
                read_only=existing,
            )
        except FileSystemError as error:
            raise StartupError(f"the lake cannot be opened: {error}") from error
        yield lake
