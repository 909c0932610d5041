"""A lake and a vault with the users of docs/security.md, and what each of them does."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

from click.testing import CliRunner
from pymongo import MongoClient
from pymongo.database import Database

from gridfsmount.cli.main import commands
from tests.mongod import Mongod
from tests.mounting import Mounted
from tests.security.documented import PASSWORD, Pair, calls, command, role_of, without
from tests.store.lakes import opened

DATA: Final = bytes(range(256)) * 800

WRITES: Final = ("insert", "update", "remove")


class Failed(Exception):
    """Something could not be done; what was said."""


@dataclass
class Site:
    """A server with the document's roles and users, and an empty folder."""

    server: Mongod
    client: MongoClient[dict[str, Any]]
    folder: Path
    mount: Mounted | None = None
    """Of the writer."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def set_up(self) -> None:
        """Make roles and users as they are documented; then the lake and its vault, as them."""
        for database, name, given in calls():
            if database != "$external":
                self.client[database].command(command(name, given))
        (self.folder / "tree").mkdir()
        for name in ("a", "b"):
            (self.folder / "tree" / name).write_bytes(DATA + name.encode())
        with Mounted(self.address("founder"), self.folder / "founder") as mount:
            (mount.version("datasets/test/v1") / "file").write_bytes(DATA)
        self.run("ana", "put", f"{self.folder}/tree/", "datasets/test/v2")
        self.run("ana", "seal", "datasets/test/v1")
        self.run("backup", "backup", "init", "--vault", self.new_folder("vault"))
        self.make_a_vault()

    def address(self, user: str) -> str:
        """Of the lake or of the vault, wherever that user lives."""
        database = "vault" if user in ("keeper", "rescuer", "maker") else "lake"
        login = f"{user}:{quote_plus(PASSWORD)}"
        return f"mongodb://{login}@127.0.0.1:{self.server.port}/{database}?replicaSet=tests"

    def new_folder(self, name: str) -> Path:
        """An empty one, of that name if it is the first."""
        path = self.folder / name
        path = path if not path.exists() else self.folder / f"{name}{next(self.numbers)}"
        path.mkdir()
        return path

    def database(self, name: str) -> Database[dict[str, Any]]:
        """As somebody who may do everything."""
        return self.client[name]

    def run(self, user: str, *arguments: str | Path, well: tuple[int, ...] = (0,)) -> str:
        """Run a command as a user of the lake, in this process.

        Raises:
            Failed: its exit code is none of `well`, or it complains.
        """
        done = CliRunner().invoke(
            commands,
            [str(each) for each in arguments],
            env={
                "GRIDFSMOUNT_URI": self.address(user),
                "XDG_CONFIG_HOME": str(self.folder),
                "HOME": str(self.folder),
            },
        )
        if done.exit_code not in well or done.stderr:
            raise Failed(f"{arguments} {done.exit_code}: {done.output} {done.exception!r}")
        return done.stdout

    @contextmanager
    def lacking(self, role: str, lost: Pair) -> Iterator[None]:
        """Take one action on one collection away from a role while a block runs."""
        database = self.client["vault" if role.startswith("vault") else "lake"]
        database.command("updateRole", role, privileges=without(role, lost))
        try:
            yield
        finally:
            database.command("updateRole", role, privileges=role_of(role)["privileges"])
            # Of a command that could not even give it back; its process, this one, lives on.
            self.client["vault"]["vault.vault"].delete_one({"_id": "lease"})

    # --- what users do, by the name that the tests have for it -----------------------------------

    def status(self) -> None:
        self.run("guest", "status", well=(0, 1))

    def check(self) -> None:
        self.run("guest", "check", "--data", well=(0, 1))

    def log(self) -> None:
        self.run("guest", "log", "datasets/test")

    def get(self) -> None:
        self.run("guest", "get", "-q", "datasets/test/v1/", self.new_folder("got"))

    def follow_the_tree(self) -> None:
        with opened(self.address("guest"), read_only=True) as lake:
            lake.changes.watch().close()

    def follow_uploads(self) -> None:
        with opened(self.address("ana")) as lake:
            lake.foreign.watch().close()

    def put(self) -> None:
        target = f"datasets/test/n{next(self.numbers)}"
        self.run("ana", "put", "-q", f"{self.folder}/tree/", target)

    def create(self) -> None:
        self._new_file().touch()

    def write(self) -> None:
        self._new_file().write_bytes(DATA)

    def rename(self) -> None:
        file = self._version() / "renamed"
        if not file.exists():
            file.write_bytes(DATA)
        file.rename(file.with_name("other"))
        file.with_name("other").rename(file)

    def unlink(self) -> None:
        file = self._new_file()
        file.write_bytes(DATA)
        file.unlink()

    def remove_folder(self) -> None:
        folder = self._new_file()
        folder.mkdir()
        folder.rmdir()

    def _version(self) -> Path:
        assert self.mount is not None
        return self.mount.version("datasets/test/draft")

    def _new_file(self) -> Path:
        return self._version() / str(next(self.numbers))

    def mend(self) -> None:
        """Make indexes that are lacking."""
        for name in ("files", "chunks", "tree", "uploads"):
            self.client["lake"][f"fs.{name}"].drop_indexes()
        try:
            self.run("founder", "put", "-q", self.folder / "tree" / "a", "datasets/test/mended/")
        finally:
            for name in ("files", "chunks", "tree", "uploads"):
                self.client["lake"][f"fs.{name}"].drop_indexes()
            with opened(self.server.uri_for("lake")):
                pass

    def back_up(self) -> None:
        """Into a new folder, noted in the lake."""
        vault = self.new_folder("backups")
        self.run("backup", "backup", "init", "--vault", vault)
        self.run("backup", "backup", "create", "--vault", vault)
        (run,) = self.client["lake"]["fs.lake"].find({"run.vault": str(vault)})
        assert run["run"]["good"]

    def list_backups(self) -> None:
        listed = self.run("guest", "backup", "list", "--vault", self.address("rescuer"), "--json")
        assert json.loads(listed)

    def restore(self) -> None:
        target = f"datasets/test/r{next(self.numbers)}"
        vault = self.address("rescuer")
        self.run(
            "ana",
            "backup",
            "restore",
            "latest",
            "datasets/test/v2",
            "--as",
            target,
            "--vault",
            vault,
        )

    def make_a_vault(self) -> None:
        """Anew, with one snapshot in it."""
        for name in ("vault.vault", "vault.files", "vault.chunks"):
            self.client["vault"].drop_collection(name)
        self.run("backup", "backup", "init", "--vault", self.address("maker"))
        self.run("backup", "backup", "create", "--vault", self.address("keeper"))

    def back_up_there(self) -> None:
        self.run("ana", "put", "-q", self._changed(), "datasets/test/v3/")
        self.run("backup", "backup", "create", "--vault", self.address("keeper"))

    def verify_there(self) -> None:
        said = self.run("backup", "backup", "verify", "--vault", self.address("keeper"))
        if "not noted" in said:
            raise Failed(said)

    def prune_there(self) -> None:
        self.back_up_there()
        self.back_up_there()
        self.run(
            "backup",
            *("backup", "prune", "--keep-last", "1", "--grace", "0s"),
            *("--vault", self.address("keeper")),
        )

    def _changed(self) -> Path:
        file = self.folder / "changed"
        file.write_bytes(os.urandom(1000))
        return file


Operation = Callable[[Site], None]

NEEDS: Final[dict[str, dict[Operation, set[Pair]]]] = {
    "lakeReader": {
        Site.status: {
            ("fs.chunks", "collStats"),
            ("fs.uploads", "find"),
            ("fs.trash", "find"),
            ("", "dbStats"),
        },
        Site.check: {
            (f"fs.{name}", "listIndexes") for name in ("files", "chunks", "tree", "uploads")
        },
        Site.log: {("fs.tree", "find"), ("fs.lake", "find")},
        Site.get: {("fs.files", "find"), ("fs.chunks", "find")},
        Site.follow_the_tree: {("fs.tree", "changeStream")},
    },
    "lakeWriter": {
        Site.create: {("fs.tree", "insert")},
        Site.write: {("fs.chunks", "insert"), ("fs.files", "insert")},
        Site.rename: {("fs.tree", "update"), ("fs.files", "update")},
        Site.unlink: {("fs.files", "remove"), ("fs.trash", "insert"), ("fs.trash", "update")},
        Site.remove_folder: {("fs.tree", "remove")},
        Site.follow_uploads: {("fs.files", "changeStream")},
        # What mounts do at leisure; without it no command that writes begins.
        Site.put: {
            *((f"fs.{name}", each) for name in ("uploads", "lake") for each in WRITES),
            *(("fs.chunks", each) for each in ("update", "remove")),
            ("fs.trash", "remove"),
        },
    },
    "lakeAdmin": {
        Site.mend: {
            (f"fs.{name}", "createIndex") for name in ("files", "chunks", "tree", "uploads")
        }
    },
    "lakeBackup": {
        Site.back_up: {
            *((f"fs.{name}", "find") for name in ("files", "chunks", "tree", "lake")),
            *(("fs.lake", each) for each in WRITES),
        }
    },
    "vaultReader": {
        Site.list_backups: {("vault.vault", "find"), ("vault.files", "find")},
        Site.restore: {("vault.chunks", "find")},
    },
    "vaultWriter": {
        Site.back_up_there: {
            ("vault.files", "insert"),
            ("vault.chunks", "insert"),
            *(("vault.vault", each) for each in WRITES),
        },
        Site.verify_there: {("vault.files", "update")},
        Site.prune_there: {("vault.files", "remove"), ("vault.chunks", "remove")},
    },
    "vaultAdmin": {
        Site.make_a_vault: {
            ("vault.files", "createIndex"),
            ("vault.chunks", "createIndex"),
            ("", "listCollections"),
        }
    },
}
"""What the users of a role do, and what fails without which of its privileges."""
