"""Replica sets of three members for tests: real, on loopback ports, easy to hold up and to kill.

In a `ReplicaSet` the first member is the primary and stays it: the others have no vote, so they may
be held up or frozen for as long as a test likes, and the majority is the primary alone. In a
`VotingReplicaSet` all members vote, and when the primary dies, another one takes its place.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure

from tests.mongod import POLL_SECONDS, REPLICA_SET, START_SECONDS, Mongod, Started
from tests.mounting import eventually

ANSWER_SECONDS = 10.0

ELECTION_MILLISECONDS = 2000
"""A primary that is silent for so long is replaced; 10 s by default."""

STEP_DOWN_SECONDS = 5
"""For so long a primary that stepped down does not stand for election again."""


class Member(Mongod):
    """A member that somebody else takes into a set."""

    def _takes_writes(self) -> bool:
        """It may never do: answering is enough."""
        with self.direct() as client:
            client.admin.command("ping")
        return True

    def direct(self) -> MongoClient[dict[str, Any]]:
        """A client of this member alone, for the caller to close."""
        return MongoClient(
            "127.0.0.1",
            self.port,
            directConnection=True,
            timeoutMS=int(ANSWER_SECONDS * 1000),
        )


class ReplicaSet(Started):
    """One primary and two secondaries, gone after `close`. A context manager.

    Attributes:
        primary: The member that takes writes.
        secondaries: The others.
    """

    def __init__(self) -> None:
        """Describe the members; `start` starts them."""
        extra = ["--setParameter", "enableTestCommands=1"]
        self.primary = Mongod(extra=extra)
        self.secondaries = [Member(extra=extra), Member(extra=extra)]

    def uri_for(self, database: str) -> str:
        """Return the connection string with `database` as its path."""
        return self.primary.uri_for(database)

    def start(self) -> None:
        """Start all members and return once the secondaries have what the primary has."""
        for member in (self.primary, *self.secondaries):
            member.start()
        with self.primary.client() as client:
            config = client.admin.command("replSetGetConfig")["config"]
            config["version"] += 1
            config["settings"]["heartbeatIntervalMillis"] = 200
            config["members"] += [
                {"_id": number, "host": f"127.0.0.1:{member.port}", "priority": 0, "votes": 0}
                for number, member in enumerate(self.secondaries, 1)
            ]
            client.admin.command("replSetReconfig", config)
            deadline = time.monotonic() + START_SECONDS
            while self._states(client).count("SECONDARY") < len(self.secondaries):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"members are {self._states(client)}")
                time.sleep(POLL_SECONDS)

    def wait_until_replicated(self, database: str, collection: str) -> None:
        """Return once the secondaries have as many documents of a collection as the primary."""
        with self.primary.client() as client:
            wanted = client[database][collection].count_documents({})
        for member in self.secondaries:
            deadline = time.monotonic() + ANSWER_SECONDS
            with member.direct() as client:
                while client[database][collection].count_documents({}) != wanted:
                    assert time.monotonic() < deadline, "it does not replicate"
                    time.sleep(POLL_SECONDS)

    @contextmanager
    def replication_held_up(self) -> Iterator[None]:
        """Within the block the secondaries answer, but get nothing new."""
        with ExitStack() as undo:
            for member in self.secondaries:
                client = undo.enter_context(member.direct())
                _fail(client, "alwaysOn")
                undo.callback(_fail, client, "off")
            yield

    @contextmanager
    def secondaries_frozen(self) -> Iterator[None]:
        """Within the block the secondaries hang: connections stay, and nothing is answered."""
        with ExitStack() as undo:
            for member in self.secondaries:
                member.pause()
                undo.callback(member.resume)
            yield

    def close(self) -> None:
        """End all members, and remove their data."""
        with ExitStack() as stack:
            for member in (self.primary, *self.secondaries):
                stack.callback(member.close)

    @staticmethod
    def _states(client: MongoClient[dict[str, Any]]) -> list[str]:
        status = client.admin.command("replSetGetStatus")
        return [member["stateStr"] for member in status["members"]]


class VotingReplicaSet(Started):
    """Three members that elect their primary, gone after `close`. A context manager.

    Attributes:
        members: All of them.
    """

    def __init__(self) -> None:
        """Describe the members; `start` starts them."""
        self.members = [Member() for _ in range(3)]

    def uri_for(self, database: str) -> str:
        """Return the connection string with `database` as its path."""
        hosts = ",".join(map(_host, self.members))
        return f"mongodb://{hosts}/{database}?replicaSet={REPLICA_SET}"

    def start(self) -> None:
        """Start all members and return once there is a primary, and two that follow it."""
        for member in self.members:
            member.start()
        config = {
            "_id": REPLICA_SET,
            "members": [
                {"_id": number, "host": _host(member)} for number, member in enumerate(self.members)
            ],
            "settings": {
                "electionTimeoutMillis": ELECTION_MILLISECONDS,
                "heartbeatIntervalMillis": 200,
            },
        }
        with self.members[0].direct() as client:
            client.admin.command("replSetInitiate", config)
        self.wait_until_whole()

    @property
    def primary(self) -> Member:
        """The member that takes writes now; waits for an election to end."""
        found = eventually(self._find_primary, "there is a primary")
        assert found is not None
        return found

    def wait_until_whole(self) -> None:
        """Return once one member is primary and the others follow it."""
        eventually(
            lambda: sorted(map(self._state, self.members)) == ["PRIMARY", "SECONDARY", "SECONDARY"],
            "the set is whole",
        )

    def step_down(self) -> None:
        """Let the primary give up its office in good order, to another one."""
        with self.primary.direct() as client:
            client.admin.command(
                "replSetStepDown",
                STEP_DOWN_SECONDS,
                secondaryCatchUpPeriodSecs=STEP_DOWN_SECONDS // 2,
            )

    def close(self) -> None:
        """End all members, and remove their data."""
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.close)

    def _find_primary(self) -> Member | None:
        return next((each for each in self.members if self._state(each) == "PRIMARY"), None)

    @staticmethod
    def _state(member: Member) -> str:
        """What a member says of itself."""
        if not member.is_running:
            return "DOWN"  # which a client would take its whole timeout to find out
        try:
            with member.direct() as client:
                hello = client.admin.command("hello")
        except ConnectionFailure:
            return "DOWN"
        if hello["isWritablePrimary"]:
            return "PRIMARY"
        return "SECONDARY" if hello.get("secondary") else "OTHER"


def _host(member: Mongod) -> str:
    return f"127.0.0.1:{member.port}"


def queries(member: Mongod, namespace: str) -> int:
    """How many queries of a collection a member has answered since it started."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1", member.port, directConnection=True, timeoutMS=int(ANSWER_SECONDS * 1000)
    )
    with client:
        totals = client.admin.command("top")["totals"]
    count: int = totals.get(namespace, {"queries": {"count": 0}})["queries"]["count"]
    return count


def _fail(client: MongoClient[dict[str, Any]], mode: str) -> None:
    client.admin.command("configureFailPoint", "rsSyncApplyStop", mode=mode)
