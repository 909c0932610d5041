"""Sealing on the lake itself: what it refuses, what it records, what it survives."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from gridfsmount.core.model import Inode, Kind, Name, Node, State
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    FileSystemError,
    InUse,
    InvalidArgument,
    NotFound,
    ReadOnly,
)
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.lake import Lake
from gridfsmount.store.versions import new_attempt
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.manifest import manifest
from gridfsmount.versions.sealing import Sealer
from gridfsmount.versions.walk import walk
from tests.store.lakes import CHUNK, Garden, bare, opened

BY = "ana@gpu1"
HELLO = b"hello\n"


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    with opened(any_uri) as lake:
        yield lake


def seal(lake: Lake, version: Node, message: str = "") -> Node:
    return Sealer(lake, Hasher(lake)).seal(version, message, BY)


def claim(lake: Lake, version: Node, by: str) -> str:
    attempt = new_attempt()
    lake.versions.claim(version.inode, by, attempt)
    return attempt


def current(lake: Lake, node: Node) -> Node:
    found = lake.tree.get(node.inode)
    assert found is not None
    return found


def digest(lake: Lake, version: Node) -> str:
    lines = (line.line for line in manifest(lake, version, Hasher(lake)))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def age(lake: Lake, version: Node) -> None:
    """Let the claim of an attempt be of yesterday."""
    lake.connection.collection("tree").update_one(
        {"_id": version.inode}, [{"$set": {"sealing.beat": {"$subtract": ["$$NOW", 86_400_000]}}}]
    )


def test_a_sealed_version_knows_what_is_in_it(store: Lake, garden: Garden) -> None:
    version = garden.version()
    folder = garden.folder(version, "b")
    big = garden.file(folder, "big", b"x" * (3 * CHUNK + 1))
    garden.file(version, "a", HELLO)
    garden.file(version, "b.txt")  # empty; "." comes before "/"
    store.commits.add_link(current(store, big), Name(version.inode, "c"))

    sealed = seal(store, version, "first $light")

    assert sealed.state is State.SEALED
    assert sealed.record is not None
    record = sealed.record.seal
    assert record is not None
    assert (record.files, record.bytes) == (4, 6 + 2 * (3 * CHUNK + 1))
    assert (record.by, record.message) == (BY, "first $light")
    big_sum = hashlib.sha256(b"x" * (3 * CHUNK + 1)).hexdigest()
    lines = [
        f"{hashlib.sha256(HELLO).hexdigest()}  a\n",
        f"{hashlib.sha256(b'').hexdigest()}  b.txt\n",
        f"{big_sum}  b/big\n",
        f"{big_sum}  c\n",
    ]
    assert record.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert current(store, version) == sealed


REFUSED: dict[str, Callable[[Lake, Garden, Node, Node], object]] = {
    "create": lambda lake, garden, folder, file: garden.file(folder, "new"),
    "write": lambda lake, garden, folder, file: garden.write(file, b"other"),
    "truncate": lambda lake, garden, folder, file: lake.tree.show(file.inode, None, 1, 0),
    "attributes": lambda lake, garden, folder, file: lake.tree.update(file.inode, {"mode": 0}),
    "xattrs": lambda lake, garden, folder, file: lake.tree.set_xattrs(file, {"user.a": b"1"}),
    "unlink": lambda lake, garden, folder, file: lake.commits.unlink(file, file.names[0]),
    "link": lambda lake, garden, folder, file: lake.commits.add_link(
        file, Name(folder.inode, "more")
    ),
    "rename": lambda lake, garden, folder, file: lake.commits.rename(
        file, file.names[0], Name(folder.inode, "moved"), None, file.version
    ),
    "rmdir": lambda lake, garden, folder, file: lake.tree.delete(current(lake, folder)),
    "revision": lambda lake, garden, folder, file: lake.tree.relink(
        file, lake.contents.new_id(), 1, 1
    ),
    "move in": lambda lake, garden, folder, file: _move_in(lake, garden, folder),
    "replace": lambda lake, garden, folder, file: _replace(lake, garden, file),
}


def _move_in(lake: Lake, garden: Garden, folder: Node) -> None:
    other = garden.file(garden.version("datasets/test/other"), "file", b"1")
    try:
        lake.commits.rename(other, other.names[0], Name(folder.inode, "in"), None, folder.version)
    finally:
        assert current(lake, other).names == other.names


def _replace(lake: Lake, garden: Garden, file: Node) -> None:
    other = garden.file(garden.version("datasets/test/other"), "file", b"1")
    lake.commits.rename(other, other.names[0], file.names[0], file, file.version)


@pytest.mark.parametrize("what", REFUSED)
def test_the_server_refuses_every_change_whoever_believes_it_a_draft(
    store: Lake, garden: Garden, what: str
) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    file = garden.file(folder, "file", b"bytes")
    sealed = seal(store, version)
    before = [entry.node for entry in walk(store, version)]

    with pytest.raises(ReadOnly):
        REFUSED[what](store, garden, folder, current(store, file))

    assert [entry.node for entry in walk(store, version)] == before
    assert garden.read(current(store, file)) == b"bytes"
    assert digest(store, sealed) == sealed.record.seal.digest  # type: ignore[union-attr]


def test_a_batch_of_files_does_not_get_in(store: Lake, garden: Garden) -> None:
    version = garden.version()
    garden.file(version, "file", b"bytes")
    seal(store, version)
    late = replace(bare(garden.number(), (version.inode, "late"), version=version.inode))

    refused = store.bulk.publish([NewFile(late, "datasets/test/v1/late")])

    assert refused == {late.inode}
    assert store.tree.find(version.inode, "late") is None


def test_folder_times_that_come_late_change_nothing(store: Lake, garden: Garden) -> None:
    version = garden.version()
    garden.file(version, "file", b"bytes")
    sealed = seal(store, version)

    store.tree.touch({version.inode: 1 << 60})

    assert current(store, version) == sealed


def test_what_is_half_created_when_a_folder_freezes_is_in_or_out(
    store: Lake, garden: Garden
) -> None:
    """Between inserting a node and looking for its folder, the folder freezes."""
    version = garden.version()
    garden.file(version, "file", b"bytes")
    caught = bare(garden.number(), (version.inode, "caught"), version=version.inode)
    attempt = claim(store, version, BY)
    store.tree.insert(caught)
    store.versions.freeze(version.inode, attempt)

    assert not store.tree.discard(caught.inode)  # as its creator does, who finds it closed
    missed = bare(garden.number(), (version.inode, "missed"), version=version.inode)
    with pytest.raises(ReadOnly):
        store.commits.create(missed)

    names = [entry.path for entry in walk(store, version)]
    assert names == ["caught", "file"]


@pytest.mark.parametrize("number", range(3))
def test_a_digest_holds_whatever_was_under_way(
    store: Lake, garden: Garden, any_uri: str, number: int
) -> None:
    """Threads change a version in all ways while it is sealed: what is left is what was counted."""
    version = garden.version()
    folders = [version, *(garden.folder(version, f"d{index}") for index in range(4))]
    for index in range(40):
        garden.file(folders[index % 5], f"f{index}", b"%d" % index)
    over = threading.Event()
    failures: list[Exception] = []

    def change(seed: int) -> None:
        rng = random.Random(seed)
        with opened(any_uri) as lake:
            mine = Garden(lake)
            while not over.is_set():
                try:
                    _change(lake, mine, rng, folders)
                except FileSystemError as error:
                    if not isinstance(
                        error, ReadOnly | NotFound | Conflict | AlreadyExists | Damaged
                    ):
                        failures.append(error)
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=change, args=(number * 10 + each,)) for each in range(3)]
    for thread in threads:
        thread.start()
    try:
        sealed = _sealed_in_the_end(store, version)
    finally:
        threading.Event().wait(0.2)  # let them run into the seal
        over.set()
        for thread in threads:
            thread.join()

    assert failures == []
    assert sealed.record is not None
    assert sealed.record.seal is not None
    assert digest(store, version) == sealed.record.seal.digest
    assert {entry.node.frozen for entry in walk(store, version)} == {sealed.frozen}


def _sealed_in_the_end(lake: Lake, version: Node) -> Node:
    while True:
        with suppress(Conflict, Damaged):
            return seal(lake, version)


def _change(lake: Lake, garden: Garden, rng: random.Random, folders: list[Node]) -> None:
    folder = rng.choice(folders)
    children = lake.tree.children_of_kind(folder.inode, Kind.FILE)
    match rng.randrange(5):
        case 0:
            garden.file(folder, f"n{rng.random()}", b"new")
        case 1 if children:
            node = rng.choice(children)
            content = garden.upload(node, b"%d" % rng.randrange(1 << 30))
            lake.commits.commit(node, node.names[0].name, content, (), time.time_ns(), 0)
        case 2 if children:
            node = rng.choice(children)
            lake.commits.unlink(node, node.names[0])
        case 3 if children:
            node = rng.choice(children)
            goal = Name(rng.choice(folders).inode, f"m{rng.random()}")
            lake.commits.rename(node, node.names[0], goal, None, node.version)
        case 4 if children:
            node = rng.choice(children)
            lake.commits.add_link(node, Name(rng.choice(folders).inode, f"l{rng.random()}"))


def test_hashes_of_foreign_and_patched_contents_are_computed_and_kept(
    store: Lake, garden: Garden
) -> None:
    version = garden.version()
    file = garden.file(version, "file", b"foreign")
    store.connection.collection("files").update_one(
        {"filename": "datasets/test/v1/file"},
        {"$unset": {"metadata.lake.sha256": "", "metadata.lake.chunk_xxh3": ""}},
    )

    seal(store, version)

    content = current(store, file).content
    assert content is not None
    assert store.contents.get(content).sha256 == hashlib.sha256(b"foreign").digest()


def test_what_has_no_files_is_not_sealed(store: Lake, garden: Garden) -> None:
    version = garden.version()
    with pytest.raises(InvalidArgument, match="no files"):
        seal(store, version)
    garden.folder(version, "empty")
    with pytest.raises(InvalidArgument, match="no files"):
        seal(store, version)
    garden.file(version, "now", b"something")
    seal(store, version)


@pytest.mark.parametrize(
    "harm",
    [
        lambda lake: lake.connection.collection("files").delete_many({}),
        lambda lake: lake.connection.collection("tree").update_one(
            {"size": 5}, {"$set": {"size": 6}}
        ),
    ],
    ids=["dangling", "wrong size"],
)
def test_what_is_damaged_is_not_sealed_and_stays_a_draft(
    store: Lake, garden: Garden, harm: Callable[[Lake], object]
) -> None:
    version = garden.version()
    garden.file(version, "good", b"1")
    bad = garden.file(version, "bad", b"bytes")
    harm(store)

    with pytest.raises(Damaged, match=r"bad|good"):
        seal(store, version)

    left = current(store, version)
    assert left.state is State.DRAFT
    assert left.record is not None
    assert left.record.sealing is None
    store.tree.update(bad.inode, {"mode": 0o600})  # it can change


def test_one_at_a_time_and_the_other_is_named(store: Lake, garden: Garden) -> None:
    version = garden.version()
    garden.file(version, "file", b"1")
    claim(store, version, "bob@gpu2")

    with pytest.raises(AlreadyExists, match="bob@gpu2 is sealing it"):
        seal(store, version)


def test_who_cannot_claim_it_leaves_the_other_s_attempt_alone(store: Lake, garden: Garden) -> None:
    version = garden.version()
    file = garden.file(version, "file", b"1")
    attempt = claim(store, version, "bob@gpu2")
    store.versions.freeze(version.inode, attempt)

    with pytest.raises(AlreadyExists):
        seal(store, version)

    assert current(store, file).frozen == attempt


def test_a_dead_attempt_is_taken_over(store: Lake, garden: Garden) -> None:
    version = garden.version()
    file = garden.file(version, "file", b"1")
    store.versions.freeze(version.inode, claim(store, version, "bob@gpu2"))
    age(store, version)

    sealed = seal(store, version)

    assert current(store, file).frozen == sealed.frozen


def test_a_dead_attempt_leaves_a_draft(store: Lake, garden: Garden) -> None:
    version = garden.version()
    file = garden.file(garden.folder(version, "folder"), "file", b"1")
    store.versions.freeze(version.inode, claim(store, version, "bob@gpu2"))
    assert store.versions.end_given_up() == 0  # it is not dead yet
    age(store, version)

    assert store.versions.end_given_up() == 1

    garden.write(file, b"2")
    garden.file(version, "more", b"3")
    assert store.versions.end_given_up() == 0


def test_an_attempt_that_slept_too_long_seals_nothing(store: Lake, garden: Garden) -> None:
    version = garden.version()
    garden.file(version, "file", b"1")

    class Sleepy(Hasher):
        def load(self, contents):  # type: ignore[no-untyped-def]
            found = super().load(contents)
            age(store, version)
            store.versions.end_given_up()
            return found

    with pytest.raises(Conflict, match="sign of life"):
        Sealer(store, Sleepy(store)).seal(version, "", BY)

    assert current(store, version).state is State.DRAFT


def test_a_put_in_progress_is_named(store: Lake, garden: Garden) -> None:
    version = garden.version()
    garden.file(version, "file", b"1")
    store.processes.announce("put", writing=[version.inode])

    with pytest.raises(InUse, match=r"put \(process"):
        seal(store, version)

    store.processes.leave()
    seal(store, version)


def test_a_mount_that_does_not_answer_holds_it_up_until_it_is_dead(
    store: Lake, garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = garden.version()
    garden.file(version, "file", b"1")
    store.processes.announce("mount", place="/mnt/lake")
    monkeypatch.setattr("gridfsmount.versions.sealing.ANSWER_SECONDS", 0.2)

    with pytest.raises(InUse, match="no answer from the mount /mnt/lake"):
        seal(store, version)

    store.connection.collection("lake").update_one(
        {"process": {"$exists": True}},
        [{"$set": {"beat": {"$subtract": ["$$NOW", 60_000]}}}],
    )
    seal(store, version)


def test_sealing_goes_by_the_servers_clock(store: Lake, garden: Garden) -> None:
    """The version that was sealed last is the newest, whatever machines' clocks say."""
    nodes = [garden.version(f"datasets/test/v{number}") for number in (1, 2)]
    for node in nodes:
        garden.file(node, "file", b"1")
    store.connection.collection("tree").update_one(
        {"_id": nodes[0].inode}, {"$set": {"created_ns": 1 << 62}}
    )
    first, last = seal(store, nodes[0]), seal(store, nodes[1])

    assert first.record is not None
    assert last.record is not None
    assert first.record.seal is not None
    assert last.record.seal is not None
    assert first.record.seal.at_ns <= last.record.seal.at_ns < 1 << 62


def test_versions_are_found_by_their_index(store: Lake, garden: Garden) -> None:
    made = [garden.version(f"datasets/test/v{number}").inode for number in range(3)]
    garden.plant(1000, made[0])

    assert [node.inode for node in store.versions.all()] == made
    tree = store.connection.collection("tree")
    for query in ({"created_ns": {"$gt": 0}}, {"sealing.attempt": {"$exists": True}}):
        plan = tree.find(query).explain()
        assert plan["executionStats"]["totalDocsExamined"] <= 3


def test_what_is_gone_is_not_sealed(store: Lake) -> None:
    with pytest.raises(NotFound):
        store.versions.claim(Inode(1 << 40), BY, new_attempt())
