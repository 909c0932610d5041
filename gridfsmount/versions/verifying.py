"""Versions read again, every byte, and compared with what is recorded of them. Blocking."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.batches import batches
from gridfsmount.core.manifest import ManifestDigest, manifest_line
from gridfsmount.core.model import Content, Kind, Node
from gridfsmount.errors import Damaged
from gridfsmount.scanning import IN_FLIGHT
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hasher, Progress, hash_all, look_up, nothing
from gridfsmount.versions.manifest import BATCH, sha256_of
from gridfsmount.versions.walk import Entry, walk

WHOLE: Final = ""
"""The path of what is wrong with all of a version."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it is recorded."""

    path: str
    """Below the version; `WHOLE` for the version itself."""
    detail: str


@dataclass(slots=True)
class Verified:
    """What was read."""

    files: int = 0
    bytes: int = 0
    faults: int = 0
    changed: int = 0
    """Files of a draft that were written or removed meanwhile, and so not compared."""
    noted: int = 0
    """Files whose hashes were not known before."""
    digest: str = ""
    """Of what was read; empty when a part of it cannot be."""
    recorded: str = ""
    """The digest of a sealed version; empty for what has none."""


class Verifier:
    """Verifies versions of one lake."""

    def __init__(
        self,
        lake: Lake,
        told: Callable[[Fault], None],
        jobs: int = IN_FLIGHT,
        progress: Progress = nothing,
    ) -> None:
        """Read with `jobs` queries at once, and tell of every fault."""
        self._lake = lake
        self._told = told
        self._jobs = jobs
        self._progress = progress
        self._hasher = Hasher(lake, jobs)

    def verify(self, version: Node) -> Verified:
        """Read all files of a version, or of a folder in one.

        Raises:
            FileSystemError: the server gives no answer.
        """
        return _Run(self._lake, version, self._told, self._hasher).run(self._jobs, self._progress)


class _Run:
    def __init__(
        self, lake: Lake, version: Node, told: Callable[[Fault], None], hasher: Hasher
    ) -> None:
        self._lake = lake
        self._version = version
        self._tell = told
        self._hasher = hasher
        self._waiting: deque[tuple[Entry, Damaged | None]] = deque()
        """Files whose contents are on their way, in order, and what is wrong before they come."""
        self._fresh: dict[Content, Content] = {}
        self._digest = ManifestDigest()
        self._readable = True
        self._done = Verified()

    def run(self, jobs: int, progress: Progress) -> Verified:
        for seen, now in hash_all(self._lake, self._contents(), jobs, progress):
            entry, wrong = self._waiting.popleft()
            progress(1, 0)
            self._judge(entry, seen, wrong or now)
        self._hasher.note(self._fresh)
        seal = None if self._version.record is None else self._version.record.seal
        if self._readable:
            self._done.digest = self._digest.hex
        if seal is not None:
            self._done.recorded = seal.digest
            if self._readable and seal.digest != self._digest.hex:
                self._fault(WHOLE, f"its digest is {self._digest.hex}, not {seal.digest}")
        return self._done

    def _contents(self) -> Iterator[Content]:
        """A content for every file: an empty one where there is none, so that the order holds."""
        files = (each for each in walk(self._lake, self._version) if each.node.kind is Kind.FILE)
        for batch in batches(files, BATCH):
            shown = [each.node.content for each in batch if each.node.content is not None]
            found = look_up(self._lake, shown)
            for entry in batch:
                there = None if entry.node.content is None else found[entry.node.content]
                self._waiting.append((entry, there if isinstance(there, Damaged) else None))
                yield there if isinstance(there, Content) else self._nothing()

    def _nothing(self) -> Content:
        return Content(self._lake.contents.new_id(), 0, 1)

    def _judge(self, entry: Entry, seen: Content, now: Content | Damaged) -> None:
        node = entry.node
        self._done.files += 1
        if isinstance(now, Damaged):
            self._readable = False
            if self._is_as_it_was(node):
                self._fault(entry.path, str(now))
            else:
                self._done.changed += 1
            return
        self._done.bytes += now.length
        self._digest.add(manifest_line(sha256_of(now), entry.path))
        if now.length != node.size:
            detail = f"its size is {node.size:,}, but its content has {now.length:,} bytes"
            self._fault(entry.path, detail)
        if node.content is None:
            return
        if seen.sha256 is None:
            self._note(seen, now)
        elif seen.sha256 != now.sha256:
            detail = f"its SHA-256 is {sha256_of(now).hex()}, not {seen.sha256.hex()}"
            self._fault(entry.path, detail)

    def _note(self, seen: Content, now: Content) -> None:
        self._done.noted += 1
        self._fresh[seen] = now
        if len(self._fresh) >= BATCH:
            self._hasher.note(self._fresh)
            self._fresh = {}

    def _is_as_it_was(self, node: Node) -> bool:
        now = self._lake.tree.get(node.inode)
        return now is not None and now.content == node.content

    def _fault(self, path: str, detail: str) -> None:
        self._done.faults += 1
        self._tell(Fault(path, detail))
