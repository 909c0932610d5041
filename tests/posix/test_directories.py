"""Listings that are read in parts, gone back in, and changed meanwhile."""

import os
import random
import time
from pathlib import Path

import pytest

from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.store.encoding import encode_node
from gridfsmount.vfs.recent import REMEMBER_SECONDS
from tests.listing import Directory
from tests.mounting import eventually
from tests.posix.conftest import Sites

MANY = 1300
"""Entries of a folder: more than one page of the mount's."""

NAMES = [f"n{number:04}" for number in range(MANY)]


def fill(sites: Sites, folder: Path, names: list[str]) -> None:
    """Put empty files into a folder: as documents, since one by one takes seconds."""
    folder_inode = Inode(folder.stat().st_ino)
    counter = sites.database["fs.lake"].find_one_and_update(
        {"_id": "inodes"}, {"$inc": {"next": len(names)}}
    )
    assert counter is not None
    nodes = [
        Node(
            inode=Inode(counter["next"] + index),
            kind=Kind.FILE,
            names=(Name(folder_inode, name),),
            mode=0o644,
            uid=os.geteuid(),
            gid=os.getegid(),
            mtime_ns=0,
            ctime_ns=0,
            version=folder_inode,
        )
        for index, name in enumerate(names)
    ]
    sites.database["fs.tree"].insert_many([encode_node(node) for node in nodes])


def positions(directory: Directory) -> dict[str, int]:
    """Where each name is, read to the end."""
    found: dict[str, int] = {}
    while True:
        position = directory.tell()
        name = directory.read()
        if name is None:
            return found
        found[name] = position


def listed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_going_back_after_removals_loses_and_doubles_nothing(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, NAMES)
    choose = random.Random(7)
    with Directory(folder) as directory:
        where = positions(directory)
        assert sorted(where) == sorted([".", "..", *NAMES])
        left = list(NAMES)
        for _ in range(4):
            for name in choose.sample(left, 30):
                (folder / name).unlink()
                left.remove(name)
            for start in (NAMES[0], NAMES[1], *choose.sample(NAMES, 4), NAMES[999], NAMES[-1]):
                directory.seek(where[start])
                assert directory.rest() == [name for name in left if name >= start]
        directory.seek(where["."])
        assert directory.rest() == [".", "..", *left]


def test_going_back_after_additions_shows_what_stayed_once_and_rewinding_shows_all(
    sites: Sites,
) -> None:
    folder = sites.draft()
    fill(sites, folder, NAMES)
    new = [f"{name}-new" for name in NAMES[::10]]
    with Directory(folder) as directory:
        where = positions(directory)
        fill(sites, folder, new)
        for start in (NAMES[0], NAMES[700], NAMES[1100]):
            directory.seek(where[start])
            seen = directory.rest()
            assert len(seen) == len(set(seen))
            assert [name for name in seen if name in where] == [n for n in NAMES if n >= start]
        directory.rewind()
        assert directory.rest() == [".", "..", *sorted(NAMES + new)]


def test_a_listing_goes_on_behind_what_is_removed_in_front_of_it(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, NAMES)
    with Directory(folder) as directory:
        seen = [directory.read() for _ in range(100)]
        gone = NAMES[:90:3] + NAMES[500:1100:10]
        for name in gone:
            (folder / name).unlink()
        # What the C library or the mount had read already may still come.
        seen += [name for name in directory.rest() if (folder / str(name)).exists()]
    assert len(seen) == len(set(seen))
    assert set(seen) - set(gone) == {".", "..", *NAMES} - set(gone)


LONG_NAMES = [f"{number:03}{'-' * 200}" for number in range(600)]
"""One page of the mount's, several of getdents(2): the C library asks for 32 KiB."""


def test_a_listing_brings_nothing_back_that_was_removed_meanwhile(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, LONG_NAMES)
    last, before = folder / LONG_NAMES[-1], folder / LONG_NAMES[-2]
    with Directory(folder) as directory:
        directory.read()
        last.unlink()
        before.rename(folder / "moved")
        seen = directory.rest()
        assert not {last.name, before.name} & set(seen)
        assert not last.exists()
        last.mkdir()  # nothing is in its way
        before.open("xb").close()


def test_a_listing_that_waited_shows_nothing_that_another_machine_removed(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, LONG_NAMES)
    last = folder / LONG_NAMES[-1]
    with Directory(folder) as directory:
        directory.read()
        sites.database["fs.tree"].delete_one(
            {"names.parent": folder.stat().st_ino, "names.name": last.name}
        )
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > REMEMBER_SECONDS, "what was read is old")
        assert last.name not in directory.rest()
        assert not last.exists()


def test_a_listing_brings_no_old_size_back(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, LONG_NAMES)
    last = folder / LONG_NAMES[-1]
    with Directory(folder) as directory, last.open("r+b", buffering=0) as file:
        directory.read()
        last.write_bytes(b"some bytes")
        assert directory.rest()[-1] == last.name
        assert last.stat().st_size == 10
        assert file.read() == b"some bytes"


def test_a_dataset_s_listing_goes_back_over_its_versions_and_latest(sites: Sites) -> None:
    dataset = sites.mount.version("datasets/listed/v1").parent
    for name in ("v2", "v3", "v4"):
        (dataset / name).mkdir()
    with Directory(dataset) as directory:
        where = positions(directory)
        assert list(where) == [".", "..", "v1", "v2", "v3", "v4", "latest"]
        (dataset / "v2").rmdir()
        (dataset / "v4").rmdir()
        for start, left in (
            ("v1", ["v1", "v3", "latest"]),
            ("v2", ["v3", "latest"]),
            ("v4", ["latest"]),
            ("latest", ["latest"]),
        ):
            directory.seek(where[start])
            assert directory.rest() == left


def test_an_nfs_server_that_opens_a_folder_for_each_piece_misses_nothing_it_removes(
    sites: Sites,
) -> None:
    folder = sites.draft()
    names = NAMES[:300]
    fill(sites, folder, names)
    position, seen = 0, list[str]()
    while True:
        with Directory(folder) as directory:
            directory.seek(position)
            piece = [name for _ in range(128) if (name := directory.read()) is not None]
            position = directory.tell()
        seen += piece
        for name in piece:
            if name not in (".", ".."):
                (folder / name).unlink()
        if not piece:
            break
    assert seen == [".", "..", *names]
    folder.rmdir()


def test_two_readers_of_a_folder_go_on_where_each_of_them_was(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, NAMES)
    with Directory(folder) as directory:
        before = positions(directory)
    for name in NAMES[:50]:
        (folder / name).unlink()
    with Directory(folder) as directory:
        after = positions(directory)
    for where in (before, after, before):
        for start in (NAMES[60], NAMES[1200]):
            with Directory(folder) as directory:
                directory.seek(where[start])
                assert directory.rest() == [name for name in NAMES if name >= start]


def test_a_position_that_nobody_remembers_is_a_place_in_what_is_there(sites: Sites) -> None:
    folder = sites.draft()
    fill(sites, folder, NAMES)
    with Directory(folder) as directory:
        where = positions(directory)
    with Directory(folder) as directory:
        directory.seek(where[NAMES[1100]] ^ 1 << 60)  # as if of the mount's life before
        assert directory.rest() == NAMES[1100:]


@pytest.mark.parametrize("count", [0, 1, 200])
def test_a_folder_has_each_name_once(place: Path, count: int) -> None:
    names = [f"{number}-\N{GREEK SMALL LETTER OMEGA}" for number in range(count)]
    for name in names:
        (place / name).touch()
    assert sorted(listed(place)) == sorted(names)
    with Directory(place) as directory:
        for _ in range(2):
            assert sorted(directory.rest()) == sorted([".", "..", *names])
            directory.rewind()
    for name in names[::2]:
        (place / name).unlink()
    assert sorted(listed(place)) == sorted(names[1::2])


def test_folders_that_are_not_empty_are_not_removed_or_replaced(place: Path) -> None:
    (place / "full" / "below").mkdir(parents=True)
    (place / "empty").mkdir()
    for attempt in (
        (place / "full").rmdir,
        lambda: (place / "empty").rename(place / "full"),
    ):
        with pytest.raises(OSError, match="not empty"):
            attempt()
    (place / "full").rename(place / "empty")
    assert listed(place) == ["empty"]
    assert listed(place / "empty") == ["below"]
