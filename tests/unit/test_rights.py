"""What the database user may do, from what servers really answer."""

from typing import Any

import pytest

from gridfsmount.store.rights import may_write

COLLECTIONS = [f"fs.{name}" for name in ("files", "chunks", "tree", "uploads", "trash", "lake")]

READ_ACTIONS = [
    *("changeStream", "collStats", "dbHash", "dbStats", "find", "killCursors", "listCollections"),
    *("listIndexes", "planCacheRead"),
]
WRITE_ACTIONS = [
    *READ_ACTIONS,
    *("convertToCapped", "createCollection", "createIndex", "dropCollection", "dropIndex"),
    *("insert", "remove", "renameCollectionSameDB", "update"),
]


def privilege(actions: list[str], **resource: Any) -> dict[str, Any]:
    return {"resource": resource, "actions": actions}


def status(*privileges: dict[str, Any], user: str = "app") -> dict[str, Any]:
    """The answer to `{connectionStatus: 1, showPrivileges: true}`, as MongoDB 6.0 gives it."""
    return {
        "authInfo": {
            "authenticatedUsers": [{"user": user, "db": "admin"}],
            "authenticatedUserRoles": [{"role": "some", "db": "admin"}],
            "authenticatedUserPrivileges": [
                # Every user may change the own password, and so on.
                privilege(["changeOwnCustomData", "changeOwnPassword"], db="admin", collection=""),
                *privileges,
            ],
        },
        "ok": 1.0,
    }


READ_WRITE = status(
    privilege(WRITE_ACTIONS, db="lake", collection=""),
    privilege(WRITE_ACTIONS, db="lake", collection="system.js"),
    privilege(["find"], db="lake", system_buckets=""),
)
READ_ONLY = status(
    privilege(READ_ACTIONS, db="lake", collection=""),
    privilege(READ_ACTIONS, db="lake", collection="system.js"),
)
ROOT = status(
    privilege(WRITE_ACTIONS, db="", collection=""),
    privilege(["addShard", "shutdown", "serverStatus"], cluster=True),
    privilege(["validate"], anyResource=True),
    privilege(WRITE_ACTIONS, db="config", collection=""),
    user="root",
)


def test_without_access_control_everybody_writes() -> None:
    open_to_all = {
        "authInfo": {
            "authenticatedUsers": [],
            "authenticatedUserRoles": [],
            "authenticatedUserPrivileges": [],
        },
        "ok": 1.0,
    }
    assert may_write(open_to_all, "lake", COLLECTIONS)


@pytest.mark.parametrize("answer", [READ_WRITE, ROOT])
def test_a_user_with_read_write_writes(answer: dict[str, Any]) -> None:
    assert may_write(answer, "lake", COLLECTIONS)


def test_a_user_with_read_does_not() -> None:
    assert not may_write(READ_ONLY, "lake", COLLECTIONS)


def test_rights_in_another_database_do_not_count() -> None:
    assert not may_write(READ_WRITE, "other", COLLECTIONS)
    assert not may_write(READ_WRITE, "lake2", COLLECTIONS)


def test_every_collection_must_be_writable() -> None:
    some = status(*(privilege(WRITE_ACTIONS, db="lake", collection=name) for name in COLLECTIONS))
    assert may_write(some, "lake", COLLECTIONS)
    assert not may_write(some, "lake", [*COLLECTIONS, "other.files"])


def test_one_collection_in_every_database_counts() -> None:
    everywhere = status(*(privilege(WRITE_ACTIONS, db="", collection=n) for n in COLLECTIONS))
    assert may_write(everywhere, "lake", COLLECTIONS)


def test_rights_may_be_spread_over_privileges() -> None:
    spread = status(
        *(privilege([action], db="lake", collection="") for action in ("insert", "update")),
        privilege(["remove"], db="", collection=""),
    )
    assert may_write(spread, "lake", COLLECTIONS)


@pytest.mark.parametrize("missing", ["insert", "update", "remove"])
def test_each_of_the_three_actions_is_needed(missing: str) -> None:
    actions = [action for action in WRITE_ACTIONS if action != missing]
    assert not may_write(status(privilege(actions, db="lake", collection="")), "lake", COLLECTIONS)


def test_rights_on_any_resource_count() -> None:
    assert may_write(status(privilege(WRITE_ACTIONS, anyResource=True)), "lake", COLLECTIONS)


@pytest.mark.parametrize(
    "resource", [{"cluster": True}, {"db": "lake", "system_buckets": ""}, {"system_buckets": "x"}]
)
def test_rights_on_other_resources_do_not(resource: dict[str, Any]) -> None:
    answer = status(privilege(WRITE_ACTIONS, **resource))
    assert not may_write(answer, "lake", COLLECTIONS)


def test_a_user_without_privileges_does_not_write() -> None:
    answer = status()
    del answer["authInfo"]["authenticatedUserPrivileges"]
    assert not may_write(answer, "lake", COLLECTIONS)
