"""What is changed on one mount is seen on the others, within a second, on any deployment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounting import eventually

SECOND = 1.5  # and some time for a busy machine to answer

OLD, NEW = b"old", b"newer"
STAMP = 1_600_000_000_123_456_789

Change = Callable[[Path], object]


def replace(file: Path) -> None:
    (file.parent / "next").write_bytes(NEW)
    (file.parent / "next").replace(file)


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        pytest.param(lambda f: f.write_bytes(NEW), lambda f: f.stat().st_size == 5, id="rewrite"),
        pytest.param(replace, lambda f: f.stat().st_size == 5, id="replace"),
        pytest.param(lambda f: os.truncate(f, 1), lambda f: f.stat().st_size == 1, id="truncate"),
        pytest.param(lambda f: os.truncate(f, 9), lambda f: f.stat().st_size == 9, id="lengthen"),
        pytest.param(Path.unlink, lambda f: not f.exists(), id="remove"),
        pytest.param(lambda f: f.rename(f"{f}2"), lambda f: not f.exists(), id="rename"),
        pytest.param(lambda f: f.chmod(0o600), lambda f: f.stat().st_mode & 0o77 == 0, id="chmod"),
        pytest.param(
            lambda f: os.utime(f, ns=(STAMP, STAMP)),
            lambda f: f.stat().st_mtime_ns == STAMP,
            id="times",
        ),
        pytest.param(
            lambda f: os.link(f, f"{f}2"), lambda f: f.stat().st_nlink == 2, id="hard link"
        ),
        pytest.param(
            lambda f: os.setxattr(f, "user.tag", b"1"),
            lambda f: os.listxattr(f) == ["user.tag"],
            id="attribute",
        ),
        pytest.param(
            lambda f: (f.unlink(), f.mkdir()), lambda f: f.is_dir(), id="another kind of node"
        ),
    ],
)
def test_a_change_shows_on_all_mounts_within_a_second(
    places: list[Path], change: Change, shows: Callable[[Path], bool]
) -> None:
    files = [place / "file" for place in places]
    files[0].write_bytes(OLD)
    for file in files:  # their kernels believe in this from here on
        assert file.stat().st_size == len(OLD)
        assert not shows(file)
    change(files[0])
    for file in files[1:]:
        eventually(lambda: shows(file), "the change", seconds=SECOND)  # noqa: B023


def test_a_new_name_shows_at_once_even_where_it_was_missing(places: list[Path]) -> None:
    for number in range(10):
        assert not any((place / f"{number}").exists() for place in places)
        (places[0] / f"{number}").write_bytes(OLD)
        assert all((place / f"{number}").read_bytes() == OLD for place in places)


def test_an_append_goes_to_the_end_of_what_was_closed_elsewhere(places: list[Path]) -> None:
    logs = [place / "log" for place in places]
    logs[0].write_bytes(b"")
    expected = b""
    for number in range(6):
        for letter, log in zip(b"abc", logs, strict=True):
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)  # as a shell does: no fstat(2)
            os.write(descriptor, line := b"%c%d " % (letter, number))
            expected += line
            assert log.read_bytes() == expected
            os.close(descriptor)
    assert [log.read_bytes() for log in logs] == [expected] * 3


def test_a_listing_is_that_of_the_moment(here: Path, there: Path) -> None:
    for number in range(10):
        (here / f"{number}").mkdir()
        assert names(there) == names(here)
        (here / f"{number}").rename(here / f"renamed {number}")
        assert names(there) == names(here)
    for each in list(there.iterdir()):
        each.rmdir()
        assert each.name not in names(here)


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(NEW), replace])
@pytest.mark.parametrize("held", [False, True], ids=["closed before", "open before as well"])
def test_an_open_has_the_newest_bytes_and_size_whatever_was_remembered(
    here: Path, there: Path, change: Change, held: bool
) -> None:
    (here / "file").write_bytes(OLD)
    descriptor = os.open(there / "file", os.O_RDONLY)
    assert os.pread(descriptor, 10, 0) == OLD  # the kernel has its pages from here on
    if not held:
        os.close(descriptor)
    assert (there / "file").stat().st_size == len(OLD)  # and its size
    change(here / "file")
    with (there / "file").open("rb") as file:
        assert os.fstat(file.fileno()).st_size == len(NEW)
        assert (there / "file").stat().st_size == len(NEW)
        assert file.read() == NEW
    if held:
        os.close(descriptor)
    assert (there / "file").read_bytes() == NEW


@pytest.mark.parametrize("replaced", [False, True], ids=["in place", "by rename"])
def test_whoever_has_a_file_open_keeps_its_old_content_whole(
    places: list[Path], replaced: bool
) -> None:
    old, new = os.urandom(3 << 20), os.urandom(3 << 20)
    (places[0] / "file").write_bytes(old)
    descriptors = [os.open(place / "file", os.O_RDONLY) for place in places]
    assert [os.pread(each, 100, 0) for each in descriptors[1:]] == [old[:100]] * 2
    target = places[0] / ("next" if replaced else "file")
    target.write_bytes(new)
    if replaced:
        target.replace(places[0] / "file")
    for place, descriptor in zip(places[1:], descriptors[1:], strict=True):
        assert (place / "file").read_bytes() == new
        assert os.pread(descriptor, len(old), 0) == old
    for descriptor in descriptors:
        os.close(descriptor)


def test_of_three_that_write_one_file_the_last_to_close_wins_whole(places: list[Path]) -> None:
    written = [bytes([65 + number]) * (3 << 20) for number in range(3)]
    (places[0] / "file").write_bytes(b"")
    files = [(place / "file").open("r+b", buffering=0) for place in places]
    for start in range(0, 3 << 20, 1 << 20):
        for file, data in zip(files, written, strict=True):
            file.write(data[start : start + (1 << 20)])
    for number, file in enumerate(files):
        file.close()
        for place in places[: number + 1]:  # where somebody still writes, that is what is seen
            assert (place / "file").read_bytes() == written[number]


def test_a_file_that_is_removed_elsewhere_stays_readable_and_writes_nothing_back(
    here: Path, there: Path
) -> None:
    (here / "file").write_bytes(OLD)
    with (there / "file").open("r+b", buffering=0) as file:
        (here / "file").unlink()
        assert file.read() == OLD
        eventually(lambda: not (there / "file").exists(), "the removal", seconds=SECOND)
        file.write(NEW)
        assert os.pread(file.fileno(), 10, 0) == OLD + NEW
    assert names(here) == names(there) == []
