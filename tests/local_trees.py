"""Trees on the local disk for `put` and `get`, and all that they should keep of them."""

import hashlib
import os
import stat
import subprocess
from pathlib import Path

from tests.mounting import run_command

MIB = 1 << 20


def put(uri: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("put", *arguments, "--uri", uri)


def get(uri: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("get", *arguments, "--uri", uri)


def make_tree(folder: Path) -> Path:
    """One of everything that is kept."""
    folder.mkdir()
    (folder / "small").write_bytes(b"a few bytes")
    (folder / "empty").touch()
    (folder / "chunk").write_bytes(os.urandom(MIB))
    (folder / "large").write_bytes(os.urandom(9 * MIB + 123))
    (folder / "a name with ünïcode\nand more").write_bytes(b"x")
    (folder / "link").symlink_to("small")
    (folder / "dangling").symlink_to("../nowhere/ü")
    os.mkfifo(folder / "fifo")
    (folder / "nothing in it").mkdir()
    deep = folder / "one" / "two" / "three"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(os.urandom(5000))
    os.link(folder / "large", deep / "large too")
    os.link(folder / "empty", folder / "empty too")
    os.setxattr(folder / "small", "user.note", b"\0\xff")
    os.setxattr(folder / "one", "user.folder", b"yes")
    (folder / "small").chmod(0o4751)
    (folder / "one").chmod(0o2750)
    if os.geteuid() == 0:
        os.chown(folder / "small", 1234, 5678)
        (folder / "small").chmod(0o4751)
        os.chown(folder / "link", 4321, 8765, follow_symlinks=False)
    at = 1_600_000_000_123_456_789
    for path in [*folder.rglob("*"), folder]:
        at += 1_000_000_007
        os.utime(path, ns=(at, at), follow_symlinks=False)
    os.utime(folder / "chunk", ns=(-5, -5))  # before 1970
    return folder


def described(folder: Path) -> dict[str, object]:
    """All that is kept of a tree, by path; names of one file share a number."""
    numbers: dict[int, str] = {}
    found: dict[str, object] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        name = str(path.relative_to(folder))
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        inner: object = None
        xattrs = {}
        if kind == stat.S_IFREG:
            inner = hashlib.sha256(path.read_bytes()).hexdigest()
        if kind == stat.S_IFLNK:
            inner = str(path.readlink())
        else:
            xattrs = {each: os.getxattr(path, each) for each in os.listxattr(path)}
        first = numbers.setdefault(status.st_ino, name)
        found[name] = (
            stat.filemode(status.st_mode),
            (status.st_uid, status.st_gid),
            status.st_mtime_ns,
            xattrs,
            inner,
            first,
        )
    return found
