"""Snapshots day by day, as the months of a calendar. Pure."""

import calendar
import enum
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date
from typing import Final

from gridfsmount.core.vault import snapshot_time
from gridfsmount.core.wording import counted
from gridfsmount.vaults.stock import Stocked

MOST: Final = 12
"""Months that are shown; the table has the rest."""


class Look(enum.Enum):
    """How the snapshots of a day are."""

    NONE = "none"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    """One of them at least; none is damaged."""
    DAMAGED = "damaged"
    """One of them at least."""


@dataclass(frozen=True, slots=True)
class Day:
    """A square of the calendar."""

    number: int
    look: Look
    text: str
    """For whoever does not see its colour; empty without snapshots."""
    snapshot: str
    """The newest one of that day; empty without any."""


@dataclass(frozen=True, slots=True)
class Month:
    """A page of the calendar."""

    title: str
    """As in "November 2026"."""
    weeks: Sequence[Sequence[Day | None]]
    """Seven days each, from Monday; None before its first day and after its last."""


def months(snapshots: Sequence[Stocked], today: date) -> list[Month]:
    """The months from the newest to the oldest that has a snapshot, as far as there is room."""
    by_day: dict[date, list[Stocked]] = defaultdict(list)
    for each in snapshots:
        try:
            by_day[snapshot_time(each.snapshot).astimezone(UTC).date()].append(each)
        except ValueError:
            continue
    if not by_day:
        return []
    newest, oldest = max(*by_day, today), min(by_day)
    found: list[Month] = []
    year, month = newest.year, newest.month
    while len(found) < MOST and (year, month) >= (oldest.year, oldest.month):
        found.append(_month(year, month, by_day))
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return found


def look_of(snapshots: Sequence[Stocked]) -> Look:
    """The worst of some snapshots."""
    if not snapshots:
        return Look.NONE
    if any(each.is_damaged for each in snapshots):
        return Look.DAMAGED
    if any(each.verification is None for each in snapshots):
        return Look.UNVERIFIED
    return Look.VERIFIED


def _month(year: int, month: int, by_day: dict[date, list[Stocked]]) -> Month:
    weeks = [
        [
            _day(number, by_day.get(date(year, month, number), [])) if number else None
            for number in week
        ]
        for week in calendar.Calendar().monthdayscalendar(year, month)
    ]
    return Month(f"{calendar.month_name[month]} {year}", weeks)


def _day(number: int, snapshots: list[Stocked]) -> Day:
    look = look_of(snapshots)
    if look is Look.NONE:
        return Day(number, look, "", "")
    words = {Look.UNVERIFIED: "not verified yet"}.get(look, look.value)
    text = f"{counted(len(snapshots), 'snapshot')}, {words}"
    return Day(number, look, text, max(each.snapshot for each in snapshots))
