"""Sealed versions and read-only mounts: EROFS for all that would change something, and no more."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.mounting import Mounted, eventually
from tests.posix.acting import Actor
from tests.posix.conftest import Sites, open_folder
from tests.posix.users import needs_root

LONG: Final = "n" * 256


def furnish(folder: Path) -> None:
    (folder / "full" / "below").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "file").write_bytes(b"bytes")
    (folder / "link").symlink_to("file")
    folder.chmod(0o777)
    (folder / "file").chmod(0o666)


@pytest.fixture(params=["sealed", "mounted read-only"])
def place(request: pytest.FixtureRequest, sites: Sites) -> Iterator[str]:
    draft = sites.draft()
    furnish(draft)
    if request.param == "sealed":
        (draft / "probe").touch()
        sites.database["fs.tree"].update_one(
            {"_id": draft.stat().st_ino}, {"$set": {"state": "sealed"}, "$inc": {"rev": 1}}
        )

        def is_sealed() -> bool:
            try:
                os.utime(draft / "probe")
            except OSError as error:
                return error.errno == errno.EROFS
            return False

        eventually(is_sealed, "the mount knows that the version is sealed")
        yield str(draft)
        return
    folder = open_folder()
    with Mounted(sites.mount.uri, folder, "--read-only", "--allow-other") as mount:
        yield str(mount.path / draft.relative_to(sites.mount.path))
    shutil.rmtree(folder)


CALLS: Final[dict[str, tuple[tuple[object, ...], str | None]]] = {
    # what would change something
    "open to write": (("open", "file", os.O_WRONLY), "EROFS"),
    "open to read and write": (("open", "file", os.O_RDWR), "EROFS"),
    "open to truncate": (("open", "file", os.O_RDONLY | os.O_TRUNC), "EROFS"),
    "open to append": (("open", "file", os.O_WRONLY | os.O_APPEND), "EROFS"),
    "create": (("open", "new", os.O_RDWR | os.O_CREAT, 0o644), "EROFS"),
    "create anew": (("open", "new", os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644), "EROFS"),
    "mkdir": (("mkdir", "new", 0o755), "EROFS"),
    "mkfifo": (("mkfifo", "new", 0o644), "EROFS"),
    "mknod": (("mknod", "new", stat.S_IFREG | 0o644), "EROFS"),
    "symlink": (("symlink", "file", "new"), "EROFS"),
    "link": (("link", "file", "new"), "EROFS"),
    "rename": (("rename", "file", "new"), "EROFS"),
    "rename a folder": (("rename", "full", "new"), "EROFS"),
    "replace": (("rename", "file", "link"), "EROFS"),
    "unlink": (("unlink", "file"), "EROFS"),
    "unlink a link": (("unlink", "link"), "EROFS"),
    "rmdir": (("rmdir", "empty"), "EROFS"),
    "chmod": (("chmod", "file", 0o600), "EROFS"),
    "chmod a folder": (("chmod", ".", 0o700), "EROFS"),
    "chown": (("chown", "file", 1, 1), "EROFS"),
    "lchown": (("lchown", "link", 1, 1), "EROFS"),
    "truncate": (("truncate", "file", 1), "EROFS"),
    "utime": (("utime", "file"), "EROFS"),
    "utime a folder": (("utime", "empty", (1, 2)), "EROFS"),
    "setxattr": (("setxattr", "file", "user.a", b"1"), "EROFS"),
    # what fails for another reason first
    "mkdir over something": (("mkdir", "file", 0o755), "EEXIST"),
    "create anew over something": (
        ("open", "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644),
        "EEXIST",
    ),
    "symlink over something": (("symlink", "x", "file"), "EEXIST"),
    "link over something": (("link", "file", "link"), "EEXIST"),
    "make something below a file": (("mkdir", "file/new", 0o755), "ENOTDIR"),
    "make something in nothing": (("mkdir", "missing/new", 0o755), "ENOENT"),
    "chmod nothing": (("chmod", "missing", 0o644), "ENOENT"),
    "open too long a name": (("open", LONG, os.O_RDONLY), "ENAMETOOLONG"),
    # what changes nothing
    "open to read": (("open", "file", os.O_RDONLY), None),
    "open what is there": (("open", "file", os.O_RDONLY | os.O_CREAT, 0o644), None),
    "stat": (("stat", "file"), None),
    "list": (("listdir", "full"), None),
    "readlink": (("readlink", "link"), None),
}


@needs_root
def test_every_change_is_refused_for_everybody_and_nothing_else(
    place: str, root: Actor, owner: Actor
) -> None:
    for user in (root, owner):
        user.chdir(place)
        found = {name: user.attempt(*call) for name, (call, _) in CALLS.items()}
        expected = {name: errno_name for name, (_, errno_name) in CALLS.items()}
        if user is owner and not os.statvfs(place).f_flag & os.ST_RDONLY:
            # The kernel does not know of sealed versions: whose file it is comes first.
            for name in ("chmod", "chmod a folder", "chown", "lchown", "utime a folder"):
                expected[name] = "EPERM"
        user.chdir("/")
        assert found == expected
    assert root.access(f"{place}/file", os.R_OK)
    assert sorted(each for each in root.listdir(place) if each != "probe") == [
        "empty", "file", "full", "link",
    ]  # fmt: skip
