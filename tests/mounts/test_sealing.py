"""Sealing a version that several machines have mounted."""

import errno
import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.mounting import COMMAND, Mounted, eventually, run_command


def seal(path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return run_command("seal", path, *options)


def refused(change: Callable[[], object]) -> int | None:
    try:
        change()
    except OSError as error:
        return error.errno
    return None


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda place: (place / "new").touch(),
    "write": lambda place: (place / "file").write_bytes(b"other"),
    "append": lambda place: (place / "file").open("ab").close(),
    "truncate": lambda place: os.truncate(place / "file", 0),
    "remove": lambda place: (place / "file").unlink(),
    "rename": lambda place: (place / "file").rename(place / "other"),
    "mkdir": lambda place: (place / "folder").mkdir(),
    "link": lambda place: os.link(place / "file", place / "hard"),
    "symlink": lambda place: (place / "soft").symlink_to("file"),
    "mode": lambda place: (place / "file").chmod(0o600),
    "times": lambda place: os.utime(place / "file", (1, 1)),
    "attribute": lambda place: os.setxattr(place / "file", "user.tag", b"1"),
    "mode of the version": lambda place: place.chmod(0o700),
    "name of the version": lambda place: place.rename(place.parent / "v9"),
    "removal of the version": lambda place: place.rmdir(),
    "attribute of the version": lambda place: os.setxattr(place, "user.tag", b"1"),
}


def test_a_sealed_version_takes_no_change_on_any_mount_from_that_moment(
    places: list[Path],
) -> None:
    (places[0] / "file").write_bytes(b"bytes")
    for place in places:  # each has seen it as a draft just now
        assert (place / "file").read_bytes() == b"bytes"
        (place / "file").chmod(0o644)

    done = seal(places[0], "-m", "first")

    assert done.returncode == 0, done.stderr
    for place in places:
        answers = {what: refused(partial(change, place)) for what, change in CHANGES.items()}
        assert answers == dict.fromkeys(CHANGES, errno.EROFS)
        assert (place / "file").read_bytes() == b"bytes"
        assert [each.name for each in place.iterdir()] == ["file"]


def test_the_digest_is_what_coreutils_say(here: Path, there: Path) -> None:
    (here / "folder").mkdir()
    for name in ("b", "a b", "folder/ü", "folder.x", "new\nline", "back\\slash"):
        (here / name).write_bytes(name.encode())
    (here / "empty").touch()

    done = seal(here)

    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum --",
        shell=True,
        cwd=there,
        capture_output=True,
        check=True,
    )
    digest = hashlib.sha256(listed.stdout).hexdigest()
    assert digest in done.stdout
    eventually(lambda: os.getxattr(there, "user.lake.digest").decode() == digest, "the seal shows")


def test_a_file_that_is_open_for_writing_elsewhere_is_named(
    mounts: list[Mounted], here: Path, there: Path
) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "file").write_bytes(b"bytes")
    with (there / "folder" / "file").open("ab") as file:
        done = seal(here)

        assert done.returncode == 1
        assert "/folder/file (process" in done.stderr
        assert str(mounts[1].pid) in done.stderr
        file.write(b" and more")
    (there / "folder" / "more").write_bytes(b"it is a draft still")

    with (there / "folder" / "file").open("rb"):  # readers do not matter
        assert seal(here).returncode == 0

    assert (here / "folder" / "file").read_bytes() == b"bytes and more"


def test_a_machine_with_only_the_mount_can_seal_and_ask(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    assert os.getxattr(here, "user.lake.state") == b"draft"
    assert refused(lambda: os.getxattr(here, "user.lake.digest")) == errno.ENODATA
    assert refused(lambda: os.setxattr(here / "file", "user.lake.sealed", b"1")) == errno.EPERM
    assert refused(lambda: os.setxattr(here, "user.lake.sealed", b"0")) == errno.EPERM
    assert refused(lambda: os.setxattr(here, "user.lake.digest", b"0")) == errno.EPERM

    os.setxattr(here, "user.lake.sealed", b"cleaned labels")

    assert os.getxattr(here, "user.lake.sealed") == b"1"
    assert os.getxattr(here, "user.lake.message") == b"cleaned labels"
    assert refused(lambda: os.setxattr(here, "user.lake.sealed", b"1")) == errno.EROFS
    assert refused((there / "file").unlink) == errno.EROFS
    assert os.listxattr(here) == []  # `cp -a` copies none of it


def test_what_a_model_was_trained_on_is_recorded_through_the_mount(here: Path) -> None:
    data = here.parent / "data1"
    data.mkdir()
    dataset = here.parent.name

    os.setxattr(here, "user.lake.from", f"datasets/{dataset}/data1".encode())

    assert os.getxattr(here, "user.lake.from").decode() == f"datasets/{dataset}/data1"
    assert refused(lambda: os.setxattr(here, "user.lake.from", b"datasets/x/y")) == errno.ENOENT


@contextmanager
def a_mount_that_never_answers(mount: Mounted) -> Iterator[Database[dict[str, Any]]]:
    """Who seals waits for it, and so is in the middle of it for a while."""
    with MongoClient[dict[str, Any]](mount.uri) as client:
        lake = client.get_default_database()
        lake["fs.lake"].insert_one(
            {"_id": "process nobody", "process": {"what": "mount", "place": "/gone"}}
        )
        lake["fs.lake"].update_one({"_id": "process nobody"}, {"$currentDate": {"beat": True}})
        try:
            yield lake
        finally:
            lake["fs.lake"].delete_one({"_id": "process nobody"})


def test_a_seal_that_was_killed_leaves_a_draft(mounts: list[Mounted], here: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    with a_mount_that_never_answers(mounts[0]) as lake:
        sealing = subprocess.Popen([*COMMAND, "seal", str(here)], stderr=subprocess.PIPE)
        try:
            answered = {f"sealing.answers.{len(mounts) - 1}": {"$exists": True}}
            eventually(lambda: lake["fs.tree"].find_one(answered), "all mounts answer")
            assert refused((here / "new").touch) == errno.EROFS
        finally:
            sealing.kill()
            sealing.communicate()
        yesterday = {"sealing.beat": {"$subtract": ["$$NOW", 86_400_000]}}
        lake["fs.tree"].update_one({"sealing": {"$exists": True}}, [{"$set": yesterday}])

    assert run_command("gc", mounts[0].uri).returncode == 0

    eventually(lambda: refused((here / "new").touch) is None, "it is a draft again")
    assert seal(here).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_seal_that_is_interrupted_leaves_a_draft_at_once(
    mounts: list[Mounted], here: Path, number: signal.Signals
) -> None:
    (here / "file").write_bytes(b"bytes")
    with a_mount_that_never_answers(mounts[0]) as lake:
        sealing = subprocess.Popen([*COMMAND, "seal", str(here)], stderr=subprocess.PIPE, text=True)
        begun = {"sealing": {"$exists": True}}
        eventually(lambda: lake["fs.tree"].find_one(begun), "sealing begins")
        sealing.send_signal(number)
        _, told = sealing.communicate(timeout=30)

    assert sealing.returncode == 1
    assert "is not sealed: interrupted" in told
    eventually(lambda: refused((here / "new").touch) is None, "it is a draft")


def test_what_is_sealed_while_it_is_mounted_is_believed_for_good(
    mounts: list[Mounted], here: Path, there: Path
) -> None:
    (here / "file").write_bytes(b"bytes")
    assert (there / "file").read_bytes() == b"bytes"
    assert seal(here).returncode == 0
    eventually(lambda: refused((there / "new").touch) == errno.EROFS, "the seal shows")
    with MongoClient[dict[str, Any]](mounts[0].uri) as client:

        def asked_by(calls: Callable[[], object]) -> int:
            before = client.admin.command("serverStatus")["opcounters"]
            calls()
            after = client.admin.command("serverStatus")["opcounters"]
            return sum(int(after[kind]) - int(before[kind]) for kind in ("query", "command"))

        def look() -> None:
            for _ in range(300):
                assert (there / "file").stat().st_size == 5
                assert (there / "file").read_bytes() == b"bytes"

        # Once for all, the kernel's moment over; chores of three mounts ask for a little.
        eventually(lambda: asked_by(look) < 100, "the server is not asked any more")
