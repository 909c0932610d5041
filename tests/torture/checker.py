"""What is there, compared with what was acknowledged.

The promise: each path shows its last acknowledged state, or that of an operation after it which
failed or was cut off; a file is whole in any case. Through the mount that holds at once; drivers
may see an old filename or a removed file for longer after a kill (docs/semantics.md), but never a
file in part.
"""

import enum
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import bson
import gridfs
from pymongo.database import Database

from tests.torture import contents
from tests.torture.belief import FOLDER, Belief, State, World
from tests.torture.journal import Operation

DURABLE: Final = frozenset({"rename", "rename folder", "unlink", "mkdir", "rmdir", "log"})
"""Operations that are acknowledged only when the server's journal has them on its disk, and with
them all that the server did before."""

RECOVERY_SECONDS: Final = 15.0
"""For a mount to find out that its server is back, on a machine that does much else."""

POLL_SECONDS: Final = 0.2

Seen: TypeAlias = bytes | str | None
"""What a path leads to: bytes, FOLDER, or nothing; any other string says why it cannot be read."""


class Fault(enum.Enum):
    """What is wrong."""

    LOST = "lost"
    """Whole, but not what was acknowledged last: older, or gone."""
    TORN = "torn"
    """Nothing that was ever written there."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    fault: Fault
    text: str

    def __str__(self) -> str:
        return f"{self.fault.value}: {self.text}"


def check_tree(belief: Belief, look: Callable[[str], Seen]) -> Iterator[Violation]:
    """Compare all paths that were ever used with what `look` sees there."""
    for path, state in belief.certain.items():
        seen = look(path)
        if not shows(seen, state):
            yield _violation(belief, path, seen, told(state))
    for worlds in belief.doubts:
        found = {path: look(path) for path in worlds[0]}
        if not any(_is(world, found) for world in worlds):
            yield from _violations_of_group(belief, worlds, found)


def shows(seen: Seen, state: State) -> bool:
    """Whether what is seen is that state."""
    if isinstance(seen, bytes):
        # Sizes first: rendering takes time.
        return (
            isinstance(state, tuple)
            and len(seen) == contents.size(state)
            and seen == contents.rendered(state)
        )
    return seen == state


def told(state: State) -> str:
    """For people."""
    if isinstance(state, tuple):
        return f"a file ({contents.described(state)})"
    return "nothing" if state is None else "a folder"


def seen_as(seen: Seen) -> str:
    """For people."""
    if isinstance(seen, bytes):
        return f"a file of {len(seen)} bytes ({contents.recognized(seen)})"
    return "nothing" if seen is None else seen


def _is(world: World, found: dict[str, Seen]) -> bool:
    return all(shows(found[path], state) for path, state in world.items())


def _violations_of_group(
    belief: Belief, worlds: Sequence[World], found: dict[str, Seen]
) -> Iterator[Violation]:
    alone = [
        (path, seen)
        for path, seen in found.items()
        if not any(shows(seen, world[path]) for world in worlds)
    ]
    for path, seen in alone:
        expected = " or ".join(dict.fromkeys(told(world[path]) for world in worlds))
        yield _violation(belief, path, seen, expected)
    if not alone:
        seen_together = ", ".join(f"{path}: {seen_as(seen)}" for path, seen in found.items())
        yield Violation(Fault.LOST, f"these cannot be so at once: {seen_together}")


def _violation(belief: Belief, path: str, seen: Seen, expected: str) -> Violation:
    known = any(shows(seen, state) for state in belief.ever[path])
    return Violation(
        Fault.LOST if known else Fault.TORN, f"{path} is {seen_as(seen)} and must be {expected}"
    )


class Folder:
    """A folder of a mount, looked at from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self, path: str) -> Seen:
        """What a path leads to."""
        at = self.root / path
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                if at.is_dir():
                    return FOLDER
                return at.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                # The mount may still take the server for dead: what is damaged stays so.
                if time.monotonic() > deadline:
                    return f"unreadable ({error.strerror})"
                time.sleep(POLL_SECONDS)

    def check(self, belief: Belief) -> Iterator[Violation]:
        """Everything: states, names that nobody made, digests."""
        for each in check_tree(belief, self.look):
            yield Violation(each.fault, f"{self.root}: {each.text}")
        known = belief.ever
        for path in self._paths():
            if path not in known:
                yield Violation(Fault.OTHER, f"{self.root / path} was never made by anybody")

    def check_digests(self, belief: Belief) -> Iterator[Violation]:
        """The digests that the lake tells, as far as it knows them."""
        for path, state in belief.certain.items():
            if isinstance(state, tuple) and state:
                told_digest = attribute(self.root / path, "user.lake.sha256")
                digest = hashlib.sha256(contents.rendered(state)).hexdigest()
                if told_digest not in (None, digest):
                    yield Violation(Fault.OTHER, f"{self.root / path} has a wrong sha256")

    def _paths(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                yield str((Path(folder) / name).relative_to(self.root))


def attribute(path: Path, name: str) -> str | None:
    """An extended attribute, if the file has it."""
    try:
        return os.getxattr(path, name).decode()
    except OSError:
        return None


class Drivers:
    """The same files as other GridFS clients see them."""

    def __init__(self, database: Database[dict[str, Any]], folder: Folder, prefix: str) -> None:
        """Look at what is named `prefix/...` in the lake and is below `folder` in the mount."""
        self._bucket = gridfs.GridFSBucket(database)
        self._files = database["fs.files"]
        self._folder = folder
        self._prefix = prefix

    def check(self, belief: Belief) -> Iterator[Violation]:
        """Each file that must be there is readable by its id."""
        for path, state in belief.certain.items():
            if not isinstance(state, tuple) or not state:
                continue
            content = attribute(self._folder.root / path, "user.lake.content")
            if not shows(self._read(bson.ObjectId(content)), state):
                yield Violation(Fault.OTHER, f"drivers cannot read {self._prefix}/{path} by its id")

    def check_names(
        self, belief: Belief, quiet: set[str], operations: Sequence[Operation] = ()
    ) -> Iterator[Violation]:
        """By filename everything is whole; paths that are `quiet` show their state of now.

        What is wrong is told with what `operations` did there.
        """
        everything = {
            state: None
            for states in belief.ever.values()
            for state in states
            if isinstance(state, tuple)
        }
        for name in self._filenames():
            path = name.removeprefix(f"{self._prefix}/")
            newest = self._files.find_one({"filename": name}, sort=[("uploadDate", -1)])
            seen = self._read(newest["_id"]) if newest else None
            if not any(shows(seen, state) for state in everything):
                yield Violation(Fault.TORN, f"drivers see {name} as {seen_as(seen)}")
            elif path in quiet and not shows(seen, belief.certain[path]):
                yield Violation(
                    Fault.LOST,
                    f"drivers see {name} as {seen_as(seen)}, not as {told(belief.certain[path])}"
                    f"{_history(operations, path)}",
                )
        missing = {
            f"{self._prefix}/{path}" for path in quiet if isinstance(belief.certain[path], tuple)
        }
        empty = {f"{self._prefix}/{path}" for path in quiet if belief.certain[path] == ()}
        for name in missing - empty - set(self._filenames()):
            path = name.removeprefix(f"{self._prefix}/")
            yield Violation(Fault.LOST, f"drivers do not see {name}{_history(operations, path)}")

    def _filenames(self) -> list[str]:
        below = {"filename": {"$gte": f"{self._prefix}/", "$lt": f"{self._prefix}0"}}
        return sorted(self._files.distinct("filename", below))

    def _read(self, content: object) -> Seen:
        try:
            return self._bucket.open_download_stream(content).read()
        except gridfs.errors.GridFSError as error:
            return f"unreadable ({error})"


def _history(operations: Sequence[Operation], path: str) -> str:
    return "".join(
        f"; {each.name} of {', '.join(sorted(each.paths))} at {each.begun:.3f} to {each.ended:.3f}"
        for each in operations
        if path in each.paths
    )


def quiet_paths(
    belief: Belief,
    operations: Sequence[Operation],
    everybody: Sequence[Operation],
    kills: Sequence[float],
) -> set[str]:
    """Paths whose operations all succeeded, and were on the server's disk when it died.

    What drivers are told is not waited for: it is safe when another operation that is, of any
    worker, was acknowledged later. What drivers were left with under a name goes with it: when a
    path that is not quiet is renamed, or its folder, the new one is not quiet either.
    """
    proofs = [each for each in everybody if each.name in DURABLE and each.outcome == "done"]

    def is_safe(operation: Operation, kill: float) -> bool:
        return kill < operation.begun or any(
            operation.ended < proof.begun and proof.ended < kill for proof in proofs
        )

    disturbed: set[str] = set()
    for each in sorted(operations, key=lambda each: each.begun):
        if (
            each.outcome != "done"
            or not all(is_safe(each, kill) for kill in kills)
            or (len(each.paths) > 1 and not disturbed.isdisjoint(each.paths))
        ):
            disturbed.update(each.paths)
    return {path for path in belief.certain if path not in disturbed}


def leftovers(database: Database[dict[str, Any]]) -> list[str]:
    """What belongs to nothing: to no file, no trash, and no upload that somebody may go on with."""
    kept = {
        each["_id"]
        for name in ("fs.trash", "fs.uploads")
        for each in database[name].find({}, {"_id": 1})
    }
    shown = {each["content"] for each in database["fs.tree"].find({"content": {"$exists": True}})}
    files = {each["_id"] for each in database["fs.files"].find({}, {"_id": 1})}
    chunks = {each["_id"] for each in database["fs.chunks"].aggregate(_BY_CONTENT)}
    return [
        *(f"chunks of {each}" for each in sorted(chunks - files - kept)),
        *(f"files document {each}" for each in sorted(files - shown - kept)),
        *(
            f"node {each['_id']} is set aside"
            for each in database["fs.tree"].find({"names.parent": 0, "_id": {"$ne": 1}})
        ),
    ]


_BY_CONTENT: Final = [{"$group": {"_id": "$files_id"}}]
