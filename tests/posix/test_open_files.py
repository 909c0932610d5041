"""What is open outlives its names: files, directories, FIFOs; and what open(2) may ask for."""

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gridfs import GridFSBucket

from tests.posix.acting import Actor
from tests.posix.conftest import Sites
from tests.semantics.refusals import refused

MIB = 1 << 20


def links(descriptor: int) -> int:
    return os.fstat(descriptor).st_nlink


# --- files without a name ------------------------------------------------------------------------


def test_an_unlinked_file_is_read_written_and_changed_until_it_is_closed(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"bytes")
    one, other = (os.open(file, os.O_RDWR) for _ in range(2))
    file.unlink()
    assert links(one) == 0
    os.pwrite(one, b"more", 5)
    assert os.pread(other, 99, 0) == b"bytesmore"
    os.ftruncate(one, 3)
    os.ftruncate(one, 10_000)
    assert os.fstat(other).st_size == 10_000
    assert os.pread(other, 5, 0) == b"byt\0\0"
    os.fchmod(one, 0o640)
    os.utime(one, ns=(1, 2))
    os.fsync(one)
    found = os.fstat(other)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o640, 2)
    os.close(one)
    os.pwrite(other, b"still", 0)
    assert os.pread(other, 5, 0) == b"still"
    os.close(other)
    assert list(place.iterdir()) == []


def test_an_unlinked_file_is_opened_again_through_its_handle(place: Path) -> None:
    (place / "file").write_bytes(b"bytes")
    with (place / "file").open("r+b", buffering=0) as file:
        (place / "file").unlink()
        again = f"/proc/self/fd/{file.fileno()}"
        with open(again, "r+b", buffering=0) as other:  # noqa: PTH123 - no path, a way to the inode
            other.write(b"BY")
            assert links(other.fileno()) == 0
        assert os.pread(file.fileno(), 9, 0) == b"BYtes"
        os.truncate(again, 2)
        assert os.pread(file.fileno(), 9, 0) == b"BY"


def test_a_large_file_without_a_name_is_written_mapped_and_cut(place: Path) -> None:
    data = os.urandom(20 * MIB)
    descriptor = os.open(place / "file", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(descriptor, data[: 5 * MIB])
    (place / "file").unlink()
    os.pwrite(descriptor, data[5 * MIB :], 5 * MIB)
    os.fsync(descriptor)
    assert os.pread(descriptor, 30 * MIB, 0) == data
    os.ftruncate(descriptor, 12 * MIB)
    os.ftruncate(descriptor, 13 * MIB)
    expected = bytearray(data[: 12 * MIB] + bytes(MIB))
    with mmap.mmap(descriptor, 0) as view:
        view[5:11] = expected[5:11] = b"mapped"
        view.flush()
        assert os.pread(descriptor, 30 * MIB, 0) == expected
        os.close(descriptor)
        assert view[:] == expected


def test_a_new_file_under_the_old_name_is_another(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"old")
    with file.open("r+b", buffering=0) as old:
        file.unlink()
        file.write_bytes(b"new")
        assert os.fstat(old.fileno()).st_ino != file.stat().st_ino
        old.write(b"OLD")
        assert os.pread(old.fileno(), 9, 0) == b"OLD"
    assert file.read_bytes() == b"new"


def test_a_file_that_loses_one_of_two_names_stays(place: Path) -> None:
    file, again = place / "file", place / "again"
    file.write_bytes(b"bytes")
    again.hardlink_to(file)
    with file.open("r+b", buffering=0) as opened:
        assert links(opened.fileno()) == 2
        file.unlink()
        assert links(opened.fileno()) == 1
        opened.write(b"BYTES")
    assert again.read_bytes() == b"BYTES"
    assert again.stat().st_nlink == 1


@pytest.mark.parametrize("target_is_open", [False, True])
def test_what_a_rename_replaces_is_used_until_it_is_closed(
    place: Path, target_is_open: bool
) -> None:
    old, new = place / "old", place / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    descriptor = os.open(old if target_is_open else new, os.O_RDWR)
    new.rename(old)
    expected = (0, b"old") if target_is_open else (1, b"new")
    assert (links(descriptor), os.pread(descriptor, 9, 0)) == expected
    os.pwrite(descriptor, b"MORE", 0)
    os.close(descriptor)
    assert old.read_bytes() == (b"new" if target_is_open else b"MORE")


def test_a_link_that_a_rename_replaces_by_its_own_file_stays(place: Path) -> None:
    file, again = place / "file", place / "again"
    file.write_bytes(b"bytes")
    again.hardlink_to(file)
    file.rename(again)  # rename(2): does nothing
    assert file.stat().st_nlink == 2
    assert sorted(path.name for path in place.iterdir()) == ["again", "file"]


def test_link_counts_follow_every_name(place: Path) -> None:
    file = place / "n0"
    file.write_bytes(b"bytes")
    (place / "folder").mkdir()
    for number in range(1, 6):
        (place / f"n{number}").hardlink_to(file)
        assert file.stat().st_nlink == number + 1
    (place / "n1").rename(place / "folder" / "n1")
    assert file.stat().st_nlink == 6
    (place / "another").write_bytes(b"")
    (place / "another").rename(place / "n2")
    assert file.stat().st_nlink == 5
    (place / "n3").rename(place / "n4")  # the same file: nothing happens
    assert file.stat().st_nlink == 5
    for name in ("n3", "n4", "n5", "folder/n1"):
        (place / name).unlink()
    assert file.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["fifo", "socket", "symlink", "file"])
def test_whatever_is_held_by_its_path_alone_outlives_it(place: Path, kind: str) -> None:
    path = place / "node"
    if kind == "symlink":
        path.symlink_to("nowhere")
    else:
        os.mknod(path, {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}.get(kind, 0) | 0o644)
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    kept = os.fstat(descriptor)
    path.unlink()
    found = os.fstat(descriptor)
    assert (found.st_ino, found.st_mode, found.st_nlink) == (kept.st_ino, kept.st_mode, 0)
    os.close(descriptor)


# --- directories without a name ------------------------------------------------------------------


@pytest.fixture(params=["rmdir", "rename"])
def gone(request: pytest.FixtureRequest, place: Path) -> Iterator[int]:
    """A descriptor of a directory that was removed since."""
    folder = place / "folder"
    folder.mkdir(0o750)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    if request.param == "rmdir":
        folder.rmdir()
    else:
        (place / "other").mkdir()
        (place / "other").rename(folder)
    yield descriptor
    os.close(descriptor)


def test_a_removed_directory_is_looked_at_and_changed_while_it_is_open(gone: int) -> None:
    found = os.fstat(gone)
    assert stat.S_ISDIR(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o750
    assert found.st_nlink == 0
    os.fchmod(gone, 0o700)
    os.utime(gone, ns=(1, 2))
    if os.geteuid() == 0:
        os.fchown(gone, 1, 2)
        assert (os.fstat(gone).st_uid, os.fstat(gone).st_gid) == (1, 2)
    assert stat.S_IMODE(os.fstat(gone).st_mode) == 0o700
    assert os.fstat(gone).st_mtime_ns == 2
    os.fsync(gone)


def test_a_removed_directory_takes_and_has_no_names(gone: int) -> None:
    for attempt in (
        lambda: os.mkdir("new", dir_fd=gone),
        lambda: os.open("new", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=gone),
        lambda: os.symlink("x", "new", dir_fd=gone),
        lambda: os.mkfifo("new", dir_fd=gone),
        lambda: os.stat("new", dir_fd=gone),
        lambda: os.unlink("new", dir_fd=gone),
    ):
        with refused(errno.ENOENT):
            attempt()
    assert os.listdir(gone) == []
    again = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=gone)
    assert os.fstat(again).st_ino == os.fstat(gone).st_ino
    os.close(again)


def test_a_removed_working_directory_is_left_again(place: Path, root: Actor) -> None:
    folder = place / "folder"
    folder.mkdir()
    root.chdir(str(folder))
    folder.rmdir()
    assert root.stat(".").st_nlink == 0
    with refused(errno.ENOENT):
        root.getcwd()
    with refused(errno.ENOENT):
        root.mkdir("new", 0o755)
    with refused(errno.EINVAL):
        root.rmdir(".")
    root.chdir("..")
    assert root.getcwd() == str(place)
    root.chdir("/")


def test_a_directory_is_used_through_its_handle_wherever_it_moves(place: Path, root: Actor) -> None:
    (place / "a" / "below").mkdir(parents=True)
    (place / "b").mkdir()
    folder = os.open(place / "a" / "below", os.O_RDONLY | os.O_DIRECTORY)
    root.chdir(str(place / "a" / "below"))
    (place / "a" / "below").rename(place / "b" / "moved")
    assert root.getcwd() == str(place / "b" / "moved")
    os.mkdir("new", dir_fd=folder)
    assert (place / "b" / "moved" / "new").is_dir()
    root.chdir("..")
    assert root.getcwd() == str(place / "b")
    root.chdir("/")
    os.close(folder)


def test_the_whole_version_may_go_while_it_is_open(sites: Sites) -> None:
    version = sites.draft()
    descriptor = os.open(version, os.O_RDONLY | os.O_DIRECTORY)
    version.rmdir()
    assert os.fstat(descriptor).st_nlink == 0
    os.fchmod(descriptor, 0o711)
    os.setxattr(descriptor, "user.note", b"value")
    assert os.getxattr(descriptor, "user.note") == b"value"
    os.close(descriptor)


# --- flags of open(2) ----------------------------------------------------------------------------


def test_o_excl_makes_a_file_once_for_all(place: Path, root: Actor, second: Actor) -> None:
    for number in range(20):
        made = [
            actor.attempt("open", str(place / str(number)), os.O_CREAT | os.O_EXCL, 0o644)
            for actor in (root, second)
        ]
        assert made == [None, "EEXIST"]
    (place / "link").symlink_to("nowhere")
    with refused(errno.EEXIST):  # never follows a link
        os.open(place / "link", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(place / "link", os.O_CREAT | os.O_WRONLY))
    assert (place / "nowhere").exists()


def test_o_trunc_empties_whatever_the_access(place: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_APPEND):
        (place / "file").write_bytes(b"bytes")
        with (place / "file").open("rb", buffering=0) as reading:
            os.close(os.open(place / "file", flags | os.O_TRUNC))
            assert os.pread(reading.fileno(), 9, 0) == b""
        assert (place / "file").stat().st_size == 0


def test_o_append_writes_at_the_end_wherever_that_is(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"12345")
    with file.open("r+b", buffering=0) as other, file.open("ab", buffering=0) as appending:
        appending.seek(0)
        appending.write(b"67")
        assert appending.tell() == 7
        os.ftruncate(other.fileno(), 2)
        appending.write(b"x")
        other.seek(100)
        other.write(b"y")
        assert os.pwrite(appending.fileno(), b"z", 0) == 1  # Linux: O_APPEND wins
    assert file.read_bytes() == b"12x" + bytes(97) + b"yz"


def test_a_mapping_is_written_where_it_is_also_while_others_append(place: Path) -> None:
    file = place / "file"
    file.write_bytes(bytes(10_000))
    with file.open("ab", buffering=0) as appending:
        with file.open("r+b") as opened:
            view = mmap.mmap(opened.fileno(), 0)
        with view:
            view[:4] = b"head"
            view[9_996:] = b"tail"
            appending.write(b"1")
            view[5_000:5_004] = b"body"
        appending.write(b"2")
    expected = b"head" + bytes(4_996) + b"body" + bytes(4_992) + b"tail"
    assert file.read_bytes() == expected + b"12"


def test_two_processes_that_append_lose_nothing(place: Path, root: Actor, second: Actor) -> None:
    log = place / "log"
    log.write_bytes(b"")
    # Both at once: the second is asked before the first has answered.
    waiting = [
        actor.begin("append_lines", str(log), name, 150)
        for actor, name in ((root, "a"), (second, "b"))
    ]
    for finish in waiting:
        finish()
    lines = log.read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {n}" for name in "ab" for n in range(150))
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [f"{name} {n}" for n in range(150)]


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC], ids=["O_SYNC", "O_DSYNC"])
def test_each_synchronous_write_is_committed_when_it_returns(sites: Sites, flag: int) -> None:
    file = sites.draft() / "file"
    bucket = GridFSBucket(sites.database)
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | flag, 0o644)
    for expected in (b"one", b"onetwo"):
        os.write(descriptor, expected[-3:])
        with bucket.open_download_stream_by_name(str(file.relative_to(sites.mount.path))) as seen:
            assert seen.read() == expected
    os.close(descriptor)


def test_handles_may_do_what_they_were_opened_for(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"bytes")
    with file.open("rb", buffering=0) as reading:
        with refused(errno.EBADF):
            os.write(reading.fileno(), b"x")
        with refused(errno.EINVAL):
            os.ftruncate(reading.fileno(), 1)
    descriptor = os.open(file, os.O_WRONLY)
    with refused(errno.EBADF):
        os.read(descriptor, 1)
    os.close(descriptor)
    with refused(errno.ELOOP):
        (place / "link").symlink_to("file")
        os.open(place / "link", os.O_RDONLY | os.O_NOFOLLOW)
    with refused(errno.ENOTDIR):
        os.open(file, os.O_RDONLY | os.O_DIRECTORY)
    with refused(errno.ENXIO):
        os.mkfifo(place / "fifo")
        os.open(place / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_o_tmpfile_is_refused_and_leaves_nothing(draft: Path) -> None:
    with refused(errno.EOPNOTSUPP):
        os.open(draft, os.O_TMPFILE | os.O_RDWR, 0o600)
    assert list(draft.iterdir()) == []


def test_rename_flags_are_checked(place: Path, root: Actor) -> None:
    no_replace, exchange = 1, 2
    (place / "file").write_bytes(b"1")
    (place / "folder" / "below").mkdir(parents=True)
    one, two = str(place / "file"), str(place / "folder")
    for flags, code in ((no_replace, errno.EEXIST), (no_replace | exchange, errno.EINVAL)):
        with refused(code):
            root.renameat2(one, two, flags)
    with refused(errno.ENOENT):
        root.renameat2(one, str(place / "missing"), exchange)
    with refused(errno.EINVAL):
        root.renameat2(two, f"{two}/below", exchange)
    root.renameat2(one, two, exchange)
    assert (place / "folder").read_bytes() == b"1"
    assert (place / "file" / "below").is_dir()
