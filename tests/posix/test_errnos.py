"""Every errno of every call, for every user, in the order that POSIX and Linux have.

The same calls are made in the mount and in an ordinary directory: all paths there are, good and
bad, for each call and each user. What comes of them must be the same.
"""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.posix.acting import Actor
from tests.posix.conftest import GROUP, OTHER, OWNER, Sites
from tests.posix.users import needs_root
from tests.semantics.refusals import refused

pytestmark = needs_root

TOO_LONG: Final = "n" * 256
PATH: Final = 4096
"""PATH_MAX: bytes of a path with its closing NUL."""

PATHS: Final = (
    "file",
    "file/below",
    "file/",
    "private",
    "folder",
    "folder/",
    "folder/.",
    "folder/..",
    "folder/file",
    "folder/missing",
    "empty",
    "missing",
    "missing/below",
    "missing/",
    "closed/file",
    "closed/missing",
    "locked/file",
    "locked/missing",
    "sticky/theirs",
    "sticky/new",
    "link",
    "link/below",
    "dangling",
    "dangling/",
    "loop",
    "loop/below",
    "to-folder",
    "to-folder/",
    "to-folder/file",
    "fifo",
    TOO_LONG,
    f"folder/{TOO_LONG}",
    f"file/{TOO_LONG}",
    f"missing/{TOO_LONG}",
    "closed/" + TOO_LONG,
    "",
    ".",
)

CALLS: Final[dict[str, tuple[str, Callable[[str], tuple[object, ...]]]]] = {
    "open to read": ("open", lambda path: (path, os.O_RDONLY | os.O_NONBLOCK)),
    "open to write": ("open", lambda path: (path, os.O_WRONLY | os.O_NONBLOCK)),
    "open to truncate": ("open", lambda path: (path, os.O_RDWR | os.O_TRUNC | os.O_NONBLOCK)),
    "open to create": (
        "open",
        lambda path: (path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o640),
    ),
    "open to create anew": (
        "open",
        lambda path: (path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK, 0o640),
    ),
    "open without following": (
        "open",
        lambda path: (path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK),
    ),
    "open as a directory": ("open", lambda path: (path, os.O_RDONLY | os.O_DIRECTORY)),
    "open a directory to write": ("open", lambda path: (path, os.O_RDWR | os.O_DIRECTORY)),
    "open and create as a directory": (
        "open",
        lambda path: (path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600),
    ),
    "stat": ("stat", lambda path: (path,)),
    "lstat": ("lstat", lambda path: (path,)),
    "readlink": ("readlink", lambda path: (path,)),
    "list": ("listdir", lambda path: (path,)),
    "chdir": ("chdir", lambda path: (path,)),
    "chmod": ("chmod", lambda path: (path, 0o755)),
    "chown": ("chown", lambda path: (path, OWNER, GROUP)),
    "chgrp": ("chown", lambda path: (path, -1, GROUP)),
    "lchown": ("lchown", lambda path: (path, OWNER, OWNER)),
    "truncate": ("truncate", lambda path: (path, 3)),
    "truncate below nothing": ("raw_truncate", lambda path: (path, -1)),
    "utime now": ("utime", lambda path: (path,)),
    "utime": ("utime", lambda path: (path, (1, 2))),
    "mkdir": ("mkdir", lambda path: (path, 0o755)),
    "mkfifo": ("mkfifo", lambda path: (path, 0o644)),
    "mknod a file": ("mknod", lambda path: (path, stat.S_IFREG | 0o644)),
    "mknod a socket": ("mknod", lambda path: (path, stat.S_IFSOCK | 0o644)),
    "symlink": ("symlink", lambda path: ("file", path)),
    "unlink": ("unlink", lambda path: (path,)),
    "rmdir": ("rmdir", lambda path: (path,)),
}
"""What is called, and its arguments for a path. In the order of the paths, since calls that
succeed change what the next one finds, in both places alike."""

PAIRED: Final = (
    "file",
    "file/below",
    "folder",
    "folder/file",
    "folder/below/deep",
    "empty",
    "missing",
    "closed/file",
    "locked/file",
    "sticky/theirs",
    "mine",
    "link",
    "loop/below",
    TOO_LONG,
    "folder/",
    "folder/.",
    ".",
)
"""Paths for calls that take two."""


def landscape(root: Path, maker: Actor) -> None:
    """One of everything, most of it of an ordinary user; some of it is closed to her."""
    at = str(root)
    for name, mode in (("folder", 0o755), ("empty", 0o755), ("closed", 0o700), ("locked", 0o755)):
        maker.mkdir(f"{at}/{name}", mode)
    maker.mkdir(f"{at}/folder/below", 0o755)
    maker.mkdir(f"{at}/sticky", 0o777)
    maker.chmod(f"{at}/sticky", 0o1777)
    for name in ("file", "private", "mine", "folder/file", "closed/file", "locked/file",
                 "sticky/theirs"):  # fmt: skip
        maker.write_file(f"{at}/{name}", b"bytes")
    maker.chmod(f"{at}/private", 0o600)
    maker.mkfifo(f"{at}/fifo", 0o644)
    maker.symlink("file", f"{at}/link")
    maker.symlink("nowhere", f"{at}/dangling")
    maker.symlink("loop", f"{at}/loop")
    maker.symlink("folder", f"{at}/to-folder")
    for name in ("folder", "folder/below", "folder/file", "empty", "file", "mine", "fifo"):
        maker.chown(f"{at}/{name}", OWNER, OWNER)
    maker.chown(f"{at}/sticky/theirs", OTHER, OTHER)
    maker.chown(at, OWNER, OWNER)


@pytest.fixture(params=["root", "owner", "other"])
def user(request: pytest.FixtureRequest) -> Iterator[Actor]:
    actor: Actor = request.getfixturevalue(request.param)
    actor.chdir("/")
    yield actor
    actor.chdir("/")


def outcomes(
    place: Path, root: Actor, user: Actor, name: str, calls: Sequence[tuple[object, ...]]
) -> list[object]:
    """What comes of the calls; `user` is in the place."""
    landscape(place, root)
    found = []
    for arguments in calls:
        user.chdir(str(place))  # a chdir before may have gone elsewhere
        found.append(user.attempt(name, *arguments))
    return found


def differences(
    sites: Sites, root: Actor, user: Actor, name: str, calls: Sequence[tuple[object, ...]]
) -> dict[str, tuple[object, object]]:
    """The calls whose outcomes differ: in the mount, and in the ordinary directory."""
    mounted = outcomes(sites.draft(), root, user, name, calls)
    ordinary = outcomes(sites.directory(), root, user, name, calls)
    assert any(each is not None for each in ordinary)
    return {
        f"{name}{tuple(str(each)[:30] for each in arguments)}": (here, there)
        for arguments, here, there in zip(calls, mounted, ordinary, strict=True)
        if here != there
    }


@pytest.mark.parametrize("call", CALLS)
def test_calls_with_a_path_fail_and_succeed_as_in_an_ordinary_directory(
    sites: Sites, root: Actor, user: Actor, call: str
) -> None:
    name, arguments = CALLS[call]
    calls = [arguments(path) for path in PATHS]
    assert differences(sites, root, user, name, calls) == {}


@pytest.mark.parametrize("call", ["rename", "link"])
def test_calls_with_two_paths_fail_and_succeed_as_in_an_ordinary_directory(
    sites: Sites, root: Actor, user: Actor, call: str
) -> None:
    # Those that succeed leave less and less: turned round, others come first.
    pairs = list(itertools.product(PAIRED, PAIRED))
    found = differences(sites, root, user, call, pairs)
    found |= differences(sites, root, user, call, pairs[::-1])
    assert found == {}


def test_paths_may_have_4095_bytes(place: Path, root: Actor) -> None:
    root.chdir(str(place))
    longest = "./" * ((PATH - 2) // 2) + "x"
    assert len(longest) == PATH - 1
    root.mkdir(longest, 0o755)
    for call in (root.stat, root.rmdir, root.mkdir, root.unlink):
        with refused(errno.ENAMETOOLONG):
            call(f"./{longest}")
    root.rmdir(longest)
    root.chdir("/")


def test_what_is_mounted_cannot_be_removed_or_renamed(sites: Sites, root: Actor) -> None:
    mount = str(sites.mount.path)
    with refused(errno.EBUSY):
        root.rmdir(mount)
    with refused(errno.EBUSY):
        root.rename(mount, f"{mount}-elsewhere")
    with refused(errno.EISDIR):
        root.unlink(mount)


def test_nothing_is_renamed_or_linked_out_of_a_version(sites: Sites, root: Actor) -> None:
    one, other, outside = sites.draft(), sites.draft(), sites.directory()
    (one / "file").write_bytes(b"bytes")
    (one / "folder").mkdir()
    (one / "again").hardlink_to(one / "file")
    for call in (root.rename, root.link):
        for target in (other / "file", outside / "file"):
            with refused(errno.EXDEV):
                call(str(one / "file"), str(target))
    for target in (other / "folder", outside / "folder"):
        with refused(errno.EXDEV):
            root.rename(str(one / "folder"), str(target))
