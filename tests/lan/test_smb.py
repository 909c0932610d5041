"""The lake over SMB: `smbd` with `docs/smb.conf`, and `smbclient`."""

import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.daemons import USER, Smbd
from tests.mounting import Mounted, eventually, run_command
from tests.posix.users import needs_root
from tests.reading_lakes import bytes_of

pytestmark = needs_root  # to act as the configuration's user

NAMES = (
    "Übung und Maß.txt",
    "数据集 🙂",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "Case",
    "case",
)


@pytest.fixture(scope="module")
def smbd(served: Mounted, place: Path) -> Iterator[Smbd]:
    with Smbd(place / "smbd", served.path) as server:
        yield server


@pytest.fixture
def version(smbd: Smbd, request: pytest.FixtureRequest) -> str:
    """A draft that a test has for itself, made by a client."""
    name = re.sub(r"[^a-z_]", "-", request.node.name.removeprefix("test_"))
    smbd.run(f"mkdir datasets/smb-{name}", f"mkdir datasets/smb-{name}/v1")
    return f"datasets/smb-{name}/v1"


def test_trees_of_many_files_are_copied_in_and_out_whole(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "sub/empty").mkdir(parents=True)
    back.mkdir()
    (source / "big").write_bytes(bytes_of("big", (20 << 20) + 7))
    for number in range(60):
        (source / f"sub/{number}").write_bytes(bytes_of(number, number * 100))
    smbd.run(f"cd {version}", f"lcd {source}", "mput *")
    assert contents(served.path / version) == contents(source)
    smbd.run(f"cd {version}", f"lcd {back}", "mget *")
    assert contents(back) == contents(source)


def test_what_a_client_closed_is_in_the_lake(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"closed")
    smbd.run(f"put {tmp_path / 'file'} {version}/file")
    done = run_command("get", "--uri", served.uri, f"{version}/file", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == b"closed"
    assert (served.path / version / "file").stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_names_are_taken_as_they_are(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_text(str(number))
    smbd.run(f"cd {version}", f"lcd {tmp_path}", "mput *")
    assert {path.name: path.read_text() for path in (served.path / version).iterdir()} == {
        name: str(number) for number, name in enumerate(NAMES)
    }
    shown = smbd.run(f"ls {version}/*")
    assert [name for name in NAMES if f"  {name}  " not in shown] == []
    (tmp_path / "back").mkdir()
    smbd.run(f"cd {version}", f"lcd {tmp_path / 'back'}", "mget *")
    assert {path.name for path in (tmp_path / "back").iterdir()} == set(NAMES)


def test_a_name_that_windows_cannot_have_is_shown_but_not_opened(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    (served.path / version / "a:b").write_text("named")
    short = re.search(r"  (\S+~\S+) ", smbd.run(f"ls {version}/*"))
    assert short is not None
    for name in (short[1], "a:b"):
        refused = smbd.try_(f"get {version}/{name} {tmp_path / 'back'}").stdout
        assert "NT_STATUS_OBJECT_NAME" in refused


def test_files_and_folders_are_renamed_and_removed(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_text(f"{number}")
    smbd.run(f"cd {version}", "mkdir a", "cd a", f"lcd {tmp_path}", "mput *")
    smbd.run(f"cd {version}", "rename a b", "rename b/3 b/three", "rename b/4 b/three -f", "rm b/5")
    folder = served.path / version
    assert (folder / "b/three").read_text() == "4"
    assert {path.name for path in (folder / "b").iterdir()} == {
        "three",
        *(str(number) for number in range(20) if number not in (3, 4, 5)),
    }
    assert "NT_STATUS_DIRECTORY_NOT_EMPTY" in smbd.try_(f"rmdir {version}/b").stdout
    smbd.run(f"deltree {version}/b")
    assert list(folder.iterdir()) == []


def test_a_sealed_version_takes_no_changes(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("sealed")
    smbd.run(f"put {tmp_path / 'file'} {version}/file")
    done = run_command("seal", "--uri", served.uri, version)
    assert done.returncode == 0, done.stderr
    change = f"put {tmp_path / 'file'} {version}/new"
    eventually(lambda: "NT_STATUS_MEDIA_WRITE_PROTECTED" in smbd.try_(change).stdout, "is sealed")
    assert "NT_STATUS_" in smbd.try_(f"rm {version}/file").stdout
    assert (served.path / version / "file").read_text() == "sealed"


def test_two_clients_see_what_the_other_closed_and_what_other_machines_did(
    smbd: Smbd, version: str, served: Mounted, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)

    def seen(path: str) -> str:
        smbd.run(f"get {version}/{path} {tmp_path / 'seen'}")
        return (tmp_path / "seen").read_text()

    smbd.run(f"put {tmp_path / 'old'} {version}/file")
    assert seen("file") == "old"
    smbd.run(f"put {tmp_path / 'new'} {version}/file", f"cd {version}", "rename file moved")
    assert seen("moved") == "new"
    with Mounted(served.uri, tmp_path / "elsewhere") as elsewhere:
        there = elsewhere.path / version
        (there / "moved").write_text("from elsewhere")
        assert seen("moved") == "from elsewhere"
        (there / "moved").rename(there / "again")
        eventually(lambda: "again" in smbd.run(f"ls {version}/*"), "the new name shows")
        eventually(
            lambda: "OBJECT_NAME_NOT_FOUND" in smbd.try_(f"get {version}/moved -").stdout,
            "the old name is gone",
        )


def test_only_who_is_listed_and_knows_the_password_gets_in(smbd: Smbd) -> None:
    smbd.add_account("daemon")
    assert "NT_STATUS_ACCESS_DENIED" in smbd.try_("ls", user="daemon").stdout
    assert "NT_STATUS_LOGON_FAILURE" in smbd.try_("ls", password="wrong").stdout
    assert "datasets" in smbd.run("ls")


def contents(folder: Path) -> dict[str, bytes | None]:
    """The bytes of every file below a folder, and None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
