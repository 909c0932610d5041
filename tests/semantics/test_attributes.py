"""Permissions, owners, times, extended attributes, figures of the file system."""

import errno
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gridfs import GridFSBucket
from pymongo.database import Database

from tests.mounting import Mounted, eventually, run_command
from tests.semantics.refusals import refused

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="gridfsmount-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(command: str, *arguments: str | Path) -> bool:
    """Whether a shell command of the user nobody succeeds."""
    done = subprocess.run(
        ["sh", "-c", command, "sh", *arguments],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


@needs_root
def test_permission_bits_and_owners_decide_as_on_any_disk(lake_uri: str, open_folder: Path) -> None:
    with Mounted(lake_uri, open_folder, "--allow-other") as mount:
        version = mount.version()
        (version / "mine").write_bytes(b"mine")
        (version / "mine").chmod(0o600)
        (version / "all").write_bytes(b"all")
        (version / "all").chmod(0o666)
        assert not as_nobody('cat "$1"', version / "mine")
        assert as_nobody('echo more >>"$1"', version / "all")
        assert not as_nobody('echo >"$1"', version / "new")
        version.chmod(0o777)
        assert as_nobody('echo >"$1"', version / "new")
        assert ((version / "new").stat().st_uid, (version / "new").stat().st_gid) == (NOBODY,) * 2


@needs_root
def test_writing_and_chown_take_set_user_id_away(lake_uri: str, open_folder: Path) -> None:
    with Mounted(lake_uri, open_folder, "--allow-other") as mount:
        written, given = mount.version() / "written", mount.version() / "given"
        for file in (written, given):
            file.write_bytes(b"")
            file.chmod(0o4777)
        assert as_nobody('echo more >>"$1"', written)
        os.chown(given, NOBODY, NOBODY)
        assert stat.S_IMODE(written.stat().st_mode) == 0o777
        assert stat.S_IMODE(given.stat().st_mode) == 0o777


def test_new_nodes_have_the_umask_and_a_set_group_id_folder_s_group(here: Path) -> None:
    before = os.umask(0o027)
    try:
        (here / "file").write_bytes(b"")
        (here / "folder").mkdir()
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((here / "folder").stat().st_mode) == 0o750
    (here / "folder").chmod(0o2770)
    (here / "folder" / "below").mkdir()
    assert (here / "folder" / "below").stat().st_mode & stat.S_ISGID


def test_mtime_is_that_of_the_last_write_and_of_all_mounts(here: Path, there: Path) -> None:
    before = time.time_ns()
    with (here / "file").open("wb", buffering=0) as file:
        file.write(b"bytes")
        after = time.time_ns()
        written = (here / "file").stat().st_mtime_ns
        assert before <= written <= after
    assert (there / "file").stat().st_mtime_ns == written


def test_times_are_kept_to_the_nanosecond(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"")
    for times in ((1_234_567_891, 2_345_678_912), (-5, -7)):
        os.utime(here / "file", ns=times)
        eventually(
            lambda wanted=times: _times(there / "file") == wanted,  # type: ignore[misc]
            f"the other mount shows {times}",
        )


def _times(path: Path) -> tuple[int, int]:
    shown = path.stat()
    return shown.st_atime_ns, shown.st_mtime_ns


def test_reading_does_not_change_atime(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    first = (there / "file").stat()
    assert first.st_atime_ns == first.st_mtime_ns
    os.utime(here / "file", ns=(5, first.st_mtime_ns))
    (here / "file").read_bytes()
    assert (here / "file").stat().st_atime_ns == 5


def test_a_folder_s_times_show_at_once_here_and_soon_elsewhere(here: Path, there: Path) -> None:
    (here / "folder").mkdir()
    os.utime(here / "folder", ns=(0, 0))
    before = time.time_ns()
    (here / "folder" / "file").write_bytes(b"")
    shown = (here / "folder").stat().st_mtime_ns
    assert before <= shown <= time.time_ns()
    eventually(lambda: (there / "folder").stat().st_mtime_ns == shown, "elsewhere", seconds=5)


def test_an_adopted_file_s_mtime_is_its_upload_date(
    here: Path, path: str, bucket: GridFSBucket, database: Database[dict[str, Any]]
) -> None:
    key = bucket.upload_from_stream(f"{path}/file", b"bytes")
    eventually((here / "file").exists, "it is adopted")
    found = database["fs.files"].find_one({"_id": key})
    assert found is not None
    shown_ms = (here / "file").stat().st_mtime_ns // 1_000_000
    uploaded = found["uploadDate"]
    assert shown_ms % 1000 == uploaded.microsecond // 1000
    assert time.gmtime(shown_ms / 1000)[:6] == uploaded.timetuple()[:6]


def test_user_attributes_are_kept_and_no_others(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"")
    for path in (here / "file", here):
        os.setxattr(path, "user.note", b"\0any bytes")
    eventually(lambda: os.listxattr(there / "file") == ["user.note"], "the other mount has it")
    assert os.getxattr(there / "file", "user.note") == b"\0any bytes"
    with refused(errno.EEXIST):
        os.setxattr(here / "file", "user.note", b"", os.XATTR_CREATE)
    with refused(errno.ENODATA):
        os.setxattr(here / "file", "user.other", b"", os.XATTR_REPLACE)
    for name in ("trusted.note", "security.note", "system.posix_acl_access"):
        with refused(errno.EOPNOTSUPP):
            os.setxattr(here / "file", name, b"\2\0\0\0")
    os.removexattr(here / "file", "user.note")
    assert os.listxattr(here / "file") == []


def test_attributes_that_two_mounts_set_are_both_kept(here: Path, there: Path) -> None:
    (here / "file").write_bytes(b"")
    assert os.listxattr(there / "file") == []
    os.setxattr(here / "file", "user.one", b"1")
    os.setxattr(there / "file", "user.other", b"2")
    assert os.listxattr(there / "file") == ["user.one", "user.other"]


def test_the_attributes_of_a_node_have_at_most_a_mebibyte(here: Path) -> None:
    for number in range(15):
        os.setxattr(here, f"user.{number}", bytes(64 << 10))
    with refused(errno.ENOSPC):
        os.setxattr(here, "user.last", bytes(64 << 10))


def test_the_lake_tells_a_file_s_digest_and_content(
    here: Path, path: str, database: Database[dict[str, Any]]
) -> None:
    (here / "file").write_bytes(b"bytes")
    told = os.getxattr(here / "file", "user.lake.sha256").decode()
    summed = subprocess.run(
        ["sha256sum", here / "file"], capture_output=True, text=True, check=True
    )
    assert told == summed.stdout.split()[0]
    found = database["fs.files"].find_one({"filename": f"{path}/file"})
    assert found is not None
    assert os.getxattr(here / "file", "user.lake.content").decode() == str(found["_id"])
    with refused(errno.EPERM):
        os.setxattr(here / "file", "user.lake.sha256", b"")


def test_statfs_tells_of_the_server_s_disk(here: Path) -> None:
    figures = os.statvfs(here)
    assert 0 < figures.f_bavail <= figures.f_blocks
    assert figures.f_namemax == 255


def test_chunk_sizes_of_4_kib_to_8_mib_are_written_and_any_is_read(
    here: Path, path: str, bucket: GridFSBucket, tmp_path: Path
) -> None:
    for refused_size in ("4095", "9MiB"):
        done = run_command("mount", "--chunk-size", refused_size, "mongodb://localhost", tmp_path)
        assert done.returncode != 0
        assert "is not between 4 KiB and 8192 KiB" in done.stderr
    data = os.urandom(200_000)
    for size in (1, 1000, 15_000_000):
        piece = data[:500] if size == 1 else data  # a chunk a byte is slow to upload
        bucket.upload_from_stream(f"{path}/{size}", piece, chunk_size_bytes=size)
        eventually((here / str(size)).exists, "it is adopted")
        assert (here / str(size)).read_bytes() == piece
