"""What is in a vault, looked at as a whole."""

import hashlib
from dataclasses import replace
from pathlib import Path

from gridfsmount.backup.creating import Created, Options, create
from gridfsmount.core.model import NO_FOLDER, Kind, Node
from gridfsmount.core.vault import Vault
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.manifest import Manifest


def back_up(lake: Lake, vault: Vault) -> Created:
    """A snapshot, made now."""
    return create(lake, vault, Options(by="ana@gpu1"))


def manifest_of(vault: Vault, snapshot: str | None = None) -> Manifest:
    """The manifest of a snapshot, the newest one by default."""
    name = snapshot or vault.snapshots()[-1]
    return Manifest(vault.manifest(name, Path("/nowhere")), name)


def nodes_of(vault: Vault, snapshot: str | None = None) -> dict[str, Node]:
    """The nodes of a snapshot, by their paths; of hard links by one of them."""
    manifest = manifest_of(vault, snapshot)
    try:
        return {manifest.path(each.inode): each for each in manifest.nodes(NO_FOLDER, 100_000)}
    finally:
        manifest.close()


def bytes_of(vault: Vault, path: str, snapshot: str | None = None) -> bytes:
    """The bytes of a file in a snapshot; b"" of one that has no content."""
    manifest = manifest_of(vault, snapshot)
    try:
        (node,) = [
            each for each in manifest.nodes(NO_FOLDER, 100_000) if manifest.path(each.inode) == path
        ]
        if node.content is None:
            return b""
        ((sha256, length),) = manifest.query(
            "SELECT sha256, length FROM content WHERE lake_id = ?", (node.content.bson,)
        )
        return vault.read(bytes.fromhex(sha256), 0, length)
    finally:
        manifest.close()


def as_backed(node: Node) -> Node:
    """A node of the lake as a manifest has it."""
    record = None if node.record is None else replace(node.record, sealing=None)
    return replace(node, rev=0, frozen="", record=record)


def assert_whole(vault: Vault) -> None:
    """Every snapshot is whole, and every blob that it names is there and right."""
    right: set[bytes] = set()
    for name in vault.snapshots():
        summary = vault.summary(name)
        path = vault.manifest(name, Path("/nowhere"))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == summary.manifest_sha256
        manifest = manifest_of(vault, name)
        assert manifest.check() == []
        nodes = manifest.nodes(NO_FOLDER, 100_000)
        assert summary.files == sum(len(n.names) for n in nodes if n.kind is Kind.FILE)
        for blob in manifest.blobs():
            assert blob in right or hashlib.sha256(vault.read(blob, 0, 1 << 30)).digest() == blob
            right.add(blob)
        manifest.close()
