"""Who may do what: permission bits, sticky directories, owners, set-id bits, new nodes."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.posix.acting import UTIME_NOW, UTIME_OMIT, Actor
from tests.posix.conftest import GROUP, OTHER, OWNER, Sites
from tests.posix.users import needs_root
from tests.semantics.refusals import refused

pytestmark = needs_root

NOW, OMIT = (0, UTIME_NOW), (0, UTIME_OMIT)


def mode_of(root: Actor, path: object) -> int:
    return stat.S_IMODE(root.lstat(str(path)).st_mode)


@pytest.fixture
def hers(place: Path, root: Actor) -> Path:
    """A folder of the ordinary user `owner`, mode 0755."""
    folder = place / "hers"
    root.mkdir(str(folder), 0o755)
    root.chown(str(folder), OWNER, OWNER)
    return folder


# --- the bits of files and folders ---------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "group", "others"])
@pytest.mark.parametrize("bits", range(8))
def test_one_class_of_bits_decides_what_a_file_may_be_opened_for(
    place: Path, root: Actor, owner: Actor, other: Actor, who: str, bits: int
) -> None:
    file = str(place / "file")
    root.write_file(file, b"bytes")
    shift = {"owner": 6, "group": 3, "others": 0}[who]
    # All other classes say the opposite: only one counts.
    root.chmod(file, 0o777 & ~(0o7 << shift) | bits << shift)
    root.chown(file, OWNER if who == "owner" else 0, GROUP if who == "group" else 0)
    user = other if who == "others" else owner
    for flags, needed in (
        (os.O_RDONLY, 4),
        (os.O_WRONLY, 2),
        (os.O_RDWR, 6),
        (os.O_RDONLY | os.O_TRUNC, 6),
        (os.O_WRONLY | os.O_APPEND, 2),
    ):
        allowed = bits & needed == needed
        assert user.attempt("open", file, flags) == (None if allowed else "EACCES"), oct(flags)
    assert user.attempt("truncate", file, 1) == (None if bits & 2 else "EACCES")
    assert user.access(file, os.X_OK) == bool(bits & 1)


@pytest.mark.parametrize("bits", range(8))
def test_a_folder_s_bits_decide_about_its_names(
    hers: Path, root: Actor, owner: Actor, bits: int
) -> None:
    at = str(hers)
    for name in ("file", "gone", "moved"):
        root.write_file(f"{at}/{name}", b"bytes")
        root.chown(f"{at}/{name}", OWNER, OWNER)
    root.mkdir(f"{at}/empty", 0o755)
    root.chmod(at, bits << 6)
    reads, writes, searches = bits & 4, bits & 2 and bits & 1, bits & 1
    found = {
        "list": owner.attempt("listdir", at),
        "stat": owner.attempt("stat", f"{at}/file"),
        "create": owner.attempt("open", f"{at}/new", os.O_CREAT | os.O_WRONLY, 0o644),
        "mkdir": owner.attempt("mkdir", f"{at}/folder", 0o755),
        "mkfifo": owner.attempt("mkfifo", f"{at}/fifo", 0o644),
        "symlink": owner.attempt("symlink", "file", f"{at}/link"),
        "link": owner.attempt("link", f"{at}/file", f"{at}/again"),
        "unlink": owner.attempt("unlink", f"{at}/gone"),
        "rename": owner.attempt("rename", f"{at}/moved", f"{at}/here"),
        "rmdir": owner.attempt("rmdir", f"{at}/empty"),
    }
    allowed = {"list": reads, "stat": searches}
    expected = {name: None if allowed.get(name, writes) else "EACCES" for name in found}
    assert found == expected
    root.chmod(at, 0o755)


def test_every_folder_of_a_path_must_be_searchable(place: Path, root: Actor, owner: Actor) -> None:
    path = place
    for name in ("a", "b", "c"):
        path = path / name
        root.mkdir(str(path), 0o755)
    root.write_file(str(path / "file"), b"bytes")
    assert owner.stat(str(path / "file")).st_size == 5
    for folder in (path, path.parent, path.parent.parent):
        root.chmod(str(folder), 0o666)
        with refused(errno.EACCES):
            owner.stat(str(path / "file"))
        root.chmod(str(folder), 0o711)
        assert owner.stat(str(path / "file")).st_size == 5


def test_moving_needs_writing_on_both_folders_and_for_folders_on_themselves(
    hers: Path, place: Path, root: Actor, owner: Actor
) -> None:
    closed = place / "closed"
    root.mkdir(str(closed), 0o755)
    root.write_file(str(closed / "file"), b"bytes")
    owner.write_file(str(hers / "file"), b"bytes")
    with refused(errno.EACCES):
        owner.rename(str(hers / "file"), str(closed / "new"))
    with refused(errno.EACCES):
        owner.rename(str(closed / "file"), str(hers / "new"))
    root.mkdir(str(hers / "folder"), 0o755)  # root's own: its `..` is not hers to change
    owner.mkdir(str(hers / "below"), 0o755)
    with refused(errno.EACCES):
        owner.rename(str(hers / "folder"), str(hers / "below" / "folder"))
    owner.rename(str(hers / "folder"), str(hers / "renamed"))


# --- sticky directories --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_in_a_sticky_directory_names_are_taken_away_by_their_owners_only(
    place: Path, root: Actor, owner: Actor, other: Actor, kind: str
) -> None:
    shared = place / "shared"
    root.mkdir(str(shared), 0o777)
    root.chmod(str(shared), 0o1777)
    theirs, own = str(shared / "theirs"), str(shared / "own")
    for actor, path in ((owner, theirs), (other, own)):
        make = {
            "file": lambda actor=actor, path=path: actor.write_file(path, b"bytes"),
            "directory": lambda actor=actor, path=path: actor.mkdir(path, 0o777),
            "symlink": lambda actor=actor, path=path: actor.symlink("nowhere", path),
            "fifo": lambda actor=actor, path=path: actor.mkfifo(path, 0o666),
        }
        make[kind]()
    remove = "rmdir" if kind == "directory" else "unlink"
    assert other.attempt(remove, theirs) == "EPERM"
    assert other.attempt("rename", theirs, str(shared / "moved")) == "EPERM"
    assert other.attempt("rename", own, theirs) == "EPERM"  # replaces
    assert root.lstat(theirs).st_uid == OWNER
    # The owner of the directory may; so may the owner of the name, and root.
    root.chown(str(shared), OTHER, OTHER)
    assert other.attempt("rename", theirs, str(shared / "moved")) is None
    assert owner.attempt("rename", str(shared / "moved"), theirs) is None
    assert owner.attempt("rename", own, str(shared / "mine")) == "EPERM"
    root.chown(str(shared), 0, 0)
    assert owner.attempt(remove, theirs) is None
    assert root.attempt(remove, own) is None


def test_a_sticky_bit_on_a_file_does_nothing(hers: Path, root: Actor, owner: Actor) -> None:
    file = str(hers / "file")
    root.write_file(file, b"bytes")
    root.chmod(file, 0o1644)
    owner.unlink(file)


# --- mode and owner ------------------------------------------------------------------------------


def test_only_the_owner_and_root_change_a_mode(
    hers: Path, root: Actor, owner: Actor, other: Actor
) -> None:
    file = str(hers / "file")
    owner.write_file(file, b"bytes")
    root.chmod(file, 0o666)
    with refused(errno.EPERM):
        other.chmod(file, 0o777)
    assert mode_of(root, file) == 0o666
    owner.chmod(file, 0o600)
    root.chmod(file, 0o7777)
    assert mode_of(root, file) == 0o7777


@pytest.mark.parametrize("kind", ["file", "directory", "fifo"])
def test_every_mode_can_be_set(place: Path, root: Actor, kind: str) -> None:
    path = str(place / "node")
    {"file": root.mknod, "directory": root.mkdir, "fifo": root.mkfifo}[kind](path, 0o644)
    for mode in (0, 0o111, 0o444, 0o751, 0o1777, 0o2755, 0o4711, 0o7777):
        root.chmod(path, mode)
        assert mode_of(root, path) == mode


def test_chmod_follows_links(place: Path, root: Actor) -> None:
    root.write_file(str(place / "file"), b"")
    root.symlink("file", str(place / "link"))
    root.chmod(str(place / "link"), 0o640)
    assert mode_of(root, place / "file") == 0o640
    assert mode_of(root, place / "link") == 0o777


def test_who_is_not_in_a_file_s_group_cannot_set_its_group_id_bit(
    hers: Path, root: Actor, owner: Actor
) -> None:
    file, folder = str(hers / "file"), str(hers / "folder")
    owner.write_file(file, b"")
    owner.mkdir(folder, 0o755)
    for path in (file, folder):
        owner.chmod(path, 0o2755)
        assert mode_of(root, path) == 0o2755
        root.chown(path, OWNER, OTHER)
        root.chmod(path, 0o755)
        owner.chmod(path, 0o2755)
        assert mode_of(root, path) == 0o755


def test_owners_give_files_to_their_own_groups_and_to_nobody_else(
    hers: Path, root: Actor, owner: Actor, other: Actor
) -> None:
    file = str(hers / "file")
    owner.write_file(file, b"bytes")
    owner.chown(file, -1, GROUP)
    owner.chown(file, OWNER, OWNER)
    owner.chown(file, -1, -1)
    for uid, gid in ((OTHER, -1), (0, -1), (-1, OTHER), (-1, 0), (OTHER, GROUP)):
        with refused(errno.EPERM):
            owner.chown(file, uid, gid)
    for uid, gid in ((OTHER, -1), (-1, OTHER), (OWNER, OWNER)):
        with refused(errno.EPERM):
            other.chown(file, uid, gid)
    found = root.stat(file)
    assert (found.st_uid, found.st_gid) == (OWNER, OWNER)
    root.chown(file, 123456, 4_000_000_000)
    found = root.stat(file)
    assert (found.st_uid, found.st_gid) == (123456, 4_000_000_000)


def test_lchown_changes_the_link_and_chown_what_it_leads_to(place: Path, root: Actor) -> None:
    root.write_file(str(place / "file"), b"")
    root.symlink("file", str(place / "link"))
    root.lchown(str(place / "link"), OTHER, OTHER)
    assert root.lstat(str(place / "link")).st_uid == OTHER
    assert root.stat(str(place / "file")).st_uid == 0
    root.chown(str(place / "link"), OWNER, OWNER)
    assert root.lstat(str(place / "link")).st_uid == OTHER
    assert root.stat(str(place / "file")).st_uid == OWNER


@pytest.mark.parametrize("mode", [0o6755, 0o4755, 0o2755, 0o2745, 0o6666, 0o755])
def test_an_owner_s_chown_takes_set_id_bits_away(
    hers: Path, root: Actor, owner: Actor, mode: int
) -> None:
    file, folder = str(hers / "file"), str(hers / "folder")
    owner.write_file(file, b"")
    owner.chown(file, OWNER, GROUP)
    owner.chmod(file, mode)
    owner.chown(file, -1, OWNER)
    kept = mode & ~stat.S_ISUID
    assert mode_of(root, file) == (kept & ~stat.S_ISGID if mode & stat.S_IXGRP else kept)
    owner.mkdir(folder, 0o755)
    owner.chmod(folder, mode)
    owner.chown(folder, -1, GROUP)
    assert mode_of(root, folder) == mode  # those of a directory mean something else


@pytest.mark.parametrize(
    ("mode", "left"), [(0o6777, 0o777), (0o4777, 0o777), (0o2777, 0o777), (0o4666, 0o666)]
)
@pytest.mark.parametrize("how", ["write", "truncate", "ftruncate", "open"])
def test_another_s_change_of_a_file_takes_set_id_bits_away(
    place: Path, root: Actor, other: Actor, how: str, mode: int, left: int
) -> None:
    file = str(place / "file")
    root.write_file(file, b"bytes")
    root.chmod(file, mode)
    if how == "truncate":
        other.truncate(file, 2)
    else:
        descriptor = other.open(file, os.O_RDWR | (os.O_TRUNC if how == "open" else 0))
        if how == "write":
            other.write(descriptor, b"more")
        elif how == "ftruncate":
            other.ftruncate(descriptor, 2)
        other.close(descriptor)
    assert mode_of(root, file) == left


def test_root_s_writes_leave_set_id_bits(place: Path, root: Actor) -> None:
    file = str(place / "file")
    root.write_file(file, b"")
    root.chmod(file, 0o6755)
    root.write_file(file, b"bytes")
    assert mode_of(root, file) == 0o6755


# --- new nodes -----------------------------------------------------------------------------------


def test_new_nodes_belong_to_who_made_them_with_the_mode_less_the_umask(
    hers: Path, root: Actor, owner: Actor
) -> None:
    at = str(hers)
    for umask, mode, left in ((0, 0o777, 0o777), (0o022, 0o777, 0o755), (0o077, 0o666, 0o600)):
        owner.umask(umask)
        owner.mkdir(f"{at}/folder", mode)
        owner.mkfifo(f"{at}/fifo", mode)
        owner.mknod(f"{at}/socket", stat.S_IFSOCK | mode)
        owner.close(owner.open(f"{at}/file", os.O_CREAT | os.O_WRONLY, mode))
        owner.symlink("file", f"{at}/link")
        owner.umask(0)
        for name in ("folder", "fifo", "socket", "file", "link"):
            found = root.lstat(f"{at}/{name}")
            assert (found.st_uid, found.st_gid) == (OWNER, OWNER)
            assert mode_of(root, f"{at}/{name}") == (0o777 if name == "link" else left), name
            (owner.rmdir if name == "folder" else owner.unlink)(f"{at}/{name}")


def test_a_new_file_may_be_written_whatever_its_mode(hers: Path, owner: Actor) -> None:
    descriptor = owner.open(str(hers / "file"), os.O_CREAT | os.O_RDWR, 0)
    assert owner.write(descriptor, b"bytes") == 5
    assert owner.pread(descriptor, 9, 0) == b"bytes"
    owner.close(descriptor)
    with refused(errno.EACCES):
        owner.open(str(hers / "file"), os.O_RDONLY)


def test_a_set_group_id_folder_hands_down_its_group_and_folders_the_bit(
    hers: Path, root: Actor, owner: Actor
) -> None:
    at = str(hers)
    root.chown(at, OWNER, OTHER)  # a group that the owner is not in
    root.chmod(at, 0o2755)
    owner.write_file(f"{at}/file", b"")
    owner.mkdir(f"{at}/folder", 0o755)
    owner.mkfifo(f"{at}/fifo", 0o644)
    owner.symlink("file", f"{at}/link")
    for name in ("file", "folder", "fifo", "link"):
        assert root.lstat(f"{at}/{name}").st_gid == OTHER, name
    assert mode_of(root, f"{at}/folder") == 0o2755
    assert mode_of(root, f"{at}/file") == 0o666
    owner.close(owner.open(f"{at}/program", os.O_CREAT | os.O_WRONLY, 0o2755))
    assert mode_of(root, f"{at}/program") == 0o755  # the bit would grant the group's rights


# --- times ---------------------------------------------------------------------------------------


def test_times_are_set_by_the_owner_and_to_now_by_who_may_write(
    hers: Path, root: Actor, owner: Actor, other: Actor
) -> None:
    file = str(hers / "file")
    owner.write_file(file, b"bytes")
    owner.chmod(file, 0o644)
    for times in ((NOW, NOW), (NOW, OMIT)):
        with refused(errno.EACCES if OMIT not in times else errno.EPERM):
            other.utimensat(file, *times)
    with refused(errno.EPERM):
        other.utimensat(file, (1, 0), (2, 0))
    owner.chmod(file, 0o646)
    owner.utimensat(file, (1, 2), (3, 4))
    other.utimensat(file, NOW, NOW)
    assert root.stat(file).st_mtime > 1e9
    with refused(errno.EPERM):
        other.utimensat(file, (1, 0), (2, 0))
    with refused(errno.EPERM):  # one of them alone is for the owner
        other.utimensat(file, OMIT, NOW)
    other.utimensat(file, OMIT, OMIT)  # nothing to be allowed
    owner.utimensat(file, OMIT, (5, 6))
    assert root.stat(file).st_mtime_ns == 5_000_000_006


def test_where_the_lake_is_is_told_only_to_the_user_who_mounted_it(
    sites: Sites, root: Actor, other: Actor
) -> None:
    """The address may have a password in it."""
    address = root.getxattr(str(sites.mount.path), "user.lake.address")
    assert address.decode() == sites.mount.uri

    with pytest.raises(PermissionError):
        other.getxattr(str(sites.mount.path), "user.lake.address")

    assert other.getxattr(str(sites.mount.path), "user.lake.bucket") == b"fs"
    assert root.listxattr(str(sites.mount.path)) == []
