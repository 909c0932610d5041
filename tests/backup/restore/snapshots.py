"""Snapshots of lakes, and damage to them."""

import hashlib
from pathlib import Path

from gridfsmount.backup.creating import Options, create
from gridfsmount.core.vault import Vault
from gridfsmount.store.lake import Lake


def back_up(lake: Lake, vault: Vault) -> str:
    """A snapshot of all that a lake shows; returns its name."""
    return create(lake, vault, Options(by="ana@gpu1")).snapshot


def blob_path(vault: Path, data: bytes) -> Path:
    """Where a directory vault keeps a blob."""
    digest = hashlib.sha256(data).hexdigest()
    return vault / "blobs" / digest[:2] / digest


def flip(path: Path, at: int = 0) -> None:
    """Alter a byte of a file, as a failing disk does."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
