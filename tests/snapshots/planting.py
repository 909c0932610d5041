"""Snapshots for tests, made by hand: a tree in memory, and a vault that gets it."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from xxhash import xxh3_64_digest

from gridfsmount.core.model import (
    AREAS,
    FIRST_FREE_INODE,
    NO_FOLDER,
    ROOT,
    SNAPSHOTS,
    Content,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
    Record,
    Seal,
    State,
)
from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Vault, snapshot_time
from gridfsmount.vaults.manifest import Backed, ManifestWriter

TIME = 1_700_000_000_123_456_789


@dataclass
class Planted:
    """A tree as a backup would find it."""

    chunk_size: int = 1 << 20
    hashed: bool = True
    """The lake knew hashes of chunks."""
    nodes: dict[str, Node] = field(default_factory=dict)
    data: dict[ContentId, bytes | None] = field(default_factory=dict)
    """None: it could not be read."""

    def __post_init__(self) -> None:
        fixed = {"": ROOT, **{name: inode for name, inode in AREAS.items() if inode != SNAPSHOTS}}
        for name, inode in fixed.items():
            where = Name(ROOT if name else NO_FOLDER, name)
            self.nodes[name] = Node(
                inode, Kind.DIRECTORY, (where,), 0o755, 0, 0, TIME, TIME, version=None
            )

    def add(self, path: str, kind: Kind, mode: int | None = 0o644, **fields: object) -> Node:
        """A node; folders above it are made if need be."""
        above, _, name = path.rpartition("/")
        if above not in self.nodes:
            self.folder(above)
        parent = self.nodes[above]
        inode = Inode(FIRST_FREE_INODE + len(self.nodes))
        node = Node(
            inode,
            kind,
            (Name(parent.inode, name),),
            mode,
            1000 if mode is not None else None,
            1001 if mode is not None else None,
            TIME + inode,
            TIME + inode,
            version=parent.version,
        )
        self.nodes[path] = node = replace(node, **fields)  # type: ignore[arg-type]
        return node

    def folder(self, path: str, mode: int | None = 0o755, **fields: object) -> Node:
        """A folder; the third one of a path is a version, a draft."""
        if path.count("/") != 2:
            return self.add(path, Kind.DIRECTORY, mode, **fields)
        node = self.add(
            path,
            Kind.DIRECTORY,
            mode,
            state=State.DRAFT,
            created_ns=TIME,
            record=Record("ana@gpu1"),
        )
        self.nodes[path] = replace(node, version=node.inode, **fields)  # type: ignore[arg-type]
        return self.nodes[path]

    def seal(self, path: str, at_ns: int, digest: str = "d" * 64) -> None:
        """Make a version a sealed one."""
        seal = Seal(at_ns, "ana@gpu1", "done", 1, 1, digest)
        self.nodes[path] = replace(
            self.nodes[path], state=State.SEALED, record=Record("ana@gpu1", seal)
        )

    def file(self, path: str, data: bytes | None, mode: int | None = 0o644, size: int = 0) -> Node:
        """A file; without `data` one of `size` bytes that could not be read."""
        if data == b"":
            return self.add(path, Kind.FILE, mode)
        number = len(self.data)
        content = ContentId(b"\x05\0\0\0" + number.to_bytes(4, "big"), f"content {number}")
        self.data[content] = data
        size = size if data is None else len(data)
        return self.add(path, Kind.FILE, mode, size=size, content=content)

    def link(self, path: str, other: str) -> None:
        """One more name."""
        above, _, name = path.rpartition("/")
        node = self.nodes[other]
        self.nodes[other] = replace(node, names=(*node.names, Name(self.nodes[above].inode, name)))

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link, or a tag."""
        self.add(path, Kind.SYMLINK, 0o777, target=target)

    def publish(self, vault: Vault, name: str) -> None:
        """Put it into a vault."""
        blobs = {hashlib.sha256(each).digest(): each for each in self.data.values() if each}
        missing = [each for each in blobs if each not in vault.present(list(blobs))]
        vault.put_many([(each, blobs[each]) for each in missing])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "manifest.sqlite"
            write_manifest(path, self.nodes.values(), self._described)
            files = [each for each in self.nodes.values() if each.kind is Kind.FILE]
            summary = Summary(
                lake=vault.header.lake,
                taken_ns=int(snapshot_time(name).timestamp()) * 10**9,
                consistent=True,
                manifest_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                files=len(files),
                folders=0,
                bytes=sum(each.size for each in files),
                blobs=len(blobs),
                blob_bytes=0,
                new_blobs=0,
                new_bytes=0,
                seconds=1.0,
                by="root@server",
                program="0",
                skipped=("datasets/x: it could not be read",) if None in self.data.values() else (),
            )
            vault.publish(name, path, summary)

    def _described(self, content: ContentId) -> Content:
        data = self.data[content]
        if data is None:
            return Content(content, 0, self.chunk_size)
        chunks = [data[at : at + self.chunk_size] for at in range(0, len(data), self.chunk_size)]
        hashes = b"".join(map(xxh3_64_digest, chunks)) if self.hashed else None
        return Content(content, len(data), self.chunk_size, hashlib.sha256(data).digest(), hashes)


def write_manifest(
    path: Path, nodes: Iterable[Node], described: Callable[[ContentId], Content]
) -> None:
    """The manifest of some nodes."""
    writer = ManifestWriter(path)
    writer.add_nodes(nodes)
    for batch in writer.contents():
        writer.set_contents([Backed(number, described(each)) for number, each in batch])
    writer.finish({})


def note_verified(vault: Vault, name: str, *, good: bool) -> None:
    """What a verification leaves behind."""
    note = {"at_ns": TIME, "good": good, "blobs": 7, "of": 8, "damaged": 0 if good else 1}
    vault.set_note(f"verified/{name}", json.dumps(note).encode())
