"""Which snapshots a policy keeps."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.retention import Candidate, Policy, Verdict, judge
from gridfsmount.core.vault import snapshot_name, snapshot_time
from gridfsmount.errors import ConfigError

ZONES = st.sampled_from(
    [
        UTC,
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("America/New_York"),
        ZoneInfo("Pacific/Apia"),  # left out 30 December 2011
        ZoneInfo("Australia/Lord_Howe"),  # half an hour of summer time
        timezone(timedelta(hours=-12)),
    ]
)
NUMBERS = st.integers(0, 5)
RULES = ("last", "daily", "weekly", "monthly", "yearly")
POLICIES = (
    st.tuples(*[NUMBERS] * len(RULES), ZONES)
    .filter(lambda each: any(each[:-1]))
    .map(lambda each: Policy(*each))
)
# Few enough that days, weeks and years have several.
MOMENTS = st.one_of(
    st.integers(0, 60 * 24).map(lambda hours: datetime(2024, 1, 25) + timedelta(hours=hours)),
    st.integers(0, 40).map(lambda part: datetime(2026, 10, 24, 20) + timedelta(minutes=15 * part)),
    st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),
)
CANDIDATES = st.lists(
    st.builds(
        lambda moment, damaged, pinned: Candidate(name_of(moment), damaged, pinned),
        MOMENTS,
        st.booleans(),
        st.sampled_from([None, None, None, "audit"]),
    ),
    max_size=40,
    unique_by=lambda each: each.name,
)


def name_of(moment: datetime) -> str:
    return snapshot_name(int(moment.replace(tzinfo=UTC).timestamp()) * 10**9, None)


def kept(verdicts: list[Verdict]) -> set[str]:
    return {each.name for each in verdicts if each.kept}


def kept_of(moments: list[str], policy: Policy) -> list[str]:
    return sorted(kept(judge(map(Candidate, moments), policy)))


@given(CANDIDATES, POLICIES)
def test_a_policy_keeps_all_that_it_has_kept(candidates: list[Candidate], policy: Policy) -> None:
    left = kept(judge(candidates, policy))
    again = judge([each for each in candidates if each.name in left], policy)
    assert kept(again) == left


@given(CANDIDATES, POLICIES)
def test_the_newest_good_one_and_pinned_ones_are_always_kept(
    candidates: list[Candidate], policy: Policy
) -> None:
    left = kept(judge(candidates, policy))
    good = [each.name for each in candidates if not each.damaged]
    assert not good or max(good) in left
    assert {each.name for each in candidates if each.pinned is not None} <= left
    assert not candidates or left


@given(CANDIDATES, POLICIES, st.sampled_from(RULES), st.integers(1, 5))
def test_a_larger_number_keeps_whatever_a_smaller_one_does(
    candidates: list[Candidate], policy: Policy, rule: str, more: int
) -> None:
    larger = replace(policy, **{rule: getattr(policy, rule) + more})
    assert kept(judge(candidates, policy)) <= kept(judge(candidates, larger))


@given(CANDIDATES, POLICIES, st.randoms())
def test_the_order_they_come_in_does_not_matter(
    candidates: list[Candidate], policy: Policy, chance: random.Random
) -> None:
    shuffled = list(candidates)
    chance.shuffle(shuffled)
    assert judge(shuffled, policy) == judge(candidates, policy)


@given(CANDIDATES, POLICIES)
def test_each_has_one_verdict_with_reasons_the_newest_first(
    candidates: list[Candidate], policy: Policy
) -> None:
    verdicts = judge(candidates, policy)
    names = [each.name for each in verdicts]
    assert names == sorted((each.name for each in candidates), reverse=True)
    assert all(each.reasons and all(each.reasons) for each in verdicts)


@given(CANDIDATES, POLICIES)
def test_damage_never_removes_what_would_be_kept_without(
    candidates: list[Candidate], policy: Policy
) -> None:
    """What is found damaged today may be healed tomorrow."""
    sound = [replace(each, damaged=False) for each in candidates]
    assert kept(judge(sound, policy)) <= kept(judge(candidates, policy))


@given(CANDIDATES, POLICIES)
def test_damaged_ones_take_nobodys_place(candidates: list[Candidate], policy: Policy) -> None:
    good = [each for each in candidates if not each.damaged]
    assert kept(judge(good, policy)) <= kept(judge(candidates, policy))


@given(CANDIDATES, POLICIES)
def test_each_period_that_is_kept_is_stood_for_by_its_newest(
    candidates: list[Candidate], policy: Policy
) -> None:
    names = sorted((each.name for each in candidates), reverse=True)
    days: dict[str, str] = {}
    for name in names:
        days.setdefault(f"{snapshot_time(name).astimezone(policy.zone):%Y-%m-%d}", name)
    wanted = list(days.values())[: policy.daily]
    assert set(wanted) <= kept(judge(candidates, policy))


def hourly(first: datetime, hours: int) -> list[str]:
    return [name_of(first + timedelta(hours=number)) for number in range(hours)]


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        # The clocks go back on 25 October 2026 in Berlin: a day of 25 hours, from 22:00 UTC on.
        (ZoneInfo("Europe/Berlin"), ["2026-10-24T21", "2026-10-25T22", "2026-10-26T20"]),
        (UTC, ["2026-10-24T23", "2026-10-25T23", "2026-10-26T20"]),
    ],
)
def test_days_end_when_they_end_in_their_time_zone(zone: tzinfo, days: list[str]) -> None:
    names = hourly(datetime(2026, 10, 24), 69)
    assert kept_of(names, Policy(daily=3, zone=zone)) == [f"{day}-00-00Z" for day in days]


def test_a_leap_day_is_a_day() -> None:
    names = [name_of(datetime(2024, 2, 27) + timedelta(days=number)) for number in range(4)]
    assert [name[:10] for name in kept_of(names, Policy(daily=2))] == ["2024-02-29", "2024-03-01"]
    assert [name[:10] for name in kept_of(names, Policy(monthly=2))] == ["2024-02-29", "2024-03-01"]


def test_weeks_are_those_of_iso_8601() -> None:
    """The last days of 2024 lie in the first week of 2025."""
    names = [f"{day}T00-00-00Z" for day in ("2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06")]
    (newest, second, third, fourth) = judge(map(Candidate, names), Policy(weekly=9))
    assert newest.reasons == ("week 2025-W02",)
    assert second.reasons == ("week 2025-W01",)
    assert (third.kept, third.reasons) == (False, ("2025-W01 has a newer one",))
    assert fourth.reasons == ("week 2024-W52",)


def test_periods_without_snapshots_do_not_count() -> None:
    names = [f"{day}T00-00-00Z" for day in ("2019-01-01", "2020-06-01", "2026-11-20")]
    assert kept_of(names, Policy(daily=3)) == names


def test_the_reasons_are_told() -> None:
    names = hourly(datetime(2026, 11, 20), 60)[::12]
    verdicts = judge(
        [Candidate(names[0], pinned="audit"), *map(Candidate, names[1:])],
        Policy(last=1, daily=2),
    )
    assert [(each.kept, each.reasons) for each in verdicts] == [
        (True, ("of the last 1", "day 2026-11-22")),
        (True, ("day 2026-11-21",)),
        (False, ("not of the last 1", "2026-11-21 has a newer one")),
        (False, ("not of the last 1", "before the last 2 days")),
        (True, ("pinned: audit",)),
    ]


def test_a_damaged_one_leaves_its_place_to_a_good_one() -> None:
    names = ["2026-11-21T00-00-00Z", "2026-11-22T00-00-00Z", "2026-11-22T12-00-00Z"]
    verdicts = judge(
        [*map(Candidate, names[:2]), Candidate(names[2], damaged=True)], Policy(last=1)
    )
    assert [each.kept for each in verdicts] == [True, True, False]
    assert verdicts[1].reasons == ("of the last 1, not damaged",)
    every = judge([Candidate(name, damaged=True) for name in names], Policy(yearly=1))
    assert [each.kept for each in every] == [True, False, False]


@pytest.mark.parametrize(("last", "daily"), [(0, 0), (-1, 3), (3, -1)])
def test_what_keeps_nothing_is_refused(last: int, daily: int) -> None:
    with pytest.raises(ConfigError, match=r"keep nothing|negative"):
        Policy(last=last, daily=daily)
