"""What is settled comes from a secondary, when it is there; what is right comes in any case."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gridfsmount.core.model import Content
from gridfsmount.errors import Damaged
from gridfsmount.store.connection import connect
from gridfsmount.store.contents import SECONDARY_SHARE
from gridfsmount.store.encoding import content_key
from gridfsmount.store.lake import Founder, Lake, open_lake
from tests.replica_set import ReplicaSet, queries
from tests.store.lakes import CHUNK, Garden

DATA = bytes(range(256)) * 11  # chunks of 1024, 1024 and 768 bytes
DEADLINE = 10.0


@pytest.fixture(scope="module")
def members() -> Iterator[ReplicaSet]:
    with ReplicaSet() as replica_set:
        yield replica_set


@pytest.fixture
def store(members: ReplicaSet) -> Iterator[Lake]:
    """A lake that is read from secondaries where that is right."""
    with lake_of(members, "secondary") as lake:
        yield lake


@pytest.fixture
def garden(store: Lake) -> Garden:
    return Garden(store)


@contextmanager
def lake_of(members: ReplicaSet, settled_from: str) -> Iterator[Lake]:
    name = f"lake_{uuid.uuid4().hex}"
    connection = connect(
        members.uri_for(name), bucket="fs", deadline=DEADLINE, settled_from=settled_from
    )
    try:
        yield open_lake(connection, lease_seconds=300, founder=Founder(0, 0))
    finally:
        connection.client.drop_database(name)
        connection.close()


def planted(garden: Garden, data: bytes = DATA) -> Content:
    node = garden.file(garden.version(f"datasets/test/{uuid.uuid4().hex}"), "a", data)
    assert node.content is not None
    return garden.lake.contents.get(node.content)


class Counts:
    """Queries for chunks, at the primary and at the secondaries."""

    def __init__(self, members: ReplicaSet, lake: Lake) -> None:
        self._members = members
        self._namespace = lake.connection.collection("chunks").full_name
        self._before = self._now()

    def _now(self) -> tuple[int, int]:
        return (
            queries(self._members.primary, self._namespace),
            sum(queries(each, self._namespace) for each in self._members.secondaries),
        )

    def taken(self) -> tuple[int, int]:
        primary, secondaries = self._now()
        return primary - self._before[0], secondaries - self._before[1]


def replicate(members: ReplicaSet, lake: Lake) -> None:
    database = lake.connection.deployment.database
    members.wait_until_replicated(database, "fs.chunks")


def test_settled_contents_come_from_a_secondary(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    replicate(members, store)
    counts = Counts(members, store)
    for _ in range(5):
        assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
    assert store.contents.read(content, 1, 2, settled=True) == [DATA[CHUNK : 2 * CHUNK]]
    assert counts.taken() == (0, 6)


def test_unsettled_contents_come_from_the_primary(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    replicate(members, store)
    counts = Counts(members, store)
    assert b"".join(store.contents.read(content, 0, 3)) == DATA
    assert counts.taken() == (1, 0)


def test_settled_contents_without_hashes_come_from_the_primary(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = replace(planted(garden), chunk_xxh3=None)
    replicate(members, store)
    counts = Counts(members, store)
    assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
    assert counts.taken() == (1, 0)


@pytest.mark.parametrize("settled_from", ["primary", "primaryPreferred"])
def test_the_primary_is_asked_where_it_is_wanted(members: ReplicaSet, settled_from: str) -> None:
    with lake_of(members, settled_from) as lake:
        content = planted(Garden(lake))
        replicate(members, lake)
        counts = Counts(members, lake)
        assert b"".join(lake.contents.read(content, 0, 3, settled=True)) == DATA
        assert counts.taken() == (1, 0)


@pytest.mark.parametrize("settled_from", ["secondaryPreferred", "nearest"])
def test_other_preferences_read_right_bytes_too(members: ReplicaSet, settled_from: str) -> None:
    with lake_of(members, settled_from) as lake:
        content = planted(Garden(lake))
        replicate(members, lake)
        counts = Counts(members, lake)
        assert b"".join(lake.contents.read(content, 0, 3, settled=True)) == DATA
        assert sum(counts.taken()) == 1


def test_what_a_secondary_lacks_yet_comes_from_the_primary(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    old = planted(garden)
    replicate(members, store)
    with members.replication_held_up():
        new = planted(garden)
        counts = Counts(members, store)
        assert b"".join(store.contents.read(new, 0, 3, settled=True)) == DATA
        assert counts.taken() == (1, 1)
        assert b"".join(store.contents.read(old, 0, 3, settled=True)) == DATA
        assert counts.taken() == (1, 2)
    replicate(members, store)
    counts = Counts(members, store)
    assert b"".join(store.contents.read(new, 0, 3, settled=True)) == DATA
    assert counts.taken() == (0, 1)


def test_what_a_secondary_has_half_of_comes_from_the_primary(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    chunks = store.connection.collection("chunks")
    last = {"files_id": content_key(content.id), "n": 2}
    chunk = chunks.find_one_and_delete(last)
    assert chunk is not None
    replicate(members, store)
    with members.replication_held_up():
        chunks.insert_one(chunk)
        assert store.contents.read(content, 0, 2, settled=True) == [
            DATA[:CHUNK],
            DATA[CHUNK : 2 * CHUNK],
        ]
        assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA


def test_damage_at_a_secondary_is_never_served(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    chunks = store.connection.collection("chunks")
    chunk = {"files_id": content_key(content.id), "n": 1}
    chunks.update_one(chunk, {"$set": {"data": bytes(CHUNK)}})
    replicate(members, store)
    members.wait_until_replicated(store.connection.deployment.database, "fs.tree")
    with members.replication_held_up():
        chunks.update_one(chunk, {"$set": {"data": DATA[CHUNK : 2 * CHUNK]}})
        assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA


def test_damage_everywhere_is_damage(members: ReplicaSet, store: Lake, garden: Garden) -> None:
    content = planted(garden)
    store.connection.collection("chunks").delete_one({"n": 1})
    replicate(members, store)
    with pytest.raises(Damaged):
        store.contents.read(content, 0, 3, settled=True)


def test_frozen_secondaries_cost_their_share_of_the_deadline_and_no_more(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    replicate(members, store)
    assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA  # connected
    with members.secondaries_frozen():
        began = time.monotonic()
        assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
        took = time.monotonic() - began
        assert took < SECONDARY_SHARE * DEADLINE + 1
        assert b"".join(store.contents.read(content, 0, 3)) == DATA
    assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA


def test_frozen_secondaries_are_not_waited_for_at_every_read(
    members: ReplicaSet, store: Lake, garden: Garden
) -> None:
    content = planted(garden)
    replicate(members, store)
    assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
    with members.secondaries_frozen():
        began = time.monotonic()
        for _ in range(5):
            assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
        assert time.monotonic() - began < 3 * SECONDARY_SHARE * DEADLINE


def test_where_there_is_no_secondary_nobody_waits_for_one(lake_uri: str) -> None:
    connection = connect(lake_uri, bucket="fs", deadline=DEADLINE, settled_from="secondary")
    try:
        lake = open_lake(connection, lease_seconds=300, founder=Founder(0, 0))
        content = planted(Garden(lake))
        began = time.monotonic()
        for _ in range(2):
            assert b"".join(lake.contents.read(content, 0, 3, settled=True)) == DATA
        assert time.monotonic() - began < SECONDARY_SHARE * DEADLINE
    finally:
        connection.close()
