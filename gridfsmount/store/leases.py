"""`fs.uploads`: who is writing which content.

A lease is taken before the first chunk is written and renewed while the writer lives, so that
what a crash leaves behind is found without scanning the chunks. All times are the server's, so
that machines' clocks do not matter.
"""

import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Sequence

from bson import Int64
from pymongo import UpdateOne

from gridfsmount.core.model import ContentId, Inode
from gridfsmount.errors import Damaged, FileSystemError
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document, content_id, content_key

log = logging.getLogger(__name__)


class Leases:
    """The leases of one mount on the contents it is writing."""

    def __init__(self, connection: Connection, mount: str, seconds: float) -> None:
        """Take leases in the name of `mount`; they expire `seconds` after the last renewal."""
        self._seam = connection.seam
        self._uploads = connection.acknowledged("uploads")
        # A server that crashes must not forget one: its writer could never commit.
        self._claims = connection.collection("uploads")
        self._mount = mount
        self._confirmed: dict[ContentId, float] = {}
        self._finished: deque[ContentId] = deque()
        self._suspects: dict[ContentId, object] = {}
        """Leases that had expired at the last look, and when they were renewed last."""
        self.seconds = seconds

    def take(self, content: ContentId, inode: Inode, name: str) -> None:
        """Announce that chunks of a new content will be written."""
        self.take_many([(content, inode, name)])

    def take_many(self, contents: Sequence[tuple[ContentId, Inode, str]]) -> None:
        """Announce that chunks of many new contents will be written."""
        if not contents:
            return
        began = _clock()
        host, process = socket.gethostname(), os.getpid()
        claims = [
            UpdateOne(
                {"_id": {"$eq": content_key(content)}},
                {
                    "$set": {
                        "mount": self._mount,
                        "host": host,
                        "pid": process,
                        "inode": Int64(inode),
                        "name": name,
                    },
                    "$currentDate": {"beat": True},
                },
                upsert=True,
            )
            for content, inode, name in contents
        ]
        rest = f" and {len(claims) - 1} more" if len(claims) > 1 else ""
        with self._seam.operation(f"take the lease for {contents[0][2]}{rest}"):
            self._claims.bulk_write(claims, ordered=False)
        self._confirmed.update((content, began) for content, _, _ in contents)

    def confirm(self, content: ContentId) -> bool:
        """Make sure of one lease; False when it expired and was swept away, with its chunks.

        One that the server confirmed a short while ago cannot have expired.
        """
        return self.confirm_many([content])

    def confirm_many(self, contents: Sequence[ContentId]) -> bool:
        """Make sure of leases; False when any of them expired and was swept away."""
        began = _clock()  # the server's time is later than that, however long the answer takes
        doubtful = [
            content
            for content in contents
            if began - self._confirmed.get(content, -math.inf) >= self.seconds / 3
        ]
        if not doubtful:
            return True
        renewals = [
            UpdateOne(
                {"_id": {"$eq": content_key(content)}, "mount": self._mount},
                {"$currentDate": {"beat": True}},
            )
            for content in doubtful
        ]
        with self._seam.operation(f"confirm {len(renewals)} leases"):
            result = self._uploads.bulk_write(renewals, ordered=False)
        if result.matched_count < len(renewals):
            return False
        self._confirmed.update((content, began) for content in doubtful)
        return True

    def renew(self) -> None:
        """Renew the leases of what this mount is writing."""
        active = [content_key(each) for each in list(self._confirmed)]
        with self._seam.operation("renew leases"):
            self._uploads.update_many(
                {"_id": {"$in": active}, "mount": self._mount}, {"$currentDate": {"beat": True}}
            )

    def forsake(self, content: ContentId) -> None:
        """Renew a lease no more: if its content cannot be removed now, the sweep will."""
        self._confirmed.pop(content, None)

    def finish(self, content: ContentId) -> None:
        """Give a lease back soon: the content is published, or its chunks are gone."""
        self._confirmed.pop(content, None)
        self._finished.append(content)

    @property
    def active(self) -> bool:
        """Whether this mount is writing anything."""
        return bool(self._confirmed)

    @property
    def finished(self) -> bool:
        """Whether leases wait to be released."""
        return bool(self._finished)

    def release_finished(self) -> None:
        """Remove the leases that were given back, all in one go."""
        finished = [self._finished.popleft() for _ in range(len(self._finished))]
        if not finished:
            return
        try:
            with self._seam.operation("release leases"):
                self._uploads.delete_many(
                    {"_id": {"$in": [content_key(each) for each in finished]}}
                )
        except FileSystemError:
            self._finished.extend(finished)
            raise

    def seize_expired(self, *, patiently: bool = False) -> list[ContentId]:
        """Take over the leases that nobody renewed in time; their contents are the caller's.

        A writer that comes back to life finds its lease gone and publishes nothing. `patiently`:
        only those that had expired at the last look already. After an outage of the server all
        have, and those who live need a moment to renew them.
        """
        seized: list[ContentId] = []
        suspects: dict[ContentId, object] = {}
        with self._seam.operation("look for expired leases"):
            for found in list(self._uploads.find(self._expired(), {"beat": 1, "erased": 1})):
                try:
                    content, beat = content_id(found["_id"]), found.get("beat")
                except Damaged as error:
                    log.error("left among the leases: %s", error)
                    continue
                waited = content in self._suspects and self._suspects[content] == beat
                is_suspect = waited or found.get("erased")
                if patiently and not is_suspect:
                    suspects[content] = beat
                    continue
                document = self._uploads.find_one_and_update(
                    {"_id": {"$eq": found["_id"]}, "beat": {"$eq": beat}},
                    {"$set": {"mount": self._mount}, "$currentDate": {"beat": True}},
                )
                if document is None:
                    continue  # it was renewed, or somebody else was faster
                seized.append(content)
                if not document.get("erased"):  # else it was told, a term ago
                    log.warning(
                        "the lease on %s by process %s on %s expired",
                        document.get("name"),
                        document.get("pid"),
                        document.get("host"),
                    )
        self._suspects = suspects
        return seized

    def expired(self) -> int:
        """How many leases nobody renewed in time."""
        with self._seam.operation("look for expired leases"):
            return self._uploads.count_documents(self._expired())

    def note_erased(self, content: ContentId) -> bool:
        """Note on a seized lease that its content was erased; whether that was noted before.

        It stays for one more term, so that what a writer still sends is found and erased too.
        """
        with self._seam.operation(f"note that content {content} was erased"):
            before = self._uploads.find_one_and_update(
                {"_id": {"$eq": content_key(content)}, "mount": self._mount},
                {"$set": {"erased": True}},
            )
        return before is None or bool(before.get("erased"))

    def inode_of(self, content: ContentId) -> Inode | None:
        """The file that a leased content was meant for."""
        with self._seam.operation(f"look for the lease of {content}"):
            lease = self._uploads.find_one({"_id": {"$eq": content_key(content)}}, {"inode": 1})
        inode = None if lease is None else lease.get("inode")
        return Inode(inode) if isinstance(inode, int) else None

    def _expired(self) -> Document:
        return {
            # What this mount is writing is not left behind, however long the server was away.
            "_id": {"$nin": [content_key(each) for each in list(self._confirmed)]},
            "$expr": {"$lt": ["$beat", {"$subtract": ["$$NOW", round(self.seconds * 1000)]}]},
        }


def _clock() -> float:
    # Goes on while the machine sleeps, which is when leases expire unnoticed.
    return time.clock_gettime(time.CLOCK_BOOTTIME)
