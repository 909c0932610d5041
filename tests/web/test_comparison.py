"""Comparisons for a page: bounded in time, and without reading a file."""

import pytest

from gridfsmount.web.comparison import MOST, TakesTooLong, compare
from tests.store.lakes import Garden, opened


def test_a_comparison_that_takes_too_long_is_given_up(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        garden = Garden(lake)
        one, other = (garden.version(f"datasets/many/v{number}") for number in (1, 2))
        garden.file(one, "a", b"a")
        with pytest.raises(TakesTooLong):
            compare(lake, one, other, seconds=-1)
        assert compare(lake, one, other).total == 1


def test_all_differences_are_counted_and_the_first_are_kept(lake_uri: str) -> None:
    with opened(lake_uri) as lake:
        garden = Garden(lake)
        one, other = (garden.version(f"datasets/many/v{number}") for number in (1, 2))
        garden.plant(MOST + 5, other.inode)
        found = compare(lake, one, other)
    assert (len(found.changes), found.total, found.summary.added.files) == (
        MOST,
        MOST + 5,
        MOST + 5,
    )
    paths = [each.new.path for each in found.changes if each.new is not None]
    assert paths == [f"file-{number:06}" for number in range(MOST)]
