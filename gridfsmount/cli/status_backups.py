"""`gridfsmount status`: when each vault was last backed up to and verified, and if all is well.

What the lake knows of is what commands have noted in it. A vault that the config file does not name
is told of, and is a problem only where the file names none at all: it may be one that was given up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings, StatusSettings
from gridfsmount.core.wording import age
from gridfsmount.store.lake import Lake
from gridfsmount.store.runs import CREATE, PRUNE, VERIFY, Run

_WORDS: Final = {CREATE: "backup", VERIFY: "verification", PRUNE: "pruning"}


@dataclass(frozen=True, slots=True)
class _Known:
    """A vault, and its last runs by command."""

    name: str
    runs: Mapping[str, Run]


def backups(lake: Lake, settings: Settings) -> Section | None:
    """A section about backups; None when there are none, and none are configured."""
    runs = lake.runs.all()
    if not runs and not settings.vaults:
        return None
    now_ns = lake.runs.now_ns()
    groups: dict[str, dict[str, Run]] = {}
    for run in runs:
        # By its id: two machines may have the same name for vaults of their own.
        groups.setdefault(run.vault_id or f"{run.vault} on {run.host}", {})[run.what] = run
    vaults = [_Known(_names(group)[0], group) for group in groups.values()]
    named = {name for group in groups.values() for name in _names(group)}
    vaults += [_Known(name, {}) for name in settings.vaults if name not in named]
    problems = [
        f"vault {each.name}: {problem}"
        for each in vaults
        if not settings.vaults or {each.name, *_names(each.runs)} & settings.vaults.keys()
        for problem in _problems(each.runs, settings.status, now_ns)
    ]
    return Section(
        "backups",
        "; ".join(_text(each, now_ns) for each in vaults),
        {"vaults": [_facts(each, now_ns) for each in vaults]},
        problems,
    )


def _names(runs: Mapping[str, Run]) -> list[str]:
    """What machines call a vault, the latest name first."""
    return [run.vault for run in sorted(runs.values(), key=lambda run: -run.ended_ns)]


def _problems(runs: Mapping[str, Run], limits: StatusSettings, now_ns: int) -> Sequence[str]:
    found = [
        f"the last {_WORDS[what]} failed, {age(now_ns - run.ended_ns)} ago on {run.host}:"
        f" {run.text}"
        for what, run in runs.items()
        if what in _WORDS and not run.good
    ]
    created, verified = runs.get(CREATE), runs.get(VERIFY)
    if created is None:
        found.append("there was no backup yet: run `gridfsmount backup create`")
        return found
    if _is_stale(created, now_ns, limits.backup_max_age):
        found.append(f"{_since(created, now_ns, 'backup')}: see why nothing runs `backup create`")
    if verified is None:
        # Until then nobody has had a reason to verify anything.
        if now_ns - created.first_ns > limits.verify_max_age * 1e9:
            found.append("it was never verified: run `gridfsmount backup verify`")
    elif _is_stale(verified, now_ns, limits.verify_max_age):
        found.append(
            f"{_since(verified, now_ns, 'verification')}: see why nothing runs `backup verify`"
        )
    return found


def _is_stale(run: Run, now_ns: int, limit: float) -> bool:
    return now_ns - (run.first_ns if run.well_ns is None else run.well_ns) > limit * 1e9


def _since(run: Run, now_ns: int, what: str) -> str:
    if run.well_ns is None:
        return f"no {what} has succeeded yet"
    return f"the last good {what} was {age(now_ns - run.well_ns)} ago"


def _text(vault: _Known, now_ns: int) -> str:
    told = []
    for what, done in ((CREATE, "backed up"), (VERIFY, "verified")):
        run = vault.runs.get(what)
        if run is None or run.well_ns is None:
            told.append(f"never {done}")
        else:
            told.append(f"{done} {age(now_ns - run.well_ns)} ago")
    return f"{vault.name}: {', '.join(told)}"


def _facts(vault: _Known, now_ns: int) -> dict[str, str | int | bool | None]:
    facts: dict[str, str | int | bool | None] = {"vault": vault.name}
    for what in _WORDS:
        run = vault.runs.get(what)
        well_ns = None if run is None else run.well_ns
        facts |= {
            f"{what}_good": None if run is None else run.good,
            f"{what}_text": None if run is None else run.text,
            f"{what}_began": None if run is None else _utc(run.began_ns),
            f"{what}_ended": None if run is None else _utc(run.ended_ns),
            f"{what}_by": None if run is None else run.by,
            f"{what}_host": None if run is None else run.host,
            f"{what}_last_good": None if well_ns is None else _utc(well_ns),
            f"{what}_age_seconds": None if well_ns is None else (now_ns - well_ns) // 10**9,
        }
    return facts


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="seconds")
