"""The members of a deployment as the driver sees them, and what the server's clock says.

Neither needs any right: what is told comes from the driver's own questions to each member.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pymongo.server_description import ServerDescription

from gridfsmount.store.connection import Connection
from gridfsmount.store.runs import nanoseconds

ANSWER_SECONDS: Final = 3.0
"""For all members to answer, after one has: they are asked at the same time."""

_POLL_SECONDS: Final = 0.02

_QUESTIONS: Final = 3
"""About the time: the quickest answer is the most exact one."""

_GRAIN: Final = 0.001
"""Seconds: dates of BSON are no finer."""

SILENT: Final = "silent"

_STATES: Final[Mapping[str, str]] = {
    "Standalone": "standalone",
    "RSPrimary": "primary",
    "RSSecondary": "secondary",
    "RSArbiter": "arbiter",
    "RSOther": "neither primary nor secondary",
    "RSGhost": "in no replica set",
    "Mongos": "router",
    "LoadBalancer": "load balancer",
    "Unknown": SILENT,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One server."""

    address: str
    state: str
    """In a word or a few; SILENT when it does not answer."""
    lag: float | None = None
    """Seconds that a secondary is behind the primary, about; None for all others."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far this machine's clock is from the server's."""

    seconds: float
    """Positive: this one is ahead."""
    uncertainty: float
    """Seconds that it may be more or less."""

    @property
    def least(self) -> float:
        """Seconds that they differ for sure."""
        return max(0.0, abs(self.seconds) - self.uncertainty)


def members(connection: Connection) -> list[Member]:
    """All members that the driver knows of, ordered by address; waits a little for those silent."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        found = connection.client.topology_description.server_descriptions().values()
        waiting = any(not each.is_server_type_known and each.error is None for each in found)
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    primary = next((each for each in found if each.server_type_name == "RSPrimary"), None)
    told = [
        Member(
            _address(each),
            _STATES.get(each.server_type_name, each.server_type_name),
            _lag(each, primary),
        )
        for each in found
    ]
    return sorted(told, key=lambda each: each.address)


def clock_offset(connection: Connection) -> Offset:
    """Compare the clocks.

    Raises:
        FileSystemError: the server does not tell.
    """
    offsets = []
    with connection.seam.operation("ask for the time"):
        for _ in range(_QUESTIONS):
            began = time.time_ns()
            answer = connection.client.admin.command("hello")
            ended = time.time_ns()
            ours, theirs = (began + ended) / 2, nanoseconds(answer["localTime"])
            offsets.append(Offset((ours - theirs) / 1e9, (ended - began) / 2e9 + _GRAIN))
    return min(offsets, key=lambda each: each.uncertainty)


def _address(server: ServerDescription) -> str:
    host, port = server.address
    return host if port is None else f"{host}:{port}"


def _lag(server: ServerDescription, primary: ServerDescription | None) -> float | None:
    """Seconds, as the specification of `maxStalenessSeconds` computes them."""
    if server.server_type_name != "RSSecondary" or primary is None:
        return None
    if not (server.last_write_date and primary.last_write_date):
        return None
    # Both were asked at times of their own; the primary may have got a write in between.
    behind = (server.last_update_time - server.last_write_date) - (
        primary.last_update_time - primary.last_write_date
    )
    return max(0.0, behind)
