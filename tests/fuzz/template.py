"""A small lake with something of everything, as documents that can be planted again and again."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bson import Int64
from pymongo.database import Database

from tests.faults.lakes import Copying, Lake, wait_for_chunks
from tests.mounting import Mounted, run_command

Document = dict[str, Any]

COLLECTIONS: Final = ("lake", "tree", "files", "chunks", "uploads", "trash")
HEALTHY: Final = "datasets/healthy/v1"
WITNESSES: Final = {"small": b"small and healthy", "large": bytes(range(256)) * 64, "empty": b""}
CHUNK: Final = 4096
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Template:
    """All documents of a healthy lake, by collection; none of them is ever changed."""

    documents: dict[str, list[Document]]
    witnesses: frozenset[str]
    """`repr` of the `_id`s of what must stay as it is."""

    def mutable(self, collection: str) -> list[Document]:
        """Those that may be altered, copied or left out."""
        return [
            each for each in self.documents[collection] if not self.is_witness(collection, each)
        ]

    def is_witness(self, collection: str, document: Document) -> bool:
        key = document["files_id"] if collection == "chunks" else document["_id"]
        return repr(key) in self.witnesses

    def plant(self, database: Database[Document]) -> None:
        """Make a database that has it already what it was, but for what nothing may alter."""
        for name, documents in self.documents.items():
            key = "files_id" if name == "chunks" else "_id"
            kept = [each[key] for each in documents if self.is_witness(name, each)]
            collection = database[f"fs.{name}"]
            collection.delete_many({key: {"$nin": kept}})
            if mutable := self.mutable(name):
                collection.insert_many(mutable)


def grow(uri: str, folder: Path) -> Template:
    """Make a lake with all that a lake can have, by mounts, commands and a driver."""
    with Mounted(uri, folder, "--chunk-size", "4KiB") as mount, Lake(uri) as lake:
        _fill(mount, folder)
        lake.bucket.upload_from_stream("of/a driver", b"uploaded" * 1000, chunk_size_bytes=1000)
        lake.bucket.upload_from_stream("datasets/d/v2/driver", b"into a draft")
        _run("seal", "datasets/d/v1", "--message", "first", "--uri", uri)
        _run("fork", "datasets/d/v1", "datasets/d/v3", "--uri", uri)
        _run("tag", "datasets/d", "good", "v1", "--uri", uri)
        _run("link", "models/m/v1", "--from", "datasets/d/v1", "--note", "trained", "--uri", uri)
        _run("seal", "models/m/v1", "--uri", uri)
        vault = folder / "vault"
        vault.mkdir()
        _run("backup", "init", "--vault", vault, "--uri", uri)
        _run("backup", "create", "--vault", vault, "--uri", uri)
        _run("backup", "verify", "--vault", vault, "--uri", uri)
        (mount.path / "datasets/d/v2/removed").unlink()
        with Copying(folder, mount.path / "datasets/d/v2/unfinished") as copying:
            copying.feed(os.urandom(12 << 20))
            wait_for_chunks(lake, 1)
            mount.kill()  # a lease and the beat of a dead process stay
        return _read(lake)


def _fill(mount: Mounted, folder: Path) -> None:
    healthy = mount.version(HEALTHY)
    for name, content in WITNESSES.items():
        (healthy / name).write_bytes(content)
    for version in ("datasets/d/v1", "datasets/d/v2", "models/m/v1"):
        path = mount.version(version)
        (path / "file").write_bytes(b"content of " + version.encode())
        (path / "large").write_bytes(os.urandom(3 * CHUNK + 7))
        (path / "empty").write_bytes(b"")
        (path / "folder" / "inner").mkdir(parents=True)
        (path / "folder" / "inner" / "leaf").write_bytes(b"leaf")
        (path / "link").symlink_to("file")
        (path / "other name").hardlink_to(path / "file")
        (path / "removed").write_bytes(b"removed")
        os.mkfifo(path / "fifo")
        os.setxattr(path / "file", "user.note", b"a note")


def _run(*arguments: str | Path) -> None:
    done = run_command(*arguments)
    assert done.returncode == 0, (arguments, done.stderr)


def _read(lake: Lake) -> Template:
    documents = {each: list(lake.database[f"fs.{each}"].find().sort("_id")) for each in COLLECTIONS}
    # What only a crash in the middle of a change leaves: see docs/format.md.
    nodes = {each["names"][0]["name"]: each for each in documents["tree"]}
    parked = {**nodes["leaf"], "_id": Int64(900_001)}
    parked["names"] = [{"parent": Int64(0), "name": "900001"}]
    parked["was"] = nodes["leaf"]["names"]
    detached = {**nodes["v3"], "_id": Int64(900_002), "version": Int64(900_002)}
    detached["names"] = [{"parent": Int64(0), "name": "900002"}]
    detached["detached"] = {
        "attempt": "0" * 32,
        "path": "datasets/d/v4",
        "by": "ana@gpu1",
        "beat": LONG_AGO,
    }
    documents["tree"] += [parked, detached]
    # The sweeps find these due, and need not look at thousands of chunks.
    for lease in documents["uploads"]:
        lease["beat"] = LONG_AGO
    for entry in documents["trash"]:
        entry["since"] = LONG_AGO
    unfinished = {each["_id"] for each in documents["uploads"]}
    documents["chunks"] = [
        each for each in documents["chunks"] if each["files_id"] not in unfinished or each["n"] < 3
    ]
    healthy = {nodes["healthy"]["_id"]}
    healthy |= {
        each["_id"]
        for each in documents["tree"]
        if each.get("version") is not None
        and any(
            above["_id"] == each["version"] and above["names"][0]["parent"] in healthy
            for above in documents["tree"]
        )
    }
    contents = {each.get("content") for each in documents["tree"] if each["_id"] in healthy}
    fixed = {1, 2, 3, 4, 5}
    keys = {*healthy, *(contents - {None}), *fixed, "lake", "inodes"}
    return Template(documents, frozenset(repr(each) for each in keys))
