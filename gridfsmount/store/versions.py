"""Versions as wholes: how they become sealed, and what is recorded of them.

Sealing goes in steps, each durable before the next: the version's node says that somebody is at
it (a claim, with a heartbeat of the server's clock); every node below is frozen, so that no query
of any machine changes it; and one update makes the version sealed for good. A claim that nobody
renews is as good as none: whoever meets it thaws what was frozen.
"""

import os
import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bson import Int64
from pymongo import ReturnDocument

from gridfsmount.core.model import Inode, Kind, Node, Origin, Seal, Source, State
from gridfsmount.errors import AlreadyExists, Conflict, Damaged, NotFound, ReadOnly
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document, decode_node, encode_origin, encode_seal
from gridfsmount.store.naming import decode_leniently
from gridfsmount.store.undecoded import text, total, usable_inode, usable_inodes

CLAIM_SECONDS: Final = 20.0
"""A claim that was not renewed for so long is dead; its owner renews it four times as often."""

BATCH: Final = 1000
"""Nodes that are frozen together."""

VERSIONS_INDEX: Final = "versions"
"""Sparse over `created_ns`, which only versions have."""

SEALING_INDEX: Final = "sealing"
"""Sparse over `sealing.attempt`: nearly always empty, so that asking costs nothing."""

_NOW_NS: Final[Document] = {"$multiply": [{"$toLong": "$$NOW"}, Int64(1_000_000)]}

_ALIVE: Final[Document] = {
    "$gt": ["$sealing.beat", {"$subtract": ["$$NOW", round(CLAIM_SECONDS * 1000)]}]
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process says when a version is about to be sealed."""

    process: str
    host: str
    pid: int
    writing: tuple[str, ...]
    """Files of the version that it has open for writing; some of them, when they are many."""


@dataclass(frozen=True, slots=True)
class Question:
    """A version that somebody is about to seal, and wants to know who writes in it."""

    version: Inode
    attempt: str


class Versions:
    """The versions of a lake."""

    def __init__(self, connection: Connection, process: str) -> None:
        """Work on the tree of `connection` in the name of `process`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._relaxed = connection.acknowledged("tree")
        self._process = process

    def all(self) -> list[Node]:
        """Every version of the lake that hangs in a folder, the oldest first."""
        with self._seam.operation("list the versions", factor=5):
            documents = list(self._nodes.find({"created_ns": {"$gt": 0}}).sort("created_ns"))
        nodes = [node for each in documents if (node := decode_leniently(each)) is not None]
        return [node for node in nodes if node.names[0].parent != 0]

    def measure(self, version: Inode) -> tuple[int, int]:
        """Files in a version, a hard link for one more, and their bytes, as they are now."""
        files = size = 0
        level, seen = [version], {version}
        while level:
            some, level = level[:BATCH], level[BATCH:]
            below: Document = {"names.parent": {"$in": some}}
            here = {"$filter": {"input": "$names", "cond": {"$in": ["$$this.parent", some]}}}
            single = {"$eq": [{"$size": "$names"}, 1]}
            names = {"$cond": [single, 1, {"$size": here}]}
            size_of = {"$cond": [{"$isNumber": "$size"}, "$size", 0]}
            pipeline: list[Document] = [
                # Names that are a document, and no array, are found too.
                {"$match": {**below, "kind": Kind.FILE.value, "names": {"$type": "array"}}},
                {"$project": {"count": names, "size": {"$multiply": [names, size_of]}}},
                {"$group": {"_id": 0, "files": {"$sum": "$count"}, "size": {"$sum": "$size"}}},
            ]
            with self._seam.operation(f"count what is in {len(some)} folders", factor=20):
                counted = next(self._nodes.aggregate(pipeline), {})
                found = self._nodes.find({**below, "kind": Kind.DIRECTORY.value}, {"_id": 1})
                inner = usable_inodes(found)
            files += total(counted.get("files"))
            size += total(counted.get("size"))
            level += [each for each in inner if each not in seen]
            seen.update(inner)
        return files, size

    # --- sealing -------------------------------------------------------------------------------

    def claim(self, version: Inode, by: str, attempt: str) -> None:
        """Begin to seal a draft; `attempt` is a `new_attempt`.

        From now on mounts refuse changes in it, and answer who writes.

        Raises:
            NotFound: it is gone.
            ReadOnly: it is sealed.
            AlreadyExists: somebody else is sealing it; the text says who.
        """
        claim: Document = {
            "attempt": attempt,
            "by": {"$literal": by},
            "host": {"$literal": socket.gethostname()},
            "pid": os.getpid(),
            "beat": "$$NOW",
            "answers": [],
        }
        with self._seam.operation(f"begin to seal inode {version}"):
            # $literal where text comes from people: "$x" would be a field.
            done = self._nodes.update_one(
                {
                    "_id": version,
                    "state": State.DRAFT.value,
                    "$nor": [{"sealing": {"$exists": True}, "$expr": _ALIVE}],
                },
                [{"$unset": "sealing"}, {"$set": {"sealing": claim, "rev": _next_rev()}}],
            )
            if done.matched_count == 1:
                return
            found = self._nodes.find_one({"_id": version})
        if found is None or found.get("state") is None:
            raise NotFound(f"inode {version} is no version, or is gone")
        node = decode_node(found)
        if node.state is State.SEALED:
            raise ReadOnly("it is sealed already")
        sealing = None if node.record is None else node.record.sealing
        if sealing is None:
            raise Conflict("it changed at this moment; try again")
        raise AlreadyExists(f"{sealing.by} is sealing it (process {sealing.pid} on {sealing.host})")

    def renew(self, version: Inode, attempt: str) -> bool:
        """Go on with an attempt; False when somebody else took it over or ended it."""
        with self._seam.operation(f"go on sealing inode {version}"):
            done = self._nodes.update_one(
                {"_id": version, "sealing.attempt": attempt},
                {"$currentDate": {"sealing.beat": True}},
            )
        return done.matched_count == 1

    def questions(self) -> list[Question]:
        """What this process has not answered yet."""
        query = {
            "sealing.attempt": {"$exists": True},
            "sealing.answers.process": {"$ne": self._process},
        }
        with self._seam.operation("look for versions that are being sealed"):
            found = list(self._nodes.find(query, {"sealing.attempt": 1}))
        return [
            Question(version, attempt)
            for each in found
            if (version := usable_inode(each["_id"])) is not None
            and isinstance(each["sealing"], dict)
            and isinstance(attempt := each["sealing"]["attempt"], str)
        ]

    def answer(self, question: Question, writing: Sequence[str]) -> None:
        """Say what this process writes in a version, having stopped all else."""
        answer = {
            "process": self._process,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "writing": list(writing),
        }
        with self._seam.operation(f"answer who writes in inode {question.version}"):
            self._relaxed.update_one(
                {"_id": question.version, "sealing.attempt": question.attempt},
                {"$push": {"sealing.answers": answer}},
            )

    def answers(self, version: Inode, attempt: str) -> list[Answer]:
        """What has been answered.

        Raises:
            Conflict: the attempt was ended by somebody else.
        """
        with self._seam.operation(f"read who writes in inode {version}"):
            found = self._nodes.find_one(
                {"_id": version, "sealing.attempt": attempt}, {"sealing.answers": 1}
            )
        if found is None:
            raise Conflict("sealing took too long without a sign of life, and was ended")
        answers = found["sealing"].get("answers")
        return [
            _answer(each)
            for each in (answers if isinstance(answers, list) else [])
            if isinstance(each, dict)
        ]

    def freeze(self, version: Inode, attempt: str) -> int:
        """Let nothing in a version change any more; returns how many nodes could until now.

        A folder is frozen before it is looked into: what is made in it after that is taken back
        by whoever made it, unless it is met here first. What was on its way from one folder to
        another may be missed: to be called until it returns 0.
        """

        def freeze(nodes: Sequence[object]) -> int:
            with self._seam.operation(f"freeze {len(nodes)} nodes", factor=5):
                return self._nodes.update_many(
                    {"_id": {"$in": list(nodes)}, "frozen": {"$ne": attempt}},
                    {"$set": {"frozen": attempt}},
                ).modified_count

        return self._each(version, freeze)

    def _each(self, version: Inode, change: Callable[[Sequence[object]], int]) -> int:
        """Call `change` for all nodes of a version, folders before what is in them; its sum."""
        folders, seen = [version], {version}
        changed = change(folders)
        while folders:
            some, folders = folders[:BATCH], folders[BATCH:]
            inner: list[Inode] = []
            with self._seam.operation(f"look into {len(some)} folders", factor=20):
                below = self._nodes.find(
                    {"names.parent": {"$in": some}}, {"_id": 1, "kind": 1}, batch_size=BATCH
                )
                while nodes := list(islice(below, BATCH)):
                    changed += change([each["_id"] for each in nodes])
                    inner += usable_inodes(
                        each for each in nodes if each.get("kind") == Kind.DIRECTORY.value
                    )
            folders += [each for each in inner if each not in seen]  # a loop ends here
            seen.update(inner)
        return changed

    def release(self, version: Inode, attempt: str) -> None:
        """Give an attempt up, if it is one: all that was frozen can change again."""
        if not self.renew(version, attempt):
            return

        def thaw(nodes: Sequence[object]) -> int:
            with self._seam.operation(f"thaw {len(nodes)} nodes", factor=5):
                self._nodes.update_many(
                    {"_id": {"$in": list(nodes)}, "frozen": {"$exists": True}},
                    {"$unset": {"frozen": ""}},
                )
            return 0

        self._each(version, thaw)
        with self._seam.operation(f"end the sealing of inode {version}"):
            self._nodes.update_one(
                {"_id": version, "sealing.attempt": attempt},
                {"$unset": {"sealing": ""}, "$inc": {"rev": 1}},
            )

    def end_given_up(self) -> int:
        """Give up the attempts that nobody goes on with; returns how many there were."""
        query = {"sealing.attempt": {"$exists": True}, "$nor": [{"$expr": _ALIVE}]}
        with self._seam.operation("look for versions that nobody seals any more"):
            found = usable_inodes(self._nodes.find(query, {"_id": 1}))
        ended = 0
        for version in found:
            attempt = new_attempt()
            # It goes on after all, or was never one.
            with suppress(NotFound, AlreadyExists, ReadOnly, Conflict, Damaged):
                self.claim(version, "nobody", attempt)
                self.release(version, attempt)
                ended += 1
        return ended

    def seal(self, version: Inode, attempt: str, seal: Seal) -> Node:
        """Make a version sealed for good; its time is the server's, whatever `seal` says.

        Raises:
            Conflict: the attempt was ended by somebody else.
        """
        fields = {
            **{name: {"$literal": value} for name, value in encode_seal(seal).items()},
            "at_ns": _NOW_NS,
        }
        sealed: Document = {"state": State.SEALED.value, "seal": fields, "rev": _next_rev()}
        with self._seam.operation(f"seal inode {version}"):
            document = self._nodes.find_one_and_update(
                {"_id": version, "sealing.attempt": attempt, "state": State.DRAFT.value},
                [{"$set": sealed}, {"$unset": "sealing"}],
                return_document=ReturnDocument.AFTER,
            )
            if document is None:  # an attempt whose answer was lost may have arrived
                document = self._nodes.find_one(
                    {"_id": version, "frozen": attempt, "state": State.SEALED.value}
                )
        if document is None:
            raise Conflict("sealing took too long without a sign of life, and was ended")
        return decode_node(document)

    # --- what is recorded ----------------------------------------------------------------------

    def set_parent(self, version: Inode, parent: Origin) -> None:
        """Record what a version was forked from."""
        self._record(version, {"parent": {"$literal": encode_origin(parent)}})

    def add_source(self, version: Inode, source: Source) -> None:
        """Record what a version was made from; one of the same version is replaced.

        Its time is the server's. A sealed version takes it too: it adds to what is known.
        """
        entry: Document = {
            **{name: {"$literal": value} for name, value in encode_origin(source.origin).items()},
            "note": {"$literal": source.note},
            "by": {"$literal": source.by},
            "at_ns": _NOW_NS,
        }
        others = _other_sources(source.origin.version)
        self._record(version, {"sources": {"$concatArrays": [others, [entry]]}})

    def drop_source(self, version: Inode, origin: Inode) -> None:
        """Forget that a draft was made from a version.

        Raises:
            ReadOnly: it is sealed.
        """
        self._record(version, {"sources": _other_sources(origin)}, state=State.DRAFT)

    def _record(self, version: Inode, fields: Document, *, state: State | None = None) -> None:
        query: Document = {"_id": version, "created_ns": {"$exists": True}}
        if state is not None:
            query["state"] = state.value
        with self._seam.operation(f"record something of inode {version}"):
            done = self._nodes.update_one(query, [{"$set": {**fields, "rev": _next_rev()}}])
        if done.matched_count != 1:
            if state is not None:
                raise ReadOnly("it is sealed: what it was made from can only be added to")
            raise NotFound(f"inode {version} is no version, or is gone")


def new_attempt() -> str:
    """A name for one attempt to seal a version."""
    return uuid.uuid4().hex


def _answer(found: Document) -> Answer:
    writing = found.get("writing")
    return Answer(
        process=text(found.get("process")),
        host=text(found.get("host")),
        pid=total(found.get("pid")),
        writing=tuple(map(str, writing)) if isinstance(writing, list) else (),
    )


def _next_rev() -> Document:
    return {"$add": [{"$ifNull": ["$rev", Int64(0)]}, Int64(1)]}


def _other_sources(origin: Inode) -> Document:
    return {
        "$filter": {
            "input": {"$ifNull": ["$sources", []]},
            "cond": {"$ne": ["$$this.version", origin]},
        }
    }
