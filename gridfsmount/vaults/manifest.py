"""The manifest of a snapshot: a SQLite file that holds the tree, but no bytes of contents.

`docs/format.md` specifies it. It is written once, and only read after that: by mounts, by restores,
and by anybody with `sqlite3`.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from gridfsmount.core.batches import batches
from gridfsmount.core.model import (
    NO_FOLDER,
    ROOT,
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
from gridfsmount.core.names import MAX_NAME_BYTES
from gridfsmount.errors import Damaged, NotFound

T = TypeVar("T")

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
    state TEXT, created_ns INTEGER, record TEXT,
    links INTEGER NOT NULL, xattrs INTEGER NOT NULL
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
CREATE TEMP TABLE folder (inode INTEGER PRIMARY KEY, parent INTEGER NOT NULL);
"""

_INDEXES: Final = """
CREATE INDEX name_inode ON name (inode);
CREATE INDEX content_sha256 ON content (sha256);
CREATE INDEX node_content ON node (content) WHERE content IS NOT NULL;
CREATE INDEX node_version ON node (created_ns) WHERE created_ns IS NOT NULL;
"""

_NODE: Final = (
    "n.inode, n.kind, n.mode, n.uid, n.gid, n.mtime_ns, n.ctime_ns, n.atime_ns, n.size, n.content,"
    " n.target, n.version, n.state, n.created_ns, n.record, n.links, n.xattrs,"
    " c.lake_id, c.lake_text"
)
_SHOWN: Final = "node AS n LEFT JOIN content AS c ON c.id = n.content"
_ENTRIES: Final = (
    f"SELECT {_NODE}, d.parent, d.name FROM name AS d JOIN node AS n ON n.inode = d.inode"
    " LEFT JOIN content AS c ON c.id = n.content"
)

_MAX_MODE: Final = 0o7777
_MAX_ID: Final = (1 << 32) - 1
_MAX_INT64: Final = 1 << 63
_NO_NAMES: Final = frozenset({"", ".", ".."})
_RECORD_NUMBERS: Final = frozenset({"at_ns", "files", "bytes", "version"})

_ADD_NODE: Final = (
    "INSERT INTO node VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT id FROM content WHERE lake_id = ?), ?, ?, ?, ?, ?, ?, ?)"
)

_KINDS: Final = {each.value: each for each in Kind}
_NUMBERS: Final = frozenset({int, type(None)})
_LINKS, _XATTRS, _WIDTH = 15, 16, 19
"""Places in a row of `_NODE`, and how many there are."""

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
            "PRAGMA cache_size = -8192; BEGIN;" + _SCHEMA
        )
        self._names = 0

    def add_nodes(self, nodes: Iterable[Node]) -> None:
        """Add nodes, in any order; each has its names in it."""
        rows, names, xattrs, contents, folders = [], [], [], [], []
        for node in nodes:
            rows.append(_row(node))
            names += [(each.parent, each.name, node.inode) for each in node.names]
            if node.kind is Kind.DIRECTORY:
                folders.append((node.inode, node.parent))
            if node.content is not None:
                contents.append((node.content.bson, node.content.text))
            if node.xattrs:
                xattrs += [(node.inode, name, value) for name, value in node.xattrs.items()]
        names.sort()  # neighbours fall on one page of the file
        self._database.executemany(
            "INSERT OR IGNORE INTO content (lake_id, lake_text, uploaded_ms, length, chunk_size)"
            " VALUES (?, ?, 0, 0, 1)",
            contents,
        )
        self._database.executemany(_ADD_NODE, rows)
        self._database.executemany("INSERT OR IGNORE INTO name VALUES (?, ?, ?)", names)
        self._database.executemany("INSERT INTO xattr VALUES (?, ?, ?)", xattrs)
        self._database.executemany("INSERT INTO folder VALUES (?, ?)", folders)
        self._names += len(names)

    def keep_reachable(self) -> int:
        """Remove names and nodes that the root does not lead to; nodes are all added.

        Returns how many nodes are removed.
        """
        run = self._database.execute
        run("CREATE INDEX temp.folder_parent ON folder (parent)")
        run("CREATE TEMP TABLE reached (inode INTEGER PRIMARY KEY)")
        run(
            "INSERT INTO reached WITH RECURSIVE below (inode) AS (SELECT ? UNION SELECT"
            " folder.inode FROM below JOIN folder ON folder.parent = below.inode)"
            " SELECT inode FROM below",
            (ROOT,),
        )
        run(
            "DELETE FROM name WHERE parent NOT IN (SELECT inode FROM reached)"
            " AND NOT (parent = ? AND inode = ?)",
            (NO_FOLDER, ROOT),
        )
        removed = 0
        if run("SELECT count(*) FROM name").fetchone()[0] < self._names:
            removed = run("DELETE FROM node WHERE inode NOT IN (SELECT inode FROM name)").rowcount
            run(
                "UPDATE node SET links = count FROM (SELECT inode, count(*) AS count FROM name"
                " GROUP BY inode) AS named WHERE named.inode = node.inode AND links <> count"
            )
            run("DELETE FROM xattr WHERE inode NOT IN (SELECT inode FROM node)")
            run(
                "DELETE FROM content WHERE id NOT IN"
                " (SELECT content FROM node WHERE content IS NOT NULL)"
            )
        return removed

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

    def identities(self, numbers: Sequence[int]) -> list[tuple[int, ContentId]]:
        """Some contents by their rows."""
        marks = ", ".join("?" * len(numbers))
        rows = self._database.execute(
            f"SELECT id, lake_id, lake_text FROM content WHERE id IN ({marks})", numbers
        )
        return [(number, ContentId(bson, text)) for number, bson, text in rows]

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
            # What a file that somebody else made may not do: call functions from its schema.
            self._database.execute("PRAGMA trusted_schema = OFF")
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
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise Damaged(f"the manifest of {self.name} cannot be read: {error}") from error

    def meta(self) -> dict[str, str]:
        """What is said of the whole."""
        return dict(self.query("SELECT key, value FROM meta"))

    def node(self, inode: Inode) -> Node:
        """A node by its number.

        Raises:
            NotFound: there is none.
        """
        found = self.query(f"SELECT {_NODE} FROM {_SHOWN} WHERE n.inode = ?", (inode,))
        if not found:
            raise NotFound(f"inode {inode} in {self.name}")
        return self._nodes(found)[0]

    def find(self, parent: Inode, name: str) -> Node | None:
        """The node of a name."""
        found = self.query(f"{_ENTRIES} WHERE d.parent = ? AND d.name = ?", (parent, name))
        return self._nodes(found)[0] if found else None

    def find_many(self, parent: Inode, names: Iterable[str]) -> dict[str, Node]:
        """The nodes of some names of a folder, as far as there are any."""
        found: dict[str, Node] = {}
        for batch in batches(names, BATCH):
            marks = ", ".join("?" * len(batch))
            rows = self.query(
                f"{_ENTRIES} WHERE d.parent = ? AND d.name IN ({marks})", (parent, *batch)
            )
            found |= {row[-1]: node for row, node in zip(rows, self._nodes(rows), strict=True)}
        return found

    def page(self, parent: Inode, after: str, limit: int) -> list[tuple[str, Node]]:
        """Entries of a folder whose names come after `after`, in byte order, up to `limit`."""
        found = self.query(
            f"{_ENTRIES} WHERE d.parent = ? AND d.name > ? ORDER BY d.name LIMIT ?",
            (parent, after, limit),
        )
        return [(row[-1], node) for row, node in zip(found, self._nodes(found), strict=True)]

    def nodes(self, after: Inode, limit: int) -> list[Node]:
        """Nodes whose numbers come after `after`, up to `limit`, in that order."""
        return self._nodes(
            self.query(
                f"SELECT {_NODE} FROM {_SHOWN} WHERE n.inode > ? ORDER BY n.inode LIMIT ?",
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
        for batch in batches(numbers, BATCH):
            marks = ", ".join("?" * len(batch))
            rows = self.query(f"SELECT * FROM content WHERE id IN ({marks})", batch)
            found |= {row[0]: self._content(row) for row in rows}
        return found

    def contents_of(self, inodes: Iterable[Inode]) -> dict[Inode, Content]:
        """The contents that some nodes show, as the lake knew them; empty files have none."""
        found: dict[Inode, Content] = {}
        for batch in batches(inodes, BATCH):
            marks = ", ".join("?" * len(batch))
            rows = self.query(
                "SELECT n.inode, c.* FROM node AS n JOIN content AS c ON c.id = n.content"
                f" WHERE n.inode IN ({marks})",
                batch,
            )
            found |= {Inode(row[0]): self._content(row[1:]).content for row in rows}
        return found

    def contents_of_blobs(self, blobs: Iterable[bytes]) -> list[Content]:
        """The contents that are some blobs: there may be several for each."""
        found: list[Content] = []
        for batch in batches((each.hex() for each in blobs), BATCH):
            marks = ", ".join("?" * len(batch))
            rows = self.query(f"SELECT * FROM content WHERE sha256 IN ({marks})", batch)
            found += [self._content(row).content for row in rows]
        return found

    def all_contents(self) -> Iterator[list[Backed]]:
        """All contents, in batches."""
        for rows in self._runs("SELECT * FROM content WHERE id > ? ORDER BY id LIMIT 1000", 0):
            yield [self._content(row) for row in rows]

    def blobs(self) -> Iterator[bytes]:
        """The SHA-256 of every blob that it names, each once, ascending."""
        statement = (
            "SELECT DISTINCT sha256 FROM content WHERE sha256 > ? ORDER BY sha256 LIMIT 10000"
        )
        for rows in self._runs(statement, ""):
            try:
                yield from [bytes.fromhex(row[0]) for row in rows]
            except (TypeError, ValueError) as error:
                raise self._malformed(error) from error

    def _runs(self, statement: str, last: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in batches; their first column ascends, or in a damaged file this would not end."""
        while rows := self.query(statement, (last,)):
            yield rows
            before, last = last, rows[-1][0]
            if type(last) is not type(before) or last <= before:
                raise Damaged(f"the manifest of {self.name} is malformed: it is out of order")

    def check(self) -> list[str]:
        """What is wrong with the file itself, in sentences; reads all of it."""
        found = [row[0] for row in self.query("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else [str(each) for each in found]

    def _nodes(self, rows: Sequence[tuple[Any, ...]]) -> list[Node]:
        """Nodes from rows of `_NODE`; an entry's own name may follow."""
        names: dict[int, list[Name]] = {}
        xattrs: dict[int, dict[str, bytes]] = {}
        # Nearly all nodes have one name, which is in an entry's row, and no xattrs.
        for inode, parent, name in self._of(
            "parent, name FROM name",
            [row[0] for row in rows if row[_LINKS] != 1 or len(row) == _WIDTH],
        ):
            names.setdefault(inode, []).append(Name(parent, name))
        for inode, name, value in self._of(
            "name, value FROM xattr", [row[0] for row in rows if row[_XATTRS]]
        ):
            xattrs.setdefault(inode, {})[name] = value
        try:
            return [_node(row, names.get(row[0]), xattrs.get(row[0])) for row in rows]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._malformed(error) from error

    def _malformed(self, error: Exception) -> Damaged:
        return Damaged(f"the manifest of {self.name} is malformed: {error!r}")

    def _of(self, what: str, inodes: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        for batch in batches(dict.fromkeys(inodes), BATCH):
            marks = ", ".join("?" * len(batch))
            yield from self.query(f"SELECT inode, {what} WHERE inode IN ({marks})", batch)

    def _content(self, row: tuple[Any, ...]) -> Backed:
        number, lake_id, text, uploaded_ms, sha256, length, chunk_size, chunk_xxh3 = row
        try:
            if type(lake_id) is not bytes or length < 0 or chunk_size < 1:
                raise ValueError(row[:2])
            if chunk_xxh3 is not None and type(chunk_xxh3) is not bytes:
                raise TypeError(row[:2])
            return Backed(
                number,
                Content(
                    id=ContentId(lake_id, str(text)),
                    length=int(length),
                    chunk_size=int(chunk_size),
                    sha256=None if sha256 is None else bytes.fromhex(sha256),
                    chunk_xxh3=chunk_xxh3,
                    uploaded_ms=int(uploaded_ms),
                ),
            )
        except (TypeError, ValueError) as error:
            raise self._malformed(error) from error


def _row(node: Node) -> tuple[object, ...]:
    return (
        node.inode,
        node.kind._value_,  # the property `value` takes ten times as long
        node.mode,
        node.uid,
        node.gid,
        node.mtime_ns,
        node.ctime_ns,
        node.atime_ns,
        node.size,
        None if node.content is None else node.content.bson,
        node.target or None,
        node.version,
        None if node.state is None else node.state.value,
        node.created_ns or None,
        None if node.record is None else _encode_record(node.record),
        len(node.names),
        len(node.xattrs),
    )


def _node(row: tuple[Any, ...], names: list[Name] | None, xattrs: dict[str, bytes] | None) -> Node:
    """A node from a row of `_NODE`; raises what a malformed row makes Python raise."""
    inode, kind, mode, uid, gid, mtime_ns, ctime_ns, atime_ns, size, content, target = row[:11]
    version, state, created_ns, record, _, _, lake_id, lake_text, *entry = row[11:]
    shown = tuple(names) if names else (Name(*entry),) if entry else ()
    # The entry's own name as well: the other names of a node may have been read without it.
    listed = (*shown, Name(*entry)) if entry else shown
    # SQLite keeps values of any type in any column.
    right = (
        _NUMBERS.issuperset(map(type, (mode, uid, gid, atime_ns, version)))
        and type(mtime_ns) is type(ctime_ns) is type(size) is int
        and (content is None or (type(lake_id) is bytes and type(lake_text) is str))
        and all(type(each.parent) is int and type(each.name) is str for each in listed)
        and (target is None or type(target) is str)
        and (created_ns is None or type(created_ns) is int)
        and all(
            type(name) is str and type(value) is bytes for name, value in (xattrs or {}).items()
        )
    )
    if not right:
        raise TypeError(row)
    if (
        size < 0
        or not 0 <= (mode or 0) <= _MAX_MODE
        or not 0 <= (uid or 0) <= _MAX_ID
        or not 0 <= (gid or 0) <= _MAX_ID
        or not all(each.parent == NO_FOLDER or _can_be(each.name) for each in listed)
    ):
        raise ValueError(row)
    return Node(
        inode,
        _KINDS[kind],
        shown,
        mode,
        uid,
        gid,
        mtime_ns,
        ctime_ns,
        atime_ns,
        size,
        None if content is None else ContentId(lake_id, lake_text),
        target or "",
        xattrs or {},
        version,
        None if state is None else State(state),
        created_ns or 0,
        None if record is None else _decode_record(record),
    )


def _can_be(name: str) -> bool:
    """Whether a folder may list a name: a file that somebody else made may have any."""
    return (
        name not in _NO_NAMES
        and "/" not in name
        and "\0" not in name
        and (len(name) <= MAX_NAME_BYTES // 4 or len(name.encode()) <= MAX_NAME_BYTES)
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
        seal=None if seal is None else Seal(**_typed(seal)),
        parent=None if parent is None else Origin(**_typed(parent)),
        sources=tuple(
            Source(
                origin=Origin(**_typed(each["origin"])),
                **_typed({name: value for name, value in each.items() if name != "origin"}),
            )
            for each in document["sources"]
        ),
    )


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a record, all of their types."""
    for name, value in fields.items():
        if name in _RECORD_NUMBERS:
            if type(value) is not int or abs(value) > _MAX_INT64:
                raise ValueError(f"{name} is {value!r}")
        elif type(value) is not str:
            raise TypeError(f"{name} is {value!r}")
    return fields
