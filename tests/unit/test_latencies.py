"""Histograms of durations."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.telemetry.latencies import Latencies, below, bound, index_of, percentile

SECONDS = st.floats(0, 1e5)


@given(SECONDS)
def test_a_duration_lies_in_its_bucket_which_is_narrow(seconds: float) -> None:
    index = index_of(seconds)
    low, high = (bound(index - 1) if index else 0.0), bound(index)

    slack = 1e-6 + seconds * 1e-9  # durations are cut to microseconds
    assert low - slack <= seconds <= high + slack
    assert high - low <= max(1.01e-6, low / 4 * 1.01)


@given(st.lists(SECONDS))
def test_what_is_noted_is_counted_once(durations: list[float]) -> None:
    latencies = Latencies()
    for each in durations:
        latencies.note(each)

    assert latencies.count == sum(latencies.told().values()) == len(durations)
    assert latencies.most == max(durations, default=0.0)
    assert math.isclose(latencies.seconds, sum(durations))
    assert all(latencies.buckets[index_of(each)] for each in durations)


@given(st.lists(SECONDS, min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_quarter_off_at_most(durations: list[float], share: float) -> None:
    latencies = Latencies()
    for each in durations:
        latencies.note(each)

    found = percentile(latencies.told(), share)

    rank = max(0, math.ceil(share * len(durations) - 1e-9) - 1)
    exact = sorted(durations)[rank]
    assert exact * 0.79 - 2e-6 <= found <= exact * 1.26 + 2e-6


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile({}, 0.5) == 0


@given(st.lists(st.integers(0, 1 << 40)), st.integers(2, 40))
def test_what_took_less_than_a_power_of_two_is_counted_exactly(
    microseconds: list[int], doublings: int
) -> None:
    latencies = Latencies()
    for each in microseconds:
        latencies.note((each + 0.5) / 1e6)

    found = below(latencies.told(), doublings)

    assert found == sum(each < 1 << doublings for each in microseconds)
