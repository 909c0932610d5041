"""The lease of a vault in MongoDB: a document, which whoever holds it renews by a thread.

All times are the server's. A holder that was silent for a minute is dead, and so is a process of
this machine that there is no more.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gridfsmount.errors import FileSystemError, InUse
from gridfsmount.repeating import repeating
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document

DEAD_SECONDS: Final = 60.0
"""Who was silent for so long has lost the lease to whoever asks next."""

_LEASE: Final = "lease"


class VaultLease:
    """The lease while it is held; safe to use from several threads."""

    def __init__(self, connection: Connection, address: str, dead_seconds: float) -> None:
        """Speak of the vault at `address`; `dead_seconds` as DEAD_SECONDS."""
        self._seam = connection.seam
        self._vault = connection.collection("vault")
        self._relaxed = connection.acknowledged("vault")
        self._address = address
        self._dead_seconds = dead_seconds
        self._token = uuid.uuid4().hex
        self._sure_until = 0.0
        """Monotonic time until which nobody else can have it."""

    @contextlib.contextmanager
    def held(self, what: str, by: str) -> Iterator[None]:
        """Hold it while a block runs.

        Raises:
            InUse: somebody else does.
        """
        self._take(what, by)
        try:
            with repeating(self._renew_quietly, self._dead_seconds / 4, "vault lease"):
                yield
        finally:
            # What cannot be told now is found out by whoever asks next.
            with contextlib.suppress(FileSystemError), self._seam.operation("end the lease"):
                self._relaxed.delete_one({"_id": _LEASE, "token": self._token})

    def _take(self, what: str, by: str) -> None:
        fields: Document = {
            "token": self._token,
            "what": what,
            "by": by,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "machine": _machine(),
        }
        taken: Document = {name: {"$literal": value} for name, value in fields.items()}
        taken |= {"_id": _LEASE, "since": "$$NOW", "beat": "$$NOW"}
        asked = time.monotonic()
        with self._seam.operation(f"{self._address}: take the lease"):
            found = self._vault.find_one({"_id": _LEASE}) or {}
            age = {"$subtract": ["$$NOW", round(self._dead_seconds * 1000)]}
            # One that is not there is free, too: what is missing comes before every date.
            free: list[Document] = [{"$lt": ["$beat", age]}]
            if _is_dead(found):
                free.append({"$eq": ["$token", {"$literal": found.get("token")}]})
            change = [{"$replaceWith": {"$cond": [{"$or": free}, taken, "$$ROOT"]}}]
            with contextlib.suppress(DuplicateKeyError):  # another one came at the same moment
                answer = self._vault.find_one_and_update(
                    {"_id": _LEASE}, change, upsert=True, return_document=ReturnDocument.AFTER
                )
                found = answer or {}
        if found.get("token") != self._token:
            raise InUse(f"{self._address} is in use: {_holder(found)}")
        self._sure_until = asked + self._dead_seconds / 2

    def renew(self) -> None:
        """Make sure that it is still held; asks the server now and then.

        Raises:
            InUse: somebody else has it, or the vault is gone.
        """
        if time.monotonic() >= self._sure_until:
            self.renew_now()

    def renew_now(self) -> None:
        """The same, by the server: nobody else has it for a minute from now on."""
        asked = time.monotonic()
        with self._seam.operation(f"{self._address}: renew the lease"):
            found = self._vault.update_one(
                {"_id": _LEASE, "token": self._token}, {"$currentDate": {"beat": True}}
            )
        if found.matched_count == 0:
            raise InUse(f"{self._address}: the lease is lost: this process was silent for too long")
        self._sure_until = asked + self._dead_seconds / 2

    def _renew_quietly(self) -> None:
        # An outage only postpones it; what is lost is told to whoever changes something.
        with contextlib.suppress(FileSystemError):
            self.renew_now()


def _machine() -> str:
    """What two processes have in common if each can tell whether the other lives."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex


def _is_dead(found: Document) -> bool:
    """Whether the holder was a process of this machine, and is no more."""
    pid = found.get("pid")
    if found.get("machine") != _machine() or not isinstance(pid, int):
        return False
    return not Path(f"/proc/{pid}").exists()


def _holder(found: Document) -> str:
    since = found.get("since")
    when = since.astimezone().strftime("%Y-%m-%d %H:%M") if isinstance(since, datetime) else "?"
    return (
        f"`{found.get('what')}` of {found.get('by')}, process {found.get('pid')} on "
        f"{found.get('host')}, since {when}"
    )
