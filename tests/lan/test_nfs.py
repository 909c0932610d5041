"""The lake over NFS 4: nfs-ganesha with `docs/ganesha.conf`, and the client of libnfs."""

import errno
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.daemons import USER, Ganesha
from tests.lan.nfs import NfsClient
from tests.mounting import Mounted, eventually, run_command
from tests.posix.users import needs_root
from tests.reading_lakes import bytes_of

pytestmark = needs_root  # to open files by their handles

NAMES = (
    "Übung und Maß.txt",
    "数据集 🙂",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "a:b*c?d\\e",
    " spaces ",
    "n" * 255,
)


@pytest.fixture(scope="module")
def ganesha(served: Mounted, place: Path) -> Iterator[Ganesha]:
    user = pwd.getpwnam(USER)
    with Ganesha(place / "ganesha", served.path, user.pw_uid, user.pw_gid) as server:
        yield server


@pytest.fixture(scope="module")
def client(ganesha: Ganesha) -> Iterator[NfsClient]:
    with NfsClient(ganesha.port, ganesha.export) as client:
        yield client


@pytest.fixture(scope="module")
def second(ganesha: Ganesha) -> Iterator[NfsClient]:
    with NfsClient(ganesha.port, ganesha.export, uid=1000) as client:
        yield client


@pytest.fixture(scope="module")
def dataset(client: NfsClient) -> str:
    client.make_directory("/datasets/nfs")
    return "datasets/nfs"


@pytest.fixture
def version(client: NfsClient, dataset: str, request: pytest.FixtureRequest) -> str:
    """A draft that a test has for itself, made by a client."""
    path = f"{dataset}/{re.sub(r'[^a-z_]', '-', request.node.name.removeprefix('test_'))}"
    client.make_directory(f"/{path}")
    return path


def test_files_are_copied_in_and_out_whole(
    client: NfsClient, version: str, served: Mounted, tmp_path: Path
) -> None:
    big, small = bytes_of("big", (1 << 20) + 7), bytes_of("small", 1000)
    client.write(f"/{version}/big", big)
    (tmp_path / "small").write_bytes(small)
    client.copy(tmp_path / "small", client.url(f"{version}/small"))
    assert (served.path / version / "big").read_bytes() == big
    assert (served.path / version / "small").read_bytes() == small
    client.copy(client.url(f"{version}/big"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big
    assert client.read(f"{version}/small") == small
    client.write(f"/{version}/big", small)
    assert client.read(f"{version}/big") == small


def test_whoever_comes_is_the_one_user_of_the_configuration(
    second: NfsClient, served: Mounted, dataset: str
) -> None:
    second.make_directory(f"/{dataset}/of-user-1000")
    status = (served.path / dataset / "of-user-1000").stat()
    assert status.st_uid == pwd.getpwnam(USER).pw_uid
    with pytest.raises(PermissionError):
        second.write("/unsorted/file", b"")


def test_a_folder_of_many_files_is_listed_emptied_and_removed(
    client: NfsClient, version: str, served: Mounted
) -> None:
    folder = served.path / version / "many"
    folder.mkdir()
    names = [f"file {number:03}" for number in range(300)]
    for name in names:
        (folder / name).symlink_to("nowhere")
    folder.chmod(0o777)
    assert client.names(f"/{version}/many") == names
    for name in names:
        client.remove(f"/{version}/many/{name}")
    assert client.names(f"/{version}/many") == []
    client.remove_directory(f"/{version}/many")
    assert not folder.exists()


def test_names_are_taken_as_they_are(client: NfsClient, version: str, served: Mounted) -> None:
    for number, name in enumerate(NAMES):
        client.write(f"/{version}/{name}", str(number).encode())
    assert client.names(f"/{version}") == sorted(NAMES)
    for number, name in enumerate(NAMES):
        assert (served.path / version / name).read_text() == str(number)


def test_files_and_folders_are_renamed_and_removed(
    client: NfsClient, version: str, dataset: str, served: Mounted
) -> None:
    client.make_directory(f"/{version}/a")
    client.write(f"/{version}/a/file", b"first")
    client.write(f"/{version}/a/other", b"second")
    client.rename(f"/{version}/a/other", f"/{version}/a/file")
    client.rename(f"/{version}/a", f"/{version}/b")
    assert client.read(f"{version}/b/file") == b"second"
    assert client.names(f"/{version}") == ["b"]
    with pytest.raises(OSError, match="not empty"):
        client.remove_directory(f"/{version}/b")
    client.make_directory(f"/{dataset}/elsewhere")
    with pytest.raises(OSError, match="cross-device") as caught:
        client.rename(f"/{version}/b", f"/{dataset}/elsewhere/b")
    assert caught.value.errno == errno.EXDEV
    client.remove(f"/{version}/b/file")
    client.remove_directory(f"/{version}/b")
    assert list((served.path / version).iterdir()) == []


def test_a_sealed_version_takes_no_changes(
    client: NfsClient, version: str, served: Mounted
) -> None:
    client.write(f"/{version}/file", b"sealed")
    seal = ("seal", "--uri", served.uri, version)
    # The server closes a second after the client.
    eventually(lambda: run_command(*seal).returncode == 0, "the version can be sealed")
    eventually(lambda: _is_refused(client, f"/{version}/new"), "the version is sealed")
    with pytest.raises(OSError, match="Read-only"):
        client.remove(f"/{version}/file")
    assert client.read(f"{version}/file") == b"sealed"


def test_what_one_client_closed_another_has(
    client: NfsClient, second: NfsClient, version: str
) -> None:
    for number in range(5):
        client.write(f"/{version}/file", f"{number}".encode() * (number + 1))
        assert second.read(f"{version}/file") == f"{number}".encode() * (number + 1)
    second.rename(f"/{version}/file", f"/{version}/renamed")
    assert client.names(f"/{version}") == ["renamed"]
    client.remove(f"/{version}/renamed")
    with pytest.raises(FileNotFoundError):
        second.size(f"/{version}/renamed")


def test_what_other_machines_do_shows_within_seconds(
    client: NfsClient, version: str, served: Mounted, tmp_path: Path
) -> None:
    client.write(f"/{version}/file", b"old")
    assert client.names(f"/{version}") == ["file"]
    with Mounted(served.uri, tmp_path) as elsewhere:
        (elsewhere.path / version / "file").write_bytes(b"newer")
        (elsewhere.path / version / "file").rename(elsewhere.path / version / "moved")
        (elsewhere.path / version / "added").touch()
        there = elsewhere.path / version
        eventually(lambda: client.names(f"/{version}") == ["added", "moved"], "names show")
        assert client.read(f"{version}/moved") == b"newer"
        (there / "moved").unlink()
        eventually(lambda: client.names(f"/{version}") == ["added"], "the removal shows")


def _is_refused(client: NfsClient, path: str) -> bool:
    try:
        client.make_directory(path)
    except OSError as error:
        return error.errno == errno.EROFS
    client.remove_directory(path)
    return False
