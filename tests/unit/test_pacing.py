"""Bytes keep to a rate, however they come."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.backup.pacing import BURST_SECONDS, Bucket, Pace

RATE = 1000.0

steps = st.lists(
    st.tuples(st.integers(0, 5000), st.floats(0, 10, allow_nan=False)), min_size=1, max_size=50
)


@given(steps)
def test_no_more_than_the_rate_and_a_burst_passes(steps: list[tuple[int, float]]) -> None:
    bucket, now, passed = Bucket(RATE), 0.0, 0
    for size, idle in steps:
        now += idle
        now += bucket.take(size, now)
        passed += size
        assert passed <= RATE * (now + BURST_SECONDS) + 0.001


@given(steps)
def test_nobody_waits_longer_than_all_that_came_takes(steps: list[tuple[int, float]]) -> None:
    bucket, now, passed = Bucket(RATE), 0.0, 0
    for size, idle in steps:
        passed += size
        assert bucket.take(size, now) <= passed / RATE + 0.001
        now += idle


def test_what_was_not_used_for_long_is_lost() -> None:
    bucket = Bucket(RATE)
    bucket.take(0, 0.0)
    assert bucket.take(2000, 100.0) == 1.0


def test_who_waits_goes_on_at_once_when_all_stops() -> None:
    stop = threading.Event()
    pace = Pace(1, stop)
    stop.set()
    pace.keep(1_000_000)  # days, otherwise


def test_without_a_rate_nobody_waits() -> None:
    Pace(None, threading.Event()).keep(1 << 60)
