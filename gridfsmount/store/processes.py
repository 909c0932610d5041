"""`fs.lake`: which processes are at work on a lake, and may be writing.

Each says so when it begins, and every few seconds again; what says nothing any more is dead, or
so far away that nothing can wait for it. All times are the server's.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bson import Int64

from gridfsmount import __version__
from gridfsmount.core.model import Inode
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.undecoded import total, usable_inode

BEAT_SECONDS: Final = 5.0
"""Between two signs of life."""

DEAD_SECONDS: Final = 15.0
"""Who was silent for so long is taken for dead."""

MOUNT: Final = "mount"

BACKUP: Final = "backup create"
"""Reads what was there when it began: what is removed after that is not erased meanwhile."""

_FORGET_SECONDS: Final = 24 * 3600.0
"""What died without a farewell is told of for so long."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that works on the lake."""

    id: str
    what: str
    """The command: MOUNT, "put"."""
    host: str
    pid: int
    version: str
    """Of the program."""
    place: str
    """Its mount point, if it is a mount."""
    writing: tuple[Inode, ...] = ()
    """Versions that it is writing all the time, and that so cannot be sealed."""
    age: float | None = None
    """Seconds since its first sign of life; None when that is not known."""
    silent: float | None = None
    """Seconds since its last one."""

    @property
    def alive(self) -> bool:
        """Whether it gave a sign of life lately."""
        return self.silent is not None and self.silent < DEAD_SECONDS

    @property
    def answers(self) -> bool:
        """Whether it says what it writes when a version is about to be sealed."""
        return self.what == MOUNT


class Processes:
    """Signs of life of this process and all others."""

    def __init__(self, connection: Connection, process: str) -> None:
        """Speak for `process`."""
        self._seam = connection.seam
        self._lake = connection.acknowledged("lake")
        self._id = process

    def announce(self, what: str, *, place: str = "", writing: Sequence[Inode] = ()) -> None:
        """Say that this process begins, or that it still is at work."""
        process: Document = {
            "what": what,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "place": place,
            "writing": [Int64(each) for each in writing],
        }
        fields: Document = {
            "process": {"$literal": process},
            "beat": "$$NOW",
            "since": {"$ifNull": ["$since", "$$NOW"]},
        }
        with self._seam.operation("say that this process is at work"):
            self._lake.update_one({"_id": f"process {self._id}"}, [{"$set": fields}], upsert=True)

    def leave(self) -> None:
        """Say that this process ends; also for those that died a day ago."""
        with self._seam.operation("say that this process ends"):
            self._lake.delete_many(
                {"$or": [{"_id": f"process {self._id}"}, _silent(_FORGET_SECONDS)]}
            )

    def alive(self) -> list[Process]:
        """All that gave a sign of life lately, this one included."""
        query = {"process": {"$exists": True}, "$nor": [_silent(DEAD_SECONDS)]}
        with self._seam.operation("look which processes are at work"):
            documents = list(self._lake.find(query))
        return [_decode(each) for each in documents if isinstance(each["process"], dict)]

    def seen(self) -> list[Process]:
        """All that gave a sign of life within a day and did not say goodbye, the oldest first."""
        ages: Document = {
            name: {
                "$cond": [
                    {"$eq": [{"$type": f"${field}"}, "date"]},
                    {"$subtract": ["$$NOW", f"${field}"]},
                    None,
                ]
            }
            for name, field in (("age", "since"), ("silent", "beat"))
        }
        query: Document = {"process": {"$type": "object"}, "beat": {"$type": "date"}}
        stages = [{"$match": query}, {"$addFields": ages}, {"$sort": {"since": 1, "_id": 1}}]
        with self._seam.operation("look which processes are or were at work"):
            found = [_decode(each) for each in self._lake.aggregate(stages)]
        return [each for each in found if (each.silent or 0.0) < _FORGET_SECONDS]

    def backup_since(self) -> datetime | None:
        """When the oldest of the backups began that are being made now."""
        query = {"process.what": BACKUP, "$nor": [_silent(DEAD_SECONDS)]}
        with self._seam.operation("look whether a backup is being made"):
            found = [each.get("since") for each in self._lake.find(query, {"since": 1})]
        return min((each for each in found if isinstance(each, datetime)), default=None)


def _silent(seconds: float) -> Document:
    age = {"$subtract": ["$$NOW", round(seconds * 1000)]}
    return {"process": {"$exists": True}, "$expr": {"$lt": ["$beat", age]}}


def _decode(document: Document) -> Process:
    found: dict[str, Any] = document["process"]
    writing = found.get("writing")
    versions = writing if isinstance(writing, list) else []
    return Process(
        id=str(document["_id"]).removeprefix("process "),
        what=str(found.get("what", "")),
        host=str(found.get("host", "")),
        pid=total(found.get("pid")),
        version=str(found.get("version", "")),
        place=str(found.get("place", "")),
        writing=tuple(number for each in versions if (number := usable_inode(each)) is not None),
        age=_seconds(document.get("age")),
        silent=_seconds(document.get("silent")),
    )


def _seconds(milliseconds: object) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int) else None
