"""Whatever happens, in whatever order: the sweep removes nothing live, and all that is dead.

Lists of operations, some of which crash in the middle, on a lake and on a dictionary.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gridfsmount.checking.sweeping import Sweep, foresee, sweep
from gridfsmount.core.model import FIRST_FREE_INODE, Content, Inode, Kind, Name, Node
from gridfsmount.errors import Conflict, Damaged
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.encoding import content_key
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.uploading import whole_content
from tests.store.lakes import CHUNK, Garden, at_once, bare, one_deployment, opened

NOWHERE = 999_999
"""A directory that never was."""

NAMES = ("a", "b", "c")

DEAD = -1.0
"""A grace that is over, whatever the server's clock says."""


class Crash(BaseException):
    """The end of the process: no handler that undoes things runs."""


@contextmanager
def crashing(lake: Lake, calls: int | None) -> Iterator[None]:
    """End the process before the database call of that number, counted from 0; None for never."""
    seam = lake.connection.seam
    if calls is None:
        yield
        return
    original, numbers = seam.operation, itertools.count()

    def operation(what: str, *, factor: float = 1.0) -> Any:
        if next(numbers) >= calls:
            raise Crash(what)
        return original(what, factor=factor)

    seam.operation = operation  # type: ignore[method-assign]
    try:
        yield
    finally:
        seam.operation = original  # type: ignore[method-assign]


def sweep_all(lake: Lake) -> Sweep:
    lake.leases._confirmed.clear()  # as in another process: nobody sweeps what he writes himself
    return sweep(lake, grace=DEAD, orphan_grace=DEAD, tell=lambda _: None)


def age_leases(lake: Lake) -> None:
    lake.connection.collection("uploads").update_many(
        {}, [{"$set": {"beat": {"$subtract": ["$$NOW", 3_600_000]}}}]
    )


@dataclass
class Site:
    """A version with files, what should be in them, and uploads that are not committed."""

    lake: Lake
    garden: Garden
    version: Node
    uploads: list[tuple[Node, Content, bytes]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def node(self, name: str) -> Node | None:
        return self.lake.tree.find(self.version.inode, name)

    def name(self, name: str) -> Name:
        return Name(self.version.inode, name)

    def files(self) -> dict[str, bytes]:
        """Bytes of every name, each read whole and checked."""
        page = self.lake.tree.page(self.version.inode, "", 1000)
        return {name: self.garden.read(node) for name, node in page.entries}

    def data(self) -> bytes:
        return f"{next(self.numbers)} ".encode() * 500  # more than a chunk

    # --- operations: what they make of the names and bytes is returned -----------------------

    def write(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node = self.node(name) or self.garden.file(self.version, name)
        data = self.data()
        links = self._links(node)
        self.garden.write(node, data)
        return {**was, **dict.fromkeys(links, data)}

    def write_small(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node = self.node(name) or self.garden.file(self.version, name)
        data = self.data()[:CHUNK]
        links = self._links(node)
        content = Content(self.lake.contents.new_id(), len(data), CHUNK)
        pages = [(0, data)] if self.lake.connection.deployment.transactions else []
        if not pages:
            self.lake.leases.take(content.id, node.inode, name)
            self.lake.contents.put_chunks(content.id, [(0, data)])
        self.lake.commits.commit(node, f"x/{name}", content, pages, 1, 0)
        return {**was, **dict.fromkeys(links, data)}

    def empty(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node = self.node(name)
        if node is None:
            return was
        links = self._links(node)
        self.lake.commits.commit(node, f"x/{name}", None, (), 1, 0)
        return {**was, **dict.fromkeys(links, b"")}

    def unlink(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node = self.node(name)
        if node is not None:
            self.lake.commits.unlink(node, self.name(name))
        return {each: data for each, data in was.items() if each != name}

    def rename(self, name: str, other: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node, target = self.node(name), self.node(other)
        if node is None or (target is not None and target.inode == node.inode):
            return was
        self.lake.commits.rename(node, self.name(name), self.name(other), target, None)
        return {each: data for each, data in was.items() if each != name} | {other: was[name]}

    def link(self, name: str, other: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node = self.node(name)
        if node is None or other in was:
            return was
        self.lake.commits.add_link(node, self.name(other))
        return {**was, other: was[name]}

    def fork(self, name: str, other: str, was: dict[str, bytes]) -> dict[str, bytes]:
        """Another node with the same content."""
        node = self.node(name)
        if node is None or other in was:
            return was
        twin = replace(node, inode=Inode(self.garden.number()), names=(self.name(other),))
        self.lake.commits.create(twin)
        return {**was, other: was[name]}

    def exchange(self, name: str, other: str, was: dict[str, bytes]) -> dict[str, bytes]:
        node, target = self.node(name), self.node(other)
        if node is None or target is None or node.inode == target.inode:
            return was
        self.lake.commits.exchange(node, self.name(name), target, self.name(other))
        return {**was, name: was[other], other: was[name]}

    def strand(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        """A rename into a directory that is being removed, which crashed."""
        node = self.node(name)
        if node is not None:
            rest = [each for each in node.names if each != self.name(name)]
            nowhere = Name(Inode(NOWHERE), f"{node.inode}-{name}")
            self.lake.tree.set_names(node, rest or [nowhere], 1)
            if rest:
                self.lake.commits._retell(node, "")
        return {each: data for each, data in was.items() if each != name}

    def upload(self, name: str, _: str, was: dict[str, bytes]) -> dict[str, bytes]:
        """Chunks of a writer that is not done yet."""
        node = self.node(name)
        if node is not None:
            data = self.data()
            self.uploads.append((node, self.garden.upload(node, data), data))
        return was

    def finish(self, _: str, __: str, was: dict[str, bytes]) -> dict[str, bytes]:
        """The writer commits: it has what it wrote, or it is told that it was too late."""
        if not self.uploads:
            return was
        node, content, data = self.uploads.pop(0)
        current = self.lake.tree.get(node.inode)
        links = [] if current is None else self._links(current)
        try:
            committed = self.lake.commits.commit(node, "x/late", content, (), 1, 0)
        except Damaged:
            return was
        if committed is None:
            self.lake.commits.abandon(content.id)  # as the mount does when it is closed
            return was
        return {**was, **dict.fromkeys(links, data)}

    def sleep(self, _: str, __: str, was: dict[str, bytes]) -> dict[str, bytes]:
        """All writers sleep for longer than their leases last."""
        age_leases(self.lake)
        sweep_all(self.lake)
        return was

    def collect(self, _: str, __: str, was: dict[str, bytes]) -> dict[str, bytes]:
        sweep_all(self.lake)
        return was

    def _links(self, node: Node) -> list[str]:
        return [each.name for each in node.names if each.parent == self.version.inode]


OPERATIONS = (
    Site.write,
    Site.write_small,
    Site.empty,
    Site.unlink,
    Site.rename,
    Site.link,
    Site.fork,
    Site.exchange,
    Site.strand,
    Site.upload,
    Site.finish,
    Site.upload,
    Site.finish,
    Site.sleep,
    Site.collect,
)

Operation = Callable[[Site, str, str, dict[str, bytes]], dict[str, bytes]]
Step = tuple[Operation, str, str, int | None]

steps = st.tuples(
    st.sampled_from(OPERATIONS),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.none() | st.integers(0, 9),
)


@settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example([(each, "a", "b", None) for each in (Site.upload, Site.sleep, Site.finish)])
@given(st.lists(steps, min_size=5, max_size=25))
def test_the_sweep_removes_nothing_live_and_everything_dead(
    store: Lake, garden: Garden, what: list[Step]
) -> None:
    site = _fresh(store, garden)
    known: dict[str, bytes] = {}
    for name in NAMES[:2]:
        known = site.write(name, "", known)
    for operation, name, other, calls in what:
        known = _do(site, operation, name, other, calls, known)
        if calls is not None:
            sweep_all(store)
        assert site.files() == known
    for name in list(known):
        site.unlink(name, "", known)
    for _ in range(3):  # a term after another: contents of orphans, late writers
        age_leases(store)
        sweep_all(store)
    for collection in ("chunks", "files", "trash", "uploads"):
        assert list(store.connection.collection(collection).find()) == []
    assert set(_numbers(store)) <= {site.version.inode, site.version.parent}


def _do(
    site: Site,
    operation: Operation,
    name: str,
    other: str,
    calls: int | None,
    was: dict[str, bytes],
) -> dict[str, bytes]:
    """One step; after a crash the names and bytes are those before or those after."""
    try:
        with crashing(site.lake, calls):
            return operation(site, name, other, was)
    except Crash:
        site.lake.commits.recover()  # as the next mount does
    found = site.files()
    touched = {name, other} | {each for each in found if found[each] != was.get(each)}
    links = {each for each in was if _same_file(site, each, name)}
    for each in (set(was) | set(found)) - touched - links:
        assert found.get(each) == was.get(each), "nothing else changes"
    for data in found.values():
        assert data in {*was.values(), b""} or _is_data(data), "whole"
    if operation in (Site.write, Site.write_small, Site.link, Site.fork, Site.finish):
        assert set(was) <= set(found), "no name is lost"
    if operation in (Site.rename, Site.exchange) and name in was:
        assert was[name] in found.values(), "the file that is renamed is there"
    return found


def _same_file(site: Site, one: str, other: str) -> bool:
    first, second = site.node(one), site.node(other)
    return first is not None and second is not None and first.inode == second.inode


def _is_data(data: bytes) -> bool:
    number = data.split(b" ", 1)[0]
    return data == ((number + b" ") * 500)[: len(data)] and len(data) in (
        CHUNK,
        len(number + b" ") * 500,
    )


def _fresh(lake: Lake, garden: Garden) -> Site:
    for name in ("chunks", "files", "trash", "uploads"):
        lake.connection.collection(name).delete_many({})
    lake.connection.collection("tree").delete_many({"_id": {"$gte": FIRST_FREE_INODE}})
    return Site(lake, garden, garden.version())


def _numbers(lake: Lake) -> list[int]:
    nodes = lake.connection.collection("tree")
    return [each["_id"] for each in nodes.find({"_id": {"$gte": FIRST_FREE_INODE}}, {"_id": 1})]


# --- at the same moment -------------------------------------------------------------------------


@contextmanager
def interrupted(lake: Lake, at: int, other: Callable[[], None]) -> Iterator[list[bool]]:
    """Let something else happen before the database call of that number; yields whether it did."""
    seam = lake.connection.seam
    original, numbers = seam.operation, itertools.count()
    happened: list[bool] = []

    def operation(what: str, *, factor: float = 1.0) -> Any:
        if not happened and next(numbers) == at:
            happened.append(True)
            other()
        return original(what, factor=factor)

    seam.operation = operation  # type: ignore[method-assign]
    try:
        yield happened
    finally:
        seam.operation = original  # type: ignore[method-assign]


@one_deployment
@pytest.mark.parametrize("first", ["the sharing", "the removal", "the removal, with a sweep"])
def test_a_content_that_is_shared_while_it_is_erased_is_there_or_refused(
    store: Lake, garden: Garden, first: str
) -> None:
    version = garden.version()
    refused = []
    for at in itertools.count():
        data = f"{at} ".encode() * 1000
        node = garden.file(version, "a", data)
        twin = replace(node, inode=Inode(garden.number()), names=(Name(version.inode, f"b{at}"),))

        def remove(node: Node = node) -> None:
            store.commits.unlink(node, node.names[0])

        def remove_and_sweep(node: Node = node) -> None:
            remove(node)
            store.trash.sweep(DEAD)

        def share(twin: Node = twin) -> None:
            try:
                store.commits.create(twin)
            except (Conflict, Damaged):
                refused.append(twin.inode)

        one, other = {
            "the sharing": (share, remove_and_sweep),
            "the removal": (remove, share),
            "the removal, with a sweep": (remove_and_sweep, share),
        }[first]
        with interrupted(store, at, other) as happened:
            one()
        if not happened:
            break
        for _ in range(2):
            if twin.inode in refused:
                assert store.tree.get(twin.inode) is None
            else:
                assert garden.read(twin) == data
            sweep_all(store)
    sweep_all(store)
    assert store.connection.collection("trash").count_documents({}) == 0
    assert len(refused) < at, "some of them are there"
    assert bool(refused) is (first != "the removal"), "and some come too late"


@one_deployment
def test_a_writer_that_sleeps_beyond_its_lease_commits_whole_or_not_at_all(
    store: Lake, garden: Garden, any_uri: str
) -> None:
    version = garden.version()
    late = 0
    with opened(any_uri) as other:
        for at in itertools.count():
            old, new = f"{at} old ".encode() * 500, f"{at} new ".encode() * 500
            node = garden.file(version, f"{at}", old)
            content = garden.upload(node, new)

            def sleep() -> None:
                age_leases(other)
                sweep_all(other)

            expected = new
            with interrupted(store, at, sleep) as happened:
                try:
                    store.commits.commit(node, f"x/{at}", content, (), 1, 0)
                except Damaged as error:
                    assert "given up" in str(error)  # noqa: PT017
                    expected = old
                    late += 1
            for _ in range(2):
                now = store.tree.get(node.inode)
                assert now is not None
                assert garden.read(now) == expected
                sleep()
            if not happened:
                break
    assert 0 < late < at
    assert store.connection.collection("uploads").count_documents({}) == 0
    assert store.connection.collection("trash").count_documents({}) == 0
    assert store.connection.collection("files").count_documents({}) == at + 1
    assert store.connection.collection("chunks").count_documents({}) == sum(
        len(garden.read(each)) // CHUNK + 1
        for _, each in store.tree.page(version.inode, "", 1000).entries
    )


@pytest.mark.parametrize("kind", ["a batch", "a large file"])
def test_a_putter_that_sleeps_beyond_its_lease_leaves_files_whole_or_absent(
    store: Lake, garden: Garden, any_uri: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = garden.version()
    slept = 0.0
    monkeypatch.setattr("gridfsmount.store.leases._clock", lambda: time.monotonic() + slept)
    late = 0
    with opened(any_uri) as other:
        for at in itertools.count():

            def sleep() -> None:
                nonlocal slept
                age_leases(other)
                slept += 3600
                sweep_all(other)

            files = [
                _new_file(store, version, f"{at}-{each}", f"{at} {each} ".encode() * 500 * each)
                for each in range(3)
            ]
            if kind == "a large file":
                files = files[-1:]
                assert files[0].content is not None
                store.leases.take(files[0].content.id, files[0].node.inode, "large")
                store.contents.put_chunks(files[0].content.id, list(enumerate(files[0].chunks)))
            failed = False
            with interrupted(store, at, sleep) as happened:
                try:
                    if kind == "a batch":
                        assert store.bulk.publish(files) == set()
                    else:
                        store.bulk.publish_uploaded(files[0])
                except Damaged as error:
                    assert "put it again" in str(error)  # noqa: PT017
                    failed = True
            late += failed
            if failed and kind == "a large file":
                assert files[0].content is not None
                store.leases.forsake(files[0].content.id)  # as the putter does
            for _ in range(3):
                for file in files:
                    node = store.tree.get(file.node.inode)
                    assert (node is None) is failed
                    if node is not None:
                        assert garden.read(node) == b"".join(file.chunks)
                sleep()
            if not happened:
                break
    has_leases = kind == "a large file" or not store.connection.deployment.transactions
    assert bool(late) is has_leases
    assert late < at, "who sleeps when all is done was in time"
    nodes = [node for _, node in store.tree.page(version.inode, "", 1000).entries]
    contents = {content_key(node.content) for node in nodes if node.content is not None}
    assert set(store.connection.collection("files").distinct("_id")) == contents
    assert set(store.connection.collection("chunks").distinct("files_id")) == contents
    for name in ("uploads", "trash"):
        assert store.connection.collection(name).count_documents({}) == 0


def _new_file(lake: Lake, folder: Node, name: str, data: bytes) -> NewFile:
    node = bare(lake.tree.allocate(1)[0], (folder.inode, name), version=folder.version)
    if not data:
        return NewFile(node, f"datasets/test/v1/{name}")
    content, chunks = whole_content(lake.contents.new_id(), data, CHUNK)
    node = replace(node, content=content.id, size=content.length)
    return NewFile(node, f"datasets/test/v1/{name}", content, tuple(chunks))


@one_deployment
def test_a_claimed_content_is_refused_to_whoever_would_share_it(
    store: Lake, garden: Garden
) -> None:
    node = garden.file(garden.version(), "a", b"data")
    store.commits.unlink(node, node.names[0])
    store.connection.collection("trash").update_one({}, {"$set": {"claim": "a sweep's"}})
    with pytest.raises(Conflict, match="being erased"):
        store.commits.create(node)
    assert store.tree.get(node.inode) is None
    sweep_all(store)  # that sweep crashed
    with pytest.raises(Damaged, match="gone"):
        store.commits.create(node)
    assert store.tree.get(node.inode) is None


@one_deployment
def test_a_name_that_is_lost_while_the_sweep_looks_gets_its_whole_grace(
    store: Lake, garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = garden.file(garden.version(), "a", b"data" * 1000)
    assert node.content is not None
    store.trash.announce(node.content, "a")  # by a commit that crashed, long ago
    store.connection.collection("trash").update_one(
        {}, [{"$set": {"since": {"$subtract": ["$$NOW", 7_200_000]}}}]
    )
    shown = store.tree.shown  # asked after the entry was claimed

    def lose_the_name(contents: Any) -> Any:
        if contents:
            store.commits.unlink(node, node.names[0])
        return shown(contents)

    monkeypatch.setattr(type(store.tree), "shown", lambda _, contents: lose_the_name(contents))
    assert store.trash.sweep(3600).contents == 0
    assert store.connection.collection("chunks").count_documents({}) == 4
    assert store.connection.collection("trash").count_documents({"file": {"$exists": True}}) == 1


@one_deployment
def test_a_name_that_is_lost_after_the_sweep_forgot_the_entry_is_kept_in_the_trash(
    store: Lake, garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = garden.file(garden.version(), "a", b"data" * 1000)
    delete = store.tree.delete

    def sweep_first(node: Node, session: Any = None) -> None:
        store.trash.sweep(DEAD)
        delete(node, session)

    monkeypatch.setattr(
        type(store.tree), "delete", lambda _, node, session=None: sweep_first(node, session)
    )
    store.commits.unlink(node, node.names[0])
    (entry,) = store.connection.collection("trash").find()
    assert entry["file"]["length"] == 4000
    assert entry["since"] is not None


# --- orphans ------------------------------------------------------------------------------------


@one_deployment
def test_orphans_go_once_they_are_old_and_their_contents_a_grace_later(
    store: Lake, garden: Garden
) -> None:
    node = garden.file(garden.version(), "a", b"data" * 1000)
    store.tree.set_names(node, [Name(Inode(NOWHERE), "a")], time.time_ns())
    young = sweep(store, grace=3600, orphan_grace=3600, tell=lambda _: None)
    assert young.orphans == 0
    assert foresee(store, grace=3600, orphan_grace=DEAD).orphans == 1
    old = sweep(store, grace=3600, orphan_grace=DEAD, tell=lambda _: None)
    assert old.orphans == 1
    assert store.tree.get(node.inode) is None
    assert store.connection.collection("chunks").count_documents({}) == 4
    assert foresee(store, grace=DEAD, orphan_grace=DEAD) == Sweep(contents=1, bytes=4000)


@one_deployment
def test_what_has_any_place_or_anything_in_it_is_no_orphan(store: Lake, garden: Garden) -> None:
    version = garden.version()
    node = garden.file(version, "a", b"data")
    linked = store.tree.set_names(node, [Name(Inode(NOWHERE), "a"), *node.names], 1)
    lost = bare(garden.number(), (NOWHERE, "folder"), kind=Kind.DIRECTORY)
    store.tree.insert(lost)
    inside = bare(garden.number(), (lost.inode, "inside"))
    store.tree.insert(inside)
    parked = store.tree.park(garden.file(version, "b"), Name(version.inode, "b"), ())
    sweep_all(store)
    assert store.tree.existing([linked.inode, lost.inode, inside.inode, parked.inode]) == {
        linked.inode,
        lost.inode,
        inside.inode,
        parked.inode,
    }


@one_deployment
def test_orphans_are_found_in_every_stretch(
    store: Lake, garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.orphans.STRETCH", 3)
    version = garden.version()
    for number in range(20):
        garden.file(version, f"{number}")
        store.tree.insert(bare(garden.number(), (NOWHERE + number // 2, f"{number}")))
    assert sweep_all(store).orphans == 20
    assert len(store.tree.page(version.inode, "", 100).entries) == 20


@one_deployment
def test_one_mount_a_day_is_told_to_look_for_orphans(store: Lake) -> None:
    assert not store.orphans.is_due(86400)  # a new lake
    assert store.orphans.is_due(DEAD)
    lake = store.connection.collection("lake")
    lake.update_one({"_id": "orphans"}, [{"$set": {"at": {"$subtract": ["$$NOW", 90_000_000]}}}])
    asked = at_once(*[lambda: store.orphans.is_due(86400)] * 4)
    assert sorted(map(bool, asked)) == [False, False, False, True]


# --- chunks of nothing --------------------------------------------------------------------------


@one_deployment
def test_stray_chunks_go_when_that_is_asked_for_and_no_upload_can_be_behind_them(
    store: Lake, garden: Garden
) -> None:
    node = garden.file(garden.version(), "a", b"data" * 1000)
    leased = garden.upload(node, b"data")
    chunks = store.connection.collection("chunks")
    old, new = (ObjectId.from_datetime(datetime.now(UTC) - timedelta(hours=h)) for h in (25, 23))
    chunks.insert_many(
        [
            {"_id": old, "files_id": "old", "n": 0, "data": b"x"},
            {"_id": new, "files_id": "new", "n": 0, "data": b"x"},
        ]
    )
    assert sweep_all(store).strays == 0
    foreseen = foresee(store, grace=DEAD, orphan_grace=DEAD, strays=True)
    done = sweep(store, grace=DEAD, orphan_grace=DEAD, strays=True, tell=lambda _: None)
    assert (foreseen.strays, done.strays) == (1, 1)
    assert chunks.count_documents({"files_id": "old"}) == 0
    assert chunks.count_documents({"files_id": "new"}) == 1
    assert garden.read(node) == b"data" * 1000
    assert garden.read_content(leased) == b"data"
