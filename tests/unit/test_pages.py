"""Whose pages the kernel may have: never kept for a content that they are not of."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import ContentId, Inode
from gridfsmount.vfs import pages as module
from gridfsmount.vfs.pages import KernelPages

FILE = Inode(2000)
OTHER = Inode(2001)
OLD = ContentId(b"old", "old")
NEW = ContentId(b"new", "new")


def test_nothing_is_known_of_a_file_that_was_never_opened() -> None:
    pages = KernelPages()
    assert not pages.are_of(FILE, OLD)
    assert not pages.are_of(FILE, None)
    assert not pages.bypassed(FILE)


@pytest.mark.parametrize("content", [OLD, None])
def test_pages_are_of_the_content_that_was_noted_last(content: ContentId | None) -> None:
    pages = KernelPages()
    pages.note(FILE, NEW)
    pages.note(FILE, content)
    pages.note(OTHER, NEW)
    assert pages.are_of(FILE, content)
    assert not pages.are_of(FILE, NEW)


def test_while_an_older_content_has_handles_new_ones_bypass_the_pages() -> None:
    pages = KernelPages()
    pages.note(FILE, OLD)
    pages.outdate(FILE)
    pages.note(FILE, NEW)
    assert pages.bypassed(FILE)
    assert not pages.bypassed(OTHER)
    assert not pages.are_of(FILE, NEW)  # the older handles fill them
    assert not pages.are_of(FILE, OLD)


def test_once_the_older_handles_are_closed_the_pages_are_used_again_from_scratch() -> None:
    pages = KernelPages()
    pages.note(FILE, OLD)
    pages.outdate(FILE)
    pages.note(FILE, NEW)
    pages.release(FILE)
    assert not pages.bypassed(FILE)
    assert not pages.are_of(FILE, NEW)
    assert not pages.are_of(FILE, OLD)
    pages.note(FILE, NEW)
    assert pages.are_of(FILE, NEW)


def test_each_of_several_older_contents_counts() -> None:
    pages = KernelPages()
    pages.outdate(FILE)
    pages.outdate(FILE)
    pages.release(FILE)
    assert pages.bypassed(FILE)
    pages.release(FILE)
    assert not pages.bypassed(FILE)


def test_a_release_too_many_does_no_harm() -> None:
    pages = KernelPages()
    pages.release(FILE)
    pages.outdate(FILE)
    assert pages.bypassed(FILE)


def test_the_least_recently_noted_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INODES", 3)
    pages = KernelPages()
    for number in (1, 2, 3, 1, 4):
        pages.note(Inode(number), OLD)
    assert [pages.are_of(Inode(number), OLD) for number in (1, 2, 3, 4)] == [
        True,
        False,
        True,
        True,
    ]


@dataclass
class Shown:
    """A content of the file that handles are open of."""

    content: ContentId | None
    handles: int = 0


@given(
    st.lists(
        st.tuples(st.just("open"), st.sampled_from([OLD, NEW, None]))
        | st.tuples(st.sampled_from(["close a newest", "close an oldest"]), st.none()),
        max_size=20,
    )
)
def test_pages_are_never_kept_for_a_content_that_others_filled(
    steps: list[tuple[str, ContentId | None]],
) -> None:
    pages = KernelPages()
    shown: Shown | None = None
    outdated: list[Shown] = []
    filled: set[ContentId | None] = set()
    """Contents that the kernel may have pages of."""
    for step, content in steps:
        if step == "open":
            if shown is not None and shown.content != content:
                pages.outdate(FILE)
                outdated.append(shown)
                shown = None
            shown = shown or Shown(content)
            shown.handles += 1
            keep = pages.are_of(FILE, content)
            pages.note(FILE, content)
            assert pages.bypassed(FILE) == bool(outdated)
            if not outdated:
                assert not keep or filled <= {content}
                filled = {content}  # or the kernel would drop what it has
        elif step == "close a newest" and shown is not None:
            shown.handles -= 1
            shown = shown if shown.handles else None
        elif step == "close an oldest" and outdated:
            outdated[0].handles -= 1
            if not outdated[0].handles:
                outdated.pop(0)
                pages.release(FILE)
        filled |= {each.content for each in outdated}


def test_pages_of_what_was_not_committed_are_of_nothing() -> None:
    pages = KernelPages()
    pages.note(FILE, OLD)
    pages.forget(FILE)
    assert not pages.are_of(FILE, OLD)
    pages.forget(OTHER)
    assert not pages.are_of(OTHER, None)


def test_of_what_the_kernel_holds_no_more_it_has_no_pages() -> None:
    pages = KernelPages()
    for inode in (FILE, OTHER):
        pages.note(inode, OLD)
    pages.outdate(FILE)
    pages.gone([FILE, Inode(2002)])
    assert not pages.are_of(FILE, OLD)
    assert pages.are_of(OTHER, OLD)
    assert pages.bypassed(FILE)  # handles may come in another order than what is forgotten
