"""Which call changes which times: of what it is about, and of the folders that list it."""

import functools
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.mounting import eventually
from tests.posix.acting import UTIME_NOW, UTIME_OMIT, Actor
from tests.posix.users import needs_root
from tests.semantics.refusals import refused

NOW, OMIT = (0, UTIME_NOW), (0, UTIME_OMIT)
CLOCK_REALTIME_COARSE: Final = 5  # linux/time.h: the clock of file systems
LONG_AGO: Final = 1_000_000_000 * 10**9
AHEAD: Final = 4_000_000_000 * 10**9
"""Nanoseconds: a time in 2096."""


def times(path: Path | str) -> tuple[int, int]:
    """When data and status were changed."""
    found = os.lstat(path)
    return found.st_mtime_ns, found.st_ctime_ns


def let_the_clock_tick(*paths: Path | str) -> None:
    """Until a change is told from the one before: file systems' clocks go in ticks."""
    newest = max(os.lstat(path).st_ctime_ns for path in paths)
    eventually(lambda: time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > newest, "the clock goes on")


def assert_changed(call: Callable[[], object], **expected: tuple[Path, str]) -> None:
    """Each of `expected` is a path, and which of its times change: "m", "c", "mc" or none.

    Those in capitals may change or not.
    """
    paths = [path for path, _ in expected.values()]
    let_the_clock_tick(*paths)
    before = {path: times(path) for path in paths}
    began = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    call()
    ended = time.time_ns()
    for what, (path, changes) in expected.items():
        for letter, old, new in zip("mc", before[path], times(path), strict=True):
            if letter in changes:
                assert began <= new <= ended, f"{letter}time of {what} is not now"
            elif letter.upper() not in changes:
                assert new == old, f"{letter}time of {what} changed"


@pytest.fixture
def folder(place: Path) -> Path:
    """A folder of the version: versions and datasets have times of their own."""
    path = place / "folder"
    path.mkdir()
    return path


def write_new(path: Path) -> None:
    path.write_bytes(b"bytes")


MAKING: Final[dict[str, Callable[[Path], object]]] = {
    "create": write_new,
    "mkdir": lambda path: path.mkdir(),
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o644),
    "symlink": lambda path: path.symlink_to("x"),
}


@pytest.mark.parametrize("how", MAKING)
def test_what_is_new_has_the_time_and_so_has_its_folder(folder: Path, how: str) -> None:
    let_the_clock_tick(folder)
    began = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    assert_changed(lambda: MAKING[how](folder / "new"), folder=(folder, "mc"))
    found = os.lstat(folder / "new")
    assert began <= found.st_atime_ns <= time.time_ns()
    assert began <= min(times(folder / "new"))


@pytest.mark.parametrize("how", MAKING)
def test_removal_changes_the_folder(folder: Path, how: str) -> None:
    new = folder / "new"
    MAKING[how](new)
    assert_changed(new.rmdir if how == "mkdir" else new.unlink, folder=(folder, "mc"))


@pytest.mark.parametrize("how", MAKING)
def test_renaming_changes_both_folders_and_no_other_data(folder: Path, how: str) -> None:
    other = folder.parent / "other"
    other.mkdir()
    MAKING[how](folder / "new")
    let_the_clock_tick(folder / "new")
    data = os.lstat(folder / "new").st_mtime_ns
    assert_changed(
        lambda: (folder / "new").rename(other / "moved"), old=(folder, "mc"), new=(other, "mc")
    )
    if how != "mkdir":  # its `..` is another now
        assert os.lstat(other / "moved").st_mtime_ns == data


def test_a_link_changes_the_status_of_its_file_when_it_comes_and_goes(folder: Path) -> None:
    file, again = folder / "file", folder / "again"
    file.write_bytes(b"bytes")
    assert_changed(lambda: again.hardlink_to(file), file=(file, "c"), folder=(folder, "mc"))
    assert_changed(again.unlink, file=(file, "c"), folder=(folder, "mc"))


def test_attributes_change_the_status_and_nothing_else(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"bytes")
    for path in (file, folder):
        for change in (
            functools.partial(path.chmod, 0o711),
            functools.partial(os.chown, path, os.geteuid(), os.getegid()),
        ):
            assert_changed(change, node=(path, "c"), above=(path.parent, ""))
    assert_changed(lambda: os.utime(file, ns=(1, 2)), above=(folder, ""))
    assert file.stat().st_mtime_ns == 2


def test_writing_changes_data_at_once_and_status_with_it(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"bytes")
    with file.open("r+b", buffering=0) as opened:
        for change in (
            lambda: opened.write(b"more"),
            lambda: os.pwrite(opened.fileno(), b"x", 100),
            lambda: os.ftruncate(opened.fileno(), 3),
            lambda: os.ftruncate(opened.fileno(), 300),
        ):
            assert_changed(change, file=(file, "mC"), above=(folder, ""))
        assert_changed(lambda: opened.write(b""), file=(file, ""))
        assert_changed(lambda: opened.seek(0), file=(file, ""))
    for size in (2, 200):
        assert_changed(lambda size=size: os.truncate(file, size), file=(file, "mc"))  # type: ignore[misc]
    assert_changed(lambda: file.open("wb").close(), file=(file, "mC"), above=(folder, ""))


def test_closing_changes_no_time_once_more(folder: Path) -> None:
    file = folder / "file"
    with file.open("wb", buffering=0) as opened:
        opened.write(b"bytes")
        written = file.stat().st_mtime_ns
        let_the_clock_tick(file)
    assert file.stat().st_mtime_ns == written


def test_reading_changes_nothing_but_atime(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"bytes")
    (folder / "link").symlink_to("file")
    for look in (
        file.read_bytes,
        lambda: list(folder.iterdir()),
        (folder / "link").readlink,
        lambda: os.access(file, os.R_OK),
    ):
        assert_changed(look, file=(file, ""), folder=(folder, ""))


def test_a_call_that_fails_changes_no_time(folder: Path) -> None:
    file, below = folder / "file", folder / "below"
    file.write_bytes(b"bytes")
    (below / "deep").mkdir(parents=True)
    attempts: list[Callable[[], object]] = [
        below.rmdir,
        below.unlink,
        file.rmdir,
        file.mkdir,
        lambda: os.mkfifo(file),
        lambda: file.symlink_to("x"),
        (folder / "missing").unlink,
        lambda: (folder / "missing").rename(file),
        lambda: file.rename(below),
        lambda: below.rename(file),
        lambda: below.rename(below / "deep" / "er"),
        lambda: file.rename(folder / ("n" * 256)),
        lambda: (folder / "again").hardlink_to(below),
        lambda: file.open("xb"),
        lambda: os.truncate(below, 0),
        lambda: below.open("wb"),
    ]
    for attempt in attempts:

        def fails(attempt: Callable[[], object] = attempt) -> None:
            with pytest.raises(OSError, match="Errno"):
                attempt()

        assert_changed(fails, file=(file, ""), below=(below, ""), folder=(folder, ""))


@needs_root
def test_a_call_that_is_not_permitted_changes_no_time(
    folder: Path, root: Actor, other: Actor
) -> None:
    file = folder / "file"
    root.write_file(str(file), b"bytes")
    root.chmod(str(file), 0o644)
    for name, arguments in (
        ("chmod", (0o777,)),
        ("chown", (1, 1)),
        ("truncate", (0,)),
        ("utime", ()),
        ("unlink", ()),
    ):
        assert_changed(
            lambda name=name, arguments=arguments: other.attempt(  # type: ignore[misc]
                name, str(file), *arguments
            ),
            file=(file, ""),
            folder=(folder, ""),
        )
    with refused(13):
        other.mkdir(str(folder / "new"), 0o755)


def test_utimensat_sets_either_time_or_both_or_none(folder: Path, root: Actor) -> None:
    file = folder / "file"
    file.write_bytes(b"bytes")
    for path in (file, folder):
        at = str(path)
        root.utimensat(at, (1, 2), (3, 4))
        assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (1_000_000_002, 3_000_000_004)
        root.utimensat(at, OMIT, (5, 6))
        assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (1_000_000_002, 5_000_000_006)
        root.utimensat(at, (7, 999_999_999), OMIT)
        assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (7_999_999_999, 5_000_000_006)
        assert_changed(lambda at=at: root.utimensat(at, OMIT, OMIT), node=(path, ""))  # type: ignore[misc]
        assert_changed(lambda at=at: root.utimensat(at, OMIT, NOW), node=(path, "mc"))  # type: ignore[misc]
        assert path.stat().st_atime_ns == 7_999_999_999
        assert_changed(lambda at=at: root.utimensat(at, (8, 0), OMIT), node=(path, "c"))  # type: ignore[misc]
        for bad in (10**9, -1):
            with refused(22):
                root.utimensat(at, (0, bad), (0, 0))


def test_utimensat_sets_the_times_of_a_link(folder: Path, root: Actor) -> None:
    file, link = folder / "file", folder / "link"
    file.write_bytes(b"bytes")
    link.symlink_to("file")
    os.utime(file, ns=(1, 2))
    os.utime(link, ns=(3, 4), follow_symlinks=False)
    assert (file.stat().st_mtime_ns, link.lstat().st_mtime_ns) == (2, 4)


@pytest.mark.parametrize("then", [LONG_AGO, AHEAD])
def test_a_folder_whose_time_was_set_has_the_present_after_its_next_change(
    folder: Path, then: int
) -> None:
    (folder / "file").write_bytes(b"")
    other = folder.parent / "other"
    other.mkdir()
    for change in (
        (folder / "new").mkdir,
        (folder / "new").rmdir,
        lambda: (folder / "file").rename(folder / "renamed"),
        lambda: (folder / "renamed").rename(other / "moved"),
        lambda: (other / "moved").rename(folder / "file"),
        lambda: (folder / "again").hardlink_to(folder / "file"),
        (folder / "again").unlink,
    ):
        os.utime(folder, ns=(then, then))
        assert folder.stat().st_mtime_ns == then
        assert_changed(change, folder=(folder, "mc"))


@pytest.mark.parametrize("seconds", [2**31, 2**32 + 5, 9_000_000_000, -(2**31) - 1, -9_000_000_000])
def test_times_before_1901_and_after_2038_are_kept(folder: Path, root: Actor, seconds: int) -> None:
    (folder / "file").write_bytes(b"")
    for path in (folder / "file", folder):
        root.utimensat(str(path), (seconds, 1), (seconds, 999_999_999))
        assert path.stat().st_mtime_ns == seconds * 10**9 + 999_999_999
        assert path.stat().st_atime_ns == seconds * 10**9 + 1


@pytest.mark.parametrize(
    ("seconds", "nearest"), [(2**40, 2**63 - 1), (-(2**40), 1 - 2**63), (2**62, 2**63 - 1)]
)
def test_times_that_no_64_bits_can_hold_become_the_nearest_that_they_can(
    draft: Path, root: Actor, seconds: int, nearest: int
) -> None:
    (draft / "file").write_bytes(b"")
    root.utimensat(str(draft / "file"), (seconds, 0), (seconds, 0))
    found = (draft / "file").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (nearest, nearest)


def test_writing_changes_the_status_at_once_and_closing_not_once_more(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"bytes")
    with file.open("r+b", buffering=0) as opened:
        for change in (
            lambda: opened.write(b"more"),
            lambda: os.ftruncate(opened.fileno(), 3),
        ):
            assert_changed(change, file=(file, "mc"))
        written = times(file)
    assert times(file) == written
    assert_changed(lambda: file.open("wb").close(), file=(file, "mc"))
