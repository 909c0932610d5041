"""`fs.tree`: one document an inode.

A change of one document is atomic; callers that must not overwrite another's change give the
`rev` they saw, and get `Conflict` when it is no longer true. A node that is frozen, since its
version is being sealed or is sealed, refuses every change with `ReadOnly`, in the same query: no
machine has to know of the seal for that. What spans several documents is in
`gridfsmount.store.commits`.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bson import Int64
from pymongo import ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from gridfsmount.core.model import NO_FOLDER, ROOT, Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    DirectoryNotEmpty,
    LakeError,
    ReadOnly,
    Stale,
)
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import (
    EXACT,
    Document,
    content_key,
    decode_node,
    encode_name,
    encode_node,
    encode_xattrs,
    is_exact,
)
from gridfsmount.store.naming import (
    Page,
    decode_leniently,
    first_pages,
    names_of,
    page_of,
    path_of,
)
from gridfsmount.store.seam import DUPLICATE
from gridfsmount.store.undecoded import usable_inodes

NAMES_INDEX: Final = "names"
"""Unique over parent and name; listing a directory is a walk along it."""

GIVEN_UP: Final = 16
"""Contents that one node remembers it will never show: more writers do not die at once."""

_PARENTS: Final = 100
"""Directories of one question."""

_CHANGEABLE: Final[Document] = {"frozen": {"$exists": False}}
"""Part of the query of every change: what is sealed stays as it is, whoever believes otherwise."""


class Tree:
    """The nodes of a lake."""

    def __init__(self, connection: Connection) -> None:
        """Work on the lake that `connection` leads to."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._relaxed = connection.acknowledged("tree")
        self._lake = connection.collection("lake")

    def get(self, inode: Inode) -> Node | None:
        """The node of that number, if there is one."""
        with self._seam.operation(f"read inode {inode}"):
            document = self._nodes.find_one({"_id": inode})
        return None if document is None else decode_node(document)

    def find(self, parent: Inode, name: str) -> Node | None:
        """The node that a directory lists under `name`, if any."""
        with self._seam.operation(f"look up {name!r} in inode {parent}"):
            document = self._nodes.find_one(_named(Name(parent, name)))
        return None if document is None else decode_node(document)

    def find_many(self, parent: Inode, names: Sequence[str]) -> dict[Name, Node]:
        """The nodes that a directory lists under these names, as far as there are any."""
        wanted = {Name(parent, name) for name in names}
        query = {"names": {"$elemMatch": {"parent": parent, "name": {"$in": list(names)}}}}
        with self._seam.operation(f"look up {len(names)} names in inode {parent}"):
            documents = list(self._nodes.find(query).hint(NAMES_INDEX))
        nodes = [node for each in documents if (node := decode_leniently(each)) is not None]
        return {name: node for node in nodes for name in node.names if name in wanted}

    def find_places(self, places: Collection[Name]) -> dict[Name, Node]:
        """The nodes at these places, in any directories, as far as there are any."""
        names: dict[Inode, list[str]] = {}
        for place in places:
            names.setdefault(place.parent, []).append(place.name)
        found: dict[Name, Node] = {}
        parents = list(names)
        for at in range(0, len(parents), _PARENTS):
            group = parents[at : at + _PARENTS]
            if len(group) == 1:
                found |= self.find_many(group[0], names[group[0]])
                continue
            queries = [
                {"names": {"$elemMatch": {"parent": each, "name": {"$in": names[each]}}}}
                for each in group
            ]
            with self._seam.operation(f"look up names in {len(group)} folders"):
                documents = list(self._nodes.find({"$or": queries}).hint(NAMES_INDEX))
            nodes = [node for each in documents if (node := decode_leniently(each)) is not None]
            found |= {name: node for node in nodes for name in node.names}
        return found

    def at(self, path: str) -> Node | None:
        """The node at a path below the root, if there is one; links are not followed."""
        node = self.get(ROOT)
        for name in path.split("/"):
            if node is None:
                return None
            node = self.find(node.inode, name)
        return node

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        """Up to about `limit` entries of a directory whose names come after `after`."""
        with self._seam.operation(f"list inode {parent}"):
            documents = list(
                self._nodes.find(
                    {"names": {"$elemMatch": {"parent": parent, "name": {"$gt": after}}}}
                )
                .hint(NAMES_INDEX)
                .limit(limit)
                .batch_size(limit)
            )
        return page_of(documents, parent, after, limit)

    def first_pages(self, parents: Sequence[Inode], limit: int) -> dict[Inode, Page]:
        """The first pages of some directories, as far as about `limit` entries reach."""
        query = {"names.parent": {"$in": list(parents)}}
        with self._seam.operation(f"list {len(parents)} folders"):
            found = self._nodes.find(query).hint(NAMES_INDEX).limit(limit).batch_size(limit)
            documents = list(found)
        return first_pages(documents, parents, limit)

    def has_children(self, inode: Inode, session: ClientSession | None = None) -> bool:
        """Whether any name lies in the directory."""
        with self._seam.operation(f"look into inode {inode}"):
            found = self._nodes.find_one({"names.parent": inode}, {"_id": 1}, session=session)
        return found is not None

    def children_of_kind(self, parent: Inode, kind: Kind) -> list[Node]:
        """All entries of one kind; for folders of versions, which are short."""
        with self._seam.operation(f"list inode {parent}"):
            documents = list(self._nodes.find({"names.parent": parent, "kind": kind.value}))
        return [node for each in documents if (node := decode_leniently(each)) is not None]

    def by_content(self, content: ContentId, limit: int = 0) -> list[Node]:
        """The nodes that show a content."""
        with self._seam.operation(f"find the nodes of content {content}"):
            documents = list(
                self._nodes.find({"content": {"$eq": content_key(content)}}).limit(limit)
            )
        return [node for each in documents if (node := decode_leniently(each)) is not None]

    def shows(self, content: ContentId) -> bool:
        """Whether any node shows a content, even one that is malformed."""
        with self._seam.operation(f"find a node of content {content}"):
            found = self._nodes.find_one({"content": {"$eq": content_key(content)}}, {"_id": 1})
        return found is not None

    def shown(self, contents: Sequence[ContentId]) -> set[ContentId]:
        """Those of `contents` that any node shows, even one that is malformed."""
        if not contents:
            return set()
        keys = {content_key(each): each for each in contents if is_exact(each)}
        with self._seam.operation(f"find the nodes of {len(keys)} contents"):
            query = {"content": {"$in": list(keys)}}
            found = [each["content"] for each in self._nodes.find(query, {"content": 1, "_id": 0})]
        if len(keys) == len(contents) and all(isinstance(each, EXACT) for each in found):
            return {keys[each] for each in found}
        # What equals what is for the server to say: 1 and 1.0, or an array that has the value.
        return {content for content in contents if self.shows(content)}

    def existing(self, inodes: Sequence[Inode]) -> set[Inode]:
        """Those of `inodes` that there are."""
        with self._seam.operation("look for inodes"):
            return {
                Inode(each["_id"])
                for each in self._nodes.find({"_id": {"$in": list(inodes)}}, {"_id": 1})
            }

    def open_folders(self, inodes: Sequence[Inode]) -> set[Inode]:
        """Those of some directories that are there and not frozen.

        Who makes a name in one looks after that, and takes it back if its directory is none of
        them.
        """
        with self._seam.operation("look for directories"):
            found = self._nodes.find({"_id": {"$in": list(inodes)}, **_CHANGEABLE}, {"_id": 1})
            return {Inode(each["_id"]) for each in found}

    def path(self, inode: Inode) -> str | None:
        """Path below the root, by the node's first name; None when it hangs on nothing."""
        return self.paths([inode]).get(inode)

    def paths(self, inodes: Sequence[Inode]) -> dict[Inode, str]:
        """Paths below the root of those `inodes` that hang on it."""
        pipeline: list[Document] = [
            {"$match": {"_id": {"$in": list(inodes)}}},
            self._climb(),
            {"$project": {"names": 1, "above._id": 1, "above.names": 1}},
        ]
        with self._seam.operation("find the paths of inodes"):
            documents = list(self._nodes.aggregate(pipeline))
        found = {Inode(each["_id"]): path_of(each) for each in documents}
        return {inode: path for inode, path in found.items() if path is not None}

    def ancestors(self, inode: Inode) -> set[Inode]:
        """All directories above an inode."""
        pipeline: list[Document] = [
            {"$match": {"_id": inode}},
            self._climb(),
            {"$project": {"above._id": 1}},
        ]
        with self._seam.operation(f"find what is above inode {inode}"):
            return {
                inode
                for document in self._nodes.aggregate(pipeline)
                for inode in usable_inodes(document["above"])
            }

    def _climb(self) -> Document:
        return {
            "$graphLookup": {
                "from": self._nodes.name,
                "startWith": "$names.parent",
                "connectFromField": "names.parent",
                "connectToField": "_id",
                "as": "above",
            }
        }

    def clock_ns(self) -> int:
        """The server's time, in nanoseconds since 1970."""
        with self._seam.operation("ask for the time"):
            now = self._nodes.database.client.admin.command("hello")["localTime"]
        return int(now.timestamp() * 1000) * 1_000_000

    def allocate(self, count: int) -> range:
        """Numbers for `count` new nodes, never given out before.

        Durable: a counter that a crash sets back would give them out again.
        """
        with self._seam.operation("reserve inode numbers"):
            before = self._lake.find_one_and_update({"_id": "inodes"}, {"$inc": {"next": count}})
        if before is None or not isinstance(before.get("next"), int):
            raise Damaged("the lake's inode counter is missing: run the mount again")
        return range(before["next"], before["next"] + count)

    def insert(self, node: Node) -> None:
        """Add a node.

        Raises:
            AlreadyExists: one of its names is taken.
        """
        with self._seam.operation(f"create {node.names[0].name!r}"):
            try:
                self._nodes.insert_one(encode_node(node))
            except DuplicateKeyError as error:
                raise AlreadyExists(node.names[0].name) from error

    def insert_below(self, node: Node) -> bool:
        """Add a node, and look for its directory after that, in one request.

        Returns whether the directory is there and not frozen: one that was removed or sealed
        meanwhile is to be noticed. A version is as old as the server's clock says: machines'
        clocks may differ, and the newest one must be the same everywhere.

        Raises:
            AlreadyExists: the name is taken.
        """
        document = encode_node(node)
        if node.state is not None:
            document["created_ns"] = Int64(self.clock_ns())
        number = document.pop("_id")
        requests = [
            UpdateOne({"_id": number}, {"$setOnInsert": document}, upsert=True),
            # Changes nothing: a find would be one more request.
            UpdateOne({"_id": node.parent, **_CHANGEABLE}, {"$unset": {"nothing": ""}}),
        ]
        with self._seam.operation(f"create {node.names[0].name!r}"):
            try:
                return self._nodes.bulk_write(requests).matched_count == 1
            except BulkWriteError as error:
                if any(each["code"] != DUPLICATE for each in error.details["writeErrors"]):
                    raise
                raise AlreadyExists(node.names[0].name) from error

    def insert_many(self, nodes: Sequence[Node]) -> set[Inode]:
        """Add nodes, and return those that were refused since their name is taken."""
        with self._seam.operation(f"create {len(nodes)} nodes"):
            try:
                self._nodes.insert_many([encode_node(node) for node in nodes], ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(each["code"] != DUPLICATE for each in failures):
                    raise
                return {nodes[each["index"]].inode for each in failures}
        return set()

    def update(self, inode: Inode, fields: Mapping[str, Any], rev: int | None = None) -> Node:
        """Set attributes of a node (as stored), and return it as it is then.

        Not awaited by the majority: the next change of names or contents takes it along.

        Raises:
            NotFound: it is gone.
            ReadOnly: it is frozen.
        """
        change: Document = {
            "$inc": {"rev": 1},
            "$set": {
                name: Int64(value) if name.endswith("_ns") else value
                for name, value in fields.items()
            },
        }
        with self._seam.operation(f"change inode {inode}"):
            document = self._relaxed.find_one_and_update(
                {"_id": inode, **_CHANGEABLE, **({} if rev is None else {"rev": rev})},
                change,
                return_document=ReturnDocument.AFTER,
            )
        if document is None:
            raise self.refusal(inode, Stale(f"inode {inode}") if rev is None else None)
        return decode_node(document)

    def set_xattrs(self, node: Node, xattrs: Mapping[str, bytes]) -> Node:
        """Replace a node's extended attributes, if nobody changed it since.

        Raises:
            Conflict: the node changed, or is gone.
        """
        fields = {"xattrs": encode_xattrs(xattrs), "ctime_ns": time.time_ns()}
        return self.update(node.inode, fields, node.rev)

    def show(
        self,
        inode: Inode,
        content: Content | None,
        mtime_ns: int,
        clear_mode: int,
        session: ClientSession | None = None,
    ) -> tuple[ContentId | None, Node] | None:
        """Make a published content that of a file; None when the file is gone.

        Returns the content that it had until then, and the node as it is now.

        Raises:
            Damaged: the content was given up meanwhile: `give_up`.
            ReadOnly: the file is frozen.
        """
        fields: Document = {
            "size": Int64(0 if content is None else content.length),
            "mtime_ns": Int64(mtime_ns),
        }
        # The status changed with the last write, and not once more now; or since, by itself. A time
        # that was set ahead is no time at which anything changed.
        written_ns = min(mtime_ns, time.time_ns())
        change: Document = {
            "$set": fields,
            "$max": {"ctime_ns": Int64(written_ns)},
            "$inc": {"rev": 1},
        }
        if content is None:
            change["$unset"] = {"content": ""}
        else:
            fields["content"] = content_key(content.id)
        if clear_mode:
            change["$bit"] = {"mode": {"and": 0o7777 & ~clear_mode}}
        query: Document = {"_id": inode, **_CHANGEABLE}
        if content is not None:
            query["given_up"] = {"$ne": content_key(content.id)}
        with self._seam.operation(f"commit inode {inode}"):
            before = self._nodes.find_one_and_update(query, change, session=session)
            now = None
            if before is None:
                now = self._nodes.find_one({"_id": inode}, {"frozen": 1}, session=session)
        if before is None and now is not None:
            if "frozen" in now:
                raise _frozen(inode)
            raise Damaged(f"inode {inode}: the upload was idle for too long and was given up")
        if before is None:
            return None
        old = decode_node(before)
        mode = old.mode & ~clear_mode if old.mode is not None else None
        node = replace(
            old,
            size=int(fields["size"]),
            mtime_ns=mtime_ns,
            ctime_ns=max(old.ctime_ns, written_ns),
            content=None if content is None else content.id,
            mode=mode,
            rev=old.rev + 1,
        )
        return old.content, node

    def give_up(self, inode: Inode, content: ContentId) -> None:
        """See to it that a file never shows a content, whoever comes back to life and tries."""
        change = {
            "$push": {"given_up": {"$each": [content_key(content)], "$slice": -GIVEN_UP}},
            "$inc": {"rev": 1},
        }
        with self._seam.operation(f"give up content {content}"):
            self._nodes.update_one(
                {"_id": inode, "given_up": {"$ne": content_key(content)}}, change
            )

    def relink(self, node: Node, content: ContentId, size: int, mtime_ns: int) -> None:
        """Show another revision of a foreign file, if nobody changed the node since.

        Raises:
            Conflict: the node changed.
            ReadOnly: it is frozen.
        """
        fields = {
            "content": content_key(content),
            "size": Int64(size),
            "mtime_ns": Int64(mtime_ns),
            "ctime_ns": Int64(time.time_ns()),
        }
        with self._seam.operation(f"show content {content}"):
            result = self._nodes.update_one(_as_seen(node), {"$set": fields, "$inc": {"rev": 1}})
        if result.matched_count != 1:
            raise self.refusal(node.inode)

    def set_names(
        self,
        node: Node,
        names: Sequence[Name],
        ctime_ns: int,
        *,
        version: Inode | None = None,
        session: ClientSession | None = None,
    ) -> Node:
        """Give a node other names (and another version), if nobody changed it since.

        Raises:
            AlreadyExists: a name is taken.
            Conflict: the node changed.
            ReadOnly: it is frozen.
        """
        fields: Document = {
            "names": [encode_name(name) for name in names],
            "ctime_ns": Int64(ctime_ns),
        }
        if version is not None:
            fields["version"] = Int64(version)
        with self._seam.operation(f"rename inode {node.inode}"):
            try:
                document = self._nodes.find_one_and_update(
                    _as_seen(node),
                    {"$set": fields, "$unset": {"was": ""}, "$inc": {"rev": 1}},
                    return_document=ReturnDocument.AFTER,
                    session=session,
                )
            except DuplicateKeyError as error:
                raise AlreadyExists(names[-1].name) from error
        if document is None:
            raise self.refusal(node.inode, session=session)
        return decode_node(document)

    def retarget(self, node: Node, target: str) -> Node:
        """Let a symbolic link lead to something else, if nobody changed it since.

        Raises:
            Conflict: it changed, or is gone.
        """
        change: Document = {
            "$set": {
                "target": target,
                "mtime_ns": Int64(time.time_ns()),
                "ctime_ns": Int64(time.time_ns()),
            },
            "$inc": {"rev": 1},
        }
        with self._seam.operation(f"let {node.names[0].name!r} lead to {target!r}"):
            document = self._nodes.find_one_and_update(
                _as_seen(node), change, return_document=ReturnDocument.AFTER
            )
        if document is None:
            raise self.refusal(node.inode)
        return decode_node(document)

    def park(
        self, node: Node, lost: Name, homes: Sequence[Name], session: ClientSession | None = None
    ) -> Node:
        """Take one name from a node that is about to lose it, keeping the node.

        `homes` are the places to put it back to, best first, should nothing further happen.
        """
        names = tuple(each for each in node.names if each != lost)
        names += (Name(NO_FOLDER, str(node.inode)),)
        with self._seam.operation(f"set inode {node.inode} aside"):
            document = self._nodes.find_one_and_update(
                _as_seen(node),
                {
                    "$set": {
                        "names": [encode_name(name) for name in names],
                        "was": [encode_name(name) for name in homes],
                    },
                    "$inc": {"rev": 1},
                },
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        if document is None:
            raise self.refusal(node.inode, session=session)
        return decode_node(document)

    def parked(self) -> list[tuple[Node, list[Name]]]:
        """Nodes that were set aside, with the places to put them back to.

        Versions that are being made or removed are none.
        """
        query = {"names.parent": NO_FOLDER, "_id": {"$ne": ROOT}, "detached": {"$exists": False}}
        with self._seam.operation("look for nodes set aside"):
            documents = list(self._nodes.find(query).limit(1000))
        return [
            (node, names_of(each, "was"))
            for each in documents
            if (node := decode_leniently(each)) is not None
        ]

    def delete(self, node: Node, session: ClientSession | None = None) -> None:
        """Remove a node, if nobody changed it since.

        Raises:
            Conflict: the node changed, or is gone.
            ReadOnly: it is frozen.
        """
        with self._seam.operation(f"remove inode {node.inode}"):
            result = self._nodes.delete_one(_as_seen(node), session=session)
        if result.deleted_count != 1:
            raise self.refusal(node.inode, session=session)

    def discard(self, inode: Inode) -> bool:
        """Remove a node whatever became of it, unless it is frozen; whether it is gone."""
        with self._seam.operation(f"remove inode {inode}"):
            self._nodes.delete_one({"_id": inode, **_CHANGEABLE})
            return self._nodes.find_one({"_id": inode}, {"_id": 1}) is None

    def remove_directory(self, node: Node) -> None:
        """Remove an empty directory.

        A name that another machine creates at this moment is not lost: the creator looks for its
        parent after creating, the remover for children after removing, so one of them notices.

        Raises:
            DirectoryNotEmpty: it has entries.
            Conflict: the node changed.
        """
        if self.has_children(node.inode):
            raise DirectoryNotEmpty(node.names[0].name)
        self.delete(node)
        if self.has_children(node.inode):
            self.insert(node)
            raise DirectoryNotEmpty(node.names[0].name)

    def touch(self, times_ns: Mapping[Inode, int]) -> None:
        """Bring directories' mtime and ctime forward."""
        changes = [
            UpdateOne(
                {"_id": inode, **_CHANGEABLE},
                {"$max": {"mtime_ns": Int64(at), "ctime_ns": Int64(at)}, "$inc": {"rev": 1}},
            )
            for inode, at in times_ns.items()
        ]
        if changes:
            with self._seam.operation("write folders' times"):
                self._relaxed.bulk_write(changes, ordered=False)

    def refusal(
        self,
        inode: Inode,
        otherwise: LakeError | None = None,
        session: ClientSession | None = None,
    ) -> LakeError:
        """Why a change of a node met none that can be changed so, as an error to be raised."""
        with self._seam.operation(f"read inode {inode}"):
            found = self._nodes.find_one({"_id": inode}, {"frozen": 1}, session=session)
        if found is not None and "frozen" in found:
            return _frozen(inode)
        return otherwise or Conflict(f"inode {inode} changed")

    def count(self) -> int:
        """Number of nodes, from the collection's metadata."""
        with self._seam.operation("count the nodes"):
            return self._nodes.estimated_document_count()


def _named(name: Name) -> Document:
    # $elemMatch, so that both bounds of the index apply to the same element.
    return {"names": {"$elemMatch": encode_name(name)}}


def _as_seen(node: Node) -> Document:
    """The query for a node that nobody changed since, and that may change."""
    return {"_id": node.inode, "rev": node.rev, **_CHANGEABLE}


def _frozen(inode: Inode) -> ReadOnly:
    return ReadOnly(f"inode {inode} lies in a version that is sealed, or is being sealed")
