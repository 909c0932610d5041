"""Manifests, compared with what sha256sum and sort make of the same files."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.manifest import (
    EMPTY_SHA256,
    ManifestDigest,
    manifest_line,
    path_bytes,
    sort_key,
)

ODD = st.sampled_from(
    ["\\", "\n", "\r", "\\n", "\\r", " ", "*", "a", "-", ".", "/", "0", "ü", "😀"]
)
NAMES = st.lists(ODD, min_size=1, max_size=6).map("".join)

ODD_NAMES = [
    "plain",
    "back\\slash",
    "new\nline",
    "carriage\rreturn",
    "all\\of\n\r\\nthem\\",
    " blank",
    "*star",
    "-dash",
    "tab\there",
    "ünï😀",
    "\x7f\x01",
    "a.b",
    "a/b",
    "a/.c",
    "a0",
    "a-",
]


def unescaped(line: bytes) -> bytes:
    """The path in a line, by the rules of the manual."""
    assert line.endswith(b"\n")
    if not line.startswith(b"\\"):
        return line[66:-1]
    found, rest = b"", line[67:-1]
    while rest:
        if rest[:1] == b"\\":
            found += {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}[rest[1:2]]
            rest = rest[2:]
        else:
            found += rest[:1]
            rest = rest[1:]
    return found


@given(NAMES)
def test_a_line_is_one_line_and_tells_the_path(path: str) -> None:
    line = manifest_line(EMPTY_SHA256, path)

    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert unescaped(line) == path.encode()


@given(st.lists(NAMES))
def test_the_digest_is_that_of_all_lines_together(paths: list[str]) -> None:
    lines = [manifest_line(hashlib.sha256(each.encode()).digest(), each) for each in paths]
    digest = ManifestDigest()
    for line in lines:
        digest.add(line)
    assert digest.hex == hashlib.sha256(b"".join(lines)).hexdigest()


@given(st.text(max_size=8), st.text(max_size=8))
def test_text_is_ordered_as_its_bytes(one: str, other: str) -> None:
    one, other = (each.encode("utf-8", "ignore").decode() for each in (one, other))
    assert (one < other) == (sort_key(one) < sort_key(other))


def test_a_folder_comes_after_what_sorts_before_its_slash() -> None:
    entries = [("a", True), ("a/x", False), ("a.txt", False), ("a0", False)]
    ordered = sorted(entries, key=lambda entry: sort_key(entry[0], folder=entry[1]))
    assert [path for path, _ in ordered] == ["a.txt", "a", "a/x", "a0"]


def test_names_that_are_not_utf_8_keep_their_bytes() -> None:
    assert path_bytes(os.fsdecode(b"\xff\xfe")) == b"\xff\xfe"


def test_lines_are_those_of_sha256sum_in_the_order_of_sort(tmp_path: Path) -> None:
    for name in ODD_NAMES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "empty").touch()
    names = sorted([*ODD_NAMES, "empty"], key=sort_key)
    ours = b"".join(
        manifest_line(hashlib.sha256((tmp_path / name).read_bytes()).digest(), name)
        for name in names
    )

    theirs = subprocess.run(
        "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum --",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    ).stdout

    assert ours == theirs
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict"], cwd=tmp_path, input=ours, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")
    assert checked.stdout.count(b": OK\n") == len(names)


@pytest.mark.parametrize("name", ["new\nline", "plain"])
def test_an_altered_file_is_noticed_by_sha256sum(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"another")
    line = manifest_line(hashlib.sha256(b"one").digest(), name)
    done = subprocess.run(
        ["sha256sum", "-c"], cwd=tmp_path, input=line, capture_output=True, check=False
    )
    assert done.returncode == 1
