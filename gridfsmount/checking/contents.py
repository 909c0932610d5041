"""Whether contents are whole: their chunks' numbers, and if asked for, every byte."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.core.chunks import chunk_count, runs
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged
from gridfsmount.scanning import scan
from gridfsmount.store.audit import ContentState, FileState, Numbers
from gridfsmount.store.lake import Lake

COUNTED: Final = 200_000
"""Chunks whose numbers are asked for in one question: some 0.3 s of the server's time."""

NO_NAME: Final = "(no filename)"

NAMED: Final = 10
"""Chunks that one finding names."""


class ContentExamination:
    """Looks at contents, a batch at a time."""

    def __init__(self, lake: Lake, verified: Callable[[int], None]) -> None:
        """Look at the contents of `lake`; `verified` is told of bytes that were read."""
        self._lake = lake
        self._verified = verified

    def examine(self, contents: Sequence[ContentId]) -> list[Finding]:
        """What is wrong with those of some contents that there are, without reading them."""
        states = self._lake.audit.content_states(contents)
        findings: list[Finding] = []
        for state in states:
            file = state.file
            if file.content is None:
                path = self._path(file.id, file.filename)
                findings.append(
                    Finding(Fault.MALFORMED_CONTENT, path, file.problem, content=file.id)
                )
            if _is_unshown(state) and not self._is_older_revision(file):
                detail = "no name leads to it, and nobody is about to remove it"
                findings.append(
                    Finding(Fault.UNREACHABLE_CONTENT, f"{file.filename}", detail, content=file.id)
                )
        for batch in _by_chunks([each for each in states if each.file.content is not None]):
            findings += self._faults_in_numbers(batch)
        return findings

    def _faults_in_numbers(self, states: Sequence[ContentState]) -> Iterator[Finding]:
        numbers = self._lake.audit.numbers([each.file.id for each in states])
        for state in states:
            content = state.file.content
            if content is None:
                continue
            count = chunk_count(content.length, content.chunk_size)
            right = Numbers(count, 0, count - 1) if count else None
            if numbers.get(content.id) == right:
                continue
            path = self._path(content.id, state.file.filename)
            missing, extra = self._lake.audit.faults_in_numbers(content.id, count)
            if missing:
                detail = f"{_ranges(missing)} of {count:,}"
                yield Finding(Fault.MISSING_CHUNK, path, detail, content=content.id)
            if extra:
                detail = f"{', '.join(extra[:NAMED])}{' ...' * (len(extra) > NAMED)} of {count:,}"
                yield Finding(Fault.EXTRA_CHUNK, path, detail, content=content.id)

    def verify(self, contents: Sequence[ContentId]) -> list[Finding]:
        """What is wrong with the bytes of some contents; chunks that are missing count as none."""
        findings: list[Finding] = []
        whole = self._lake.contents.get_many(contents)
        faults: dict[ContentId, list[tuple[int, Damaged]]] = {}
        digests: dict[ContentId, hashlib._Hash | None] = {}
        for piece in scan(self._lake, whole):
            content = piece.content
            self._verified(sum(len(each) for each in piece.chunks if isinstance(each, bytes)))
            digest = digests.setdefault(content.id, hashlib.sha256() if content.sha256 else None)
            for n, chunk in enumerate(piece.chunks, piece.first):
                if isinstance(chunk, Damaged):
                    faults.setdefault(content.id, []).append((n, chunk))
                if not isinstance(chunk, bytes):
                    digests[content.id] = digest = None
                elif digest is not None:
                    digest.update(chunk)
        for content in whole:
            digest = digests.get(content.id)
            if content.id in faults:
                findings += self._faults_in_bytes(content, faults[content.id])
            elif digest is not None and digest.digest() != content.sha256:
                path = self._path(content.id, None)
                detail = f"its SHA-256 is {digest.hexdigest()}"
                findings.append(Finding(Fault.WRONG_HASH, path, detail, content=content.id))
        return findings

    def _faults_in_bytes(
        self, content: Content, faults: Sequence[tuple[int, Damaged]]
    ) -> Iterator[Finding]:
        path = self._path(content.id, None)
        altered = [n for n, error in faults if _is_altered(error)]
        others = [str(error) for _, error in faults if not _is_altered(error)]
        lengths = [each.rpartition(": ")[2] for each in others]
        if altered:
            detail = f"{_ranges(altered)} altered"
            yield Finding(Fault.WRONG_HASH, path, detail, content=content.id)
        if lengths:
            detail = "; ".join(lengths[:NAMED]) + " ..." * (len(lengths) > NAMED)
            yield Finding(Fault.WRONG_LENGTH, path, detail, content=content.id)

    def _is_older_revision(self, file: FileState) -> bool:
        """Whether a driver uploaded another content under the same filename, which is shown."""
        newest = self._lake.foreign.newest(file.filename)
        return newest is not None and newest.id != file.id and self._lake.tree.shows(newest.id)

    def _path(self, content: ContentId, filename: object) -> str:
        """Where the tree shows a content; else what drivers call it."""
        inodes = [each.inode for each in self._lake.tree.by_content(content, limit=10)]
        paths = self._lake.tree.paths(inodes)
        if paths:
            return min(paths.values())
        if filename is None:
            filename = self._lake.contents.filename(content)
        return NO_NAME if filename is None else str(filename)


def _is_altered(error: Damaged) -> bool:
    return str(error).endswith("was altered")


def _is_unshown(state: ContentState) -> bool:
    # What drivers uploaded stays for them without a node, whatever becomes of the file.
    known = state.file.marked and not state.file.adopted
    return known and not (state.shown or state.in_trash or state.leased)


def _by_chunks(states: Sequence[ContentState]) -> Iterator[list[ContentState]]:
    batch: list[ContentState] = []
    total = 0
    for state in states:
        content = state.file.content
        count = 0 if content is None else chunk_count(content.length, content.chunk_size)
        if batch and total + count > COUNTED:
            yield batch
            batch, total = [], 0
        batch.append(state)
        total += count
    if batch:
        yield batch


def _ranges(numbers: Sequence[int]) -> str:
    """As in "chunks 3, 7 to 9"."""
    found = list(runs(iter(numbers)))
    shown = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in found[:NAMED]]
    return (
        f"chunk{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{' ...' * (len(found) > NAMED)}"
    )
