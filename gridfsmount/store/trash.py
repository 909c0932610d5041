"""`fs.trash`: contents that no name refers to, kept for a grace period.

The files document moves in here, so drivers stop seeing a removed file at once, while handles
that are open on any machine still find its chunks.

Who erases and who shows a content again may do so at the same moment. Each says first what it is
about to do, durably, and then looks what the other has said: the sweep claims the entry before it
looks for nodes, and whoever makes a node for a content that is there calls `keep` after the node
is. So at least one of them notices the other, and gives way.
"""

import contextlib
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Conflict, Damaged
from gridfsmount.store.connection import DURABLE, Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.encoding import Document, content_id, content_key, decode_content, same
from gridfsmount.store.filenames import Filenames
from gridfsmount.store.processes import Processes
from gridfsmount.store.seam import DUPLICATE
from gridfsmount.store.tree import Tree
from gridfsmount.store.undecoded import total

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Entries that are claimed together."""

ERASE_BYTES: Final = 256 << 20
"""What is erased in one go at most, unless one content is larger: well within a deadline."""

MOVING_SECONDS: Final = 10.0
"""For a content to arrive here; who moves it may have died in between."""

MOVING_POLL: Final = 0.05
"""Seconds between two looks for it."""

_ANNOUNCED: Final = timedelta(seconds=60)
"""A content is announced so long before its name is gone at most: that backup may show it."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of the trash erased, or would erase."""

    contents: int = 0
    bytes: int = 0
    more: bool = False
    """Whether it ended at its limit."""


class Trash:
    """Removal of contents in two steps."""

    def __init__(
        self,
        connection: Connection,
        contents: Contents,
        tree: Tree,
        filenames: Filenames,
        processes: Processes,
    ) -> None:
        """Serve the lake of `connection`."""
        self._seam = connection.seam
        self._filenames = filenames
        self._processes = processes
        self._files = connection.collection("files")
        self._trash = connection.acknowledged("trash")
        self._claims = self._trash.with_options(write_concern=DURABLE)
        self._raw = connection.raw("trash")
        self._nodes = connection.collection("tree")
        self._contents = contents
        self._tree = tree

    def announce(self, content: ContentId, name: str) -> None:
        """Note that a content is about to lose its name; harmless if it then does not."""
        with self._seam.operation(f"move {name} to the trash"):
            self._trash.update_one(
                {"_id": {"$eq": content_key(content)}},
                {
                    "$set": {"name": name},
                    "$currentDate": {"since": True},
                    "$unset": {"kept": "", "claim": ""},
                },
                upsert=True,
            )

    def announce_many(self, contents: Sequence[ContentId]) -> None:
        """The same for many contents, with their files documents."""
        if not contents:
            return
        with self._seam.operation(f"move {len(contents)} contents to the trash", factor=5):
            since = self._nodes.database.client.admin.command("hello")["localTime"]
            entries = [
                {"_id": each["_id"], "name": each.get("filename"), "since": since, "file": each}
                for each in self._contents.raw(contents)
            ]
            if not entries:
                return
            try:
                self._trash.insert_many(entries, ordered=False)  # three times as fast as updates
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(each["code"] != DUPLICATE for each in failures):
                    raise
                self._trash.bulk_write(
                    [
                        UpdateOne(
                            {"_id": {"$eq": entries[each["index"]]["_id"]}},
                            {"$set": entries[each["index"]], "$unset": {"kept": "", "claim": ""}},
                            upsert=True,
                        )
                        for each in failures
                    ],
                    ordered=False,
                )

    def settle(self, content: ContentId) -> None:
        """The name is gone: hide the content from drivers, unless another node shows it.

        Then they are told where that one is.
        """
        if self._tree.shows(content):
            self._forget([content])
            self._filenames.settle([content])
            return
        hidden = self._contents.hide(content)
        if hidden is None:
            return
        with self._seam.operation(f"keep the files document of {content}"):
            # The entry may be gone: a crash of the server may have lost it, or a sweep have met it
            # while the name was still there.
            filename = {"$literal": str(hidden.get("filename", ""))}
            entry = self._raw.find_one_and_update(
                {"_id": {"$eq": content_key(content)}},
                [
                    {
                        "$set": {
                            "file": {"$literal": hidden},
                            "name": {"$ifNull": ["$name", filename]},
                            "since": {"$ifNull": ["$since", "$$NOW"]},
                        }
                    }
                ],
                projection={"kept": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        if entry is not None and entry.get("kept"):
            self._contents.restore(hidden)

    def settle_many(self, contents: Sequence[ContentId]) -> None:
        """The same for many contents, announced or not.

        Entries of those that others show stay, until the sweep finds them to be needless: it alone
        can tell, when somebody else removes the others meanwhile.
        """
        shown = self._tree.shown(contents)
        if shown:
            self._filenames.settle(list(shown))
        lost = [each for each in contents if each not in shown]
        if not lost:
            return
        query = {**_any_of(lost), "file": {"$exists": True}}
        with self._seam.operation("look through the trash"):
            known = {content_id(each["_id"]) for each in self._trash.find(query, {"_id": 1})}
        # The others were shown by two, who both lose them now.
        self.announce_many([each for each in lost if each not in known])
        self._contents.hide_many(lost)
        with self._seam.operation("look through the trash"):
            kept = list(self._raw.find({**query, "kept": True}))
        for entry in kept:
            if (file := _file_of(entry)) is not None:
                self._contents.restore(file)

    def find(self, contents: Collection[ContentId]) -> tuple[list[Content], bool]:
        """What the files documents that are here say of those of some contents.

        And whether there is one among them that is on its way here, its document nowhere yet.
        """
        with self._seam.operation("look through the trash"):
            entries = list(self._trash.find(_any_of(contents)))
        found = []
        for entry in entries:
            with contextlib.suppress(Damaged):
                found.append(decode_content(_file_of(entry) or {}))
        return found, any(_file_of(entry) is None for entry in entries)

    def look_for(self, content: ContentId) -> tuple[Content | None, bool]:
        """A content that may be here by now; and whether it is on its way, if it is nowhere."""
        try:
            return self._contents.get(content), False
        except Damaged:
            found, moving = self.find([content])
            return (found[0] if found else None), moving

    def holds(self, content: ContentId) -> bool:
        """Whether a content is here, to stay until its time."""
        with self._seam.operation(f"look for content {content} in the trash"):
            found = self._trash.find_one({"_id": {"$eq": content_key(content)}}, {"_id": 1})
        return found is not None

    def keep(self, content: ContentId) -> None:
        """Make sure of a content that a new node shows, once that node is there for good.

        Raises:
            Conflict: it is being erased at this moment; the node must go.
            Damaged: it is gone.
        """
        with self._seam.operation(f"keep content {content}"):
            entry = self._raw.find_one_and_update(
                {"_id": {"$eq": content_key(content)}}, {"$set": {"kept": True}}
            )
        if entry is None:
            if not self._contents.exists(content):
                raise Damaged(f"content {content} is gone")
            return
        if entry.get("claim") is not None:
            raise Conflict(f"content {content} is being erased")
        if (file := _file_of(entry)) is not None:
            self._contents.restore(file)

    def keep_many(self, contents: Collection[ContentId]) -> set[ContentId]:
        """The same for many; returns those whose nodes must go."""
        keys = _any_of(contents)
        with self._seam.operation(f"keep {len(contents)} contents"):
            entries = {content_id(each["_id"]) for each in self._trash.find(keys, {"_id": 1})}
            # After that: what had an entry until now, and none any more, is erased.
            if not entries and self._files.count_documents(keys) == len(set(contents)):
                return set()  # nearly always
            there = {content_id(each["_id"]) for each in self._files.find(keys, {"_id": 1})}
        lost = self._keep_entries(entries) if entries else set()
        # What equals what is for the server to say.
        missing = set(contents) - entries - there
        return lost | {each for each in missing if not self._contents.exists(each)}

    def _keep_entries(self, contents: Collection[ContentId]) -> set[ContentId]:
        """Keep what is here, a batch at a time; returns what is being erased, or was."""
        keys = _any_of(contents)
        with self._seam.operation(f"keep {len(contents)} contents", factor=5):
            self._trash.update_many(keys, {"$set": {"kept": True}})
            entries = {content_id(each["_id"]): each for each in self._raw.find(keys)}
            claimed = {content for content, each in entries.items() if each.get("claim")}
            self._contents.restore_many(
                [
                    file
                    for content, each in entries.items()
                    if content not in claimed and (file := _file_of(each)) is not None
                ]
            )
        gone = set(contents) - entries.keys()
        return claimed | {each for each in gone if not self._contents.exists(each)}

    def keeps(self, content: ContentId) -> bool:
        """`keep`, as an answer: whether the node may stay."""
        try:
            self.keep(content)
        except (Conflict, Damaged) as error:
            log.info("not shown: %s", error)
            return False
        return True

    def recall(self, content: ContentId) -> bool:
        """Put the files document of a content that a node shows back; whether the trash had it."""
        with self._seam.operation(f"look for content {content} in the trash"):
            entry = self._raw.find_one({"_id": {"$eq": content_key(content)}})
        file = None if entry is None else _file_of(entry)
        if file is None:
            return False
        self._contents.restore(file)
        return True

    def sweep(self, grace: float, limit: int | None = None) -> Swept:
        """Erase what has been in the trash for `grace` seconds and is shown by no node.

        What came into it since a backup began stays while that is being made. Stops after about
        `limit` entries.
        """
        claim = uuid.uuid4().hex
        seen = contents = size = 0
        while True:
            entries = self._claim(_expired(grace, self._processes.backup_since()), claim)
            seen += len(entries)
            for group in _groups(self._unshown(entries, claim)):
                self._contents.erase_many([content for content, _ in group])
                self._drop([content for content, _ in group], claim)
                for content, entry in group:
                    log.info("erased %s (content %s)", entry.get("name"), content)
                contents += len(group)
                size += sum(_length(entry) for _, entry in group)
            if not entries or (limit is not None and seen >= limit):
                return Swept(contents, size, bool(entries))

    def expired(self, grace: float) -> Swept:
        """What a sweep would erase now; reads all of the trash."""
        pipeline: list[Document] = [
            {"$match": _expired(grace, self._processes.backup_since())},
            {"$project": {"length": "$file.length"}},
            {
                "$lookup": {
                    "from": self._nodes.name,
                    "localField": "_id",
                    "foreignField": "content",
                    "pipeline": [{"$limit": 1}, {"$project": {"_id": 1}}],
                    "as": "shown",
                }
            },
            {"$match": {"shown": []}},
            {"$group": {"_id": None, "contents": {"$sum": 1}, "bytes": {"$sum": "$length"}}},
        ]
        with self._seam.operation("look through the trash", factor=20):
            found = next(self._trash.aggregate(pipeline), {})
        return Swept(total(found.get("contents")), total(found.get("bytes")))

    def _claim(self, expired: Document, claim: str) -> dict[ContentId, RawBSONDocument]:
        """A batch of entries that are due and that nobody announces again from here on."""
        due = {**expired, "claim": {"$ne": claim}}
        with self._seam.operation("look through the trash"):
            documents = list(self._raw.find(due).limit(BATCH))
        entries: dict[ContentId, RawBSONDocument] = {}
        for document in documents:
            try:
                entries[content_id(document["_id"])] = document
            except Damaged as error:
                log.error("left in the trash: %s", error)
        if entries:
            with self._seam.operation("claim what is in the trash"):
                self._claims.update_many(
                    {**_any_of(entries), **expired}, {"$set": {"claim": claim}}
                )
            self._spare(self._processes.backup_since(), claim)
        return entries

    def _spare(self, since: datetime | None, claim: str) -> None:
        """Let go of what came here after a backup had begun: it may have begun just now."""
        if since is not None:
            with self._seam.operation("spare what a backup may need"):
                self._trash.update_many(
                    {"claim": claim, "since": {"$gte": since - _ANNOUNCED}},
                    {"$unset": {"claim": ""}},
                )

    def _unshown(
        self, entries: Mapping[ContentId, RawBSONDocument], claim: str
    ) -> list[tuple[ContentId, RawBSONDocument]]:
        """Those that no node shows; the others leave the trash."""
        shown = self._tree.shown(list(entries))
        for content in shown:
            if (file := _file_of(entries[content])) is not None:
                self._contents.restore(file)
        if shown:
            self._filenames.settle(list(shown))  # who removed the others may have died before that
            self._drop(list(shown), claim)
        # Once more: if a name was lost before the nodes were looked for, the grace begins anew.
        left = [content for content in entries if content not in shown]
        with self._seam.operation("look through the trash"):
            claimed = [
                content_id(each["_id"])
                for each in self._trash.find({**_any_of(left), "claim": claim}, {"_id": 1})
            ]
        return [(content, entries[content]) for content in claimed]

    def _drop(self, contents: Sequence[ContentId], claim: str) -> None:
        if contents:
            with self._seam.operation("take contents out of the trash"):
                self._trash.delete_many({**_any_of(contents), "claim": claim})

    def _forget(self, contents: Sequence[ContentId]) -> None:
        # Unless it has a files document: then somebody took the last file away meanwhile.
        with self._seam.operation("take contents out of the trash"):
            self._trash.delete_many({**_any_of(contents), "file": {"$exists": False}})


def _any_of(contents: Collection[ContentId]) -> Document:
    return {"_id": {"$in": [content_key(each) for each in contents]}}


def _expired(grace: float, backup: datetime | None) -> Document:
    """The query for what is due, while a backup is being made that began then."""
    query: Document = {"$expr": {"$lt": ["$since", {"$subtract": ["$$NOW", round(grace * 1000)]}]}}
    return query if backup is None else {**query, "since": {"$lt": backup - _ANNOUNCED}}


def _length(entry: Mapping[str, Any]) -> int:
    file = _file_of(entry)
    return 0 if file is None else max(0, total(file.get("length")))


def _file_of(entry: Mapping[str, Any]) -> Any:
    """The files document that an entry keeps; None for one without, or with something else."""
    file = entry.get("file")
    if not isinstance(file, Mapping) or same(file.get("_id")) != same(entry["_id"]):
        return None
    return file


def _groups(
    entries: Sequence[tuple[ContentId, RawBSONDocument]],
) -> Iterator[list[tuple[ContentId, RawBSONDocument]]]:
    """Stretches of what can be erased in one go."""
    group: list[tuple[ContentId, RawBSONDocument]] = []
    size = 0
    for content, entry in entries:
        if group and size + _length(entry) > ERASE_BYTES:
            yield group
            group, size = [], 0
        group.append((content, entry))
        size += _length(entry)
    if group:
        yield group
