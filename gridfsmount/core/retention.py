"""Which snapshots are kept, and why; pure, and the same whatever the order they come in.

A rule keeps the newest snapshot of each of the N newest periods that have any; for `last` each
snapshot is a period of its own. What one rule keeps, stays. A damaged snapshot takes nobody's
place: the rules are applied to all snapshots, once more to those that are not damaged, and what is
kept by either stays.

So a policy that is applied again to what it kept keeps all of it, and a larger number keeps
whatever a smaller one does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from gridfsmount.core.vault import snapshot_time
from gridfsmount.errors import ConfigError

LAST: Final = "last"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot as a policy sees it."""

    name: str
    """Its time in UTC; no two have the same."""
    damaged: bool = False
    """It is known to be: nobody should rely on it."""
    pinned: str | None = None
    """Why somebody wants it to stay; None if nobody does."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How many snapshots each rule keeps; 0 for none.

    Raises:
        ConfigError: it would keep nothing, or a number is negative.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    """Weeks of ISO 8601: from Monday on."""
    monthly: int = 0
    yearly: int = 0
    zone: tzinfo = UTC
    """Where it is that days, weeks, months and years begin."""

    def __post_init__(self) -> None:
        """Refuse what keeps nothing."""
        numbers = [number for _, number, _ in self.rules()]
        if min(numbers) < 0:
            raise ConfigError("a number of snapshots to keep cannot be negative")
        if max(numbers) == 0:
            raise ConfigError(
                "this would keep nothing: give --keep-last, -daily, -weekly, -monthly or -yearly, "
                "or say so below [prune] in the config file"
            )

    def rules(self) -> "list[tuple[str, int, Callable[[datetime], str]]]":
        """Each with its name, its number, and the period that a local time lies in."""
        return [
            (LAST, self.last, lambda local: local.astimezone(UTC).isoformat()),
            ("day", self.daily, lambda local: f"{local:%Y-%m-%d}"),
            ("week", self.weekly, lambda local: "{}-W{:02}".format(*local.isocalendar())),
            ("month", self.monthly, lambda local: f"{local:%Y-%m}"),
            ("year", self.yearly, lambda local: f"{local:%Y}"),
        ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a snapshot."""

    name: str
    kept: bool
    reasons: tuple[str, ...]
    """For people; one at least."""


def judge(candidates: Iterable[Candidate], policy: Policy) -> list[Verdict]:
    """A verdict on each snapshot, the newest first.

    Pinned ones are kept whatever the policy says; and every policy keeps the newest that is not
    damaged, since that is the newest of any period of those.
    """
    ordered = sorted(candidates, key=lambda each: each.name, reverse=True)
    good = [each.name for each in ordered if not each.damaged]
    kept: dict[str, list[str]] = {each.name: [] for each in ordered}
    removed: dict[str, list[str]] = {each.name: [] for each in ordered}
    for each in ordered:
        if each.pinned is not None:
            kept[each.name].append(f"pinned: {each.pinned}")
    for name, keeps, reason in _apply(list(kept), policy):
        (kept if keeps else removed)[name].append(reason)
    for name, keeps, reason in _apply(good, policy):
        if keeps and reason not in kept[name]:
            kept[name].append(f"{reason}, not damaged")
    return [
        Verdict(each.name, bool(kept[each.name]), tuple(kept[each.name] or removed[each.name]))
        for each in ordered
    ]


def _apply(names: Sequence[str], policy: Policy) -> Iterator[tuple[str, bool, str]]:
    """What each rule says of each snapshot; they come newest first."""
    for rule, number, period_of in policy.rules():
        seen: set[str] = set()
        for name in names if number else ():
            period = period_of(snapshot_time(name).astimezone(policy.zone))
            if period in seen:
                yield name, False, f"{period} has a newer one"
            elif len(seen) < number:
                seen.add(period)
                yield name, True, f"{rule} {period}" if rule != LAST else f"of the last {number}"
            elif rule == LAST:
                yield name, False, f"not of the last {number}"
            else:
                yield name, False, f"before the last {number} {rule}s"
