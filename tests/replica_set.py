"""A replica set of three members for tests: real, on loopback ports, and easy to hold up.

The first member is the primary and stays it: the others have no vote, so they may be held up or
frozen for as long as a test likes, and the majority is the primary alone.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient

from tests.mongod import POLL_SECONDS, START_SECONDS, Mongod

ANSWER_SECONDS = 10.0


class Secondary(Mongod):
    """A member that another one takes into its set."""

    def _takes_writes(self) -> bool:
        """It never does: answering is enough."""
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


class ReplicaSet:
    """One primary and two secondaries, gone after `close`. A context manager.

    Attributes:
        primary: The member that takes writes.
        secondaries: The others.
    """

    def __init__(self) -> None:
        """Describe the members; `start` starts them."""
        extra = ["--setParameter", "enableTestCommands=1"]
        self.primary = Mongod(extra=extra)
        self.secondaries = [Secondary(extra=extra), Secondary(extra=extra)]

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

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def _states(client: MongoClient[dict[str, Any]]) -> list[str]:
        status = client.admin.command("replSetGetStatus")
        return [member["stateStr"] for member in status["members"]]


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
