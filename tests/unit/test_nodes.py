"""New and changed nodes."""

from dataclasses import replace

import pytest

from gridfsmount.core.model import Caller, Change, Inode, Kind, Name, Node, State
from gridfsmount.vfs.nodes import changed_fields, new_node, with_fields, without_set_id
from gridfsmount.vfs.rules import Level

NOW = 1_700_000_000_000_000_000
FOLDER = Node(
    inode=Inode(2000),
    kind=Kind.DIRECTORY,
    names=(Name(Inode(1500), "v1"),),
    mode=0o755,
    uid=1,
    gid=2,
    mtime_ns=0,
    ctime_ns=0,
    version=Inode(2000),
)


def make(kind: Kind, mode: int, folder: Node = FOLDER, level: Level = Level.INSIDE) -> Node:
    name = Name(folder.inode, "new")
    return new_node(Inode(3000), name, kind, mode, Caller(7, 8), folder, level, "", NOW, "ana@gpu1")


def test_a_new_node_belongs_to_its_caller_and_its_version() -> None:
    made = make(Kind.FILE, 0o100640)
    assert (made.uid, made.gid, made.mode, made.version) == (7, 8, 0o640, FOLDER.inode)
    assert made.mtime_ns == made.ctime_ns == NOW
    assert (made.size, made.content, made.state) == (0, None, None)


def test_a_new_version_is_a_draft_and_its_own_version() -> None:
    made = make(Kind.DIRECTORY, 0o755, replace(FOLDER, version=None), Level.VERSION)
    assert (made.version, made.state, made.created_ns) == (made.inode, State.DRAFT, NOW)


@pytest.mark.parametrize("level", [Level.FOLDER, Level.TAG])
def test_what_is_outside_of_versions_has_none(level: Level) -> None:
    assert make(Kind.DIRECTORY, 0o755, level=level).version is None


def test_a_set_group_id_folder_hands_down_its_group() -> None:
    shared = replace(FOLDER, mode=0o2775)
    file, folder = make(Kind.FILE, 0o644, shared), make(Kind.DIRECTORY, 0o755, shared)
    assert (file.gid, file.mode) == (2, 0o644)
    assert (folder.gid, folder.mode) == (2, 0o2755)


FILE = replace(FOLDER, kind=Kind.FILE)


def test_only_what_was_asked_for_changes() -> None:
    assert changed_fields(FILE, Change(), 0o644) == {}
    assert changed_fields(FILE, Change(mtime_ns=5), 0o644) == {"mtime_ns": 5}
    assert changed_fields(FILE, Change(mode=0, uid=0, gid=0, atime_ns=0), 0o644) == {
        "mode": 0,
        "uid": 0,
        "gid": 0,
        "atime_ns": 0,
    }


@pytest.mark.parametrize(
    ("mode", "cleared"),
    [(0o4755, 0o755), (0o2755, 0o755), (0o6755, 0o755), (0o2745, 0o2745), (0o6744, 0o2744)],
)
def test_a_new_owner_takes_set_id_bits_away(mode: int, cleared: int) -> None:
    fields = changed_fields(FILE, Change(uid=5), mode)
    assert fields.get("mode", mode) == cleared


def test_a_directory_keeps_them() -> None:
    assert "mode" not in changed_fields(FOLDER, Change(uid=5), 0o2755)


def test_a_mode_that_was_asked_for_wins() -> None:
    assert changed_fields(FILE, Change(uid=5, mode=0o4755), 0o644)["mode"] == 0o4755


def test_fields_of_a_node_that_no_document_holds() -> None:
    changed = with_fields(FILE, {"mode": 0o600, "mtime_ns": 3}, NOW)
    assert (changed.mode, changed.mtime_ns, changed.ctime_ns) == (0o600, 3, NOW)
    assert (changed.uid, changed.gid, changed.atime_ns) == (FILE.uid, FILE.gid, FILE.atime_ns)


@pytest.mark.parametrize(
    ("mode", "left"), [(0o755, 0o755), (0o6755, 0o755), (0o2745, 0o2745), (0o4745, 0o745)]
)
def test_set_group_id_stays_where_it_grants_nothing(mode: int, left: int) -> None:
    assert without_set_id(mode) == left
