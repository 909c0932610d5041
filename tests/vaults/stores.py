"""Vaults to be tested, and what breaks them from outside."""

import contextlib
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Vault
from gridfsmount.vaults.opening import make_vault, open_vault

LAKE = "5f0e"


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def summary_of(manifest: bytes, **changes: Any) -> Summary:
    values: dict[str, Any] = {
        "lake": LAKE,
        "taken_ns": 1_800_000_000_000_000_000,
        "consistent": True,
        "manifest_sha256": sha256(manifest).hex(),
        "by": "root@server",
        "program": "1.0",
        "seconds": 1.5,
        "skipped": ("datasets/x: unreadable",),
    }
    counts = ("files", "folders", "bytes", "blobs", "blob_bytes", "new_blobs", "new_bytes")
    return Summary(**{**dict.fromkeys(counts, 3), **values, **changes})


class Store(ABC):
    """Where a vault is; it may be opened many times."""

    def __init__(self, address: str) -> None:
        self.address = address
        make_vault(address, LAKE).close()

    @contextmanager
    def opened(self) -> Iterator[Vault]:
        vault = open_vault(self.address)
        with contextlib.closing(vault):
            yield vault

    @abstractmethod
    def flip(self, blob: bytes) -> None:
        """Change a byte of a stored blob."""

    @abstractmethod
    def lose(self, blob: bytes) -> None:
        """Take the bytes of a stored blob away, not its name."""

    @abstractmethod
    def leftovers(self) -> int:
        """What is there that no name leads to."""

    @abstractmethod
    def spoil_summary(self, snapshot: str, data: bytes) -> None:
        """Put something else in a summary's place."""

    @abstractmethod
    def set_format(self, number: object) -> None:
        """Change the format in the header."""

    @abstractmethod
    def set_id(self, vault: str) -> None:
        """Put another vault in its place."""

    @abstractmethod
    def take_away(self) -> None:
        """Let the vault vanish, as if its disk were unmounted: the place itself stays."""

    @abstractmethod
    def litter(self, snapshot: str) -> None:
        """Add files that are not the vault's."""


class DirectoryStore(Store):
    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path.as_uri())

    def _blob(self, blob: bytes) -> Path:
        return self.path / "blobs" / blob.hex()[:2] / blob.hex()

    def flip(self, blob: bytes) -> None:
        place = self._blob(blob)
        data = bytearray(place.read_bytes())
        data[0] ^= 1
        place.chmod(0o644)
        place.write_bytes(data)

    def lose(self, blob: bytes) -> None:
        os.truncate(self._blob(blob), 0)

    def leftovers(self) -> int:
        # A note may be on its way while somebody else takes the lease.
        return sum(not each.name.startswith("note-") for each in (self.path / "tmp").iterdir())

    def spoil_summary(self, snapshot: str, data: bytes) -> None:
        place = self.path / "snapshots" / snapshot / "summary.json"
        place.chmod(0o644)
        place.write_bytes(data)

    def _change_header(self, old: str, new: str) -> None:
        place = self.path / "vault.json"
        place.write_text(place.read_text().replace(old, new))

    def set_format(self, number: object) -> None:
        self._change_header('"format": 1', f'"format": {number}')

    def set_id(self, vault: str) -> None:
        with self.opened() as before:
            self._change_header(before.header.id, vault)

    def take_away(self) -> None:
        self.path.rename(self.path.with_name("elsewhere"))
        self.path.mkdir()

    def litter(self, snapshot: str) -> None:
        for name in (
            "README",
            "blobs/README",
            "blobs/ab/README",
            f"blobs/ab/{'AB' * 32}",
            f"blobs/ab/{'cd' * 32}",
            "damaged/.nfs0001",
            f"snapshots/{snapshot}",
            "snapshots/readme.txt",
            "notes/.swp",
            "notes/a b",
        ):
            (self.path / name).touch()
        (self.path / "lost+found").mkdir()
        (self.path / "blobs" / "ab" / ("ab" * 32)).mkdir()


class GridFSStore(Store):
    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        database = self._client.get_default_database()
        self._database = database
        self.files = database["vault.files"]
        self.chunks = database["vault.chunks"]
        self.vault = database["vault.vault"]

    def close(self) -> None:
        self._client.close()

    def _of(self, name: str) -> dict[str, Any]:
        found = self.files.find_one({"filename": name})
        assert found is not None
        return {"files_id": found["_id"], "n": 0}

    def flip(self, blob: bytes) -> None:
        query = self._of(f"blobs/{blob.hex()}")
        chunk = self.chunks.find_one(query)
        assert chunk is not None
        data = bytes([chunk["data"][0] ^ 1]) + chunk["data"][1:]
        self.chunks.update_one(query, {"$set": {"data": data}})

    def lose(self, blob: bytes) -> None:
        self.chunks.delete_many({"files_id": self._of(f"blobs/{blob.hex()}")["files_id"]})

    def leftovers(self) -> int:
        named = self.files.distinct("_id")
        lost = self.chunks.count_documents({"files_id": {"$nin": named}})
        return lost + self.vault.count_documents({"_id": {"$regex": "^unfinished"}})

    def spoil_summary(self, snapshot: str, data: bytes) -> None:
        name = f"snapshots/{snapshot}/summary.json"
        self.chunks.update_one(self._of(name), {"$set": {"data": data}})
        self.files.update_one({"filename": name}, {"$set": {"length": len(data)}})

    def set_format(self, number: object) -> None:
        self.vault.update_one({"_id": "vault"}, {"$set": {"format": number}})

    def set_id(self, vault: str) -> None:
        self.vault.update_one({"_id": "vault"}, {"$set": {"id": vault}})

    def take_away(self) -> None:
        for each in (self.files, self.chunks, self.vault):
            each.rename(f"elsewhere.{each.name}")

    def litter(self, snapshot: str) -> None:
        fields = {"length": 0, "chunkSize": 1024}
        for name in ("README", "blobs/README", f"blobs/{'AB' * 32}", f"snapshots/{snapshot}"):
            self.files.insert_one({"filename": name, **fields})
