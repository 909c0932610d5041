"""A lake with a past, and a vault of its backups: what the page is looked at with.

Versions are made, forked, sealed and linked as by commands; only when that was, and how large it
is said to be, is put into the database afterwards.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import Int64

from gridfsmount.core.model import Inode, Kind
from gridfsmount.places import parse, version_at
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.store.runs import CREATE, VERIFY
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from gridfsmount.versions.forking import fork
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.lineage import link
from gridfsmount.versions.sealing import Sealer
from gridfsmount.versions.tagging import set_tag, shelf_at
from tests.backup.prune.making import make_snapshot
from tests.store.lakes import Garden

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)

HOSTILE = "<img src=x onerror=alert('x')>\u202egnp.exe"
"""A name that a page must show, and not obey."""

MIB = 1 << 20


class Exhibition:
    """Puts things into a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.garden = Garden(lake)

    def draft(self, path: str, files: dict[str, bytes]) -> None:
        version = self.garden.version(path)
        for name, data in files.items():
            self.garden.file(version, name, data)

    def fork(self, source: str, target: str) -> None:
        fork(
            self.lake,
            parse(source),
            parse(target),
            by="ana@gpu1",
            owner=Founder(0, 0),
            moved=lambda _: None,
        )

    def seal(self, path: str, message: str, days: int, size: int, by: str = "ana@gpu1") -> None:
        """Seal a version so many days ago, said to hold so many MiB."""
        version, _ = version_at(self.lake, parse(path))
        Sealer(self.lake, Hasher(self.lake)).seal(version, message, by)
        at_ns = ns(NOON - timedelta(days=days))
        self._set(
            version.inode,
            {
                "created_ns": Int64(at_ns - 3600 * 10**9),
                "seal.at_ns": Int64(at_ns),
                "seal.bytes": Int64(size * MIB),
                "seal.files": Int64(60 * size + 10),
            },
        )

    def link(self, path: str, source: str, note: str) -> None:
        version, _ = version_at(self.lake, parse(path))
        link(self.lake, version, parse(source), note=note, by="ben@gpu2")

    def tag(self, folder: str, name: str, version: str) -> None:
        set_tag(self.lake, shelf_at(self.lake, parse(folder)), name, version, Founder(0, 0))

    def swell(self, path: str, size: int) -> None:
        """Say of a file of a draft that it is larger: so many MiB."""
        version, _ = version_at(self.lake, parse(path))
        nodes = self.lake.connection.collection("tree")
        nodes.update_one({"names.parent": version.inode}, {"$set": {"size": Int64(size * MIB)}})

    def _set(self, inode: Inode, fields: dict[str, Any]) -> None:
        self.lake.connection.collection("tree").update_one({"_id": inode}, {"$set": fields})


def fill(lake: Lake) -> None:
    """Datasets and models that come from each other."""
    show = Exhibition(lake)
    images = {f"images-{number:03}.png": pixels(number) for number in range(12)}
    show.draft("datasets/digits/v1", {**images, "labels.csv": b"0,1\n1,7\n" * 40})
    show.seal("datasets/digits/v1", "as scanned", 92, 410)
    show.fork("datasets/digits/v1", "datasets/digits/v2")
    change(show, "datasets/digits/v2")
    show.seal("datasets/digits/v2", "labels cleaned, twelve scans taken again", 61, 455)
    show.fork("datasets/digits/v2", "datasets/digits/v3")
    version, _ = version_at(lake, parse("datasets/digits/v3"))
    show.garden.file(version, "holdout.csv", b"12\n")
    show.seal("datasets/digits/v3", "holdout apart", 19, 472, by="ben@gpu2")
    show.fork("datasets/digits/v3", "datasets/digits/v4")
    show.swell("datasets/digits/v4", 468)
    for number, size in enumerate((90, 140, 138, 220, 410, 620), start=1):
        path = f"datasets/street-signs/2026-{number:02}"
        show.draft(path, {"signs.parquet": pixels(100 + number)})
        show.seal(path, f"delivery {number}", 190 - 30 * number, size)
    show.draft("datasets/voices/raw", {"a.flac": pixels(7)})
    for number, (source, note) in enumerate(
        (("v1", "ten epochs"), ("v2", "thirty epochs"), ("v3", "with dropout")), start=1
    ):
        path = f"models/reader/r{number}"
        show.draft(path, {"weights.safetensors": pixels(200 + number), "config.json": b"{}"})
        show.link(path, f"datasets/digits/{source}", note)
        show.seal(path, f"reads digits, {96 + number} of 100", 80 - 25 * number, 38, by="ben@gpu2")
    lake.connection.collection("uploads").delete_many({})  # nobody writes any more
    show.tag("datasets/digits", "production", "v2")
    show.tag("models/reader", "live", "r2")
    show.tag("models/reader", "candidate", "r3")


def change(show: Exhibition, path: str) -> None:
    """In a draft: a file added, removed, changed, renamed, and one with other permissions."""
    version, _ = version_at(show.lake, parse(path))
    nodes = {
        each.names[0].name: each
        for each in show.lake.tree.children_of_kind(version.inode, Kind.FILE)
    }
    show.garden.write(nodes["labels.csv"], b"0,1\n1,1\n" * 42)
    show.lake.commits.remove(nodes["images-003.png"])
    show.garden.file(version, "images-012.png", pixels(12))
    show.garden.file(version, HOSTILE, b"harmless")
    tree = show.lake.connection.collection("tree")
    tree.update_one(
        {"_id": nodes["images-004.png"].inode}, {"$set": {"names.0.name": "images-scan-4.png"}}
    )
    tree.update_one({"_id": nodes["images-005.png"].inode}, {"$set": {"mode": 0o600}})


def note_runs(lake: Lake, vault: str) -> None:
    """The last backup and verification of a vault went well, just now."""
    for what in (CREATE, VERIFY):
        lake.runs.note(
            what,
            vault,
            "id of the vault",
            began_ns=lake.runs.now_ns(),
            good=True,
            text="done",
            by="root@backup",
        )


def stock_vault(folder: Path, lake: str) -> DirectoryVault:
    """A vault with a backup in most nights of ten weeks; one of them is damaged."""
    vault = make_directory_vault(folder / "vault", lake)
    days = [day for day in range(70) if day < 12 or day % 7 == 0 or day in (17, 26)]
    for day in reversed(days):
        name = f"{NOON - timedelta(days=day, hours=9):%Y-%m-%dT%H-%M-%SZ}"
        make_snapshot(vault, name, {"a": b"a" * (1000 - day), "b": pixels(day)}, folder)
        if day > 2:
            note_verified(vault, name, damaged=2 if day == 26 else 0)
        if day == 56:
            vault.set_note(f"pins/{name}", b"before the move to the new server")
    return vault


def note_verified(vault: DirectoryVault, snapshot: str, *, damaged: int = 0) -> None:
    at_ns = ns(NOON - timedelta(days=1))
    note = {"at_ns": at_ns, "good": not damaged, "of": 2, "damaged": damaged}
    vault.set_note(f"verified/{snapshot}", json.dumps(note).encode())


def pixels(seed: int) -> bytes:
    return random.Random(seed).randbytes(3000 + 700 * (seed % 5))


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9
