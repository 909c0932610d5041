"""The manifest of a snapshot: a SQLite file that holds the tree, but no bytes of contents.

`docs/format.md` specifies it. It is written once, and only read after that: by mounts, by restores,
and by anybody with `sqlite3`.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gridfsmount.core.model import (
    NO_FOLDER,
    Content,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
    Origin,
    Record,
    Seal,
    Source,
    State,
)
from gridfsmount.errors import Damaged, NotFound

APPLICATION_ID: Final = (
    0x676D6E74  # "gmnt"; see https://sqlite.org/pragma.html#pragma_application_id
)

MANIFEST_FORMAT: Final = 1
"""SQLite's `user_version`."""

_SCHEMA: Final = """
CREATE TABLE node (
    inode INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    mode INTEGER, uid INTEGER, gid INTEGER,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, atime_ns INTEGER,
    size INTEGER NOT NULL,
    content INTEGER REFERENCES content (id),
    target TEXT,
    version INTEGER,
    state TEXT, created_ns INTEGER, record TEXT
);
CREATE TABLE name (
    parent INTEGER NOT NULL, name TEXT NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE TABLE xattr (
    inode INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (inode, name)
) WITHOUT ROWID;
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    lake_id BLOB NOT NULL UNIQUE,
    lake_text TEXT NOT NULL,
    uploaded_ms INTEGER NOT NULL,
    sha256 TEXT,
    length INTEGER NOT NULL,
    chunk_size INTEGER NOT NULL,
    chunk_xxh3 BLOB
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_INDEXES: Final = """
CREATE INDEX name_inode ON name (inode);
CREATE INDEX content_sha256 ON content (sha256);
CREATE INDEX node_content ON node (content) WHERE content IS NOT NULL;
CREATE INDEX node_version ON node (created_ns) WHERE created_ns IS NOT NULL;
"""

_NODE: Final = (
    "n.inode, n.kind, n.mode, n.uid, n.gid, n.mtime_ns, n.ctime_ns, n.atime_ns, n.size, n.content,"
    " n.target, n.version, n.state, n.created_ns, n.record,"
    " EXISTS (SELECT 1 FROM xattr WHERE xattr.inode = n.inode)"
)

BATCH: Final = 500
"""Values of one `IN (...)`: well below SQLite's limit of any version."""


@dataclass(frozen=True, slots=True)
class Backed:
    """A content as a manifest knows it."""

    number: int
    """Its row."""
    content: Content
    """With the lake's identity; its `sha256` names the blob, or is None if it was not copied."""


class ManifestWriter:
    """Writes a manifest; not safe to call from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Begin a new one at `path`, where no file is."""
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.executescript(
            # Nobody reads it before it is complete; a torn one is begun anew.
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {MANIFEST_FORMAT};"
            "PRAGMA cache_size = -32768; BEGIN;" + _SCHEMA
        )
        self._numbers: dict[bytes, int] = {}

    def add_nodes(self, nodes: Iterable[Node]) -> None:
        """Add nodes, in any order; each has its names in it."""
        rows, names, xattrs = [], [], []
        for node in nodes:
            content = None if node.content is None else self._number(node.content)
            rows.append(_row(node, content))
            names += [(each.parent, each.name, node.inode) for each in node.names]
            xattrs += [(node.inode, name, value) for name, value in node.xattrs.items()]
        marks = ", ".join("?" * 15)
        self._database.executemany(f"INSERT INTO node VALUES ({marks})", rows)
        self._database.executemany("INSERT OR IGNORE INTO name VALUES (?, ?, ?)", names)
        self._database.executemany("INSERT INTO xattr VALUES (?, ?, ?)", xattrs)

    def _number(self, content: ContentId) -> int:
        number = self._numbers.get(content.bson)
        if number is None:
            number = self._numbers[content.bson] = len(self._numbers) + 1
            self._database.execute(
                "INSERT INTO content VALUES (?, ?, ?, 0, NULL, 0, 1, NULL)",
                (number, content.bson, content.text),
            )
        return number

    def contents(self) -> Iterator[list[tuple[int, ContentId]]]:
        """All contents that nodes show, in batches, with their rows; nodes are all added."""
        last = 0
        while True:
            found = self._database.execute(
                "SELECT id, lake_id, lake_text FROM content WHERE id > ? ORDER BY id LIMIT 1000",
                (last,),
            ).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield [(number, ContentId(bson, text)) for number, bson, text in found]

    def set_contents(self, contents: Sequence[Backed]) -> None:
        """Fill in what is known of contents; without `sha256`, what could not be copied."""
        self._database.executemany(
            "UPDATE content SET uploaded_ms = ?, sha256 = ?, length = ?, chunk_size = ?,"
            " chunk_xxh3 = ? WHERE id = ?",
            [
                (
                    each.content.uploaded_ms,
                    None if each.content.sha256 is None else each.content.sha256.hex(),
                    each.content.length,
                    each.content.chunk_size,
                    each.content.chunk_xxh3,
                    each.number,
                )
                for each in contents
            ],
        )

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query of the manifest so far."""
        return self._database.execute(statement, values).fetchall()

    def finish(self, meta: Mapping[str, str]) -> None:
        """Complete the file; it is whole when this returns, but not yet synced."""
        self._database.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
        self._database.execute("COMMIT")
        self._database.executescript(_INDEXES + "PRAGMA optimize;")
        self._database.close()

    def abandon(self) -> None:
        """Give it up."""
        self._database.close()


class Manifest:
    """Reads a manifest; safe to call from several threads.

    Raises, from every method, Damaged: the file is none, or not whole.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open the file at `path`, which nothing changes any more; `name` is for people."""
        self.name = name
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        try:
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            application = self._database.execute("PRAGMA application_id").fetchone()[0]
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            self.close()
            raise Damaged(f"the manifest of {name} cannot be read: {error}") from error
        if application != APPLICATION_ID or version < 1:
            self.close()
            raise Damaged(f"the manifest of {name} is none: it has another program's mark")
        if version > MANIFEST_FORMAT:
            self.close()
            raise Damaged(
                f"the manifest of {name} has format {version}, this version knows up to"
                f" {MANIFEST_FORMAT}: upgrade gridfsmount"
            )

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query; for those that the methods below do not answer."""
        try:
            with self._lock:
                assert self._database is not None
                return self._database.execute(statement, values).fetchall()
        except (sqlite3.Error, OverflowError) as error:
            raise Damaged(f"the manifest of {self.name} cannot be read: {error}") from error

    def meta(self) -> dict[str, str]:
        """What is said of the whole."""
        return dict(self.query("SELECT key, value FROM meta"))

    def node(self, inode: Inode) -> Node:
        """A node by its number.

        Raises:
            NotFound: there is none.
        """
        found = self.query(f"SELECT {_NODE} FROM node AS n WHERE n.inode = ?", (inode,))
        if not found:
            raise NotFound(f"inode {inode} in {self.name}")
        return self._nodes(found)[0]

    def find(self, parent: Inode, name: str) -> Node | None:
        """The node of a name."""
        found = self.query(
            f"SELECT {_NODE} FROM name AS d JOIN node AS n USING (inode)"
            " WHERE d.parent = ? AND d.name = ?",
            (parent, name),
        )
        return self._nodes(found)[0] if found else None

    def page(self, parent: Inode, after: str, limit: int) -> list[tuple[str, Node]]:
        """Entries of a folder whose names come after `after`, in byte order, up to `limit`."""
        found = self.query(
            f"SELECT d.name, {_NODE} FROM name AS d JOIN node AS n USING (inode)"
            " WHERE d.parent = ? AND d.name > ? ORDER BY d.name LIMIT ?",
            (parent, after, limit),
        )
        nodes = self._nodes([row[1:] for row in found])
        return [(row[0], node) for row, node in zip(found, nodes, strict=True)]

    def nodes(self, after: Inode, limit: int) -> list[Node]:
        """Nodes whose numbers come after `after`, up to `limit`, in that order."""
        return self._nodes(
            self.query(
                f"SELECT {_NODE} FROM node AS n WHERE n.inode > ? ORDER BY n.inode LIMIT ?",
                (after, limit),
            )
        )

    def path(self, inode: Inode) -> str:
        """One path of a node from the root, as in datasets/mnist/v1/a; empty for the root."""
        parts: list[str] = []
        while len(parts) < 4000:
            found = self.query("SELECT parent, name FROM name WHERE inode = ? LIMIT 1", (inode,))
            if not found or found[0][0] == NO_FOLDER:
                return "/".join(reversed(parts))
            inode = Inode(found[0][0])
            parts.append(found[0][1])
        raise Damaged(f"the manifest of {self.name}: folders lie in each other in a circle")

    def contents(self, numbers: Iterable[int]) -> dict[int, Backed]:
        """Some contents by their rows."""
        found: dict[int, Backed] = {}
        for batch in _batches(numbers):
            marks = ", ".join("?" * len(batch))
            rows = self.query(f"SELECT * FROM content WHERE id IN ({marks})", batch)
            found |= {row[0]: self._content(row) for row in rows}
        return found

    def all_contents(self) -> Iterator[list[Backed]]:
        """All contents, in batches."""
        last = 0
        while True:
            rows = self.query("SELECT * FROM content WHERE id > ? ORDER BY id LIMIT 1000", (last,))
            if not rows:
                return
            last = rows[-1][0]
            yield [self._content(row) for row in rows]

    def blobs(self) -> Iterator[bytes]:
        """The SHA-256 of every blob that it names, each once, ascending."""
        last = ""
        while True:
            rows = self.query(
                "SELECT DISTINCT sha256 FROM content WHERE sha256 > ? ORDER BY sha256 LIMIT 10000",
                (last,),
            )
            if not rows:
                return
            last = rows[-1][0]
            yield from (bytes.fromhex(row[0]) for row in rows)

    def check(self) -> list[str]:
        """What is wrong with the file itself, in sentences; reads all of it."""
        found = [row[0] for row in self.query("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else [str(each) for each in found]

    def _nodes(self, rows: Sequence[tuple[Any, ...]]) -> list[Node]:
        inodes = [row[0] for row in rows]
        names: dict[int, list[Name]] = {}
        xattrs: dict[int, dict[str, bytes]] = {}
        contents = self.contents(row[9] for row in rows if row[9] is not None)
        for batch in _batches(inodes):
            marks = ", ".join("?" * len(batch))
            for inode, parent, name in self.query(
                f"SELECT inode, parent, name FROM name WHERE inode IN ({marks})", batch
            ):
                names.setdefault(inode, []).append(Name(Inode(parent), name))
        for batch in _batches(row[0] for row in rows if row[15]):
            marks = ", ".join("?" * len(batch))
            for inode, name, value in self.query(
                f"SELECT inode, name, value FROM xattr WHERE inode IN ({marks})", batch
            ):
                xattrs.setdefault(inode, {})[name] = value
        try:
            return [
                _node(row, tuple(names.get(row[0], ())), xattrs.get(row[0], {}), contents)
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"the manifest of {self.name} is malformed: {error!r}") from error

    def _content(self, row: tuple[Any, ...]) -> Backed:
        number, lake_id, text, uploaded_ms, sha256, length, chunk_size, chunk_xxh3 = row
        try:
            return Backed(
                number,
                Content(
                    id=ContentId(bytes(lake_id), str(text)),
                    length=int(length),
                    chunk_size=int(chunk_size),
                    sha256=None if sha256 is None else bytes.fromhex(sha256),
                    chunk_xxh3=chunk_xxh3,
                    uploaded_ms=int(uploaded_ms),
                ),
            )
        except (TypeError, ValueError) as error:
            raise Damaged(f"the manifest of {self.name} is malformed: {error!r}") from error


def _batches(values: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(values)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _row(node: Node, content: int | None) -> tuple[object, ...]:
    return (
        node.inode,
        node.kind.value,
        node.mode,
        node.uid,
        node.gid,
        node.mtime_ns,
        node.ctime_ns,
        node.atime_ns,
        node.size,
        content,
        node.target or None,
        node.version,
        None if node.state is None else node.state.value,
        node.created_ns or None,
        None if node.record is None else _encode_record(node.record),
    )


def _node(
    row: tuple[Any, ...],
    names: tuple[Name, ...],
    xattrs: dict[str, bytes],
    contents: Mapping[int, Backed],
) -> Node:
    return Node(
        inode=Inode(row[0]),
        kind=Kind(row[1]),
        names=names,
        mode=row[2],
        uid=row[3],
        gid=row[4],
        mtime_ns=row[5],
        ctime_ns=row[6],
        atime_ns=row[7],
        size=row[8],
        content=None if row[9] is None else contents[row[9]].content.id,
        target=row[10] or "",
        xattrs=xattrs,
        version=None if row[11] is None else Inode(row[11]),
        state=None if row[12] is None else State(row[12]),
        created_ns=row[13] or 0,
        record=None if row[14] is None else _decode_record(row[14]),
    )


def _encode_record(record: Record) -> str:
    document = {
        "by": record.by,
        "seal": None if record.seal is None else asdict(record.seal),
        "parent": None if record.parent is None else asdict(record.parent),
        "sources": [asdict(each) for each in record.sources],
    }
    return json.dumps(document, ensure_ascii=False)


def _decode_record(text: str) -> Record:
    document = json.loads(text)
    seal, parent = document["seal"], document["parent"]
    return Record(
        by=str(document["by"]),
        seal=None if seal is None else Seal(**seal),
        parent=None if parent is None else Origin(**parent),
        sources=tuple(
            Source(**{**each, "origin": Origin(**each["origin"])}) for each in document["sources"]
        ),
    )
