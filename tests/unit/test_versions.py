"""The newest version of a dataset."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import Inode, Kind, Name, Node, State
from gridfsmount.core.versions import newest

DATASET = Inode(50)

SEALED, DRAFT = State.SEALED, State.DRAFT


def version(inode: int, state: State | None = DRAFT, created_ns: int = 0) -> Node:
    return Node(
        inode=Inode(inode),
        kind=Kind.DIRECTORY,
        names=(Name(DATASET, f"v{inode}"),),
        mode=0o755,
        uid=0,
        gid=0,
        mtime_ns=0,
        ctime_ns=0,
        version=Inode(inode),
        state=state,
        created_ns=created_ns,
    )


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([version(1, DRAFT, 1), version(2, DRAFT, 2)], 2),
        ([version(1, SEALED, 1), version(2, DRAFT, 2)], 1),
        ([version(1, SEALED, 3), version(2, SEALED, 2)], 1),
        ([version(1, DRAFT, 7), version(2, DRAFT, 7)], 2),
    ],
    ids=["later", "sealed", "made later, not numbered later", "of one instant"],
)
def test_the_newest_is(versions: list[Node], expected: int) -> None:
    for each in (versions, versions[::-1]):
        found = newest(each)
        assert found is not None
        assert found.inode == expected


def test_what_is_no_version_is_not_looked_at() -> None:
    tag = replace(version(9, None, 9), kind=Kind.SYMLINK, version=None)
    inside = replace(version(8, None, 8), version=Inode(1))
    assert newest([tag, inside]) is None
    assert newest([tag, version(1), inside]) == version(1)


def _with_another_order(versions: list[Node]) -> st.SearchStrategy[tuple[list[Node], list[Node]]]:
    return st.tuples(st.just(versions), st.permutations(versions))


VERSIONS = st.builds(
    version, st.integers(1, 20), st.sampled_from([SEALED, DRAFT]), st.integers(0, 3)
)


@given(st.lists(VERSIONS, unique_by=lambda node: node.inode).flatmap(_with_another_order))
def test_every_machine_finds_the_same_one(orders: tuple[list[Node], list[Node]]) -> None:
    one, other = orders
    assert newest(one) == newest(other)
    assert (newest(one) is None) == (not one)
