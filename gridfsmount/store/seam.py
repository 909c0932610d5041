"""The seam to pymongo: one deadline for every operation, one translation of its errors."""

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pymongo
from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from gridfsmount.errors import (
    AccessDenied,
    Conflict,
    Damaged,
    FileSystemError,
    NoSpace,
    StoreFailed,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

# Codes of src/mongo/base/error_codes.yml.
_UNAUTHORIZED: Final = 13
_WRITE_CONFLICT: Final = 112
_NO_SPACE: Final = frozenset({12299, 14031})  # quota exceeded, out of disk space
DUPLICATE: Final = 11000
_UNKNOWN: Final = 8  # what WiredTiger's own errors come as, with strerror's words
_ENOSPC: Final = os.strerror(errno.ENOSPC)

# Where pymongo goes on with its timeouts, its view of the topology, or the server's whole answer.
_DUMP: Final = re.compile(r" \(configured timeouts: |, Timeout: |, full error: ")

# Where the server goes on with the whole command: documents, bytes, names of files.
_REFUSED: Final = re.compile(
    r"(not authorized on \S+ to execute command) \{ (\w+): ([^\s,]+)[, ].*", re.DOTALL
)

_UNAVAILABLE: Final = (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
)


# What no document can hold, sent back as it was read: text that is not UTF-8, numbers beyond int64.
_UNFIT: Final = (BSONError, UnicodeEncodeError, OverflowError)


class Seam:
    """Bounds operations in time and turns pymongo's errors into the lake's."""

    def __init__(self, deadline: float) -> None:
        """Give every operation `deadline` seconds, fail-over and retries included."""
        self.deadline = deadline

    @contextmanager
    def operation(self, what: str, *, factor: float = 1.0) -> Iterator[None]:
        """Run the operations in the block under one deadline.

        Args:
            what: for messages, as in "read chunks of ...".
            factor: multiple of the deadline, for work whose length grows with the data.

        Raises:
            StoreUnavailable: no answer in time.
            AccessDenied, NoSpace, Conflict, Damaged, StoreFailed: as the server says.
        """
        try:
            with pymongo.timeout(self.deadline * factor):
                yield
        except (PyMongoError, *_UNFIT) as error:
            raise translate(what, error) from error

    def insist(self, what: str, call: Callable[[], object], *, factor: float = 1.0) -> None:
        """Run an operation that may be done twice, again when its connection is lost.

        For what the driver never sends again by itself: updates and removals of many documents,
        and aggregations that write.
        """
        with self.operation(what, factor=factor):
            while True:
                try:
                    call()
                    return
                except AutoReconnect as error:
                    if error.timeout:
                        raise
                    log.debug("once more: %s: %s", what, error)


def translate(what: str, error: Exception) -> FileSystemError:
    """The lake's error for one of pymongo's."""
    text = f"{what}: {reason_of(error)}"
    code = _code(error)
    if code in _NO_SPACE or (code == _UNKNOWN and _ENOSPC in text):
        return NoSpace(f"{what}: the server's disk is full")
    if code == _UNAUTHORIZED:
        return AccessDenied(text)
    if code == _WRITE_CONFLICT:
        return Conflict(text)
    if isinstance(error, _UNFIT):
        return Damaged(text)
    if isinstance(error, _UNAVAILABLE) or (isinstance(error, PyMongoError) and error.timeout):
        return StoreUnavailable(text)
    return StoreFailed(text)


def reason_of(error: Exception) -> str:
    """What the driver or the server says, without what it dumps: its state, the whole command."""
    details = (isinstance(error, OperationFailure) and error.details) or {}
    for part in (*_write_errors(details), details):
        if isinstance(part.get("errmsg"), str):
            return _REFUSED.sub(r"\1 \2 \3", str(part["errmsg"]))
    return _DUMP.split(str(error), maxsplit=1)[0]


def is_duplicate(error: PyMongoError) -> bool:
    """Whether a unique index refused the write."""
    return _code(error) == DUPLICATE


def _code(error: Exception) -> int | None:
    if not isinstance(error, OperationFailure):
        return None
    for part in _write_errors(error.details or {}):
        code = part.get("code")
        if isinstance(code, int):
            return code
    return error.code


def _write_errors(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a bulk write says of its single writes."""
    return (details.get("writeErrors") or []) + (details.get("writeConcernErrors") or [])
