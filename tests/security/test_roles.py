"""The roles of docs/security.md: each is enough for its purpose, and nothing of it is too much."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from gridfsmount.errors import LakeError
from gridfsmount.store.connection import connect
from gridfsmount.store.diagnosis import rights
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, mounted
from tests.security.documented import PASSWORD, Pair, calls, pairs
from tests.security.users import DATA, NEEDS, Failed, Operation, Site

ROLES = [given["role"] for _, name, given in calls() if name == "createRole"]

CASES = [
    pytest.param(role, lost, operation, id=f"{role}-{lost[0] or 'database'}-{lost[1]}")
    for role, operations in NEEDS.items()
    for operation, needed in operations.items()
    for lost in sorted(needed)
]

UNAUTHORIZED = 13


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Mongod(auth=True) as server, server.client() as client:
        site = Site(server, client, tmp_path_factory.mktemp("roles"))
        site.set_up()
        with Mounted(site.address("ana"), site.folder / "ana") as site.mount:
            yield site


def test_every_privilege_of_every_role_is_looked_at() -> None:
    assert {role: set().union(*needed.values()) for role, needed in NEEDS.items()} == {
        role: pairs(role) for role in ROLES
    }


@pytest.mark.parametrize(
    "operation",
    [each for operations in NEEDS.values() for each in operations],
    ids=lambda each: each.__name__,
)
def test_a_role_is_enough_for_what_it_is_for(site: Site, operation: Operation) -> None:
    operation(site)


@pytest.mark.parametrize(("user", "writes"), [("guest", False), ("ana", True), ("founder", True)])
def test_doctor_misses_nothing_that_a_user_does_not_need(
    site: Site, user: str, writes: bool
) -> None:
    connection = connect(site.address(user), bucket="fs", deadline=30)
    try:
        found = rights(connection)
    finally:
        connection.close()
    assert (found.to_read, found.to_tell) == ([], [])
    assert (not found.to_write, found.writes_nothing) == (writes, not writes)


def test_users_can_run_every_command_that_the_document_gives_them(site: Site) -> None:
    site.run("ana", "put", "-q", f"{site.folder}/tree/", "datasets/all/v1")
    site.run("ana", "fork", "datasets/all/v1", "v2")
    site.run("ana", "seal", "datasets/all/v1")
    site.run("ana", "tag", "datasets/all", "production", "v1")
    site.run("ana", "link", "datasets/all/v2", "--from", "datasets/all/v1")
    for command in ("show", "manifest", "verify"):
        site.run("guest", command, "datasets/all/v1")
    site.run("guest", "diff", "datasets/all/v1", "datasets/all/v2", well=(0, 1))
    site.run("ana", "delete", "--yes", "datasets/all/v2")
    site.run("ana", "gc", "--grace", "0s")
    site.run("ana", "check", "--repair", well=(0, 1))
    vault = ("--vault", site.address("keeper"))
    site.run("backup", "backup", "create", *vault)
    site.run("backup", "backup", "pin", "latest", *vault)
    site.run("backup", "backup", "unpin", "latest", *vault)


@pytest.mark.parametrize(("role", "lost", "operation"), CASES)
def test_without_any_one_privilege_something_of_that_fails(
    site: Site, role: str, lost: Pair, operation: Operation
) -> None:
    with site.lacking(role, lost), pytest.raises((Failed, OSError, LakeError)) as raised:
        operation(site)
    if isinstance(raised.value, OSError):
        assert raised.value.errno in (errno.EACCES, errno.EIO)
    assert PASSWORD not in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_right_that_is_taken_away_is_missed_at_once_and_used_when_it_is_back(site: Site) -> None:
    assert site.mount is not None
    file = site.mount.version("datasets/test/draft") / "rights"
    file.write_bytes(b"before")
    with site.lacking("lakeWriter", ("fs.files", "insert")):
        with pytest.raises(PermissionError):
            file.write_bytes(b"meanwhile")
        assert file.read_bytes() == b"before"
    file.write_bytes(b"after")
    assert file.read_bytes() == b"after"


def test_mounts_of_readers_and_writers_lack_nothing(site: Site, tmp_path: Path) -> None:
    with (
        mounted(site.address("guest"), tmp_path / "guest") as reader,
        mounted(site.address("ana"), tmp_path / "ana") as writer,
    ):
        file = writer.version("datasets/test/w") / "file"
        file.write_bytes(DATA)
        assert (reader.path / "datasets/test/w/file").read_bytes() == DATA
        with pytest.raises(OSError, match=r"Read-only file system"):
            (reader.path / "datasets/test/w/file").unlink()
        file.unlink()
    for mount in (reader, writer):
        assert_healthy_log(mount)
        told = [line for line in mount.log_text().splitlines() if " WARNING " in line]
        assert all("read-only: the server takes no writes" in line for line in told), told


DENIED: list[tuple[str, str, dict[str, Any]]] = [
    (user, database, command)
    for user in ("guest", "ana", "founder", "backup", "keeper", "rescuer", "maker")
    for home in ["lake" if user in ("guest", "ana", "founder", "backup") else "vault"]
    for elsewhere in ["vault" if home == "lake" else "lake"]
    for database, command in (
        (home, {"dropDatabase": 1}),
        (home, {"drop": "fs.files" if home == "lake" else "vault.files"}),
        (home, {"collMod": "fs.files" if home == "lake" else "vault.files"}),
        (home, {"find": "private"}),
        (home, {"insert": "private", "documents": [{}]}),
        (home, {"usersInfo": 1}),
        (home, {"createUser": "mallory", "pwd": "x", "roles": []}),
        (elsewhere, {"find": "fs.files" if home == "vault" else "vault.files"}),
        ("admin", {"find": "system.users"}),
        ("admin", {"getLog": "global"}),
    )
] + [
    ("guest", "lake", {"insert": "fs.files", "documents": [{}]}),
    ("guest", "lake", {"update": "fs.tree", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}),
    ("backup", "lake", {"delete": "fs.chunks", "deletes": [{"q": {}, "limit": 0}]}),
    ("backup", "lake", {"update": "fs.files", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}),
    ("rescuer", "vault", {"delete": "vault.files", "deletes": [{"q": {}, "limit": 0}]}),
]


def test_no_role_gives_more_than_that(site: Site) -> None:
    allowed = []
    users = {user for user, _, _ in DENIED}
    clients = {user: MongoClient[dict[str, Any]](site.address(user)) for user in users}
    try:
        for user, database, command in DENIED:
            try:
                clients[user][database].command(command)
            except OperationFailure as error:
                if error.code == UNAUTHORIZED:
                    continue
            allowed.append((user, database, command))
    finally:
        for client in clients.values():
            client.close()
    assert allowed == []


def test_what_commands_note_in_the_lake_has_no_password(site: Site) -> None:
    noted = repr(list(site.client["lake"]["fs.lake"].find()))
    assert "backup create" in noted or "vault" in noted
    assert PASSWORD not in noted
    assert quote_plus(PASSWORD) not in noted
