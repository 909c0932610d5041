"""What may be where, and how names change: names, rules of the tree, links, renames."""

import ctypes
import errno
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

from bson import Int64
from pymongo import MongoClient
from pymongo.database import Database

from tests.mounting import Mounted, eventually
from tests.semantics.conftest import Shared
from tests.semantics.refusals import refused

RENAME_NOREPLACE: Final = 1  # linux/fs.h
RENAME_EXCHANGE: Final = 2


def rename_with(flags: int, old: Path, new: Path) -> None:
    """Call renameat2(2)."""
    library = ctypes.CDLL(None, use_errno=True)
    at_cwd = -100
    if library.renameat2(at_cwd, os.fsencode(old), at_cwd, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def listed(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


# --- names -----------------------------------------------------------------------------------


def test_names_are_utf8_of_at_most_255_bytes(here: Path) -> None:
    for name in ("n" * 255, "ü" * 127, "a b\n\\*"):
        (here / name).write_bytes(b"")
    with refused(errno.ENAMETOOLONG):
        (here / ("ü" * 128)).write_bytes(b"")
    with refused(errno.EILSEQ):
        Path(os.fsdecode(os.fsencode(here) + b"/\xff")).mkdir()


def test_names_are_the_same_only_when_their_bytes_are(here: Path) -> None:
    names = {"name", "Name", "\u00e9", "e\u0301"}
    for name in names:
        (here / name).write_text(name)
    assert set(listed(here)) == names
    assert all((here / name).read_text() == name for name in names)


def test_datasets_models_versions_and_tags_have_plain_names(shared: Shared, here: Path) -> None:
    for name in (".hidden", "a b", "-x", "ü", "n" * 129, "latest"):
        with refused(errno.EINVAL):
            (shared.one.path / "datasets" / name).mkdir()
    with refused(errno.EINVAL):
        (here.parent / "v 2").mkdir()


def test_a_listing_is_in_the_order_of_the_names_bytes(here: Path) -> None:
    for name in ("b", "a", "B", "é", "a.b", "\U0001f600", "\uffee"):
        (here / name).mkdir()
    assert listed(here) == sorted(listed(here), key=str.encode)


# --- the tree --------------------------------------------------------------------------------


def test_the_root_and_its_areas_are_fixed(shared: Shared) -> None:
    root = shared.one.path
    assert sorted(listed(root)) == ["datasets", "models", "snapshots", "unsorted"]
    with refused(errno.EPERM):
        (root / "file").write_bytes(b"")
    with refused(errno.EPERM):
        (root / "folder").mkdir()
    with refused(errno.EPERM):
        (root / "models").rmdir()
    with refused(errno.EPERM):
        (root / "models").rename(root / "other")


def test_files_are_refused_above_a_version(shared: Shared, here: Path) -> None:
    with refused(errno.EPERM):
        (shared.one.path / "datasets" / "file").write_bytes(b"")
    with refused(errno.EPERM):
        (here.parent / "file").write_bytes(b"")
    with refused(errno.EPERM):
        (shared.one.path / "datasets" / "link").symlink_to("mnist")
    assert "files go below a version" in shared.one.log_text()


def test_everything_but_devices_can_be_made_in_a_version(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "file").write_bytes(b"bytes")
    (here / "link").symlink_to("../anywhere")
    (here / ".hidden").write_bytes(b"")
    os.mkfifo(here / "fifo")
    assert (here / "link").readlink() == Path("../anywhere")
    with refused(errno.EPERM):
        os.mknod(here / "null", 0o020666, os.makedev(1, 3))


def test_tags_point_to_versions_of_their_own_folder(here: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    tag = here.parent / "production"
    tag.symlink_to("v1")
    assert (tag / "file").read_bytes() == b"bytes"
    for target in ("../other/v1", "/etc", "production", "latest"):
        with refused(errno.EINVAL):
            (here.parent / "other").symlink_to(target)
    with refused(errno.ENOENT):
        (here.parent / "other").symlink_to("v9")


def test_latest_leads_to_the_newest_version(here: Path) -> None:
    latest = here.parent / "latest"
    assert latest.readlink() == Path("v1")
    (here.parent / "v2").mkdir()
    assert latest.readlink() == Path("v2")
    assert sorted(listed(here.parent)) == ["latest", "v1", "v2"]
    (here.parent / "v2").rmdir()
    assert latest.readlink() == Path("v1")
    with refused(errno.EPERM):
        latest.unlink()


def test_snapshots_cannot_be_changed(shared: Shared) -> None:
    snapshots = shared.one.path / "snapshots"
    assert listed(snapshots) == []
    with refused(errno.EROFS):
        (snapshots / "folder").mkdir()
    with refused(errno.EROFS):
        snapshots.chmod(0o777)


# --- hard links ------------------------------------------------------------------------------


def test_hard_links_share_one_inode(here: Path) -> None:
    (here / "one").write_bytes(b"first")
    (here / "other").hardlink_to(here / "one")
    (here / "one").write_bytes(b"second")
    assert (here / "other").read_bytes() == b"second"
    assert (here / "one").stat().st_ino == (here / "other").stat().st_ino
    assert (here / "one").stat().st_nlink == 2
    (here / "one").unlink()
    assert (here / "other").read_bytes() == b"second"
    assert (here / "other").stat().st_nlink == 1


def test_a_directory_s_link_count_is_always_one(here: Path) -> None:
    (here / "folder" / "below").mkdir(parents=True)
    assert (here / "folder").stat().st_nlink == 1


def test_a_file_has_at_most_1000_names(here: Path, database: Database[dict[str, Any]]) -> None:
    (here / "file").write_bytes(b"")
    parent, number = Int64(here.stat().st_ino), (here / "file").stat().st_ino
    names = [{"parent": parent, "name": f"n{each}"} for each in range(998)]
    added = {"$push": {"names": {"$each": names}}, "$inc": {"rev": 1}}
    database["fs.tree"].update_one({"_id": number}, added)
    eventually(lambda: (here / "file").stat().st_nlink == 999, "the mount sees all of them")
    (here / "the last").hardlink_to(here / "file")
    with refused(errno.EMLINK):
        (here / "one too many").hardlink_to(here / "file")


# --- renames ---------------------------------------------------------------------------------


def test_a_file_moves_across_versions_by_rename_and_folders_and_links_do_not(here: Path) -> None:
    other = here.parent / "v2"
    other.mkdir()
    (here / "file").write_bytes(b"bytes")
    number = (here / "file").stat().st_ino
    (here / "file").rename(other / "file")
    assert (other / "file").stat().st_ino == number
    assert (other / "file").read_bytes() == b"bytes"

    (here / "folder").mkdir()
    (here / "one").write_bytes(b"")
    (here / "two").hardlink_to(here / "one")
    with refused(errno.EXDEV):
        (here / "folder").rename(other / "folder")
    with refused(errno.EXDEV):
        (here / "one").rename(other / "one")
    with refused(errno.EXDEV):
        (other / "two").hardlink_to(here / "two")


def test_versions_and_datasets_are_renamed_but_never_become_something_else(
    shared: Shared, here: Path
) -> None:
    (here / "file").write_bytes(b"bytes")
    (here / "folder").mkdir()
    moved = here.parent / "v2"
    here.rename(moved)
    assert (moved / "file").read_bytes() == b"bytes"
    with refused(errno.EXDEV):
        (moved / "folder").rename(here.parent / "v3")
    model = shared.one.path / "models" / here.parent.name
    here.parent.rename(model)
    assert (model / "v2" / "file").read_bytes() == b"bytes"


def test_renameat2_can_refuse_to_replace_and_can_exchange(here: Path) -> None:
    (here / "one").write_bytes(b"1")
    (here / "two").write_bytes(b"2")
    with refused(errno.EEXIST):
        rename_with(RENAME_NOREPLACE, here / "one", here / "two")
    rename_with(RENAME_EXCHANGE, here / "one", here / "two")
    assert ((here / "one").read_bytes(), (here / "two").read_bytes()) == (b"2", b"1")


def test_a_rename_replaces_what_another_mount_makes_at_that_moment(here: Path, there: Path) -> None:
    def make() -> None:
        for _ in range(100):
            (there / "file").write_bytes(b"made")
            (there / "file").unlink(missing_ok=True)

    maker = threading.Thread(target=make)
    maker.start()
    while maker.is_alive():
        (here / "next").write_bytes(b"renamed")
        (here / "next").rename(here / "file")
    maker.join()


def test_drivers_see_files_and_folders_under_their_new_paths(
    here: Path, path: str, database: Database[dict[str, Any]]
) -> None:
    (here / "folder" / "below").mkdir(parents=True)
    (here / "folder" / "below" / "file").write_bytes(b"bytes")
    (here / "folder").rename(here / "renamed")
    assert _filenames(database, path) == [f"{path}/renamed/below/file"]
    (here / "renamed" / "below" / "file").rename(here / "file")
    assert _filenames(database, path) == [f"{path}/file"]


def _filenames(database: Database[dict[str, Any]], path: str) -> list[str]:
    found = database["fs.files"].find({"filename": {"$regex": f"^{path}/"}})
    return sorted(each["filename"] for each in found)


def test_a_rename_that_a_crash_interrupted_on_a_standalone_server_is_mended(
    standalone_uri: str, tmp_path: Path
) -> None:
    with Mounted(standalone_uri, tmp_path) as mount:
        version = mount.version()
        (version / "file").write_bytes(b"old")
        (version / "next").write_bytes(b"new")
        number = (version / "file").stat().st_ino
        mount.kill()
        _set_aside(standalone_uri, number)  # the first of the two updates; then the crash
        mount.start()
        assert (version / "file").read_bytes() == b"old"
        assert (version / "next").read_bytes() == b"new"
        (version / "next").rename(version / "file")
        assert (version / "file").read_bytes() == b"new"


def _set_aside(uri: str, number: int) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        tree = client.get_default_database()["fs.tree"]
        node = tree.find_one({"_id": number})
        assert node is not None
        nowhere = [{"parent": Int64(0), "name": str(number)}]
        tree.update_one({"_id": number}, {"$set": {"names": nowhere, "was": node["names"]}})


# --- removal ---------------------------------------------------------------------------------


def test_a_version_is_removed_like_any_directory(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "file").write_bytes(b"bytes")
    with refused(errno.ENOTEMPTY):
        here.rmdir()
    subprocess.run(["rm", "-r", here], check=True)
    here.parent.rmdir()
    assert not here.parent.exists()


def test_a_size_that_the_server_s_disk_cannot_hold_is_refused_at_once(here: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    with refused(errno.ENOSPC):
        os.truncate(here / "file", 1 << 51)
    with (here / "file").open("r+b", buffering=0) as file, refused(errno.ENOSPC):
        os.pwrite(file.fileno(), b"far away", 1 << 51)
    assert (here / "file").read_bytes() == b"bytes"
