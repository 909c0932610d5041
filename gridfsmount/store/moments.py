"""All nodes of a lake as they were at one moment, whatever is written meanwhile.

Where the deployment has snapshots, the moment is one of the server's: all that was acknowledged
before it is in it, and nothing of what came after. A standalone server has none; there each node is
read as it is when its turn comes.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from gridfsmount.core.model import Node
from gridfsmount.errors import AccessDenied, Damaged, FileSystemError, StoreFailed
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document, decode_node
from gridfsmount.store.tree import Tree

log = logging.getLogger(__name__)

PAGE: Final = 5000
"""Nodes of one query: some MB. A query each, so that a fail-over in between costs nothing."""

LONG: Final = 4
"""Multiple of the deadline for one of them."""

# Codes of src/mongo/base/error_codes.yml.
_TOO_OLD: Final = 239
_UNAVAILABLE: Final = 246

_SETTLE_SECONDS: Final = 10.0
"""A collection that was made just now is in no snapshot for a moment."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment that is being looked at; of use inside the block that it was made for."""

    taken_ns: int
    """By the server's clock, in nanoseconds since 1970."""
    consistent: bool
    """It is one moment; else the nodes are read one after the other, as each is then."""
    nodes: Iterator[list[Node | Damaged]]
    """All of them, ascending; what is wrong in place of one that is malformed."""


class Moments:
    """Looks at a lake as it is at one moment."""

    def __init__(self, connection: Connection, tree: Tree) -> None:
        """Look at the tree of `connection`."""
        self._connection = connection
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._tree = tree

    @contextmanager
    def now(self) -> Iterator[Moment]:
        """This moment.

        Its nodes raise StoreFailed when the server keeps its snapshots for too short a time.
        """
        deployment = self._connection.deployment
        if deployment.primary:
            # Awaited by the majority, before the snapshot: that is of what the majority has, and
            # so of all that was acknowledged until now, attributes too.
            with suppress(AccessDenied):
                self._tree.allocate(1)
        with self._seam.operation("ask for the time"):
            clock = self._connection.client.admin.command("hello")["localTime"]
        session: ClientSession | None
        with self._session() as session, ThreadPoolExecutor(1, "moment") as ahead:
            taken_ns = round(clock.timestamp() * 1000) * 1_000_000
            yield Moment(taken_ns, session is not None, self._read(session, ahead))

    def _session(self) -> "ClientSession | nullcontext[None]":
        if not self._connection.deployment.transactions:
            return nullcontext()
        return self._connection.client.start_session(snapshot=True)

    def _read(
        self, session: ClientSession | None, ahead: ThreadPoolExecutor
    ) -> Iterator[list[Node | Damaged]]:
        page = self._first_page(session)
        while page:
            coming = ahead.submit(self._page, page[-1]["_id"], session)
            yield [_node(each) for each in page]
            page = coming.result()

    def _first_page(self, session: ClientSession | None) -> list[Document]:
        until = time.monotonic() + _SETTLE_SECONDS
        while True:
            try:
                return self._page(0, session)
            except FileSystemError as error:
                if _code(error) != _UNAVAILABLE or time.monotonic() > until:
                    raise
                log.info("once more: %s", error)
                time.sleep(0.1)

    def _page(self, after: object, session: ClientSession | None) -> list[Document]:
        try:
            with self._seam.operation("read the tree", factor=LONG):
                found = self._nodes.find({"_id": {"$gt": after}}, session=session).sort("_id", 1)
                return list(found.limit(PAGE).batch_size(PAGE))
        except FileSystemError as error:
            if _code(error) == _TOO_OLD:
                raise StoreFailed(
                    "the tree is so large that the server forgot the moment that was being read. "
                    "Let it remember for longer, as with db.adminCommand({setParameter: 1, "
                    "minSnapshotHistoryWindowInSeconds: 3600})"
                ) from error
            raise


def _node(document: Document) -> Node | Damaged:
    try:
        return decode_node(document)
    except Damaged as error:
        return error


def _code(error: FileSystemError) -> int | None:
    cause = error.__cause__
    return cause.code if isinstance(cause, OperationFailure) else None
