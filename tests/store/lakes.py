"""Open lakes and what is in them, for tests of the store."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from xxhash import xxh3_64_digest

from gridfsmount.core.model import NO_FOLDER, Content, ContentId, Inode, Kind, Name, Node, State
from gridfsmount.store.connection import connect
from gridfsmount.store.encoding import encode_node
from gridfsmount.store.lake import Founder, Lake, open_lake

T = TypeVar("T")

CHUNK = 1024
"""Bytes of a chunk in these tests: contents of several chunks stay small."""

DEADLINE = 30.0

one_deployment = pytest.mark.parametrize("any_uri", ["replica set"], indirect=True)
"""For what does not depend on transactions: the replica set stands for both."""


@contextmanager
def opened(uri: str, *, lease_seconds: float = 300, read_only: bool = False) -> Iterator[Lake]:
    """A lake with a connection of its own."""
    connection = connect(uri, bucket="fs", deadline=DEADLINE)
    try:
        yield open_lake(
            connection, lease_seconds=lease_seconds, founder=Founder(0, 0), read_only=read_only
        )
    finally:
        connection.close()


@contextmanager
def raw(uri: str) -> Iterator[Database[dict[str, Any]]]:
    """The database behind a URI, as any client sees it."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client:
        yield client.get_default_database()


def bare(
    inode: int,
    *names: tuple[int, str],
    kind: Kind = Kind.FILE,
    version: int | None = None,
    content: ContentId | None = None,
) -> Node:
    """A node with nothing special about it, not stored."""
    return Node(
        inode=Inode(inode),
        kind=kind,
        names=tuple(Name(Inode(parent), name) for parent, name in names),
        mode=0o644,
        uid=0,
        gid=0,
        mtime_ns=1,
        ctime_ns=1,
        version=None if version is None else Inode(version),
        content=content,
    )


class Garden:
    """Makes nodes in a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def folder(self, parent: Node | int, name: str) -> Node:
        """A directory; the third below the root is a version."""
        number, version = _whereabouts(parent)
        inode = self.number()
        node = bare(inode, (number, name), kind=Kind.DIRECTORY, version=version)
        self.lake.commits.create(node)
        return node

    def version(self, path: str = "datasets/test/v1") -> Node:
        """A version and the folders above it, as far as they are missing."""
        area, dataset, name = path.split("/")
        shelf = {"datasets": 2, "models": 3}[area]
        folder = self.lake.tree.find(Inode(shelf), dataset) or self.folder(shelf, dataset)
        inode = self.number()
        node = replace(
            bare(inode, (folder.inode, name), kind=Kind.DIRECTORY, version=inode),
            state=State.DRAFT,
            created_ns=time.time_ns(),
        )
        self.lake.commits.create(node)
        return node

    def file(self, parent: Node, name: str, data: bytes | None = None) -> Node:
        """A file, with a content if there is data."""
        node = bare(self.number(), (parent.inode, name), version=parent.version)
        self.lake.commits.create(node)
        return node if data is None else self.write(node, data)

    def write(self, node: Node, data: bytes) -> Node:
        """Give a file a new content, as a writer does."""
        content = self.upload(node, data)
        path = self.lake.tree.path(node.inode) or "gone"
        written = self.lake.commits.commit(node, path, content, (), time.time_ns(), 0)
        assert written is not None
        return written

    def upload(self, node: Node, data: bytes) -> Content:
        """Chunks and a lease, not published yet."""
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        content = Content(
            self.lake.contents.new_id(),
            len(data),
            CHUNK,
            hashlib.sha256(data).digest(),
            b"".join(map(xxh3_64_digest, pieces)),
        )
        self.lake.leases.take(content.id, node.inode, node.names[0].name)
        self.lake.contents.put_chunks(content.id, list(enumerate(pieces)))
        return content

    def read(self, node: Node) -> bytes:
        """All bytes of a file."""
        if node.content is None:
            return b""
        return self.read_content(self.lake.contents.get(node.content))

    def read_content(self, content: Content) -> bytes:
        past = -(-content.length // content.chunk_size)
        return b"".join(self.lake.contents.read(content, 0, past)) if past else b""

    def number(self) -> int:
        return self.lake.tree.allocate(1)[0]

    def plant(self, count: int, parent: int) -> None:
        """Many files, quickly."""
        numbers = self.lake.tree.allocate(count)
        documents = [
            encode_node(bare(number, (parent, f"file-{index:06}")))
            for index, number in enumerate(numbers)
        ]
        self.lake.connection.collection("tree").insert_many(documents, ordered=False)


def orphans(lake: Lake) -> list[dict[str, Any]]:
    """Documents of the tree with a name in a directory that is not there."""
    documents = list(lake.connection.collection("tree").find())
    numbers = {document["_id"] for document in documents} | {NO_FOLDER}
    return [
        document
        for document in documents
        if {name["parent"] for name in document["names"]} - numbers
    ]


def _whereabouts(parent: Node | int) -> tuple[int, int | None]:
    return (parent.inode, parent.version) if isinstance(parent, Node) else (parent, None)


def at_once(*calls: Callable[[], T]) -> list[T | Exception]:
    """Run calls in threads that begin together; each one's result or exception, in order."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[T | Exception | None] = [None] * len(calls)

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = calls[index]()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes  # type: ignore[return-value]
