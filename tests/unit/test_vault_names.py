"""Names of snapshots."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.vault import is_snapshot_name, snapshot_name, snapshot_time

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


@given(MOMENTS)
def test_a_name_tells_its_time(moment: datetime) -> None:
    name = snapshot_name(int(moment.timestamp()) * 10**9, None)
    assert is_snapshot_name(name)
    assert snapshot_time(name) == moment


@given(MOMENTS, MOMENTS)
def test_a_name_comes_after_the_newest_though_the_clock_was_set_back(
    moment: datetime, newest: datetime
) -> None:
    before = snapshot_name(int(newest.timestamp()) * 10**9, None)
    name = snapshot_name(int(moment.timestamp()) * 10**9, before)
    assert name > before
    assert snapshot_time(name) >= snapshot_time(before) + timedelta(seconds=1)


@pytest.mark.parametrize(
    "name",
    [
        "2026-02-29T00-00-00Z",
        "2026-13-01T00-00-00Z",
        "2026-01-01T24-00-00Z",
        "9999-99-99T99-99-99Z",
        "0001-01-01T00-00-00Z",
        "2026-11-22T03-00-00Z\n",
        "٢٠٢٦-11-22T03-00-00Z",
        "2026-11-22",
        "latest",
        "",
    ],
)
def test_what_is_no_time_is_no_name(name: str) -> None:
    assert not is_snapshot_name(name)
