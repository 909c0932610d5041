"""Making a version immutable: who writes in it, what is in it, and what its digest is.

Blocking. `store.versions` tells what makes it safe; here is the order of things. All but the last
step can be interrupted, and leaves the draft that it was.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gridfsmount.core.manifest import ManifestDigest
from gridfsmount.core.model import Content, Node, Seal, State
from gridfsmount.errors import (
    Conflict,
    Damaged,
    FileSystemError,
    InUse,
    InvalidArgument,
    ReadOnly,
)
from gridfsmount.repeating import repeating
from gridfsmount.store.lake import Lake
from gridfsmount.store.processes import DEAD_SECONDS, Process
from gridfsmount.store.versions import CLAIM_SECONDS, new_attempt
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.manifest import manifest

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 2 * DEAD_SECONDS
"""How long a process that is alive may take to say what it writes."""

POLL_SECONDS: Final = 0.05

SHOWN: Final = 5
"""Files that are named in a message."""


class Sealer:
    """Seals versions of one lake."""

    def __init__(self, lake: Lake, hasher: Hasher) -> None:
        """Compute missing hashes with `hasher`."""
        self._lake = lake
        self._hasher = hasher

    def seal(self, version: Node, message: str, by: str) -> Node:
        """Make a draft sealed for good; returns its node as it is then.

        Args:
            version: the draft.
            message: what to remember of it, for people.
            by: who does, as in "ana@gpu1".

        Raises:
            ReadOnly: it is sealed already.
            InvalidArgument: it has no files.
            AlreadyExists: somebody else is sealing it.
            InUse: a file of it is open for writing somewhere; the text says which and where.
            Damaged: a file's content is missing or altered; the text says which.
            Conflict: this took so long without a sign of life that somebody ended it.
        """
        if version.state is State.SEALED:
            raise ReadOnly("it is sealed already")
        if not self._lake.tree.has_children(version.inode):
            raise InvalidArgument("it has no files: an empty version could never get any")
        self._hash_beforehand(version)
        attempt = new_attempt()
        sealed = False
        try:
            self._lake.versions.claim(version.inode, by, attempt)
            with self._renewing(version, attempt) as lost:
                self._ask(version, attempt, lost)
                while self._lake.versions.freeze(version.inode, attempt):
                    _check(lost)
                seal = self._count(version, message, by, attempt, lost)
            node = self._lake.versions.seal(version.inode, attempt, seal)
            sealed = True
            return node
        finally:
            if not sealed:
                self._give_up(version, attempt)

    def _give_up(self, version: Node, attempt: str) -> None:
        try:
            self._lake.versions.release(version.inode, attempt)
        except FileSystemError as error:  # else a mount does it, when the claim is dead
            log.warning("%s stays closed for a moment: %s", version.names[0].name, error)

    def _hash_beforehand(self, version: Node) -> None:
        """Compute what hashes are missing while the version can still be written.

        What is written meanwhile is met again when nothing changes any more.
        """
        path = self._lake.tree.path(version.inode)
        if path is None or not self._lake.contents.lacks_hashes(path):
            return
        try:
            for _ in manifest(self._lake, version, self._hasher):
                pass
        except Conflict as error:
            log.debug("hashing goes on later: %s", error)

    def _ask(self, version: Node, attempt: str, lost: threading.Event) -> None:
        """Wait until everybody has stopped changing the version, or refuse.

        Raises:
            InUse: somebody writes a file of it, or does not answer.
        """
        began = time.monotonic()
        while True:
            _check(lost)
            answers = self._lake.versions.answers(version.inode, attempt)
            writing = [
                f"{path} ({_place(each.host, each.pid)})"
                for each in answers
                for path in each.writing
            ]
            alive = self._lake.processes.alive()
            writing += [
                f"{each.what} ({_place(each.host, each.pid)})"
                for each in alive
                if version.inode in each.writing
            ]
            if writing:
                raise InUse(f"it is being written: {_some(writing)}")
            answered = {each.process for each in answers}
            silent = [each for each in alive if each.answers and each.id not in answered]
            if not silent:
                return
            if time.monotonic() - began > ANSWER_SECONDS:
                raise InUse(f"no answer from {_some([_mount(each) for each in silent])}")
            time.sleep(POLL_SECONDS)

    def _count(
        self, version: Node, message: str, by: str, attempt: str, lost: threading.Event
    ) -> Seal:
        """List what is in a frozen version."""
        digest = ManifestDigest()
        files = size = 0
        for line, entry, content in manifest(self._lake, version, self._hasher):
            if entry.node.frozen != attempt:
                raise Conflict(f"{entry.path} appeared at this moment; try again")
            _check_size(entry.path, entry.node, content)
            digest.add(line)
            files += 1
            size += entry.node.size
            _check(lost)
        if not files:
            raise InvalidArgument("it has no files: an empty version could never get any")
        return Seal(0, by, message, files, size, digest.hex)

    @contextmanager
    def _renewing(self, version: Node, attempt: str) -> Iterator[threading.Event]:
        """Give signs of life while a block runs; the event says that somebody ended it."""
        lost = threading.Event()

        def renew() -> None:
            try:
                if not self._lake.versions.renew(version.inode, attempt):
                    lost.set()
            except FileSystemError as error:
                log.warning("sealing goes on without a sign of life: %s", error)

        with repeating(renew, CLAIM_SECONDS / 4, "renew a seal"):
            yield lost


def _check(lost: threading.Event) -> None:
    if lost.is_set():
        raise Conflict("sealing took too long without a sign of life, and was ended; try again")


def _check_size(path: str, node: Node, content: Content | None) -> None:
    length = 0 if content is None else content.length
    if node.size != length:
        raise Damaged(f"{path}: its size is {node.size}, but its content has {length} bytes")


def _place(host: str, pid: int) -> str:
    return f"process {pid} on {host}"


def _mount(process: Process) -> str:
    return f"the {process.what} {process.place} ({_place(process.host, process.pid)})"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
