"""What is shown of a snapshot, and that it never changes."""

import errno
import hashlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridfsmount.core.model import Kind
from gridfsmount.core.vault import Vault
from gridfsmount.vaults.opening import make_vault
from tests.listing import Directory
from tests.mounting import assert_healthy_log
from tests.snapshots.conftest import LAKE, MountedAlone
from tests.snapshots.planting import TIME, Planted, note_verified

FIRST = "2026-11-22T03-00-00Z"
SECOND = "2026-11-23T03-00-00Z"
BIG = bytes(range(256)) * 12_345


def planted() -> Planted:
    tree = Planted()
    tree.file("datasets/mnist/v1/a", b"hello", mode=0o640)
    tree.file("datasets/mnist/v1/sub/big", BIG)
    tree.file("datasets/mnist/v1/sub/Übung ☃", b"names")
    tree.file("datasets/mnist/v1/empty", b"")
    tree.link("datasets/mnist/v1/sub/b", "datasets/mnist/v1/a")
    tree.symlink("datasets/mnist/v1/link", "sub/big")
    tree.add("datasets/mnist/v1/pipe", Kind.FIFO, 0o600)
    tree.add("datasets/mnist/v1/socket", Kind.SOCKET, 0o600)
    tree.add("datasets/mnist/v1/noted", Kind.FILE, xattrs={"user.colour": b"green"})
    tree.file("datasets/mnist/v2/a", b"other")
    tree.symlink("datasets/mnist/production", "v1")
    tree.file("unsorted/adopted", b"driver's", mode=None)
    tree.seal("datasets/mnist/v1", TIME)
    return tree


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedAlone]:
    folder = tmp_path_factory.mktemp("alone")
    vault = make_vault(str(folder / "vault"), LAKE)
    planted().publish(vault, FIRST)
    planted().publish(vault, SECOND)
    note_verified(vault, FIRST, good=True)
    note_verified(vault, SECOND, good=False)
    vault.set_note(f"pins/{FIRST}", b"before the migration")
    with MountedAlone(folder, "--vault", folder / "vault", "--umask", "022") as mounted:
        yield mounted
    assert_healthy_log(mounted)


@pytest.fixture
def top(mount: MountedAlone) -> Path:
    return mount.path / "snapshots" / FIRST


def test_a_mount_without_a_lake_shows_snapshots_only(mount: MountedAlone) -> None:
    assert os.listdir(mount.path) == ["snapshots"]  # noqa: PTH208
    assert sorted(each.name for each in (mount.path / "snapshots").iterdir()) == [
        *(FIRST, SECOND, "latest")
    ]
    assert str((mount.path / "snapshots/latest").readlink()) == SECOND
    assert sorted(each.name for each in (mount.path / "snapshots/latest").iterdir()) == [
        *("datasets", "models", "unsorted")
    ]


def test_a_position_among_the_snapshots_holds_in_another_handle(mount: MountedAlone) -> None:
    with Directory(mount.path / "snapshots") as directory:
        names = [directory.read() for _ in range(3)]
        position = directory.tell()
        rest = directory.rest()
    assert len(names) == 3
    with Directory(mount.path / "snapshots") as directory:
        directory.seek(position)
        assert directory.rest() == rest != []


def test_modes_owners_times_links_and_kinds_are_those_of_the_lake(top: Path) -> None:
    version = top / "datasets/mnist/v1"
    nodes = planted().nodes
    for name in ("a", "empty", "link", "pipe", "socket", "sub"):
        node, status = nodes[f"datasets/mnist/v1/{name}"], (version / name).lstat()
        assert status.st_mtime_ns == node.mtime_ns
        assert status.st_ctime_ns == node.ctime_ns
        assert (status.st_uid, status.st_gid) == (node.uid, node.gid)
        assert name == "link" or status.st_mode & 0o7777 == node.mode
    assert (version / "a").lstat().st_nlink == 2
    assert (version / "a").lstat().st_ino == (version / "sub/b").lstat().st_ino
    assert (version / "pipe").is_fifo()
    assert (version / "socket").is_socket()
    assert str((version / "link").readlink()) == "sub/big"
    adopted = (top / "unsorted/adopted").stat()
    assert adopted.st_mode & 0o777 == 0o644
    assert adopted.st_uid == os.getuid()


def test_tags_and_latest_lead_where_they_led(top: Path) -> None:
    dataset = top / "datasets/mnist"
    assert sorted(each.name for each in dataset.iterdir()) == ["latest", "production", "v1", "v2"]
    assert str((dataset / "latest").readlink()) == "v1"  # the sealed one
    assert (dataset / "production/a").read_bytes() == b"hello"


def test_contents_and_attributes_are_those_of_the_lake(top: Path) -> None:
    version = top / "datasets/mnist/v1"
    assert (version / "sub/big").read_bytes() == BIG
    assert (version / "sub/Übung ☃").read_bytes() == b"names"
    assert (version / "empty").read_bytes() == b""
    sha256 = hashlib.sha256(b"hello").hexdigest().encode()
    assert os.getxattr(version / "a", "user.lake.sha256") == sha256
    assert os.getxattr(version / "a", "user.lake.content") == b"content 0"
    assert os.getxattr(version / "noted", "user.colour") == b"green"
    assert os.listxattr(version / "noted") == ["user.colour"]
    assert os.getxattr(version, "user.lake.sealed") == b"1"
    assert os.getxattr(version, "user.lake.digest") == b"d" * 64
    with pytest.raises(OSError, match="Errno") as caught:
        os.getxattr(top / "datasets/mnist/v2", "user.lake.sealed")
    assert caught.value.errno == errno.ENODATA


def test_what_is_known_of_a_snapshot_can_be_asked_of_its_folder(
    mount: MountedAlone, top: Path
) -> None:
    assert os.getxattr(top, "user.lake.verified") == b"2023-11-14T22:13:20Z good 7 of 8 blobs"
    other = mount.path / "snapshots/latest"
    assert os.getxattr(other, "user.lake.verified").endswith(b" bad 7 of 8 blobs, 1 damaged")
    assert os.getxattr(top, "user.lake.vault") == str(mount.path.parent / "vault").encode()
    assert os.getxattr(top, "user.lake.pinned") == b"before the migration"
    assert b"one moment, " in os.getxattr(top, "user.lake.summary")
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(other, "user.lake.pinned")


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda at: (at / "new").touch(),
    "mkdir": lambda at: (at / "new").mkdir(),
    "symlink": lambda at: (at / "new").symlink_to("a"),
    "mkfifo": lambda at: os.mkfifo(at / "new"),
    "socket": lambda at: os.mknod(at / "new", stat.S_IFSOCK | 0o600),
    "hard link": lambda at: (at / "new").hardlink_to(at / "a"),
    "unlink": lambda at: (at / "a").unlink(),
    "rmdir": lambda at: (at / "sub").rmdir(),
    "rename": lambda at: (at / "a").rename(at / "new"),
    "open to write": lambda at: (at / "a").open("r+b"),
    "truncate": lambda at: os.truncate(at / "a", 0),
    "chmod": lambda at: (at / "a").chmod(0o600),
    "chown": lambda at: os.chown(at / "a", 1, 1),
    "utime": lambda at: os.utime(at / "a"),
    "setxattr": lambda at: os.setxattr(at / "a", "user.x", b"1"),
    "removexattr": lambda at: os.removexattr(at / "noted", "user.colour"),
    "seal": lambda at: os.setxattr(at, "user.lake.sealed", b"1"),
    "in the folder of all": lambda at: (at.parents[3] / "new").mkdir(),
    "a whole snapshot": lambda at: at.parents[2].rename(at.parents[3] / "new"),
    "at its top": lambda at: (at.parents[2] / "new").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_refused_with_erofs(top: Path, change: str) -> None:
    with pytest.raises(OSError, match="Errno") as caught:
        CHANGES[change](top / "datasets/mnist/v1")
    assert caught.value.errno == errno.EROFS


def test_cp_brings_back_all_of_it(top: Path, mount: MountedAlone) -> None:
    goal = mount.path.parent / "restored"
    source = top / "datasets"
    done = subprocess.run(["cp", "-a", source, goal], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for each in (source, *source.rglob("*")):
        was, now = each.lstat(), (goal / each.relative_to(source)).lstat()
        assert was.st_mode == now.st_mode
        assert (was.st_uid, was.st_gid, was.st_nlink > 1) == (
            *(now.st_uid, now.st_gid),
            now.st_nlink > 1 and not each.is_dir(),
        ) or each.is_dir()
        assert was.st_mtime_ns == now.st_mtime_ns
        if each.is_file():
            assert each.read_bytes() == (goal / each.relative_to(source)).read_bytes()
    assert os.getxattr(goal / "mnist/v1/noted", "user.colour") == b"green"
    equal = subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "pipe", "-x", "socket", source, goal],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (equal.returncode, equal.stdout) == (0, "")


def test_dots_lead_up_to_the_root(top: Path) -> None:
    folder = os.open(top / "datasets/mnist/v1/sub", os.O_RDONLY)
    try:
        for expected in ("v1", "mnist", "datasets", FIRST, "snapshots"):
            above = os.open("..", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = above
            assert Path(os.readlink(f"/proc/self/fd/{folder}")).name == expected  # noqa: PTH115
    finally:
        os.close(folder)


def test_a_large_folder_is_listed_whole_and_in_order(
    vault: Vault, mount_alone: Callable[..., MountedAlone], tmp_path: Path
) -> None:
    tree = Planted()
    tree.folder("datasets/many/v1")
    names = [f"{number:06}" for number in range(20_000)]
    for name in names:
        tree.file(f"datasets/many/v1/{name}", b"")
    tree.publish(vault, FIRST)
    mount = mount_alone(tmp_path / "vault")
    folder = mount.path / "snapshots/latest/datasets/many/v1"
    assert os.listdir(folder) == names  # noqa: PTH208
    with os.scandir(folder) as entries:
        assert [each.name for each in entries] == names
