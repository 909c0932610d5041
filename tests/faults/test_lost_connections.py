"""Single commands of the mount fail: the connection breaks, or the server gives it an error."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gridfsmount import __version__
from tests.faults.lakes import (
    DEADLINE,
    LEASE,
    MIB,
    Lake,
    assert_alive,
    errno_of,
    recovered,
    succeeds,
)
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted

FAILPOINTS = ("--setParameter", "enableTestCommands=1")

# Names of the server for its errors, src/mongo/base/error_codes.yml.
INTERRUPTED_BY_FAILOVER = 11602
PRIMARY_STEPPED_DOWN = 189
WRITE_CONFLICT = 112
EXCEEDED_TIME_LIMIT = 262


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod(extra=FAILPOINTS) as server:
        yield server


@pytest.fixture(scope="module")
def standalone_server() -> Iterator[Mongod]:
    with Mongod(extra=FAILPOINTS, replica_set=False) as server:
        yield server


@pytest.fixture(scope="module")
def mount(server: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    folder = tmp_path_factory.mktemp("connections")
    with mounted(server.uri_for("lake"), folder, "--chunk-size=256KiB") as mount:
        yield mount


@pytest.fixture(scope="module")
def standalone_mount(
    standalone_server: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    folder = tmp_path_factory.mktemp("connections")
    with mounted(standalone_server.uri_for("lake"), folder, "--chunk-size=256KiB") as mount:
        yield mount


@contextmanager
def failing(server: Mongod, command: str, *, times: int = 1, **how: Any) -> Iterator[None]:
    """The mount's next such commands fail, and only the mount's."""
    data = {"failCommands": [command], "appName": f"gridfsmount {__version__}", **how}
    with server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


class Scene:
    """A folder with files in it, and things to do there: `content` is what that should lead to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small = os.urandom(MIB)
        self.large = os.urandom(5 * MIB + 1)
        self.content = {"small": self.small, "large": self.large, "victim": b"victim"}
        for name, data in self.content.items():
            (folder / name).write_bytes(data)

    def write_small(self) -> None:
        self.content["small"] = self.small[::-1]
        (self.folder / "small").write_bytes(self.content["small"])

    def write_large(self) -> None:
        self.content["large"] = self.large[::-1]
        (self.folder / "large").write_bytes(self.content["large"])

    def change_a_part(self) -> None:
        self.content["large"] = self.large[: 3 * MIB] + b"new" + self.large[3 * MIB + 3 :]
        with (self.folder / "large").open("r+b", buffering=0) as file:
            file.seek(3 * MIB)
            file.write(b"new")

    def shrink(self) -> None:
        self.content["large"] = (self.large * 2)[: 6 * MIB]
        with (self.folder / "large").open("wb", buffering=0) as file:
            file.write(self.large * 3)
            file.truncate(6 * MIB)

    def create(self) -> None:
        self.content["new"] = b"new"
        (self.folder / "new").write_bytes(b"new")

    def unlink(self) -> None:
        del self.content["victim"]
        (self.folder / "victim").unlink()

    def rename(self) -> None:
        self.content["renamed"] = self.content.pop("small")
        (self.folder / "small").rename(self.folder / "renamed")

    def replace(self) -> None:
        self.content["victim"] = self.content.pop("small")
        (self.folder / "small").replace(self.folder / "victim")

    def move_a_folder(self) -> None:
        self.content["moved/file"] = b"content"
        (self.folder / "folder").mkdir()
        (self.folder / "folder" / "file").write_bytes(b"content")
        (self.folder / "folder").rename(self.folder / "moved")

    def read(self) -> None:
        for name in self.folder.iterdir():
            name.read_bytes()

    def found(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


ACTIONS: dict[str, Callable[[Scene], None]] = {
    "write small": Scene.write_small,
    "write large": Scene.write_large,
    "change a part": Scene.change_a_part,
    "shrink": Scene.shrink,
    "create": Scene.create,
    "unlink": Scene.unlink,
    "rename": Scene.rename,
    "replace": Scene.replace,
    "move a folder": Scene.move_a_folder,
    "read": Scene.read,
}

# The commands that each consists of.
COMMANDS = {
    "write small": "find aggregate update insert findAndModify commitTransaction",
    "write large": "find aggregate update insert findAndModify",
    "change a part": "find insert aggregate",
    "shrink": "insert delete",
    "create": "find insert findAndModify commitTransaction",
    "unlink": "find update delete findAndModify",
    "rename": "find findAndModify update",
    "replace": "find findAndModify update delete commitTransaction",
    "move a folder": "find insert findAndModify update",
    "read": "find",
}
PAIRS = [(action, command) for action in ACTIONS for command in COMMANDS[action].split()]


def new_scene(mount: Mounted) -> Scene:
    number = sum(1 for _ in (mount.path / "datasets").iterdir())
    return Scene(mount.version(f"datasets/scene{number}/v1"))


@pytest.fixture
def scene(mount: Mounted) -> Scene:
    return new_scene(mount)


@pytest.mark.parametrize(("action", "command"), PAIRS)
def test_a_connection_that_breaks_once_goes_unnoticed(
    server: Mongod, mount: Mounted, scene: Scene, action: str, command: str
) -> None:
    with failing(server, command, closeConnection=True):
        ACTIONS[action](scene)

    assert scene.found() == scene.content
    assert_alive(mount)
    drivers_see_the_same(scene, mount)


def drivers_see_the_same(scene: Scene, mount: Mounted) -> None:
    prefix = str(scene.folder.relative_to(mount.path))
    with Lake(mount.uri) as lake:
        assert {
            name.removeprefix(f"{prefix}/"): lake.read(name)
            for name in lake.filenames()
            if name.startswith(f"{prefix}/")
        } == scene.content


@pytest.mark.parametrize("code", [INTERRUPTED_BY_FAILOVER, PRIMARY_STEPPED_DOWN])
@pytest.mark.parametrize("action", ["write small", "write large", "replace", "unlink"])
def test_a_fail_over_in_the_middle_goes_unnoticed(
    server: Mongod, mount: Mounted, scene: Scene, action: str, code: int
) -> None:
    command = {"write small": "commitTransaction", "replace": "commitTransaction"}.get(
        action, "findAndModify" if action == "unlink" else "insert"
    )
    labels = ["RetryableWriteError"]
    with failing(server, command, errorCode=code, errorLabels=labels):
        ACTIONS[action](scene)

    assert scene.found() == scene.content
    assert_alive(mount)


def test_an_answer_that_does_not_come_is_an_error_in_time(server: Mongod, tmp_path: Path) -> None:
    uri = server.uri_for("blocked")
    with mounted(uri, tmp_path, f"--deadline={DEADLINE}") as mount, Lake(uri) as lake:
        path = mount.version() / "file"
        path.write_bytes(b"old")
        blocked = round(3000 * DEADLINE)
        with failing(server, "insert", times=3, blockConnection=True, blockTimeMS=blocked):
            began = time.monotonic()
            assert errno_of(lambda: path.write_bytes(b"new")) == errno.EIO
            assert time.monotonic() - began < 2.5 * DEADLINE

        eventually(lambda: recovered(path, b"old"), "the old content is there")
        assert lake.read("datasets/test/v1/file") == b"old"
        path.write_bytes(b"new")
        assert lake.read("datasets/test/v1/file") == b"new"
        assert_alive(mount)


def test_a_crash_of_the_server_before_the_first_chunk_arrives_ends_no_upload(
    tmp_path: Path,
) -> None:
    data = os.urandom(6 * MIB)
    with Mongod(extra=[*FAILPOINTS, "--journalCommitInterval", "500"]) as server:
        uri = server.uri_for("lake")
        options = (f"--deadline={DEADLINE}", f"--lease={LEASE}")
        with mounted(uri, tmp_path, *options) as mount, Lake(uri) as lake:
            path = mount.version() / "file"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
            with failing(
                server,
                "insert",
                namespace="lake.fs.chunks",
                blockConnection=True,
                blockTimeMS=60_000,
            ):
                os.write(descriptor, data)
                while not lake.uploads.count_documents({}):
                    pass  # at once, before it would be in the journal by chance
                server.kill()
                assert errno_of(lambda: os.fsync(descriptor)) == errno.EIO
                server.start()

            eventually(partial(succeeds, os.fsync, descriptor), "it is committed")
            os.close(descriptor)
            assert lake.read("datasets/test/v1/file") == data
            assert_alive(mount)


@pytest.mark.parametrize(
    ("action", "command"),
    [
        (action, command)
        for action, command in PAIRS
        if action in {"write small", "write large", "change a part", "shrink", "replace"}
        and command not in {"find", "commitTransaction"}
    ],
)
def test_on_a_standalone_server_it_goes_unnoticed_or_is_an_error(
    standalone_server: Mongod, standalone_mount: Mounted, action: str, command: str
) -> None:
    scene = new_scene(standalone_mount)
    before = scene.content.copy()

    with failing(standalone_server, command, closeConnection=True):
        result = errno_of(lambda: ACTIONS[action](scene))

    found, meant = scene.found(), scene.content
    assert result in {None, errno.EIO}
    assert_alive(standalone_mount)
    if result is None:
        assert found == meant
        return
    # Each file is as it was or as it was to be, whole; a new one may be empty, or not moved yet.
    for name in before.keys() & meant.keys():
        assert found[name] in (before[name], meant[name])
    for name in found.keys() - before.keys():
        assert found[name] in (meant.get(name), b"", b"content")


def test_a_commit_has_happened_although_the_old_content_could_not_be_hidden(
    standalone_server: Mongod, standalone_mount: Mounted
) -> None:
    scene = new_scene(standalone_mount)

    with failing(
        standalone_server, "findAndModify", namespace="lake.fs.files", closeConnection=True
    ):
        scene.write_small()
        assert "left undone" in standalone_mount.log_text()

    standalone_mount.restart()
    assert scene.found() == scene.content
    assert_alive(standalone_mount)
