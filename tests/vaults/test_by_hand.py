"""A snapshot can be restored without this program, as docs/format.md says."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from gridfsmount.core.model import ROOT, Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from gridfsmount.vaults.manifest import Backed, ManifestWriter
from tests.vaults.stores import sha256, summary_of

T = "2026-11-22T03-00-00Z"
VERSION = Inode(20)
BASE = 1_700_000_000_123_456_789

STRANGE = [
    "plain",
    "two  words",
    "it's",
    '"quoted"',
    "back\\slash",
    "new\nline",
    "-rf",
    "$HOME `id`",
]


def node(inode: int, kind: Kind, *names: tuple[int, str], **fields: object) -> Node:
    values: dict[str, object] = {
        "mode": 0o755 if kind is Kind.DIRECTORY else 0o640,
        "uid": os.getuid(),
        "gid": os.getgid(),
        "mtime_ns": BASE + inode,
        "ctime_ns": BASE,
        **fields,
    }
    links = tuple(Name(Inode(parent), name) for parent, name in names)
    return Node(Inode(inode), kind, links, **values)  # type: ignore[arg-type]


def content(data: bytes) -> ContentId:
    return ContentId(sha256(data), data.decode())


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    """A snapshot with everything that a version may hold."""
    vault = make_directory_vault(tmp_path / "vault", "lake")
    datas = [b"strange", b"linked", b"inner"]
    vault.put_many([(sha256(each), each) for each in datas])
    known = {
        each.id: each
        for each in (Content(content(data), len(data), 1 << 20, sha256(data)) for data in datas)
    }
    writer = ManifestWriter(tmp_path / "made")
    writer.add_nodes(
        [
            node(1, Kind.DIRECTORY, (0, "")),
            node(2, Kind.DIRECTORY, (1, "datasets")),
            node(10, Kind.DIRECTORY, (2, "x")),
            node(VERSION, Kind.DIRECTORY, (10, "v1"), mode=0o750),
            node(21, Kind.DIRECTORY, (VERSION, "in"), mode=0o555),
            node(22, Kind.DIRECTORY, (21, "deep's"), mode=0o700, mtime_ns=5),
            node(23, Kind.FILE, (22, "file"), content=content(b"inner"), size=5, mode=0o444),
            node(24, Kind.FILE, (21, "b"), (VERSION, "a"), (22, "c"), content=content(b"linked")),
            node(25, Kind.FILE, (VERSION, "empty"), mode=0o4711, mtime_ns=-1_500_000_000),
            node(26, Kind.SYMLINK, (VERSION, "link"), target="it's $1/nowhere", mode=0o777),
            node(27, Kind.FIFO, (VERSION, "pipe")),
            node(28, Kind.FILE, (VERSION, "lost"), content=content(b"never copied"), size=12),
            node(29, Kind.FILE, (VERSION, "adopted"), mode=None, uid=None, gid=None),
            node(30, Kind.FILE, (10, "outside")),
            *(
                node(40 + n, Kind.FILE, (VERSION, name), content=content(b"strange"))
                for n, name in enumerate(STRANGE)
            ),
        ]
    )
    for batch in writer.contents():
        writer.set_contents(
            [Backed(number, known[each]) for number, each in batch if each in known]
        )
    writer.finish({})
    vault.publish(T, tmp_path / "made", summary_of((tmp_path / "made").read_bytes()))
    return vault


def restore(vault: DirectoryVault, folder: str, target: Path) -> subprocess.CompletedProcess[str]:
    text = Path("docs/format.md").read_text()
    [script] = re.findall(r"^```sh\n(# sh restore\.sh .*?)^```", text, re.DOTALL | re.MULTILINE)
    (target.parent / "restore.sh").write_text(script)
    return subprocess.run(
        ["sh", target.parent / "restore.sh", vault.address, T, folder, target],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )


def test_a_shell_script_restores_a_version_from_a_directory(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    target = tmp_path / "restored"

    done = restore(vault, "datasets/x/v1", target)

    assert done.returncode == 0, done.stderr
    assert done.stderr == "not in the backup: ./lost\n"
    found = {each.relative_to(target).as_posix() for each in target.rglob("*")}
    inner = {"in", "in/deep's", "in/deep's/file", "in/b", "in/deep's/c"}
    assert found == {*STRANGE, *inner, "a", "empty", "link", "pipe", "adopted"}
    for n, name in enumerate(STRANGE):
        assert (target / name).read_bytes() == b"strange"
        assert (target / name).stat().st_mtime_ns == BASE + 40 + n
    assert (target / "in/deep's/file").read_bytes() == b"inner"
    assert (target / "a").read_bytes() == b"linked"
    assert (target / "empty").read_bytes() == b""
    assert str((target / "link").readlink()) == "it's $1/nowhere"
    assert (target / "link").lstat().st_mtime_ns == BASE + 26
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    links = {(target / name).stat().st_ino for name in ("a", "in/b", "in/deep's/c")}
    assert len(links) == 1
    modes = {".": 0o750, "in": 0o555, "in/deep's": 0o700, "in/deep's/file": 0o444, "empty": 0o4711}
    for name, mode in modes.items():
        assert stat.S_IMODE((target / name).stat().st_mode) == mode
    times = {".": BASE + VERSION, "in": BASE + 21, "in/deep's": 5, "empty": -1_500_000_000}
    for name, mtime_ns in times.items():
        assert (target / name).stat().st_mtime_ns == mtime_ns


def test_the_script_finds_a_damaged_blob_and_a_damaged_manifest(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    digest = sha256(b"inner").hex()
    place = tmp_path / "vault" / "blobs" / digest[:2] / digest
    place.chmod(0o644)
    place.write_bytes(b"inneR")

    done = restore(vault, "datasets/x/v1", tmp_path / "restored")
    assert done.returncode == 1
    assert "damaged: ./in/deep's/file" in done.stderr

    manifest = vault.manifest(T, tmp_path)
    manifest.chmod(0o644)
    with manifest.open("ab") as file:
        file.write(b"x")
    done = restore(vault, "datasets/x/v1", tmp_path / "again")
    assert done.returncode == 1
    assert not (tmp_path / "again").exists()


def test_the_script_says_what_is_not_there(vault: DirectoryVault, tmp_path: Path) -> None:
    done = restore(vault, "datasets/x/v9", tmp_path / "restored")

    assert done.returncode == 1
    assert f"datasets/x/v9 is not in {T}" in done.stderr
    assert ROOT == 1  # where the script begins
