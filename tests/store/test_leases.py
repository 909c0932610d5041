"""Leases: a writer that lives keeps its content, one that died loses it."""

import time
from collections.abc import Iterator

import pytest

from gridfsmount.core.model import ContentId, Inode
from gridfsmount.errors import Damaged
from gridfsmount.store.contents import Contents
from gridfsmount.store.lake import Lake
from gridfsmount.store.tree import GIVEN_UP
from tests.store.lakes import Garden, at_once, one_deployment, opened

pytestmark = one_deployment

BRIEF = 0.3


@pytest.fixture
def brief(any_uri: str) -> Iterator[Lake]:
    """A mount whose leases expire at once."""
    with opened(any_uri, lease_seconds=BRIEF) as lake:
        yield lake


def leased(lake: Lake) -> set[str]:
    return {str(each["_id"]) for each in lake.connection.collection("uploads").find()}


def take(lake: Lake) -> ContentId:
    content = Contents.new_id()
    lake.leases.take(content, Inode(2000), "a file")
    return content


def expire(lake: Lake, content: ContentId) -> None:
    lake.connection.collection("uploads").update_one(
        {"name": "a file"}, [{"$set": {"beat": {"$subtract": ["$$NOW", 3_600_000]}}}]
    )
    assert str(content) in leased(lake)


def age_all(lake: Lake) -> None:
    """Let all leases be an hour old."""
    lake.connection.collection("uploads").update_many(
        {}, [{"$set": {"beat": {"$subtract": ["$$NOW", 3_600_000]}}}]
    )


def test_a_lease_says_who_writes_what(store: Lake) -> None:
    content = take(store)
    document = store.connection.collection("uploads").find_one()
    assert document is not None
    assert str(document["_id"]) == str(content)
    assert (document["mount"], document["name"]) == (store.mount, "a file")
    assert {"host", "pid", "inode", "beat"} <= set(document)
    assert store.leases.active


def test_a_lease_that_was_given_back_is_released(store: Lake) -> None:
    content = take(store)
    store.leases.finish(content)
    assert (store.leases.finished, store.leases.active) == (True, False)
    store.leases.release_finished()
    assert (leased(store), store.leases.finished) == (set(), False)
    store.leases.release_finished()


def test_a_fresh_lease_is_nobody_elses(store: Lake, brief: Lake) -> None:
    content = take(store)
    assert store.leases.seize_expired() == []
    assert store.leases.confirm(content)


def test_an_expired_lease_is_seized_once(store: Lake, any_uri: str) -> None:
    content = take(store)
    expire(store, content)
    with opened(any_uri) as one, opened(any_uri) as two:
        seized = at_once(one.leases.seize_expired, two.leases.seize_expired)
    assert seized in ([[], [content]], [[content], []])


def test_a_mount_seizes_nothing_that_it_is_writing_itself(store: Lake) -> None:
    # As after an outage that was longer than the lease, when the sweep comes before the renewal.
    content = take(store)
    expire(store, content)
    assert store.leases.seize_expired() == []
    assert store.leases.confirm(content)


def test_a_mount_seizes_what_it_could_not_remove_itself(store: Lake) -> None:
    content = take(store)
    expire(store, content)
    store.leases.forsake(content)
    assert store.leases.seize_expired() == [content]


def test_renewal_keeps_all_leases_of_a_mount(brief: Lake) -> None:
    taken = [take(brief) for _ in range(3)]
    for content in taken:
        expire(brief, content)
    brief.leases.renew()
    assert brief.leases.seize_expired() == []


def test_a_mount_renews_only_its_own(store: Lake, brief: Lake) -> None:
    content = take(store)
    expire(store, content)
    brief.leases.renew()
    assert [str(each) for each in brief.leases.seize_expired()] == [str(content)]


def test_a_writer_that_comes_back_finds_its_lease_gone(brief: Lake, store: Lake) -> None:
    content = take(brief)
    time.sleep(BRIEF)  # what it is sure of is over after a third
    expire(brief, content)
    assert store.leases.seize_expired() == [content]
    assert not brief.leases.confirm(content)


def test_confirming_in_time_renews(brief: Lake) -> None:
    content = take(brief)
    time.sleep(BRIEF)
    assert brief.leases.confirm(content)
    assert brief.leases.seize_expired() == []


def test_the_sweep_removes_what_a_dead_writer_left(store: Lake, brief: Lake) -> None:
    garden = Garden(store)
    version = garden.version()
    node = garden.file(version, "a file", b"kept" * 1000)
    garden.upload(node, b"left" * 1000)
    age_all(store)
    assert brief.commits.sweep_leases() == 1
    assert garden.read(node) == b"kept" * 1000
    assert store.connection.collection("chunks").count_documents({}) == 4


def test_what_a_writer_sends_after_the_sweep_is_swept_a_term_later(
    store: Lake, brief: Lake
) -> None:
    garden = Garden(store)
    content = garden.upload(garden.file(garden.version(), "a file"), b"left" * 1000)
    age_all(store)
    assert brief.commits.sweep_leases() == 1
    assert leased(store) == {str(content.id)}
    store.contents.put_chunks(content.id, [(0, b"late")])
    assert brief.commits.sweep_leases() == 0
    age_all(store)
    assert brief.commits.sweep_leases() == 0
    assert leased(store) == set()
    assert store.connection.collection("chunks").count_documents({}) == 0


def test_a_writer_that_was_sure_of_its_lease_shows_nothing_that_was_swept(
    store: Lake, brief: Lake
) -> None:
    garden = Garden(brief)
    node = garden.file(garden.version(), "a file", b"before")
    content = garden.upload(node, b"left" * 1000)
    assert brief.leases.confirm(content.id)
    age_all(store)  # here the machine sleeps, and wakes up after
    store.commits.sweep_leases()
    with pytest.raises(Damaged, match="given up"):
        brief.tree.show(node.inode, content, 1, 0)
    assert garden.read(node) == b"before"
    assert garden.read(garden.write(node, b"again")) == b"again"


def test_a_file_remembers_only_so_many_that_were_swept(store: Lake) -> None:
    garden = Garden(store)
    node = garden.file(garden.version(), "a file")
    contents = [store.contents.new_id() for _ in range(GIVEN_UP + 4)]
    for content in (*contents, contents[-1]):
        store.tree.give_up(node.inode, content)
    document = store.connection.collection("tree").find_one({"_id": node.inode})
    assert document is not None
    assert [str(each) for each in document["given_up"]] == [str(each) for each in contents[4:]]


def test_the_sweep_spares_a_content_that_was_committed(store: Lake) -> None:
    # The writer died between the commit and the release of its lease.
    garden = Garden(store)
    node = garden.file(garden.version(), "a file", b"data" * 1000)
    age_all(store)
    assert leased(store) == {str(node.content)}
    store.commits.sweep_leases()
    assert leased(store) == set()
    assert garden.read(node) == b"data" * 1000


def test_the_sweep_spares_what_is_in_the_trash(store: Lake, brief: Lake) -> None:
    # Committed, removed, and only then the writer died: handles may have it open for a day.
    garden = Garden(store)
    node = garden.file(garden.version(), "a file", b"data" * 1000)
    age_all(store)
    store.commits.unlink(node, node.names[0])
    brief.commits.sweep_leases()
    assert leased(store) == set()
    assert store.connection.collection("chunks").count_documents({}) == 4
    assert store.trash.sweep(-1).contents == 1
    assert store.connection.collection("chunks").count_documents({}) == 0


def test_the_sweep_spares_those_who_live(store: Lake, brief: Lake) -> None:
    garden = Garden(store)
    node = garden.file(garden.version(), "a file")
    content = garden.upload(node, b"data")
    brief.commits.sweep_leases()
    assert garden.read_content(content) == b"data"


def test_after_an_outage_those_who_live_have_a_moment_to_renew(store: Lake, brief: Lake) -> None:
    living, dead = take(store), take(store)
    store.leases.forsake(dead)
    # The server was away for longer than any lease.
    age_all(store)
    assert brief.leases.seize_expired(patiently=True) == []
    store.leases.renew()
    assert brief.leases.seize_expired(patiently=True) == [dead]
    assert store.leases.confirm(living)
