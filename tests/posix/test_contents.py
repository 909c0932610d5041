"""Sizes, offsets, holes, names and link targets at their limits."""

import errno
import mmap
import os
import unicodedata
from pathlib import Path
from typing import Final

import pytest

from tests.posix.acting import Actor
from tests.posix.conftest import Sites
from tests.semantics.refusals import refused

LARGEST: Final = (1 << 63) - 1
"""Of an off_t."""

MIB: Final = 1 << 20


# --- sizes and offsets ---------------------------------------------------------------------------


def test_nothing_is_read_at_or_past_the_end_however_far(place: Path) -> None:
    (place / "file").write_bytes(b"bytes")
    with (place / "file").open("rb", buffering=0) as file:
        for offset in (5, 6, 1 << 31, 1 << 32, 1 << 40, 1 << 53, 1 << 62, LARGEST - 4096):
            assert os.pread(file.fileno(), 4096, offset) == b""
        assert os.pread(file.fileno(), 4096, 3) == b"es"
        assert file.seek(1 << 62) == 1 << 62
        assert file.read(1) == b""
        with refused(errno.EINVAL):
            os.lseek(file.fileno(), -1, os.SEEK_SET)
        with refused(errno.EINVAL):
            os.lseek(file.fileno(), -6, os.SEEK_END)


def test_sizes_and_offsets_that_cannot_be_are_refused(place: Path, root: Actor) -> None:
    file = str(place / "file")
    root.write_file(file, b"bytes")
    descriptor = root.open(file, os.O_RDWR)
    for call, arguments in (
        (root.raw_truncate, (file, -1)),
        (root.raw_truncate, (file, -LARGEST - 1)),
        (root.raw_pwrite, (descriptor, b"x", -1)),
        (root.raw_pwrite, (descriptor, b"x", LARGEST)),  # would end behind the last offset
    ):
        with refused(errno.EINVAL):
            call(*arguments)
    root.close(descriptor)
    assert root.stat(file).st_size == 5


@pytest.mark.parametrize("size", [1 << 51, 1 << 60, LARGEST - 1, LARGEST])
def test_sizes_that_nothing_can_hold_are_refused_and_the_file_stays(draft: Path, size: int) -> None:
    file = draft / "file"
    file.write_bytes(b"bytes")
    with refused(errno.ENOSPC):
        os.truncate(file, size)
    with file.open("r+b", buffering=0) as opened:
        with refused(errno.ENOSPC):
            os.ftruncate(opened.fileno(), size)
        with refused(errno.ENOSPC):
            os.pwrite(opened.fileno(), b"x", size - 1)
        os.pwrite(opened.fileno(), b"BY", 0)
    assert file.read_bytes() == b"BYtes"


def test_a_process_writes_no_more_than_its_limit(place: Path) -> None:
    file = str(place / "file")
    with Actor(os.geteuid(), os.getegid()) as limited:
        limited.limit_file_size(10_000)
        descriptor = limited.open(file, os.O_CREAT | os.O_RDWR, 0o644)
        assert limited.write(descriptor, bytes(20_000)) == 10_000
        for name, arguments in (
            ("write", (descriptor, b"x")),
            ("ftruncate", (descriptor, 10_001)),
            ("truncate", (file, 10_001)),
        ):
            assert limited.attempt(name, *arguments) == "EFBIG"
        limited.ftruncate(descriptor, 9_000)
        limited.close(descriptor)
        assert limited.stat(file).st_size == 9_000


# --- holes ---------------------------------------------------------------------------------------


def test_holes_read_as_zeros_wherever_they_come_from(place: Path) -> None:
    file = place / "file"
    expected = bytearray()
    with file.open("w+b", buffering=0) as opened:
        for offset in (3, 5000, MIB - 1, MIB + 70_000, 3 * MIB):
            os.pwrite(opened.fileno(), b"data", offset)
            expected += bytes(offset + 4 - len(expected))
            expected[offset : offset + 4] = b"data"
        os.ftruncate(opened.fileno(), 5002)
        os.ftruncate(opened.fileno(), 2 * MIB + 1)
        expected[5002:] = bytes(2 * MIB + 1 - 5002)
        os.pwrite(opened.fileno(), b"end", 3 * MIB)
        expected += bytes(MIB - 1) + b"end"
        assert os.pread(opened.fileno(), 4 * MIB, 0) == expected
    assert file.read_bytes() == expected


def test_a_file_has_data_everywhere_and_its_hole_at_the_end(draft: Path) -> None:
    with (draft / "file").open("w+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"data", 2 * MIB)
        descriptor, size = file.fileno(), 2 * MIB + 4
        for offset in (0, 1, MIB, size - 1):
            assert os.lseek(descriptor, offset, os.SEEK_DATA) == offset
            assert os.lseek(descriptor, offset, os.SEEK_HOLE) == size
        for offset in (size, size + 1, 1 << 40):
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                with refused(errno.ENXIO):
                    os.lseek(descriptor, offset, whence)


@pytest.mark.parametrize("mode", [0, 1, 3, 8, 16, 32], ids=hex)
def test_space_is_neither_reserved_nor_punched(draft: Path, root: Actor, mode: int) -> None:
    file = str(draft / "file")
    root.write_file(file, b"bytes")
    descriptor = root.open(file, os.O_RDWR)
    with refused(errno.EOPNOTSUPP):
        root.fallocate(descriptor, mode, 0, 4096)
    root.close(descriptor)
    assert root.stat(file).st_size == 5


def test_blocks_tell_what_a_file_takes(draft: Path) -> None:
    file = draft / "file"
    for size, blocks in ((0, 0), (1, 1), (512, 1), (513, 2), (MIB, 2048)):
        file.write_bytes(bytes(size))
        assert (file.stat().st_size, file.stat().st_blocks) == (size, blocks)
    with file.open("wb", buffering=0) as opened:
        opened.write(bytes(5000))
        assert file.stat().st_blocks == 10  # at once, before any commit


# --- other ways to read and write ----------------------------------------------------------------


def test_vectors_and_copies_inside_the_kernel_carry_all_bytes(place: Path) -> None:
    source, copy = place / "source", place / "copy"
    pieces = [os.urandom(size) for size in (1, 4095, 70_000, 0, 300_000)]
    data = b"".join(pieces)
    with source.open("w+b", buffering=0) as one, copy.open("w+b", buffering=0) as other:
        assert os.writev(one.fileno(), pieces) == len(data)
        buffers = [bytearray(len(data) - 7), bytearray(100)]
        assert os.preadv(one.fileno(), buffers, 0) == len(data)
        assert bytes(buffers[0] + buffers[1][:7]) == data
        done = 0
        while done < len(data):
            done += os.copy_file_range(one.fileno(), other.fileno(), 100_000, done, done)
        assert os.sendfile(other.fileno(), one.fileno(), 5, 10) == 10
    assert copy.read_bytes() == data[5:15] + data[10:]


def test_private_mappings_change_no_file(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"a" * 10_000)
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view,
    ):
        view[:5] = b"bytes"
        assert view[:6] == b"bytesa"
    assert file.read_bytes() == b"a" * 10_000


def test_shared_mappings_and_writes_of_other_handles_are_one(place: Path) -> None:
    file = place / "file"
    file.write_bytes(b"a" * 10_000)
    with (
        file.open("r+b", buffering=0) as one,
        file.open("r+b", buffering=0) as other,
        mmap.mmap(one.fileno(), 0) as view,
    ):
        view[4090:4100] = b"0123456789"
        assert os.pread(other.fileno(), 10, 4090) == b"0123456789"
        os.pwrite(other.fileno(), b"written", 4090)
        assert view[4090:4100] == b"written789"
        os.ftruncate(other.fileno(), 4094)
        assert os.pread(one.fileno(), 99, 4090) == b"writ"
        os.ftruncate(other.fileno(), 10_000)
        assert view[4090:4098] == b"writ" + bytes(4)  # nothing comes back from behind the end
        view[9990:] = b"x" * 10
        view.flush()
    assert file.read_bytes() == b"a" * 4090 + b"writ" + bytes(5896) + b"x" * 10


# --- names and targets ---------------------------------------------------------------------------


def test_a_name_may_have_every_character(place: Path) -> None:
    names = [chr(code) for code in range(1, 128) if chr(code) not in "./"]
    names += [f"{chr(code)}x" for code in (0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF)]
    names += [
        "..x",
        "...",
        "-rf",
        "a\nb",
        "$n",
        "$names.0",
        "a.b",
        unicodedata.lookup("EMPTY SET"),
    ]
    for number, name in enumerate(names):
        (place / name).write_text(str(number))
    assert sorted(path.name for path in place.iterdir()) == sorted(names)
    for number, name in enumerate(names):
        assert (place / name).read_text() == str(number)
        (place / name).rename(place / f"{name}~")
    for name in names:
        (place / f"{name}~").unlink()


@pytest.mark.parametrize("letter", ["n", "é", "€", "😀"])
def test_names_have_up_to_255_bytes_in_every_call(place: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    name += "x" * (255 - len(name.encode()))
    (place / "file").write_bytes(b"")
    (place / name).mkdir()
    (place / name).rmdir()
    (place / name).symlink_to("file")
    (place / name).unlink()
    (place / name).hardlink_to(place / "file")
    (place / name).rename(place / f"{name[:-1]}y")
    os.mkfifo(place / name)
    for call in (
        (place / f"{name}x").mkdir,
        (place / f"{name}x").lstat,
        lambda: (place / "file").rename(place / f"{name}x"),
    ):
        with refused(errno.ENAMETOOLONG):
            call()


@pytest.mark.parametrize("length", [1, 60, 255, 1024, 4095])
def test_link_targets_have_up_to_4095_bytes(place: Path, length: int) -> None:
    target = ("t" * 200 + "/") * (length // 201) + "t" * (length % 201)
    (place / "link").symlink_to(target)
    assert (place / "link").readlink() == Path(target)
    assert (place / "link").lstat().st_size == length


def test_link_targets_beyond_that_and_empty_ones_are_refused(place: Path) -> None:
    for target, code in (("t" * 4096, errno.ENAMETOOLONG), ("", errno.ENOENT)):
        with refused(code):
            os.symlink(target, place / "link")  # noqa: PTH211 - pathlib cannot say nothing
    assert list(place.iterdir()) == []


def test_40_links_in_a_row_are_followed_and_41_are_too_many(place: Path) -> None:
    (place / "n0").write_bytes(b"bytes")
    for number in range(1, 42):
        (place / f"n{number}").symlink_to(f"n{number - 1}")
    assert (place / "n40").read_bytes() == b"bytes"
    with refused(errno.ELOOP):
        (place / "n41").read_bytes()


def test_a_tree_may_be_deeper_than_a_path_can_say(sites: Sites, root: Actor) -> None:
    root.chdir(str(sites.draft()))
    for _ in range(30):
        root.mkdir("d" * 200, 0o755)
        root.chdir("d" * 200)
    root.write_file("file", b"bytes")
    assert root.stat("file").st_size == 5
    root.unlink("file")
    for _ in range(30):
        root.chdir("..")
        root.rmdir("d" * 200)
    root.chdir("/")
