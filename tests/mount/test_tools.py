"""Ordinary tools on a real mount behave as on any disk."""

import email
import errno
import itertools
import mmap
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gridfs import GridFSBucket
from pymongo.database import Database

from tests.listing import Directory
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually, mounted
from tests.semantics.refusals import refused

KIB, MIB = 1 << 10, 1 << 20
NOBODY = 65534
MANY = 3500
"""Files in one folder: more than three pages of a listing."""
PACKAGE = Path(email.__file__).parent  # a tree of text files that every Python has


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@dataclass
class Site:
    """A mount that all tests here share, each with versions of its own."""

    mount: Mounted
    database: Database[dict[str, Any]]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def version(self) -> Path:
        return self.mount.version(f"datasets/d{next(self.numbers)}/v1")

    def seen_by_drivers(self, path: Path) -> bytes:
        """What a driver reads under a path of the mount."""
        filename = str(path.relative_to(self.mount.path))
        return GridFSBucket(self.database).open_download_stream_by_name(filename).read()


@pytest.fixture(scope="module")
def site(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name = f"tools_{uuid.uuid4().hex}"
    with mongod.client() as client:
        with Mounted(mongod.uri_for(name), tmp_path_factory.mktemp("tools")) as mount:
            yield Site(mount, client[name])
        client.drop_database(name)
    assert_healthy_log(mount)


@pytest.fixture
def version(site: Site) -> Path:
    return site.version()


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
    os.utime(root / "dangling", ns=(0, 1_400_000_000_000_000_001), follow_symlinks=False)
    os.utime(root / "deep", ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_002))
    return root


def assert_same_attributes(copy: Path, tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        there, here = (copy / path.relative_to(tree)).lstat(), path.lstat()
        for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
            assert getattr(there, name) == getattr(here, name), (path, name)
        if not path.is_dir():
            assert (there.st_size, there.st_nlink) == (here.st_size, here.st_nlink), path


# --- copies --------------------------------------------------------------------------------------


def test_cp_copies_a_tree_and_diff_finds_no_difference(version: Path) -> None:
    run("cp", "-r", PACKAGE, version / "copy")
    assert run("diff", "-r", "--no-dereference", PACKAGE, version / "copy") == ""


def test_cp_a_keeps_modes_times_and_links(version: Path, tree: Path) -> None:
    copy = version / "copy"
    run("cp", "-a", tree, copy)
    run("diff", "-r", "--no-dereference", tree, copy)
    assert_same_attributes(copy, tree)
    assert (copy / "hard").stat().st_ino == (copy / "text").stat().st_ino
    assert (copy / "dangling").readlink() == Path("nowhere")


def test_a_second_rsync_sends_nothing(version: Path, tree: Path) -> None:
    copy = version / "copy"
    run("rsync", "-aH", f"{tree}/", f"{copy}/")
    assert run("rsync", "-aHi", f"{tree}/", f"{copy}/") == ""
    assert run("rsync", "-aHi", "--checksum", f"{tree}/", f"{copy}/") == ""


def test_rsync_brings_a_copy_up_to_date(version: Path, tree: Path) -> None:
    copy = version / "copy"
    run("rsync", "-aH", f"{tree}/", f"{copy}/")
    (tree / "text").write_text("changed\n")
    (tree / "empty").unlink()
    run("rsync", "-aH", "--delete", f"{tree}/", f"{copy}/")
    run("diff", "-r", "--no-dereference", tree, copy)


def test_tar_unpacks_what_it_packed(version: Path, tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    run("tar", "--format=posix", "-cf", archive, "-C", tree, ".")  # GNU's has whole seconds only
    copy = version / "copy"
    copy.mkdir()
    run("tar", "-xpf", archive, "-C", copy)
    run("tar", "-df", archive, "-C", copy)
    assert_same_attributes(copy, tree)


def test_tar_pipes_a_tree_from_one_version_to_another(site: Site, tree: Path) -> None:
    one, other = site.version(), site.version()
    run("cp", "-a", tree, one / "tree")
    run("sh", "-c", f"tar -C '{one}' --format=posix -cf - tree | tar -C '{other}' -xpf -")
    run("diff", "-r", "--no-dereference", tree, other / "tree")
    assert_same_attributes(other / "tree", tree)


def test_shutil_copies_a_tree_in_and_out_again(version: Path, tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, version / "in", symlinks=True)
    shutil.copytree(version / "in", tmp_path / "out", symlinks=True)
    run("diff", "-r", "--no-dereference", tree, tmp_path / "out")


def test_git_clones_into_a_version_and_finds_its_repository_whole(
    version: Path, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(PACKAGE, origin / "package", ignore=shutil.ignore_patterns("__pycache__"))
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    run("git", "init", "-q", origin)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "all", cwd=origin)
    clone = version / "clone"
    run("git", "clone", "-q", "--no-hardlinks", origin, clone)
    run("git", "fsck", "--full", cwd=clone)
    assert run("git", "status", "--short", cwd=clone) == ""
    (clone / "package" / "__init__.py").write_text("changed\n")
    run("git", *identity, "commit", "-qam", "change", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    run("git", "fsck", "--full", cwd=clone)


def test_git_begins_a_repository_in_a_version(version: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    run("git", "init", "-q", version)
    (version / "file").write_text("text\n")
    run("git", "add", ".", cwd=version)
    run("git", *identity, "commit", "-qm", "all", cwd=version)
    run("git", "fsck", "--full", "--strict", cwd=version)
    assert run("git", "status", "--short", cwd=version) == ""


# --- looking -------------------------------------------------------------------------------------


def test_find_and_du_agree_with_an_ordinary_directory(version: Path, tree: Path) -> None:
    copy = version / "copy"
    run("cp", "-a", tree, copy)
    # Not the sizes and link counts of directories: those are each file system's own.
    for expression in (
        ("-type", "f"),
        ("-type", "d"),
        ("-type", "l"),
        ("-not", "-type", "d", "-size", "+100k"),
        ("-not", "-type", "d", "-links", "2"),
        ("-not", "-newermt", "2020-12-31"),
        ("-perm", "640"),
        ("-not", "-type", "d", "-empty"),
    ):
        found, expected = (run("find", ".", *expression, cwd=each) for each in (copy, tree))
        assert sorted(found.splitlines()) == sorted(expected.splitlines())
    count = ("du", "-b", "--apparent-size", "deep/bytes", "text", "link")
    assert run(*count, cwd=copy) == run(*count, cwd=tree)


def test_du_counts_what_files_hold(version: Path) -> None:
    (version / "folder").mkdir()
    (version / "folder" / "file").write_bytes(bytes(1_000_000))
    total = int(run("du", "-s", "-B1", "--apparent-size", version / "folder").split()[0])
    assert 1_000_000 <= total <= 1_000_000 + 8 * KIB


def test_df_shows_the_space_that_the_server_has(version: Path) -> None:
    fields = run("df", "-B1", "--output=fstype,size,avail", version).splitlines()[1].split()
    assert fields[0] == "fuse.gridfsmount"
    assert int(fields[1]) >= int(fields[2]) > 0


def test_a_hundred_files_are_listed_once_each(version: Path) -> None:
    names = [f"{n:03}" for n in range(100)]
    for name in names:
        (version / name).touch()
    assert run("ls", version).split() == names


FILES = [f"{n:05}" for n in range(MANY)]
LINKS = [f"link{n:03}" for n in range(300)]


@pytest.fixture(scope="module")
def crowd(site: Site) -> Path:
    """A folder of many files, some of which have a second name there; to be left as it is."""
    folder = site.version()
    for name in FILES:
        (folder / name).open("x").close()
    for name, file in zip(LINKS, FILES, strict=False):
        (folder / name).hardlink_to(folder / file)
    return folder


def test_thousands_of_files_are_listed_once_each_and_again_when_rewound(crowd: Path) -> None:
    descriptor = os.open(crowd, os.O_RDONLY)
    try:
        for _ in range(2):
            with os.scandir(descriptor) as entries:
                assert [entry.name for entry in entries] == FILES + LINKS
    finally:
        os.close(descriptor)


def test_a_listing_begins_with_itself_and_its_parent(crowd: Path, version: Path) -> None:
    assert run("ls", "-af", version).split() == [".", ".."]
    assert run("ls", "-af", crowd).split()[:3] == [".", "..", "00000"]
    (itself, _), (parent, _) = (line.split() for line in run("ls", "-aif", version).splitlines())
    assert int(itself) == version.stat().st_ino
    assert int(parent) == version.parent.stat().st_ino


def test_a_listing_goes_on_from_any_position_it_was_at(crowd: Path) -> None:
    with Directory(crowd) as directory:
        positions = {}
        while True:
            position = directory.tell()
            name = directory.read()
            if name is None:
                break
            positions[name] = position
        for start in ("03499", "00000", "01234", "00999", "01000", "01001", "03000"):
            directory.seek(positions[start])
            assert directory.rest() == FILES[int(start) :] + LINKS


def test_a_listing_goes_on_while_what_it_has_shown_is_removed(version: Path) -> None:
    names = [f"{n:04}" for n in range(1100)]
    for name in names:
        (version / name).touch()
    seen = []
    with Directory(version) as directory:
        for name in iter(directory.read, None):
            if name not in (".", ".."):
                seen.append(name)
                (version / name).unlink()
    assert seen == names
    assert list(version.iterdir()) == []


# --- removing ------------------------------------------------------------------------------------


def test_rm_rf_removes_a_large_folder_and_then_the_whole_dataset(site: Site) -> None:
    version = site.version()
    for n in range(1500):
        (version / f"{n:05}").touch()
    run("rm", "-rf", version.parent)
    assert not version.parent.exists()


def test_a_version_that_was_emptied_is_removed_as_any_directory(version: Path, tree: Path) -> None:
    run("cp", "-a", f"{tree}/.", version)
    run("sh", "-c", 'rm -rf "$1"/*', "sh", version)
    run("rmdir", version)
    assert list(version.parent.iterdir()) == []


def test_find_deletes_as_it_goes(version: Path, tree: Path) -> None:
    run("cp", "-a", tree, version / "copy")
    run("find", version / "copy", "-delete")
    assert list(version.iterdir()) == []


# --- changing in place ---------------------------------------------------------------------------


def test_dd_changes_the_middle_of_a_file(version: Path) -> None:
    file = version / "file"
    file.write_bytes(b"a" * 100_000)
    subprocess.run(
        ["dd", f"of={file}", "bs=1", "seek=50000", "conv=notrunc", "status=none"],
        input=b"XYZ",
        check=True,
    )
    assert file.read_bytes() == b"a" * 50_000 + b"XYZ" + b"a" * 49_997


def test_dd_reads_and_writes_past_the_page_cache(version: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(data := os.urandom(3 * MIB))
    file, out = version / "file", tmp_path / "out"
    run("dd", f"if={tmp_path / 'source'}", f"of={file}", "bs=256K", "oflag=direct", "status=none")
    run("dd", f"if={file}", f"of={out}", "bs=256K", "iflag=direct", "status=none")
    assert out.read_bytes() == data


def test_truncate_cuts_and_fills_with_zeros(version: Path) -> None:
    file = version / "file"
    file.write_bytes(b"a" * 100_000)
    run("truncate", "-s", "10", file)
    assert file.read_bytes() == b"a" * 10
    run("truncate", "-s", "20", file)
    assert file.read_bytes() == b"a" * 10 + bytes(10)


def test_touch_sets_times_to_the_nanosecond(version: Path) -> None:
    file = version / "file"
    run("touch", "-d", "2001-02-03 04:05:06.123456789 UTC", file)
    assert file.stat().st_mtime_ns == 981_173_106_123_456_789
    run("touch", "-d", "1969-12-31 23:59:58.5 UTC", file)
    assert file.stat().st_mtime_ns == -1_500_000_000
    run("touch", "-r", PACKAGE, file)
    assert file.stat().st_mtime_ns == PACKAGE.stat().st_mtime_ns


def test_sed_and_vim_edit_a_text(version: Path) -> None:
    text = version / "text"
    text.write_text("one\ntwo\n")
    text.chmod(0o600)
    run("sed", "-i", "s/one/uno/", text)
    run("vim", "-es", "-u", "NONE", "-c", "%s/two/due/", "-c", "wq", text)
    assert text.read_text() == "uno\ndue\n"
    assert stat.S_IMODE(text.stat().st_mode) == 0o600
    assert [path.name for path in version.iterdir()] == ["text"]


def test_shells_append_to_one_log_at_once(version: Path) -> None:
    log = version / "log"
    script = f"for n in 1 2 3 4 5 6 7 8 9; do echo $0 $n >> '{log}'; done"
    writers = [subprocess.Popen(["sh", "-c", script, name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert sorted(log.read_text().splitlines()) == [f"{a} {n}" for a in "abc" for n in range(1, 10)]


# --- moving --------------------------------------------------------------------------------------


def test_mv_of_a_directory_to_another_version_copies_it_whole(site: Site, tree: Path) -> None:
    first, second = site.version(), site.version()
    run("cp", "-a", tree, first / "moved")
    with refused(errno.EXDEV):
        (first / "moved").rename(second / "moved")
    run("mv", first / "moved", second / "moved")
    run("diff", "-r", "--no-dereference", tree, second / "moved")
    assert_same_attributes(second / "moved", tree)
    assert list(first.iterdir()) == []


def test_mv_of_a_file_to_another_version_moves_it(site: Site) -> None:
    first, second = site.version(), site.version()
    (first / "file").write_bytes(data := os.urandom(MIB + 1))
    inode = (first / "file").stat().st_ino
    run("mv", first / "file", second / "moved")
    assert list(first.iterdir()) == []
    assert (second / "moved").stat().st_ino == inode
    assert (second / "moved").read_bytes() == data
    assert site.seen_by_drivers(second / "moved") == data


def test_mv_takes_a_file_out_of_unsorted(site: Site, version: Path) -> None:
    data = os.urandom(MIB + 1)
    GridFSBucket(site.database).upload_from_stream("uploads/photo.jpg", data)
    source = site.mount.path / "unsorted" / "uploads" / "photo.jpg"
    eventually(source.exists, f"{source} appears")
    run("mv", source, version / "photo.jpg")
    assert not source.exists()
    assert (version / "photo.jpg").read_bytes() == data
    assert site.seen_by_drivers(version / "photo.jpg") == data


# --- programs ------------------------------------------------------------------------------------


def test_python_writes_appends_and_patches(version: Path) -> None:
    file = version / "file"
    file.write_text("start\n")
    with file.open("a") as out:
        out.write("end\n")
    with file.open("r+") as both:
        both.write("START")
    assert file.read_text() == "START\nend\n"


def test_mapped_files_are_read_and_written(site: Site, version: Path) -> None:
    file = version / "file"
    data = bytearray(os.urandom(3 * MIB + 17))
    file.write_bytes(data)
    with (
        file.open("r+b") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_WRITE) as mapped,
    ):
        assert mapped[:] == data
        mapped[MIB - 2 : MIB + 3] = data[MIB - 2 : MIB + 3] = b"hello"
        mapped.flush()
    assert file.read_bytes() == data
    assert site.seen_by_drivers(file) == data


def test_a_mapped_page_is_written_in_its_place_while_others_append(version: Path) -> None:
    file = version / "log"
    file.write_bytes(b"a" * 10_000)
    with (
        file.open("r+b") as opened,
        file.open("ab", buffering=0) as appending,  # the kernel may write pages back through it
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_WRITE) as mapped,
    ):
        mapped[:5] = b"first"
        appending.write(b"last")
        mapped.flush()
    assert file.read_bytes() == b"first" + b"a" * 9_995 + b"last"


def test_fsync_makes_durable_what_was_written_through_any_handle(site: Site, version: Path) -> None:
    file = version / "file"
    with file.open("wb", buffering=0) as writing, file.open("rb") as reading:
        writing.write(b"data")
        os.fsync(reading.fileno())
        assert site.seen_by_drivers(file) == b"data"


def test_closing_commits_what_truncate_did_meanwhile(site: Site, version: Path) -> None:
    file = version / "file"
    file.write_bytes(b"0123456789")
    with file.open("r+b"):
        os.truncate(file, 4)
    assert site.seen_by_drivers(file) == b"0123"


def test_an_unlinked_file_is_used_until_it_is_closed(version: Path) -> None:
    with tempfile.TemporaryFile(dir=version) as file:
        file.write(b"x" * 5 * MIB)
        file.seek(3)
        assert file.read(4) == b"xxxx"
        assert os.fstat(file.fileno()).st_size == 5 * MIB
        assert os.fstat(file.fileno()).st_nlink == 0
    assert list(version.iterdir()) == []


def test_a_hole_reads_as_zeros(version: Path) -> None:
    file = version / "sparse"
    with file.open("wb") as out:
        out.seek(5 * MIB + 3)
        out.write(b"end")
    assert file.read_bytes() == bytes(5 * MIB + 3) + b"end"


@pytest.mark.parametrize("journal", ["delete", "truncate", "wal"])
def test_sqlite_keeps_a_database_in_a_version(version: Path, journal: str) -> None:
    path = version / "data.db"
    database = sqlite3.connect(path)
    assert database.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
    database.execute("create table t (n integer primary key, s text)")
    with database:
        database.executemany("insert into t values (?, ?)", ((n, "x" * n) for n in range(200)))
    with database:
        database.execute("delete from t where n % 2")
    database.close()
    reopened = sqlite3.connect(path)
    assert reopened.execute("select count(*), sum(length(s)) from t").fetchone() == (100, 9900)
    assert reopened.execute("pragma integrity_check").fetchone() == ("ok",)
    reopened.close()


def test_fifos_and_sockets_work_between_processes(version: Path) -> None:
    os.mkfifo(version / "fifo")
    writer = subprocess.Popen(["sh", "-c", f"echo through > '{version}/fifo'"])
    assert (version / "fifo").read_text() == "through\n"
    assert writer.wait(30) == 0
    with (
        tempfile.TemporaryDirectory() as short,
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        way = Path(short) / "v"  # a socket's path has at most 107 bytes
        way.symlink_to(version)
        server.bind(f"{way}/socket")
        server.listen()
        assert stat.S_ISSOCK((version / "socket").stat().st_mode)
        client.connect(f"{way}/socket")
        client.sendall(b"through")
        with server.accept()[0] as connection:
            assert connection.recv(100) == b"through"


def test_a_program_in_a_version_can_be_run(version: Path) -> None:
    program = version / "program"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    run(program)
    script = version / "script"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    assert run(script) == "ran\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_permission_bits_hold_for_other_users(lake_uri: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,  # pytest's are closed to others
        mounted(lake_uri, Path(folder), "--allow-other") as lake,
    ):
        Path(folder).chmod(0o755)
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
        assert_healthy_log(lake)


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


# --- the rules of the tree -----------------------------------------------------------------------


@dataclass(frozen=True)
class Shelf:
    """A dataset with one of everything: draft, tag, and in the draft a file and a folder."""

    root: Path
    dataset: Path

    @property
    def draft(self) -> Path:
        return self.dataset / "v1"


@pytest.fixture
def shelf(site: Site) -> Shelf:
    draft = site.version()
    (draft / "file").write_text("text")
    (draft / "a").mkdir()
    (draft.parent / "v2").mkdir()
    (draft.parent / "tag").symlink_to("v1")
    return Shelf(site.mount.path, draft.parent)


REFUSALS: dict[int, dict[str, Callable[[Shelf], object]]] = {
    errno.EPERM: {
        "file in the root": lambda at: (at.root / "x").touch(),
        "folder in the root": lambda at: (at.root / "x").mkdir(),
        "remove an area": lambda at: (at.root / "models").rmdir(),
        "rename an area": lambda at: (at.root / "models").rename(at.root / "x"),
        "file in an area": lambda at: (at.root / "datasets" / "x").touch(),
        "file in a dataset": lambda at: (at.dataset / "x").touch(),
        "file moved to a dataset": lambda at: (at.draft / "file").rename(at.dataset / "x"),
        "hard link in a dataset": lambda at: (at.dataset / "x").hardlink_to(at.draft / "file"),
        "FIFO in a dataset": lambda at: os.mkfifo(at.dataset / "x"),
        "file in unsorted": lambda at: (at.root / "unsorted" / "x").touch(),
        "remove latest": lambda at: (at.dataset / "latest").unlink(),
        "rename latest": lambda at: (at.dataset / "latest").rename(at.dataset / "x"),
    },
    errno.EROFS: {
        "file in snapshots": lambda at: (at.root / "snapshots" / "x").touch(),
        "folder in snapshots": lambda at: (at.root / "snapshots" / "x").mkdir(),
    },
    errno.EINVAL: {
        "dataset with a blank": lambda at: (at.root / "datasets" / "a b").mkdir(),
        "version with a dot first": lambda at: (at.dataset / ".v").mkdir(),
        "version of 129 letters": lambda at: (at.dataset / ("v" * 129)).mkdir(),
        "version called latest": lambda at: (at.root / "models" / "latest").mkdir(),
        "tag with a dash first": lambda at: (at.dataset / "-t").symlink_to("v1"),
        "tag of another dataset": lambda at: (at.dataset / "t").symlink_to("../other/v1"),
        "version renamed badly": lambda at: at.draft.rename(at.dataset / "a b"),
        "folder into itself": lambda at: (at.draft / "a").rename(at.draft / "a" / "b"),
    },
    errno.EXDEV: {
        "folder to another version": lambda at: (at.draft / "a").rename(at.dataset / "v2" / "x"),
        "link to another version": (
            lambda at: (at.dataset / "v2" / "x").hardlink_to(at.draft / "file")
        ),
        "folder to a version": lambda at: (at.draft / "a").rename(at.dataset / "v3"),
        "version to a folder": lambda at: at.draft.rename(at.dataset / "v2" / "x"),
    },
    errno.ENOENT: {"tag of nothing": lambda at: (at.dataset / "t").symlink_to("v9")},
    errno.EEXIST: {"another latest": lambda at: (at.dataset / "latest").mkdir()},
    errno.ENOTEMPTY: {"remove a full version": lambda at: at.draft.rmdir()},
    errno.ENAMETOOLONG: {"name of 256 bytes": lambda at: (at.draft / ("x" * 256)).touch()},
}


@pytest.mark.parametrize(
    ("code", "attempt"),
    [
        pytest.param(code, attempt, id=f"{errno.errorcode[code]}: {name}")
        for code, attempts in REFUSALS.items()
        for name, attempt in attempts.items()
    ],
)
def test_what_the_tree_forbids_fails_with_the_errno_that_says_so(
    shelf: Shelf, code: int, attempt: Callable[[Shelf], object]
) -> None:
    before = run("find", shelf.dataset, "-printf", "%P %y %l %s\n")
    with refused(code):
        attempt(shelf)
    assert run("find", shelf.dataset, "-printf", "%P %y %l %s\n") == before


def test_latest_follows_the_newest_version_and_tags_stay(shelf: Shelf) -> None:
    assert (shelf.dataset / "latest").readlink() == Path("v2")
    (shelf.dataset / "v3").mkdir()
    eventually(
        lambda: (shelf.dataset / "latest").readlink() == Path("v3"),
        "latest follows within a second",
    )
    assert (shelf.dataset / "tag" / "file").read_text() == "text"
    assert run("ls", shelf.dataset).split() == ["latest", "tag", "v1", "v2", "v3"]
    (shelf.dataset / "tag").unlink()
    (shelf.dataset / "tag").symlink_to("v2")
    assert not (shelf.dataset / "tag" / "file").exists()


def test_a_sealed_version_refuses_every_change(site: Site, shelf: Shelf) -> None:
    file, folder, fresh = (shelf.draft / name for name in ("file", "a", "fresh"))
    site.database["fs.tree"].update_one(
        {"_id": shelf.draft.stat().st_ino}, {"$set": {"state": "sealed"}}
    )

    def is_sealed() -> bool:
        try:
            os.utime(folder)
        except OSError as error:
            return error.errno == errno.EROFS
        return False

    eventually(is_sealed, "the mount knows that the version is sealed")
    attempts: list[Callable[[], object]] = [
        fresh.touch,
        fresh.mkdir,
        folder.rmdir,
        file.unlink,
        shelf.draft.rmdir,
        lambda: os.mkfifo(fresh),
        lambda: fresh.symlink_to("file"),
        lambda: fresh.hardlink_to(file),
        lambda: file.rename(fresh),
        lambda: file.rename(shelf.dataset / "v2" / "x"),
        lambda: (shelf.dataset / "v2").rename(shelf.draft),
        lambda: shelf.draft.rename(shelf.dataset / "v9"),
        lambda: file.chmod(0o600),
        lambda: os.chown(file, NOBODY, NOBODY),
        lambda: os.utime(file),
        lambda: os.truncate(file, 1),
        lambda: os.setxattr(file, "user.a", b""),
        lambda: file.open("wb").close(),
        lambda: file.open("ab").close(),
        lambda: file.open("r+b").close(),
    ]
    for attempt in attempts:
        with refused(errno.EROFS):
            attempt()
    assert file.read_text() == "text"
    assert sorted(path.name for path in shelf.draft.iterdir()) == ["a", "file"]
