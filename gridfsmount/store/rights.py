"""What the database user may do, read from the answer to `connectionStatus`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_WRITE: Final = frozenset({"insert", "update", "remove"})


def may_write(status: Mapping[str, Any], database: str, collections: Iterable[str]) -> bool:
    """Whether the user may insert, update and remove in all of `collections`.

    `status` is the answer to `{connectionStatus: 1, showPrivileges: true}`. A server without
    access control reports no users and no privileges: there, everybody may do everything; but a
    connection that has not authenticated to a server *with* access control looks the same, and
    finds out at its first read.
    """
    info = status.get("authInfo", {})
    if not info.get("authenticatedUsers"):
        return True
    privileges = info.get("authenticatedUserPrivileges", [])
    return all(_allowed(privileges, database, name) >= _WRITE for name in collections)


def missing_actions(
    status: Mapping[str, Any],
    database: str,
    collections: Iterable[str],
    actions: Sequence[str],
) -> dict[str, list[str]]:
    """Which of some actions the user lacks, and in which collections; empty if in none.

    An action on a whole database is looked for in the collection "".
    """
    info = status.get("authInfo", {})
    if not info.get("authenticatedUsers"):
        return {}
    privileges = info.get("authenticatedUserPrivileges", [])
    missing: dict[str, list[str]] = {}
    for name in collections:
        allowed = _allowed(privileges, database, name)
        for action in actions:
            if action not in allowed:
                missing.setdefault(action, []).append(name)
    return missing


def _allowed(privileges: Iterable[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    actions: set[str] = set()
    for privilege in privileges:
        resource = privilege.get("resource", {})
        fits = resource.get("db") in ("", database) and resource.get("collection") in (
            "",
            collection,
        )
        if resource.get("anyResource") or ("db" in resource and fits):
            actions.update(privilege.get("actions", []))
    return actions
