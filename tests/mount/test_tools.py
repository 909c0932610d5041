"""Ordinary tools on a real mount behave as on any disk."""

import email
import errno
import mmap
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.mounting import Mounted, mounted
from tests.semantics.refusals import refused

KIB, MIB = 1 << 10, 1 << 20
NOBODY = 65534
PACKAGE = Path(email.__file__).parent  # a tree of text files that every Python has


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with all that a copy has to keep."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").touch()
    (root / "text").write_text("hello\n")
    (root / "text").chmod(0o640)
    (root / "deep" / "bytes").write_bytes(os.urandom(300 * KIB))
    os.utime(root / "deep" / "bytes", ns=(1_600_000_000_123_456_789, 1_600_000_001_987_654_321))
    (root / "deep" / "er" / "Ünï cödé \t#").write_text("name")
    (root / "link").symlink_to("deep/bytes")
    (root / "dangling").symlink_to("nowhere")
    (root / "hard").hardlink_to(root / "text")
    os.utime(root / "deep", ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_002))
    return root


def test_cp_copies_a_tree_and_diff_finds_no_difference(lake: Mounted) -> None:
    copy = lake.version() / "copy"
    run("cp", "-r", PACKAGE, copy)
    assert run("diff", "-r", "--no-dereference", PACKAGE, copy) == ""


def test_cp_a_keeps_modes_times_and_links(lake: Mounted, tree: Path) -> None:
    copy = lake.version() / "copy"
    run("cp", "-a", tree, copy)
    run("diff", "-r", "--no-dereference", tree, copy)
    for path in tree.rglob("*"):
        there = (copy / path.relative_to(tree)).lstat()
        here = path.lstat()
        assert (there.st_mode, there.st_uid, there.st_gid) == (
            here.st_mode,
            here.st_uid,
            here.st_gid,
        )
        assert there.st_mtime_ns == here.st_mtime_ns
    assert (copy / "hard").stat().st_ino == (copy / "text").stat().st_ino
    assert (copy / "dangling").readlink() == Path("nowhere")


def test_a_second_rsync_sends_nothing(lake: Mounted, tree: Path) -> None:
    copy = lake.version() / "copy"
    run("rsync", "-aH", f"{tree}/", f"{copy}/")
    assert run("rsync", "-aHi", "--checksum", f"{tree}/", f"{copy}/") == ""
    assert run("rsync", "-aHi", f"{tree}/", f"{copy}/") == ""


def test_git_clones_into_a_version_and_finds_its_repository_whole(
    lake: Mounted, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    shutil.copytree(PACKAGE, origin / "package", ignore=shutil.ignore_patterns("__pycache__"))
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    run("git", "init", "-q", origin)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "all", cwd=origin)
    clone = lake.version() / "clone"
    run("git", "clone", "-q", "--no-hardlinks", origin, clone)
    run("git", "fsck", "--full", cwd=clone)
    assert run("git", "status", "--short", cwd=clone) == ""
    (clone / "package" / "__init__.py").write_text("changed\n")
    run("git", *identity, "commit", "-qam", "change", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    run("git", "fsck", "--full", cwd=clone)


def test_tar_unpacks_what_it_packed(lake: Mounted, tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    run("tar", "-cf", archive, "-C", tree, ".")
    copy = lake.version() / "copy"
    copy.mkdir()
    run("tar", "-xpf", archive, "-C", copy)
    run("diff", "-r", "--no-dereference", tree, copy)
    run("tar", "-df", archive, "-C", copy)


def test_find_and_du_agree_with_an_ordinary_directory(lake: Mounted, tree: Path) -> None:
    copy = lake.version() / "copy"
    run("cp", "-a", tree, copy)
    for expression in (("-type", "f"), ("-type", "d"), ("-size", "+100k"), ("-links", "2")):
        found = run("find", ".", *expression, "-not", "-type", "d", cwd=copy)
        expected = run("find", ".", *expression, "-not", "-type", "d", cwd=tree)
        assert sorted(found.splitlines()) == sorted(expected.splitlines())
    count = ("du", "-b", "--apparent-size", "deep/bytes", "text")
    assert run(*count, cwd=copy) == run(*count, cwd=tree)
    assert "fuse.gridfsmount" in run("df", "-T", copy)


def test_dd_truncate_touch_sed_and_vim_change_files_in_place(lake: Mounted) -> None:
    version = lake.version()
    file = version / "file"
    file.write_bytes(b"a" * 100_000)
    subprocess.run(
        ["dd", f"of={file}", "bs=1", "seek=50000", "conv=notrunc", "status=none"],
        input=b"XYZ",
        check=True,
    )
    assert file.read_bytes() == b"a" * 50_000 + b"XYZ" + b"a" * 49_997
    run("truncate", "-s", "10", file)
    assert file.read_bytes() == b"a" * 10
    run("truncate", "-s", "20", file)
    assert file.read_bytes() == b"a" * 10 + bytes(10)
    run("touch", "-d", "2001-02-03 04:05:06.123456789 UTC", file)
    assert file.stat().st_mtime_ns == 981_173_106_123_456_789
    text = version / "text"
    text.write_text("one\ntwo\n")
    run("sed", "-i", "s/one/uno/", text)
    run("vim", "-es", "-u", "NONE", "-c", "%s/two/due/", "-c", "wq", text)
    assert text.read_text() == "uno\ndue\n"


def test_mv_of_a_directory_to_another_version_copies_it_whole(lake: Mounted, tree: Path) -> None:
    first, second = lake.version("datasets/a/v1"), lake.version("datasets/b/v1")
    run("cp", "-a", tree, first / "moved")
    run("mv", first / "moved", second / "moved")
    run("diff", "-r", "--no-dereference", tree, second / "moved")
    assert list(first.iterdir()) == []


def test_rm_rf_removes_a_large_folder_and_then_the_whole_dataset(lake: Mounted) -> None:
    version = lake.version("datasets/gone/v1")
    for n in range(1500):
        (version / f"{n:05}").touch()
    run("rm", "-rf", version.parent)
    assert not version.parent.exists()


def test_a_listing_of_several_pages_has_each_name_once(lake: Mounted) -> None:
    version = lake.version()
    names = {f"f{n:04}" for n in range(2345)}
    for name in names:
        (version / name).touch()
    with os.scandir(version) as entries:
        assert [entry.name for entry in entries] == sorted(names)
    descriptor = os.open(version, os.O_RDONLY)
    try:
        for _ in range(2):  # the second time it is rewound
            with os.scandir(descriptor) as entries:
                assert sorted(entry.name for entry in entries) == sorted(names)
    finally:
        os.close(descriptor)


def test_python_writes_appends_and_patches(lake: Mounted) -> None:
    file = lake.version() / "file"
    file.write_text("start\n")
    with file.open("a") as out:
        out.write("end\n")
    with file.open("r+") as both:
        both.write("START")
    assert file.read_text() == "START\nend\n"


def test_mapped_files_are_read_and_written(lake: Mounted) -> None:
    file = lake.version() / "file"
    data = os.urandom(3 * MIB + 17)
    file.write_bytes(data)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        assert mapped[:] == data
        mapped[MIB : MIB + 5] = b"hello"
        mapped.flush()
    assert file.read_bytes() == data[:MIB] + b"hello" + data[MIB + 5 :]


def test_an_unlinked_file_is_used_until_it_is_closed(lake: Mounted) -> None:
    with tempfile.TemporaryFile(dir=lake.version()) as file:
        file.write(b"x" * 5 * MIB)
        file.seek(3)
        assert file.read(4) == b"xxxx"
        assert os.fstat(file.fileno()).st_size == 5 * MIB
    assert list(lake.version().iterdir()) == []


def test_a_hole_reads_as_zeros(lake: Mounted) -> None:
    file = lake.version() / "sparse"
    with file.open("wb") as out:
        out.seek(5 * MIB + 3)
        out.write(b"end")
    data = file.read_bytes()
    assert len(data) == 5 * MIB + 6
    assert data.strip(b"\0") == b"end"


def test_sqlite_keeps_a_database_in_a_version(lake: Mounted) -> None:
    path = lake.version() / "data.db"
    with sqlite3.connect(path) as database:
        database.execute("create table t (n integer primary key, s text)")
        database.executemany("insert into t values (?, ?)", ((n, "x" * n) for n in range(200)))
    database.close()
    reopened = sqlite3.connect(path)
    assert reopened.execute("select count(*), sum(length(s)) from t").fetchone() == (200, 19900)
    assert reopened.execute("pragma integrity_check").fetchone() == ("ok",)
    reopened.close()


def test_shutil_copies_a_tree_out_again(lake: Mounted, tree: Path, tmp_path: Path) -> None:
    inside = lake.version() / "in"
    shutil.copytree(tree, inside, symlinks=True)
    outside = tmp_path / "out"
    shutil.copytree(inside, outside, symlinks=True)
    run("diff", "-r", "--no-dereference", tree, outside)


def test_fifos_and_sockets_work_between_processes(lake: Mounted) -> None:
    version = lake.version()
    os.mkfifo(version / "fifo")
    writer = subprocess.Popen(["sh", "-c", f"echo through > '{version}/fifo'"])
    assert (version / "fifo").read_text() == "through\n"
    assert writer.wait(30) == 0
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        way = Path(short) / "v"  # a socket's path has at most 107 bytes
        way.symlink_to(version)
        server.bind(f"{way}/socket")
        assert stat.S_ISSOCK((version / "socket").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_permission_bits_hold_for_other_users(lake_uri: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    with mounted(lake_uri, tmp_path, "--allow-other") as lake:
        version = lake.version()
        (version / "public").write_text("p")
        (version / "private").write_text("s")
        (version / "private").chmod(0o600)
        (version / "theirs").mkdir()
        os.chown(version / "theirs", NOBODY, NOBODY)
        script = f"""
            cat '{version}/public' && ! cat '{version}/private' 2>/dev/null &&
            ! touch '{version}/new' 2>/dev/null && ! rm -f '{version}/public' 2>/dev/null &&
            touch '{version}/theirs/mine' && ! chown 0 '{version}/theirs/mine' 2>/dev/null
        """
        run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "sh", "-c", script)  # fmt: skip
        assert (version / "theirs" / "mine").stat().st_uid == NOBODY
        assert (version / "public").exists()


def test_a_large_file_goes_in_and_out_while_memory_stays_bounded(
    lake: Mounted, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    with source.open("wb") as out:
        for _ in range(300):
            out.write(os.urandom(MIB))
    copy = lake.version() / "copy"
    run("cp", source, copy)
    run("cmp", source, copy)
    status = Path(f"/proc/{lake.pid}/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    assert int(peak) < 400 * KIB  # in KiB: 400 MiB


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("file", errno.EPERM),
        ("datasets/file", errno.EPERM),
        ("datasets/test/file", errno.EPERM),
        ("unsorted/file", errno.EPERM),
        ("snapshots/file", errno.EROFS),
        ("datasets/test/v1/" + "x" * 256, errno.ENAMETOOLONG),
    ],
)
def test_writing_where_the_tree_forbids_it_has_the_right_errno(
    lake: Mounted, where: str, expected: int
) -> None:
    lake.version()
    with refused(expected):
        (lake.path / where).touch()


def test_a_name_that_is_not_utf8_is_refused(lake: Mounted) -> None:
    with refused(errno.EILSEQ):
        os.close(os.open(os.fsencode(lake.version()) + b"/caf\xe9", os.O_CREAT | os.O_WRONLY))
