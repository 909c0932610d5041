"""Many things, a list at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of `size`, the last of what is left."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
