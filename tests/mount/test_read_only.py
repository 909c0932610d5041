"""Mounts that may not change anything: for want of rights, or because they were told so."""

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gridfs
import pytest
from pymongo import MongoClient

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, mounted, run_command

DATA = os.urandom(3 << 20)
PASSWORD = "not_so_secret"


@dataclass(frozen=True, slots=True)
class Place:
    """A database of its own on a server with access control, and its users."""

    server: Mongod
    database: str

    @property
    def owner(self) -> str:
        """The URI of somebody who may do everything."""
        return self.server.uri_for(self.database)

    def user_with(self, role: str) -> str:
        """Make a user who has one role, and return that user's URI."""
        with MongoClient[dict[str, Any]](self.owner) as client:
            client[self.database].command("createUser", role, pwd=PASSWORD, roles=[role])
        return (
            f"mongodb://{role}:{PASSWORD}@127.0.0.1:{self.server.port}/{self.database}"
            "?replicaSet=tests"
        )

    def contents(self) -> dict[str, Any]:
        """All that the database holds: documents, indexes, and the server's hash of them."""
        return contents_of(self.owner)


def contents_of(uri: str) -> dict[str, Any]:
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        names = sorted(database.list_collection_names())
        return {
            "documents": {name: list(database[name].find().sort("_id")) for name in names},
            "indexes": {name: database[name].index_information() for name in names},
            "hash": database.command("dbHash")["md5"],
        }


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    with Mongod(auth=True) as server:
        yield server


@pytest.fixture
def place(guarded: Mongod) -> Iterator[Place]:
    place = Place(guarded, f"lake_{uuid.uuid4().hex}")
    yield place
    with MongoClient[dict[str, Any]](place.owner) as client:
        client[place.database].command("dropAllUsersFromDatabase")
        client[place.database].command("dropAllRolesFromDatabase")
        client.drop_database(place.database)


def fill(uri: str, folder: Path) -> None:
    """Make a lake with a bit of everything in it, also what a writing mount would tidy up."""
    with mounted(uri, folder) as mount:
        version = mount.version()
        (version / "file").write_bytes(DATA)
        (version / "empty").touch()
        (version / "folder").mkdir()
        (version / "link").symlink_to("file")
        os.setxattr(version / "file", "user.note", b"value")
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        gridfs.GridFSBucket(database).upload_from_stream("datasets/test/v1/foreign", b"foreign")
        database["fs.uploads"].insert_one(
            {
                "_id": "lost",
                "mount": "dead",
                "name": "file",
                "beat": datetime(2000, 1, 1, tzinfo=UTC),
            }
        )


def change(mount: Mounted, attempt: Callable[[Path], object]) -> int | None:
    """The errno with which an attempt to change something is answered."""
    try:
        attempt(mount.path / "datasets/test/v1")
    except OSError as error:
        return error.errno
    return None


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda v: (v / "new").touch(),
    "write": lambda v: (v / "file").open("r+b"),
    "overwrite": lambda v: (v / "file").write_bytes(b""),
    "append": lambda v: (v / "file").open("ab"),
    "truncate": lambda v: os.truncate(v / "file", 1),
    "unlink": lambda v: (v / "file").unlink(),
    "rename": lambda v: (v / "file").rename(v / "new"),
    "replace": lambda v: (v / "file").rename(v / "empty"),
    "link": lambda v: (v / "new").hardlink_to(v / "file"),
    "symlink": lambda v: (v / "new").symlink_to("file"),
    "mkdir": lambda v: (v / "new").mkdir(),
    "rmdir": lambda v: (v / "folder").rmdir(),
    "mkfifo": lambda v: os.mkfifo(v / "new"),
    "chmod": lambda v: (v / "file").chmod(0o600),
    "chown": lambda v: os.chown(v / "file", 1, 1),
    "utime": lambda v: os.utime(v / "file", (1, 1)),
    "setxattr": lambda v: os.setxattr(v / "file", "user.new", b"value"),
    "removexattr": lambda v: os.removexattr(v / "file", "user.note"),
    "new version": lambda v: (v.parent / "v2").mkdir(),
    "new dataset": lambda v: (v.parent.parent / "new").mkdir(),
    "new tag": lambda v: (v.parent / "production").symlink_to("v1"),
    "remove the version": lambda v: (v.parent / "v1").rmdir(),
    "rename the version": lambda v: v.rename(v.parent / "v2"),
}


def assert_reads_and_refuses_all_changes(mount: Mounted) -> None:
    version = mount.path / "datasets" / "test" / "v1"
    assert (version / "file").read_bytes() == DATA
    assert (version / "link").read_bytes() == DATA
    assert (version / "empty").read_bytes() == b""
    assert os.getxattr(version / "file", "user.note") == b"value"
    assert sorted(each.name for each in version.iterdir()) == ["empty", "file", "folder", "link"]
    assert os.statvfs(mount.path).f_flag & os.ST_RDONLY
    assert not os.access(version / "file", os.W_OK)

    answers = {name: change(mount, attempt) for name, attempt in CHANGES.items()}

    assert answers == dict.fromkeys(CHANGES, errno.EROFS)
    assert (version / "file").read_bytes() == DATA


def test_a_user_who_may_only_read_gets_a_mount_that_only_reads(
    place: Place, tmp_path: Path
) -> None:
    fill(place.owner, tmp_path / "owner")
    reader = place.user_with("read")
    before = place.contents()

    with mounted(reader, tmp_path / "reader") as mount:
        assert_reads_and_refuses_all_changes(mount)

    assert place.contents() == before
    assert_healthy_log(mount)
    assert "mounted read-only on" in mount.log_text()
    assert "read-only: the server takes no writes from this user" in mount.log_text()


def test_told_to_be_read_only_a_mount_leaves_everything_as_it_is(
    place: Place, tmp_path: Path
) -> None:
    fill(place.owner, tmp_path / "owner")
    before = place.contents()

    with mounted(place.owner, tmp_path / "reader", "--read-only") as mount:
        assert_reads_and_refuses_all_changes(mount)

    assert place.contents() == before
    assert_healthy_log(mount)
    assert "mounted read-only on" in mount.log_text()
    assert "the server takes no writes" not in mount.log_text()


def test_on_a_standalone_server_too(standalone_uri: str, tmp_path: Path) -> None:
    fill(standalone_uri, tmp_path / "owner")
    with MongoClient[dict[str, Any]](standalone_uri) as client:
        # In the middle of a rename, which a writing mount would finish or undo.
        client.get_default_database()["fs.tree"].update_one(
            {"names.name": "empty"},
            [
                {
                    "$set": {
                        "was": "$names",
                        "names": [{"parent": 0, "name": "aside"}],
                    }
                }
            ],
        )
    before = contents_of(standalone_uri)

    with mounted(standalone_uri, tmp_path / "reader", "--read-only") as mount:
        assert (mount.path / "datasets/test/v1/file").read_bytes() == DATA
        assert change(mount, CHANGES["create"]) == errno.EROFS

    assert contents_of(standalone_uri) == before


def test_a_reader_sees_what_a_writer_commits(place: Place, tmp_path: Path) -> None:
    fill(place.owner, tmp_path / "owner")
    with (
        mounted(place.owner, tmp_path / "owner") as writer,
        mounted(place.user_with("read"), tmp_path / "reader") as reader,
    ):
        (writer.path / "datasets/test/v1/file").write_bytes(b"new")

        assert (reader.path / "datasets/test/v1/file").read_bytes() == b"new"


def test_rights_on_some_collections_only_are_no_rights_to_write(
    place: Place, tmp_path: Path
) -> None:
    fill(place.owner, tmp_path / "owner")
    with MongoClient[dict[str, Any]](place.owner) as client:
        writes = ["insert", "update", "remove"]
        client[place.database].command(
            "createRole",
            "half",
            roles=["read"],
            privileges=[
                {"resource": {"db": place.database, "collection": "fs.files"}, "actions": writes},
                {"resource": {"db": place.database, "collection": ""}, "actions": ["insert"]},
            ],
        )
    user = place.user_with("half")
    before = place.contents()

    with mounted(user, tmp_path / "reader") as mount:
        assert change(mount, CHANGES["create"]) == errno.EROFS

    assert place.contents() == before


@pytest.mark.parametrize("read_only_by", ["rights", "option"])
def test_where_there_is_no_lake_none_is_made(
    place: Place, tmp_path: Path, read_only_by: str
) -> None:
    with MongoClient[dict[str, Any]](place.owner) as client:
        gridfs.GridFSBucket(client[place.database]).upload_from_stream("file", b"foreign")
    before = place.contents()
    arguments = (
        ["--read-only", place.owner] if read_only_by == "option" else [place.user_with("read")]
    )
    (tmp_path / "mnt").mkdir()

    done = run_command("mount", "--log-file", tmp_path / "log", *arguments, tmp_path / "mnt")

    assert done.returncode == 1
    assert re.fullmatch(
        r"gridfsmount: .* holds no lake: mount it once without --read-only, as a user with the "
        r"role readWrite, to make one\n",
        done.stderr,
    )
    assert place.contents() == before


def test_rights_elsewhere_are_none_here(place: Place, tmp_path: Path) -> None:
    fill(place.owner, tmp_path / "owner")
    user = place.user_with("read").replace(f"/{place.database}?", "/elsewhere?")
    (tmp_path / "mnt").mkdir()

    done = run_command(
        "mount",
        "--log-file",
        tmp_path / "log",
        f"{user}&authSource={place.database}",
        tmp_path / "mnt",
    )

    assert done.returncode == 1
    assert re.fullmatch(
        r"gridfsmount: the user lacks rights on elsewhere\.fs\.\* .*\n", done.stderr
    )
    assert PASSWORD not in done.stderr
