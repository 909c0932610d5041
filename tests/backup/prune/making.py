"""Vaults and snapshots without a lake, for tests of what is done with them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from gridfsmount.core.model import NO_FOLDER, ROOT, Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Vault, snapshot_time
from gridfsmount.vaults.manifest import Backed, ManifestWriter

LAKE = "0123456789abcdef0123456789abcdef"


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def make_snapshot(vault: Vault, name: str, files: Mapping[str, bytes], folder: Path) -> None:
    """Publish a snapshot with some files in its root, blobs and all; `folder` is for the draft."""
    new = [data for data in set(files.values()) if not vault.present([digest(data)])]
    vault.put_many([(digest(data), data) for data in new])
    path = folder / f"{name}.sqlite"
    writer = ManifestWriter(path)
    nodes = [
        Node(
            ROOT,
            Kind.DIRECTORY,
            (Name(NO_FOLDER, ""),),
            mode=0o755,
            uid=0,
            gid=0,
            mtime_ns=0,
            ctime_ns=0,
        )
    ]
    for number, (file, data) in enumerate(sorted(files.items()), 2000):
        nodes.append(
            Node(
                Inode(number),
                Kind.FILE,
                (Name(ROOT, file),),
                mode=0o644,
                uid=0,
                gid=0,
                mtime_ns=0,
                ctime_ns=0,
                size=len(data),
                content=_content_id(data),
            )
        )
    writer.add_nodes(nodes)
    by_id = {_content_id(data).bson: data for data in files.values()}
    for batch in list(writer.contents()):
        writer.set_contents(
            [
                Backed(
                    number,
                    Content(
                        id=each,
                        length=len(by_id[each.bson]),
                        chunk_size=1 << 20,
                        sha256=digest(by_id[each.bson]),
                        chunk_xxh3=None,
                        uploaded_ms=0,
                    ),
                )
                for number, each in batch
            ]
        )
    writer.finish({"lake": LAKE})
    data = path.read_bytes()
    taken = int(snapshot_time(name).timestamp()) * 10**9
    vault.publish(
        name,
        path,
        Summary(
            lake=LAKE,
            taken_ns=taken,
            consistent=True,
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            files=len(files),
            folders=1,
            bytes=sum(map(len, files.values())),
            blobs=len(set(files.values())),
            blob_bytes=sum(map(len, set(files.values()))),
            new_blobs=len(new),
            new_bytes=sum(map(len, new)),
            seconds=0.1,
            by="root@test",
            program="0",
        ),
    )
    path.unlink()


def _content_id(data: bytes) -> ContentId:
    return ContentId(digest(data), digest(data).hex())
