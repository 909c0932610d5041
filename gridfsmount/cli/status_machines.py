"""`gridfsmount status`: the machines of a lake: its servers, their clock, and who mounts it."""

from typing import Final

from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings
from gridfsmount.core.wording import age, counted, printable
from gridfsmount.store.lake import Lake
from gridfsmount.store.members import SILENT, Member, Offset, clock_offset, members
from gridfsmount.store.processes import MOUNT, Process

LAG_SECONDS: Final = 60.0
"""A secondary that is further behind than that does not keep up, or hangs."""

SKEW_SECONDS: Final = 5.0
"""Clocks that time servers keep differ by less than a second."""

_HEALTHY: Final = frozenset({"primary", "secondary", "arbiter", "standalone", "router"})


def members_section(lake: Lake, _: Settings) -> Section | None:
    """The members of a replica set, or the routers of a cluster; None for a lone server."""
    if lake.connection.deployment.kind == "standalone":
        return None
    found = members(lake.connection)
    return Section(
        "members",
        "\n".join(map(_member, found)),
        {
            "members": [
                {
                    "address": each.address,
                    "state": each.state,
                    "lag_seconds": None if each.lag is None else round(each.lag),
                }
                for each in found
            ]
        },
        [problem for each in found for problem in problems_of(each)],
    )


def problems_of(member: Member) -> list[str]:
    """What is wrong with a member."""
    if member.state == SILENT:
        return [f"{member.address} does not answer: see whether it runs, and can be reached"]
    if member.state not in _HEALTHY:
        return [f"{member.address} is {member.state}: see rs.status() on it"]
    if member.lag is not None and member.lag > LAG_SECONDS:
        behind = age(round(member.lag * 1e9))
        return [f"{member.address} is {behind} behind the primary: see its log and its load"]
    return []


def _member(member: Member) -> str:
    if member.state == SILENT:
        return f"{member.address} does not answer"
    if member.lag is None:
        return f"{member.address} {member.state}"
    behind = age(round(member.lag * 1e9))
    return f"{member.address} {member.state} ({behind} behind)"


def clock(lake: Lake, _: Settings) -> Section:
    """This machine's clock against the server's."""
    offset = clock_offset(lake.connection)
    return Section(
        "clock",
        skew_text(offset),
        {"ahead_milliseconds": round(offset.seconds * 1000)},
        skew_problems(offset),
    )


def skew_text(offset: Offset) -> str:
    """How far the clocks are apart, for people."""
    least = offset.least
    if least < 1:
        return "this machine's is the server's to within a second"
    way = "ahead of" if offset.seconds > 0 else "behind"
    return f"this machine's is {age(round(least * 1e9))} {way} the server's"


def skew_problems(offset: Offset) -> list[str]:
    """One, if the clocks are too far apart."""
    if offset.least <= SKEW_SECONDS:
        return []
    return [
        f"{skew_text(offset)}, so files get wrong times: have both set their clocks by NTP, as "
        "`timedatectl set-ntp on` does"
    ]


def mounts(lake: Lake, _: Settings) -> Section:
    """Who is at work on the lake, and who ended without a word and did not come back."""
    seen = lake.processes.seen()
    alive = [each for each in seen if each.alive]
    here = {(each.host, each.what, each.place) for each in alive}
    gone = [each for each in seen if not each.alive and _home(each) not in here and _lasts(each)]
    count = sum(each.what == MOUNT for each in alive)
    lines = [counted(count, "mount")]
    lines += [_process(each) for each in alive]
    lines += [f"{_process(each)}: no sign of life for {_since(each.silent)}" for each in gone]
    return Section(
        "mounts",
        "\n".join(lines),
        {
            "mounts": count,
            "processes": [
                {
                    "what": each.what,
                    "host": each.host,
                    "pid": each.pid,
                    "version": each.version,
                    "mountpoint": each.place or None,
                    "alive": each.alive,
                    "age_seconds": None if each.age is None else round(each.age),
                    "silent_seconds": None if each.silent is None else round(each.silent),
                }
                for each in (*alive, *gone)
            ],
        },
    )


def _home(process: Process) -> tuple[str, str, str]:
    return process.host, process.what, process.place


def _lasts(process: Process) -> bool:
    """Whether it is missed when it is gone: what puts or backs up ends anyway."""
    return process.what == MOUNT


def _process(process: Process) -> str:
    place = f"{process.host}:{process.place}" if process.place else process.host
    what = "" if process.what == MOUNT else f"{process.what} on "
    # Line by line: what a document says must not make more of them.
    return printable(f"{what}{place}, gridfsmount {process.version}, for {_since(process.age)}")


def _since(seconds: float | None) -> str:
    return "an unknown time" if seconds is None else age(round(seconds * 1e9))
