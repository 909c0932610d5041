"""What is in a snapshot: its paths, in the order of a manifest, and what they show."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gridfsmount.core.batches import batches
from gridfsmount.core.manifest import EMPTY_SHA256, ManifestDigest, in_order, manifest_line
from gridfsmount.core.model import ROOT, Content, ContentId, Inode, Kind, Node, State
from gridfsmount.core.names import LATEST
from gridfsmount.core.vault import Vault
from gridfsmount.core.versions import newest
from gridfsmount.errors import Damaged
from gridfsmount.vaults.manifest import BATCH, Manifest
from gridfsmount.versions.walk import MAX_DEPTH

PAGE: Final = 10_000
"""Entries of one query."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A name in a snapshot."""

    path: str
    """From the folder that is walked."""
    inode: Inode
    kind: Kind
    content: int | None
    """Its row; None when it is empty, or no file."""
    sha256: bytes | None
    """Of its content, if that could be copied."""


@contextmanager
def fetched(vault: Vault, snapshot: str) -> Iterator[Path]:
    """A local file with the manifest of a snapshot, for as long as a block runs.

    A copy, if one is needed, goes at the end of the block: there may be many, and large ones.

    Raises:
        NotFound: there is none.
    """
    with tempfile.TemporaryDirectory(prefix="gridfsmount-") as folder:
        yield vault.manifest(snapshot, Path(folder))


def manifest_sha256(manifest: Path) -> str:
    """Of a manifest's file, in hex, as its summary has it."""
    with manifest.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(path: Path, snapshot: str) -> Iterator[Manifest]:
    """A manifest, for as long as a block runs.

    Raises:
        Damaged: it cannot be read.
    """
    manifest = Manifest(path, snapshot)
    try:
        yield manifest
    finally:
        manifest.close()


def walk(manifest: Manifest, top: Inode) -> Iterator[Listed]:
    """Everything below a folder of a snapshot, in byte order of full paths.

    Raises:
        Damaged: it cannot be read, or folders lie in each other too deep.
    """
    levels = [("", _level(manifest, top))]
    seen = {top}
    while levels:
        above, level = levels[-1]
        found = next(level, None)
        if found is None:
            levels.pop()
            continue
        name, entry = found
        path = above + name
        if entry.kind is not Kind.DIRECTORY:
            yield Listed(path, entry.inode, entry.kind, entry.content, entry.sha256)
            continue
        if entry.inode in seen:
            raise Damaged(f"the manifest of {manifest.name}: {path} is there twice")
        seen.add(entry.inode)
        yield Listed(path, entry.inode, entry.kind, None, None)
        if len(levels) >= MAX_DEPTH:
            raise Damaged(f"{path[:100]}...: more than {MAX_DEPTH:,} folders in each other")
        levels.append((f"{path}/", _level(manifest, entry.inode)))


def _level(manifest: Manifest, folder: Inode) -> Iterator[tuple[str, Listed]]:
    return in_order(_entries(manifest, folder), lambda each: each.kind is Kind.DIRECTORY)


def _entries(manifest: Manifest, folder: Inode) -> Iterator[tuple[str, Listed]]:
    last = ""
    while True:
        rows = manifest.query(
            "SELECT d.name, n.inode, n.kind, n.content, c.sha256"
            " FROM name AS d JOIN node AS n USING (inode) LEFT JOIN content AS c"
            " ON c.id = n.content WHERE d.parent = ? AND d.name > ? ORDER BY d.name LIMIT ?",
            (folder, last, PAGE),
        )
        try:
            for name, inode, kind, content, sha256 in rows:
                digest = None if sha256 is None else bytes.fromhex(sha256)
                yield name, Listed(name, Inode(inode), Kind(kind), content, digest)
        except (TypeError, ValueError) as error:
            raise Damaged(f"the manifest of {manifest.name} is malformed: {error}") from error
        if len(rows) < PAGE:
            return
        last = rows[-1][0]


def digest_of(manifest: Manifest, version: Inode) -> str | None:
    """The digest of a version, of what a snapshot names; None when a file was not copied."""
    digest = ManifestDigest()
    for each in walk(manifest, version):
        if each.kind is not Kind.FILE:
            continue
        if each.content is not None and each.sha256 is None:
            return None
        digest.add(manifest_line(each.sha256 or EMPTY_SHA256, each.path))
    return digest.hex


def versions_in(manifest: Manifest) -> Iterator[Node]:
    """All versions of a snapshot, the oldest first."""
    rows = manifest.query(
        "SELECT inode FROM node WHERE created_ns IS NOT NULL ORDER BY created_ns, inode"
    )
    for (inode,) in rows:
        node = manifest.node(Inode(inode))
        if isinstance(node.state, State) and node.version == node.inode:
            yield node


def paths_of(manifest: Manifest, blob: bytes) -> list[str]:
    """All paths at which a snapshot shows a blob."""
    rows = manifest.query(
        "SELECT d.parent, d.name FROM content AS c JOIN node AS n ON n.content = c.id"
        " JOIN name AS d USING (inode) WHERE c.sha256 = ?",
        (blob.hex(),),
    )
    folders = {parent: manifest.path(Inode(parent)) for parent, _ in rows}
    return sorted(f"{folders[parent]}/{name}".lstrip("/") for parent, name in rows)


def sources_of(manifest: Manifest, blob: bytes) -> list[Content]:
    """The contents of the lake that a blob was copied from, as far as a snapshot knows."""
    rows = manifest.query("SELECT id FROM content WHERE sha256 = ?", (blob.hex(),))
    return [each.content for each in manifest.contents(row[0] for row in rows).values()]


def find(manifest: Manifest, parts: Sequence[str]) -> Node | None:
    """The node at a path below the root; a tag or `latest` stands for its version."""
    node: Node | None = manifest.node(ROOT)
    for depth, name in enumerate(parts):
        if node is None:
            return None
        parent = node
        node = manifest.find(parent.inode, name)
        if depth == 2 and parts[0] in ("datasets", "models"):
            if node is not None and node.kind is Kind.SYMLINK:
                node = manifest.find(parent.inode, node.target)
            elif node is None and name == LATEST:
                node = newest(entry for _, entry in manifest.page(parent.inode, "", 1_000_000))
    return node


def contents_of(manifest: Manifest, contents: Iterable[ContentId]) -> dict[ContentId, Content]:
    """What a snapshot knows of some contents that its nodes show."""
    rows: list[int] = []
    for batch in batches(dict.fromkeys(each.bson for each in contents), BATCH):
        marks = ", ".join("?" * len(batch))
        found = manifest.query(f"SELECT id FROM content WHERE lake_id IN ({marks})", batch)
        rows += [row[0] for row in found]
    return {each.content.id: each.content for each in manifest.contents(rows).values()}
