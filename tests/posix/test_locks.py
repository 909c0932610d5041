"""Locks among the processes of one mount: flock(2), fcntl(2), and those of open descriptions."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.posix.acting import Actor
from tests.semantics.refusals import refused

SHARED, EXCLUSIVE, UNLOCK, NOW = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_NB


@pytest.fixture
def file(place: Path) -> str:
    (place / "file").write_bytes(bytes(100))
    return str(place / "file")


@pytest.fixture
def mortal() -> Iterator[Actor]:
    """A process that may be killed."""
    with Actor(os.geteuid(), os.getegid()) as actor:
        yield actor


@pytest.mark.parametrize("how", ["flock", "lockf"])
def test_locks_are_shared_or_exclusive(file: str, root: Actor, second: Actor, how: str) -> None:
    one, other = root.open(file, os.O_RDWR), second.open(file, os.O_RDWR)
    mine, theirs = getattr(root, how), getattr(second, how)
    mine(one, SHARED | NOW)
    theirs(other, SHARED | NOW)
    with refused(errno.EAGAIN):
        mine(one, EXCLUSIVE | NOW)
    theirs(other, UNLOCK)
    mine(one, EXCLUSIVE | NOW)
    with refused(errno.EAGAIN):
        theirs(other, SHARED | NOW)
    root.close(one)  # gives it up
    theirs(other, EXCLUSIVE | NOW)
    second.close(other)


@pytest.mark.parametrize("how", ["flock", "lockf"])
def test_who_waits_for_a_lock_gets_it_when_its_holder_is_killed(
    file: str, mortal: Actor, second: Actor, how: str
) -> None:
    getattr(mortal, how)(mortal.open(file, os.O_RDWR), EXCLUSIVE)
    descriptor = second.open(file, os.O_RDWR)
    finish = second.begin(how, descriptor, EXCLUSIVE)
    mortal.kill()
    finish()
    second.close(descriptor)


def test_fcntl_locks_ranges(file: str, root: Actor, second: Actor) -> None:
    one, other = root.open(file, os.O_RDWR), second.open(file, os.O_RDWR)
    root.lockf(one, EXCLUSIVE | NOW, 10, 20)
    second.lockf(other, EXCLUSIVE | NOW, 20, 0)
    second.lockf(other, EXCLUSIVE | NOW, 0, 30)  # to the end, however far that is
    for start, length in ((20, 1), (29, 5), (0, 25), (0, 0)):
        with refused(errno.EAGAIN):
            second.lockf(other, EXCLUSIVE | NOW, length, start)
    root.lockf(one, UNLOCK, 5, 20)  # splits it
    second.lockf(other, EXCLUSIVE | NOW, 5, 20)
    with refused(errno.EAGAIN):
        second.lockf(other, EXCLUSIVE | NOW, 1, 25)
    again = root.open(file, os.O_RDONLY)
    root.close(again)  # POSIX: closing any descriptor of the file gives all locks up
    second.lockf(other, EXCLUSIVE | NOW, 0, 0)
    root.close(one)
    second.close(other)


def test_locks_of_open_descriptions_are_their_descriptors_own(file: str, root: Actor) -> None:
    one, other = root.open(file, os.O_RDWR), root.open(file, os.O_RDWR)
    root.ofd_lock(one, fcntl.F_WRLCK, 0, 10)
    with refused(errno.EAGAIN):
        root.ofd_lock(other, fcntl.F_RDLCK, 5, 1)
    root.ofd_lock(other, fcntl.F_WRLCK, 10, 10)
    root.close(root.open(file, os.O_RDONLY))  # gives nothing up, unlike those of processes
    with refused(errno.EAGAIN):
        root.ofd_lock(other, fcntl.F_RDLCK, 5, 1)
    copy = root.dup(one)
    root.close(one)
    with refused(errno.EAGAIN):
        root.ofd_lock(other, fcntl.F_RDLCK, 5, 1)
    root.close(copy)
    root.ofd_lock(other, fcntl.F_WRLCK)
    root.close(other)


def test_locks_need_the_access_that_they_guard(file: str, root: Actor) -> None:
    reading, writing = root.open(file, os.O_RDONLY), root.open(file, os.O_WRONLY)
    for descriptor, operation in ((reading, EXCLUSIVE), (writing, SHARED)):
        with refused(errno.EBADF):
            root.lockf(descriptor, operation | NOW)
    root.flock(reading, EXCLUSIVE | NOW)
    root.close(reading)
    root.close(writing)


def test_locks_hold_over_unlink_and_rename(place: Path, root: Actor, second: Actor) -> None:
    (place / "file").write_bytes(b"")
    one = root.open(str(place / "file"), os.O_RDWR)
    root.flock(one, EXCLUSIVE)
    (place / "file").rename(place / "moved")
    other = second.open(str(place / "moved"), os.O_RDWR)
    with refused(errno.EAGAIN):
        second.flock(other, EXCLUSIVE | NOW)
    (place / "moved").unlink()
    with refused(errno.EAGAIN):
        second.flock(other, EXCLUSIVE | NOW)
    root.close(one)
    second.flock(other, EXCLUSIVE | NOW)
    second.close(other)
