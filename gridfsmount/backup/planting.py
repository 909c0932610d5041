"""Nodes of a snapshot put in a lake, with their contents.

Contents that the lake has still, in the trash too, are shown again without copying a byte. Others
come from their blobs, verified on the way: small ones many at a time, large ones chunk by chunk.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from gridfsmount.backup.snapshots import contents_of
from gridfsmount.core.chunks import chunk_count
from gridfsmount.core.filing import place_of
from gridfsmount.core.model import UNSORTED, Content, ContentId, Inode, Kind, Node
from gridfsmount.core.vault import Vault
from gridfsmount.errors import AlreadyExists, Damaged, StoreFailed
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.lanes import Lanes
from gridfsmount.transfer.report import Report
from gridfsmount.transfer.uploading import INSERT_BYTES, Upload, Uploader, whole_content
from gridfsmount.vaults.manifest import Manifest

BATCH: Final = 1000
"""Nodes that are handled together."""

SMALL_BYTES: Final = 1 << 20
"""Contents up to here go in batches."""

MANY_CHUNKS: Final = 1000
"""Contents of more go by themselves, however small the chunks are."""

CHUNKS: Final = 10_000
"""Of one insert, should they be tiny."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is to be in the lake, and is no folder."""

    node: Node
    """As it will be, but that it shows the content that it showed in the snapshot."""
    path: str
    """Where it will be."""

    @property
    def filename(self) -> str:
        """What drivers will see: what it was uploaded as, of what lies in `unsorted`."""
        area, _, plain = self.path.partition("/")
        if area != "unsorted":
            return self.path
        decoded = unquote(plain)  # as far as it is an encoded name, and not one with a %
        return decoded if str(place_of(decoded, "")) == self.path else plain


@dataclass(slots=True)
class Counts:
    """What was done."""

    files: int = 0
    """A hard link is one more."""
    bytes: int = 0
    relinked: int = 0
    """Files whose contents the lake had."""
    uploaded_bytes: int = 0


class Planter:
    """Puts nodes into folders that are there; for one thread, and it uses several."""

    def __init__(
        self,
        lake: Lake,
        vault: Vault,
        manifest: Manifest,
        lanes: Lanes,
        uploader: Uploader,
        report: Report,
    ) -> None:
        """Take from a snapshot of `vault` what `lake` lacks."""
        self._lake = lake
        self._vault = vault
        self._manifest = manifest
        self._lanes = lanes
        self._uploader = uploader
        self._report = report
        self._made = _Made()
        self._lock = threading.Lock()
        self._waiting: list[Item] = []
        self._small: list[tuple[Item, Content]] = []
        self._later: list[Item] = []
        """Items whose content is on its way for another."""
        self.counts = Counts()
        """What was done since somebody put another one here; complete after `drain`."""

    def close(self) -> None:
        """Remove what is temporary."""
        self._made.close()

    def add(self, item: Item) -> None:
        """Put something in its folder soon.

        Raises:
            Damaged: a blob is missing or wrong; the text names the path.
            Conflict, AlreadyExists: others are at the same folder.
        """
        self._waiting.append(item)
        if len(self._waiting) >= BATCH:
            self._sort()

    def drain(self) -> None:
        """Wait until all that was added is there, durably; raises as `add`."""
        while self._waiting or self._later:
            self._sort()
            self._lanes.drain()
            self._waiting, self._later = self._later, []
        self._lanes.drain()

    def stop(self) -> None:
        """Put in nothing more; when this returns, none is under way."""
        self._report.stop()
        self._lanes.settle()

    # --- what comes from where -----------------------------------------------------------------

    def _sort(self) -> None:
        items, self._waiting = self._waiting, []
        shown = [each.node.content for each in items if each.node.content is not None]
        contents = contents_of(self._manifest, shown)
        there = self._available(list(contents.values()))
        ready: list[Item] = []
        for item in items:
            content = None if item.node.content is None else contents[item.node.content]
            if content is None or content.id in there:
                ready.append(item)
                continue
            fate = None if item.node.version == UNSORTED else self._made.begin(content)
            if isinstance(fate, ContentId):
                ready.append(replace(item, node=replace(item.node, content=fate)))
            elif fate is True:
                self._later.append(item)
            else:
                self._upload_soon(item, content)
        if ready:
            self._lanes.submit(self._show, ready, contents, there)
        self._flush_small()

    def _available(self, contents: Sequence[Content]) -> dict[ContentId, bool]:
        """The contents that the lake has still, and whether they are in its trash."""
        found = {each.id: (each, False) for each in self._lake.contents.get_many(_ids(contents))}
        others = [each.id for each in contents if each.id not in found]
        if others:
            found |= {each.id: (each, True) for each in self._lake.trash.find(others)[0]}
        return {
            each.id: found[each.id][1]
            for each in contents
            if each.id in found and _is_same(each, found[each.id][0])
        }

    def _upload_soon(self, item: Item, content: Content) -> None:
        if (
            content.length > SMALL_BYTES
            or chunk_count(content.length, content.chunk_size) > MANY_CHUNKS
        ):
            self._lanes.submit(self._upload_large, item, content)
            return
        size = sum(each.length for _, each in self._small)
        if size + content.length > INSERT_BYTES:
            self._flush_small()
        self._small.append((item, content))

    def _flush_small(self) -> None:
        if self._small:
            self._lanes.submit(self._upload_small, self._small)
        self._small = []

    # --- in threads ----------------------------------------------------------------------------

    def _show(
        self,
        items: Sequence[Item],
        contents: Mapping[ContentId, Content],
        there: Mapping[ContentId, bool],
    ) -> None:
        """Add nodes whose contents are in the lake, or that have none."""
        self._publish([NewFile(each.node, each.filename) for each in items])
        shown = {each.node.content for each in items if each.node.content is not None}
        lost = self._lake.trash.keep_many(shown) if shown else set()
        recalled = [each for each in shown - lost if there.get(each)]
        if recalled:
            self._lake.filenames.settle(recalled)
        for item in items:
            if item.node.content in lost:
                self._replace(item, contents)
            else:
                self._count(item.node, relinked=item.node.content is not None)

    def _replace(self, item: Item, contents: Mapping[ContentId, Content]) -> None:
        """Upload a content after all: it was erased while it was to be shown again."""
        assert item.node.content is not None
        content = contents.get(item.node.content)
        if content is None:
            raise Damaged(f"{item.path}: its content was erased at this moment; restore it again")
        self._lake.tree.discard(item.node.inode)
        number = Inode(self._lake.tree.allocate(1)[0])
        self._upload_large(replace(item, node=replace(item.node, inode=number)), content)

    def _upload_small(self, items: Sequence[tuple[Item, Content]]) -> None:
        files = []
        for item, old in items:
            with _naming(item):
                data = b"".join(self._pieces(old))
                content, chunks = whole_content(self._lake.contents.new_id(), data, old.chunk_size)
                _check(content, old)
            if not data:
                content, chunks = replace(content, chunk_xxh3=b""), []
            node = replace(item.node, content=content.id)
            files.append(NewFile(node, item.filename, content, tuple(chunks)))
        self._publish(files)
        for (_, old), file in zip(items, files, strict=True):
            self._finish(file.node, old)
            self._count(file.node, uploaded=old.length)

    def _upload_large(self, item: Item, old: Content) -> None:
        node, name = item.node, item.node.names[0].name
        with _naming(item), self._uploader.leased(node.inode, name) as target:
            upload = Upload(self._uploader, target, old.chunk_size)
            try:
                for piece in self._pieces(old):
                    self._report.check()
                    size = old.chunk_size
                    upload.send([piece[at : at + size] for at in range(0, len(piece), size)])
            finally:
                upload.wait()
            content = upload.content()
            _check(content, old)
        node = replace(node, content=content.id)
        try:
            self._lake.bulk.publish_uploaded(NewFile(node, item.filename, content))
        except BaseException:
            self._lake.leases.forsake(content.id)
            raise
        self._finish(node, old)
        self._count(node, uploaded=old.length, moved=True)

    def _finish(self, node: Node, old: Content) -> None:
        # What drivers uploaded has a filename of its own: no other file shows it.
        if node.content is not None and node.version != UNSORTED:
            self._made.finish(old, node.content)

    def _pieces(self, content: Content) -> Iterator[bytes]:
        """The bytes of a blob, in whole chunks."""
        assert content.sha256 is not None, "what was not copied is refused before"
        step = max(1, min(INSERT_BYTES // content.chunk_size, CHUNKS)) * content.chunk_size
        for offset in range(0, content.length, step):
            yield self._vault.read(content.sha256, offset, min(step, content.length - offset))

    def _publish(self, files: Sequence[NewFile]) -> None:
        refused = self._lake.bulk.publish(files)
        for each in files:
            if each.node.inode in refused:
                raise AlreadyExists(f"{each.path}: somebody else made it, or its folder is gone")

    def _count(
        self, node: Node, *, relinked: bool = False, uploaded: int = 0, moved: bool = False
    ) -> None:
        files = len(node.names) if node.kind is Kind.FILE else 0
        size = files * node.size
        with self._lock:
            self.counts.files += files
            self.counts.bytes += size
            self.counts.relinked += files if relinked else 0
            self.counts.uploaded_bytes += uploaded
        self._report.done(files, size - uploaded if moved else size)


class _Made:
    """Which blobs have become which contents in this run: many files may show one.

    In a temporary database, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE made (sha256 BLOB, chunk_size INTEGER, bson BLOB, text TEXT,"
            " PRIMARY KEY (sha256, chunk_size)) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._database.close()

    def begin(self, content: Content) -> ContentId | bool:
        """What has its bytes already; True if that is on its way, False if it is for the caller."""
        key = (content.sha256, content.chunk_size)
        with self._lock:
            row = self._database.execute(
                "SELECT bson, text FROM made WHERE sha256 = ? AND chunk_size = ?", key
            ).fetchone()
            if row is None:
                self._database.execute("INSERT INTO made VALUES (?, ?, NULL, NULL)", key)
                return False
        return True if row[0] is None else ContentId(row[0], row[1])

    def finish(self, content: Content, made: ContentId) -> None:
        """Remember what has the bytes of a content."""
        with self._lock:
            self._database.execute(
                "UPDATE made SET bson = ?, text = ? WHERE sha256 = ? AND chunk_size = ?",
                (made.bson, made.text, content.sha256, content.chunk_size),
            )


@contextmanager
def _naming(item: Item) -> Iterator[None]:
    """Let an error about a blob name the path."""
    try:
        yield
    except (Damaged, StoreFailed) as error:
        raise Damaged(f"{item.path}: {error}") from error


def _check(content: Content, wanted: Content) -> None:
    if (content.sha256, content.length) != (wanted.sha256, wanted.length):
        assert wanted.sha256 is not None
        raise Damaged(
            f"the blob {wanted.sha256.hex()} is damaged; `gridfsmount backup verify --repair` may "
            "heal it, or another snapshot have the file"
        )


def _is_same(wanted: Content, there: Content) -> bool:
    """Whether a content of the lake is what was backed up; its `_id` alone does not say so."""
    if wanted.length != there.length:
        return False
    if there.sha256 is None:
        return 0 < wanted.uploaded_ms == there.uploaded_ms
    return wanted.sha256 == there.sha256


def _ids(contents: Sequence[Content]) -> list[ContentId]:
    return [each.id for each in contents]
