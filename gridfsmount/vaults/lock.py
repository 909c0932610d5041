"""The lease of a vault in a directory: a lock of the file system."""

import fcntl
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gridfsmount.errors import InUse
from gridfsmount.vaults.disk import sync_folder
from gridfsmount.vaults.place import FOLDERS, Place

LOCK: Final = "lock"

UNLEASED: Final = "note-"
"""What is written without the lease begins so below `tmp`; whoever takes it lets that be."""

_UNLEASED_SECONDS: Final = 3600
"""After so long it was left behind by a crash."""


@contextmanager
def locked(vault: Place, what: str, by: str) -> "Iterator[Lock]":
    """Hold the lease, which the system lets go of when the process dies.

    Raises:
        InUse: somebody else holds it.
    """
    vault.check_there()
    place = vault.path / LOCK
    with vault.doing("take the lease"):
        # To be written: Linux locks a file of an NFS server only then. See flock(2).
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with vault.doing("take the lease"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InUse(f"{vault.path} is in use: {_holder(descriptor)}") from error
            note = {
                "what": what,
                "by": by,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": time.time(),
                "token": uuid.uuid4().hex,
            }
            text = json.dumps(note).encode()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
            _complete(vault)
            _sweep(vault, os.fstat(descriptor).st_mtime)
        yield Lock(vault, descriptor, text)
    finally:
        os.close(descriptor)


def _complete(vault: Place) -> None:
    """Make the folders that are missing: not every program copies empty ones."""
    missing = [each for each in (vault.path / name for name in FOLDERS) if not each.is_dir()]
    for each in missing:
        each.mkdir(exist_ok=True)
    for folder in {each.parent for each in missing}:
        sync_folder(folder)


def _sweep(vault: Place, now: float) -> None:
    """Remove what those who died left half done; the lease is held.

    On NFS some may stay, as long as somebody has it open.
    """
    for each in (vault.path / "tmp").iterdir():
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
            continue
        with suppress(OSError):
            if not each.name.startswith(UNLEASED) or each.stat().st_mtime < now - _UNLEASED_SECONDS:
                each.unlink()


class Lock:
    """The lease of a directory, while its lock is held."""

    def __init__(self, vault: Place, descriptor: int, text: bytes) -> None:
        self._vault = vault
        self._descriptor = descriptor
        self._text = text

    def renew(self) -> None:
        """The lock of a local disk cannot be lost, but that of an NFS server that was away can."""
        self._vault.check_there()
        with suppress(OSError):
            locked = os.fstat(self._descriptor)
            named = (self._vault.path / LOCK).stat()
            if os.path.samestat(locked, named) and self._text == os.pread(
                self._descriptor, len(self._text) + 1, 0
            ):
                return
        raise InUse(f"{self._vault.path}: the lease is lost to {_holder(self._descriptor)}")


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 10_000, 0))
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(note["since"])))
        return (
            f"`{note['what']}` of {note['by']}, process {note['pid']} on {note['host']}, "
            f"since {since}"
        )
    except (ValueError, KeyError, TypeError, OSError, OverflowError):
        return "somebody who holds its lock"
