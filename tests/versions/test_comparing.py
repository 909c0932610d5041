"""Comparisons of two trees, against what a few lines say that keep all of both in memory."""

import hashlib
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import ContentId, Inode
from gridfsmount.errors import StartupError
from gridfsmount.versions import comparing, ledger
from gridfsmount.versions.comparing import Comparison, Summary, Tally
from gridfsmount.versions.ledger import NEW, OLD, Aspect, Change, Ledger
from gridfsmount.versions.sides import Item

NAMES = st.lists(st.sampled_from("ab.-0\udcff"), min_size=1, max_size=2).map("".join)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.sampled_from([b"", b"1", b"2", b"33", b"44"])
FILES = st.tuples(st.just("file"), st.sampled_from([0o644, 0o755, None]), DATA)
LINKS = st.tuples(st.just("symlink"), st.none(), st.sampled_from([b"here", b"there"]))
PIPES = st.tuples(st.just("fifo"), st.just(0o600), st.just(b""))
Thing = tuple[str, int | None, bytes]
TREES = st.dictionaries(PATHS, st.one_of(FILES, FILES, LINKS, PIPES), max_size=8)


def with_folders(tree: Mapping[str, Thing]) -> dict[str, Thing]:
    """The same with the folders above everything; what is in a file goes."""
    found: dict[str, Thing] = {}
    for path, thing in sorted(tree.items()):
        parts = path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if all(found.get(each, ("dir",))[0] == "dir" for each in above):
            found |= dict.fromkeys(above, ("dir", 493, b""))
            found[path] = thing
    return found


class Tree:
    """A side in memory; with `lake`, equal bytes are one content."""

    def __init__(self, things: Mapping[str, Thing], *, lake: bool) -> None:
        self.things = with_folders(things)
        self.lake = lake
        self.hashed: list[str] = []

    def items(self) -> Iterator[Item]:
        return iter(sorted(map(self.item, self.things), key=lambda item: item.key))

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        self.hashed += [each.path for each in files]
        return [hashlib.sha256(self.things[each.path][2]).digest() for each in files]

    def item(self, path: str) -> Item:
        kind, mode, data = self.things[path]
        content = Inode(7), ContentId(data, data.decode())
        return Item(
            path,
            kind,
            mode,
            len(data) if kind == "file" else 0,
            data.decode() if kind == "symlink" else "",
            *(content if self.lake and kind == "file" and data else (None, None)),
        )


def compared(old: Tree, new: Tree) -> tuple[list[Change], Summary]:
    with closing(Comparison(old, new)) as comparison:
        comparison.find()
        return list(comparison.changes()), comparison.summary


def paths(changes: Sequence[Change]) -> list[tuple[str | None, str | None]]:
    return [
        (each.old.path if each.old else None, each.new.path if each.new else None)
        for each in changes
    ]


@given(olds=TREES, news=TREES, lakes=st.tuples(st.booleans(), st.booleans()))
def test_every_difference_is_told_once(
    olds: dict[str, Thing], news: dict[str, Thing], lakes: tuple[bool, bool]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "BATCH", 2)
        patch.setattr(ledger, "BATCH", 2)
        old, new = Tree(olds, lake=lakes[0]), Tree(news, lake=lakes[1])
        changes, summary = compared(old, new)

    before, after = dict(old.things), dict(new.things)
    for change in changes:  # made to the old tree, they give the new one
        if change.old is not None:
            assert before[change.old.path][0] == change.old.kind
            del before[change.old.path]
    for change in changes:
        if change.new is not None:
            before[change.new.path] = after[change.new.path]
    for path, (kind, mode, data) in before.items():
        assert after[path][::2] == (kind, data)
        assert None in (mode, after[path][1]) or mode == after[path][1]
    assert before.keys() == after.keys()
    assert summary.differ == bool(changes)


@given(olds=TREES, news=TREES, lakes=st.tuples(st.booleans(), st.booleans()))
def test_what_changed_is_told_and_nothing_else(
    olds: dict[str, Thing], news: dict[str, Thing], lakes: tuple[bool, bool]
) -> None:
    old, new = Tree(olds, lake=lakes[0]), Tree(news, lake=lakes[1])
    changes, summary = compared(old, new)

    both = {
        path
        for path, thing in old.things.items()
        if path in new.things and (thing[0] == "dir") == (new.things[path][0] == "dir")
    }
    told = {each.new.path: each for each in changes if each.old and each.new and not each.renamed}
    for path in both:
        one, other = old.things[path], new.things[path]
        aspects = set()
        if one[0] != other[0]:
            aspects.add(Aspect.KIND)
        elif None not in (one[1], other[1]) and one[1] != other[1]:
            aspects.add(Aspect.MODE)
        if one[0] == other[0] and one[2] != other[2]:
            aspects.add(Aspect.CONTENT if one[0] == "file" else Aspect.TARGET)
        assert (set(told[path].aspects) if path in told else set()) == aspects
    assert told.keys() <= both
    order = [each.new or each.old for each in changes]
    assert [each.key for each in order if each] == sorted(each.key for each in order if each)
    same = [
        old.things[path]
        for path in both
        if old.things[path][0] == new.things[path][0] == "file"
        and old.things[path][2] == new.things[path][2]
    ]
    assert summary.same == Tally(len(same), sum(len(each[2]) for each in same))


@given(olds=TREES, news=TREES, lakes=st.tuples(st.booleans(), st.booleans()))
def test_as_many_files_are_renamed_as_there_are_with_the_same_bytes(
    olds: dict[str, Thing], news: dict[str, Thing], lakes: tuple[bool, bool]
) -> None:
    old, new = Tree(olds, lake=lakes[0]), Tree(news, lake=lakes[1])
    changes, _ = compared(old, new)

    renamed = [
        (each.old.path, each.new.path) for each in changes if each.renamed if each.old if each.new
    ]
    for was, now in renamed:
        assert old.things[was][2] == new.things[now][2] != b""
        assert was not in new.things or new.things[was][0] == "dir"
        assert now not in old.things or old.things[now][0] == "dir"
    lone = [
        Counter(
            thing[2]
            for path, thing in this.things.items()
            if thing[0] == "file" and thing[2] and other.things.get(path, ("dir",))[0] == "dir"
        )
        for this, other in ((old, new), (new, old))
    ]
    assert Counter(old.things[was][2] for was, _ in renamed) == lone[0] & lone[1]


def test_bytes_are_not_hashed_where_something_else_tells() -> None:
    file = ("file", 0o644, b"same")
    old = Tree({"a": file, "b": ("file", 0o644, b"short"), "gone": file, "x": file}, lake=True)
    new = Tree({"a": file, "b": ("file", 0o644, b"longer"), "new": file, "y": file}, lake=True)

    changes, summary = compared(old, new)

    assert paths(changes) == [("b", "b"), ("gone", "new"), ("x", "y")]
    assert old.hashed == new.hashed == []
    assert summary == Summary(
        changed=Tally(1, 6), changed_from=5, renamed=Tally(2, 8), same=Tally(1, 4)
    )


def test_only_files_whose_size_is_on_both_sides_are_looked_at_for_renames() -> None:
    old = Tree({"gone": ("file", 0o644, b"22"), "large": ("file", 0o644, b"55555")}, lake=False)
    new = Tree({"new": ("file", 0o600, b"22"), "other": ("file", 0o644, b"333")}, lake=True)

    changes, summary = compared(old, new)

    assert paths(changes) == [("large", None), ("gone", "new"), (None, "other")]
    assert changes[1].aspects == {Aspect.MODE}
    assert (old.hashed, new.hashed) == (["gone"], ["new"])
    assert (summary.modes, summary.renamed) == (1, Tally(1, 2))


class Many:
    """A side with files that only it has, none of which is kept."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count

    def items(self) -> Iterator[Item]:
        return (
            Item(f"{number:09}/{self.name}", "file", 0o644, 1 + number % 50)
            for number in range(self.count)
        )

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        return [hashlib.sha256(each.path.encode()).digest() for each in files]


def test_memory_does_not_grow_with_what_differs() -> None:
    peaks = []
    for count in (1_500, 6_000):
        tracemalloc.start()
        with closing(Comparison(Many("old", count), Many("new", count))) as comparison:
            comparison.find()
            assert sum(1 for _ in comparison.changes()) == 2 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (512 << 10)


def test_a_ledger_that_finds_no_room_says_so() -> None:
    ledger = Ledger()
    ledger._database.execute("PRAGMA max_page_count = 10")

    def fill() -> None:
        for number in range(10_000):
            ledger.lone(OLD if number % 2 else NEW, Item(f"{number}", "file", size=1))

    with pytest.raises(StartupError, match=r"^the temporary database failed: .* full; TMPDIR may"):
        fill()
    ledger.close()
