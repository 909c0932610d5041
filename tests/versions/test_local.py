"""A local folder as one side of a comparison."""

import hashlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.errors import Conflict
from gridfsmount.versions.local import LocalSide, Unreadable
from gridfsmount.versions.sides import Item

NAMES = st.lists(st.sampled_from([b"a", b"-", b".", b"0", b"\xff"]), min_size=1, max_size=3)
PATHS = st.lists(NAMES.map(b"".join), min_size=1, max_size=3).filter(
    lambda parts: not {b".", b".."} & set(parts)
)


def side(folder: Path) -> LocalSide:
    return LocalSide(os.fsencode(folder), jobs=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(PATHS, max_size=8))
def test_everything_comes_once_in_the_order_of_a_manifest(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]]
) -> None:
    top = tmp_path_factory.mktemp("tree")
    made = set()
    for parts in paths:
        for depth in range(1, len(parts) + 1):
            path = b"/".join(parts[:depth])
            made.add(path)
            (top / os.fsdecode(path)).mkdir(exist_ok=True)

    items = list(side(top).items())

    assert [each.key for each in items] == sorted(path + b"/" for path in made)


def test_all_that_is_compared_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir(0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "socket").chmod(0o755)

    assert list(side(tmp_path).items()) == [
        Item("fifo", "fifo", 0o600),
        Item("file", "file", 0o640, 5),
        Item("folder", "dir", 0o700),
        Item("link", "symlink", None, target="nowhere"),
        Item("socket", "socket", 0o755),
    ]


def test_files_are_hashed_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 5000)
    (tmp_path / "b").write_bytes(b"")
    told: list[tuple[int, int]] = []
    tree = LocalSide(os.fsencode(tmp_path), 2, lambda *done: told.append(done))

    assert tree.hashes(list(tree.items())) == [
        hashlib.sha256(b"a" * 5000).digest(),
        hashlib.sha256().digest(),
    ]
    assert (sum(each[0] for each in told), sum(each[1] for each in told)) == (2, 5000)


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    items = list(side(tmp_path).items())
    (tmp_path / "file").write_bytes(b"123456")

    with pytest.raises(Conflict, match="file: it was changed meanwhile; try again"):
        side(tmp_path).hashes(items)


def test_a_file_that_was_replaced_by_a_pipe_does_not_hang_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    items = list(side(tmp_path).items())
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")

    with pytest.raises(Conflict):
        side(tmp_path).hashes(items)


def test_what_went_away_meanwhile_is_not_there(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    items = side(tmp_path).items()

    assert next(items).path == "a"
    (tmp_path / "b").unlink()

    assert [each.path for each in items] == ["c"]


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    items = list(side(tmp_path).items())

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(Unreadable, match=r"/file: Permission denied$"):
        side(tmp_path).hashes(items)
    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(Unreadable, match="Permission denied"):
        list(side(tmp_path).items())
