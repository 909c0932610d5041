"""Files that lose their name between look-up and open: who may still have them."""

import time
from dataclasses import replace

import pytest
import trio.testing

from gridfsmount.core.model import Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.vfs import fleeting as module
from gridfsmount.vfs.fleeting import BELIEVED_SECONDS, FLEETING_SECONDS, FleetingFiles, LastSeen

FOLDER = Inode(2000)
NAME = Name(FOLDER, "file")
OTHER = Name(FOLDER, "other")


def node(inode: int, name: Name = NAME, *, rev: int = 1, content: str | None = None) -> Node:
    found = Node(Inode(inode), Kind.FILE, (name,), 0o644, 0, 0, 1, 1, rev=rev)
    return replace(found, content=None if content is None else identity(content))


def identity(name: str) -> ContentId:
    return ContentId(name.encode(), name)


def content(name: str) -> Content:
    return Content(identity(name), 1, 1)


def replaced(inode: int, name: Name = NAME) -> FleetingFiles:
    """A mount that knows a name to be replaced elsewhere; the kernel believed in it."""
    files = FleetingFiles()
    assert not files.told(node(inode, name), None, time.monotonic())
    files.lost(Inode(inode), time.monotonic())
    return files


async def test_a_file_whose_name_the_kernel_may_believe_in_is_looked_up_again() -> None:
    files = replaced(1)
    assert await files.gone(Inode(1)) is None
    assert files.is_fleeting(NAME, time.monotonic())
    assert not files.is_fleeting(OTHER, time.monotonic())


async def test_who_had_to_look_a_name_up_may_have_what_it_led_to() -> None:
    files = replaced(1)
    assert files.told(node(2, content="a"), content("a"), time.monotonic())
    last = await files.gone(Inode(2))
    assert last is not None
    assert (last.node.inode, last.content) == (2, content("a"))


async def test_nobody_has_a_file_that_was_never_looked_up() -> None:
    assert await replaced(1).gone(Inode(2)) is None


async def test_it_is_as_it_was_found_last_in_whatever_order_the_answers_come() -> None:
    files, now = replaced(1), time.monotonic()
    files.told(node(2, rev=5, content="new"), content("new"), now)
    files.told(node(2, rev=4, content="old"), None, now)
    last = await files.gone(Inode(2))
    assert last is not None
    assert last.node.content == identity("new")


async def test_nobody_has_what_the_kernel_was_told_before_under_another_name() -> None:
    files = replaced(1)
    files.told(node(2, OTHER), None, time.monotonic())
    files.told(node(2, NAME, rev=2), None, time.monotonic())
    assert await files.gone(Inode(2)) is None


async def test_a_name_is_believed_again_once_nobody_has_replaced_it_for_a_while() -> None:
    files, later = replaced(1), time.monotonic() + FLEETING_SECONDS + 1
    assert not files.is_fleeting(NAME, later)
    assert not files.told(node(2), None, later)


async def test_what_the_kernel_believed_long_ago_counts_no_more() -> None:
    files, now = FleetingFiles(), time.monotonic()
    files.told(node(2), None, now - BELIEVED_SECONDS - 1)
    files.told(node(1), None, now)
    files.lost(Inode(1), now)
    files.told(node(2), None, now)
    assert await files.gone(Inode(2)) is not None


async def test_what_lost_its_last_name_here_is_had_by_who_found_it_before() -> None:
    files = FleetingFiles()
    files.told(node(1, OTHER), None, time.monotonic())
    files.renamed(Inode(1), OTHER, NAME)
    files.removed(node(1, rev=3, content="a"))
    last = await files.gone(Inode(1))
    assert last is not None
    assert last.node.content == identity("a")
    assert not files.is_fleeting(NAME, time.monotonic())


async def test_that_is_not_so_if_the_kernel_may_believe_in_a_name_that_it_lost_elsewhere() -> None:
    files = FleetingFiles()
    files.told(node(1, OTHER), None, time.monotonic())
    files.removed(node(1, NAME, rev=3))
    assert await files.gone(Inode(1)) is None


async def test_while_a_name_is_being_taken_away_here_nobody_is_answered() -> None:
    files = FleetingFiles()
    answers: list[LastSeen | None] = []
    files.told(node(1), None, time.monotonic())

    async def ask() -> None:
        answers.append(await files.gone(Inode(1)))

    async with trio.open_nursery() as nursery:
        with files.removing(node(1)):
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            files.removed(node(1))
    assert answers[0] is not None


async def test_a_removal_that_failed_tells_nothing() -> None:
    files = FleetingFiles()
    files.told(node(1), None, time.monotonic())
    with files.removing(node(1)), files.removing(None):
        pass
    assert await files.gone(Inode(1)) is None


async def test_what_is_sealed_is_believed_for_good() -> None:
    files = replaced(1)
    files.told(node(2), None, time.monotonic())
    files.settled(Inode(2))
    assert await files.gone(Inode(2)) is None


def test_a_content_is_known_while_the_file_has_it() -> None:
    files = replaced(1)
    files.told(node(2, content="a"), content("a"), time.monotonic())
    assert files.content(node(2, rev=2, content="a")) == content("a")
    assert files.content(node(2, rev=3, content="b")) is None
    assert files.content(node(3)) is None


def test_only_so_many_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    files, now = FleetingFiles(), time.monotonic()
    names = [Name(FOLDER, f"{number}") for number in range(3)]
    for number, name in enumerate(names):
        files.told(node(number, name), None, now)
        files.lost(Inode(number), now)
        files.told(node(10 + number, name, content="a"), content("a"), now)
    assert [files.is_fleeting(name, now) for name in names] == [False, True, True]
    assert [files.content(node(10 + n, content="a")) is None for n in range(3)] == [
        True,
        False,
        False,
    ]
