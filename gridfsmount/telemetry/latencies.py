"""How long things took: counts in fixed logarithmic buckets, and percentiles from them. Pure.

Four buckets for each doubling, from a microsecond on: a percentile is at most an eighth off,
whatever the scale, and two histograms can be subtracted.
"""

from collections.abc import Mapping
from typing import Final

_PARTS: Final = 4
"""Buckets for each doubling; a power of two, so that an index is a shift."""

BUCKETS: Final = 46 * _PARTS
"""Up to two years: nothing that a mount does takes longer, so that no index needs a check."""

MICROSECONDS: Final = 1_000_000
"""In a second."""


class Latencies:
    """Durations of one kind of thing. One writer; readers on other threads may be one behind."""

    __slots__ = ("buckets", "most", "seconds")

    def __init__(self) -> None:
        """None yet."""
        self.seconds = 0.0
        """Sum of all."""
        self.most = 0.0
        """The longest, in seconds."""
        self.buckets = [0] * BUCKETS

    def note(self, seconds: float) -> None:
        """One more that took `seconds`."""
        self.seconds += seconds
        if seconds > self.most:
            self.most = seconds
        # As `index_of`, without the call: this is part of every request.
        us = int(seconds * MICROSECONDS)
        if us >= _PARTS:
            shift = us.bit_length() - 3
            us = (shift << 2) + (us >> shift)
        self.buckets[us] += 1

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def told(self) -> dict[int, int]:
        """Counts by index of bucket, without those that are empty."""
        return {index: count for index, count in enumerate(self.buckets) if count}


def index_of(seconds: float) -> int:
    """The bucket that a duration falls in."""
    us = int(seconds * MICROSECONDS)
    if us < _PARTS:
        return us
    shift = us.bit_length() - 3
    return (shift << 2) + (us >> shift)


def bound(index: int) -> float:
    """Seconds below which the durations of a bucket lie; those of the next one begin there."""
    if index < _PARTS:
        return (index + 1) / MICROSECONDS
    shift, part = divmod(index, _PARTS)
    return ((part + _PARTS + 1) << (shift - 1)) / MICROSECONDS


def below(buckets: Mapping[int, int], doublings: int) -> int:
    """How many took less than 2 to the power of `doublings` (at least 2) microseconds."""
    past = _PARTS * (doublings - 1)
    return sum(count for index, count in buckets.items() if index < past)


def percentile(buckets: Mapping[int, int], share: float) -> float:
    """Seconds that `share` of the durations stay below; 0 when there are none."""
    wanted, passed = share * sum(buckets.values()), 0
    for index in sorted(buckets):
        count = buckets[index]
        if count and passed + count >= wanted:
            low = bound(index - 1) if index else 0.0
            return low + (bound(index) - low) * max(0.0, wanted - passed) / count
        passed += count
    return 0.0
