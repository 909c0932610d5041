"""`fs.lake`: how the last backup, verification and pruning of each vault ended.

One document for each command and vault. All times are the server's, so that ages are right
whichever machine asks.
"""

import socket
from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document

CREATE: Final = "create"
VERIFY: Final = "verify"
PRUNE: Final = "prune"

_TEXT: Final = 1000
"""Characters that are kept of a sentence."""


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a command on a vault."""

    what: str
    """CREATE, VERIFY or PRUNE."""
    vault: str
    """Its name in the config file of that machine, else its address, without secrets."""
    vault_id: str
    """Empty if the vault could never be opened."""
    began_ns: int
    ended_ns: int
    good: bool
    text: str
    """One sentence on what was done, or why not."""
    host: str
    by: str
    well_ns: int | None
    """When the last one that was good ended."""
    first_ns: int
    """When the first one began."""


class Runs:
    """The outcomes of commands on the vaults of one lake."""

    def __init__(self, connection: Connection) -> None:
        """Keep them in the lake of `connection`."""
        self._seam = connection.seam
        self._lake = connection.collection("lake")

    def now_ns(self) -> int:
        """The server's time."""
        with self._seam.operation("ask for the time"):
            answer = self._lake.database.client.admin.command("hello")
        return nanoseconds(answer["localTime"])

    def note(
        self,
        what: str,
        vault: str,
        vault_id: str,
        *,
        began_ns: int,
        good: bool,
        text: str,
        by: str,
    ) -> None:
        """Note that a run has ended just now.

        Args:
            what: CREATE, VERIFY or PRUNE.
            vault: for people.
            vault_id: empty if it could not be opened.
            began_ns: `now_ns` when it began.
            good: whether all is well.
            text: one sentence, without secrets.
            by: who ran it.
        """
        host = socket.gethostname()
        same = {"run.what": what, "run.vault": vault, "run.host": host}
        with self._seam.operation("note how it ended"):
            key = f"run {what} {vault_id}" if vault_id else self._known_key(same, what, vault, host)
            began = {"$toDate": {"$literal": began_ns // 10**6}}
            run = {
                "what": {"$literal": what},
                "vault": {"$literal": vault},
                "vault_id": {"$ifNull": ["$run.vault_id", {"$literal": vault_id}]},
                "began": began,
                "ended": "$$NOW",
                "good": {"$literal": good},
                "text": {"$literal": text[:_TEXT]},
                "host": {"$literal": host},
                "by": {"$literal": by},
                "well": "$$NOW" if good else {"$ifNull": ["$run.well", None]},
                "first": {"$ifNull": ["$run.first", began]},
            }
            self._lake.update_one({"_id": key}, [{"$set": {"run": run}}], upsert=True)
            # A vault that was made anew in the place of another speaks for both.
            self._lake.delete_many({**same, "_id": {"$ne": key}})

    def _known_key(self, same: Document, what: str, vault: str, host: str) -> str:
        found = self._lake.find_one(same, {"_id": 1})
        return f"run {what} {vault} on {host}" if found is None else str(found["_id"])

    def all(self) -> list[Run]:
        """The last run of each command on each vault."""
        with self._seam.operation("look how backups ended"):
            documents = list(self._lake.find({"run": {"$type": "object"}}).sort("_id"))
        return [_decode(each["run"]) for each in documents if isinstance(each["run"], dict)]


def _decode(run: Document) -> Run:
    well = run.get("well")
    return Run(
        what=str(run.get("what", "")),
        vault=str(run.get("vault", "")),
        vault_id=str(run.get("vault_id", "")),
        began_ns=nanoseconds(run.get("began")),
        ended_ns=nanoseconds(run.get("ended")),
        good=run.get("good") is True,
        text=str(run.get("text", "")),
        host=str(run.get("host", "")),
        by=str(run.get("by", "")),
        well_ns=None if well is None else nanoseconds(well),
        first_ns=nanoseconds(run.get("first")),
    )


def nanoseconds(moment: object) -> int:
    """Of one of the server's dates; 1970 for what is none."""
    if not isinstance(moment, datetime):
        return 0
    return timegm(moment.utctimetuple()) * 10**9 + moment.microsecond * 1000
