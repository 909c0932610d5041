"""What other users of the machine, and readers of logs and of the lake, do not get to see."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from click.testing import CliRunner

from gridfsmount.cli.main import commands
from tests.mongod import PASSWORD, Mongod
from tests.mounting import COMMAND, Mounted, assert_healthy_log, eventually
from tests.posix.acting import Actor
from tests.posix.conftest import OTHER, OWNER, open_folder
from tests.posix.users import needs_root
from tests.security.conftest import tls

KEY_PASSWORD = "sekret"
SECRETS = (PASSWORD, quote_plus(PASSWORD), KEY_PASSWORD)


@pytest.fixture(scope="module")
def shared(secured: Mongod, certificates: Path) -> Iterator[Mounted]:
    """A mount that other users may enter, with two secrets in its address and all of its log."""
    folder = open_folder()
    locked = f"{tls(certificates, key='locked')}&tlsCertificateKeyFilePassword={KEY_PASSWORD}"
    uri = secured.uri_for("shared").replace(tls(certificates), locked)
    options = ("--allow-other", "-vv", "--disk-cache", folder / "cache")
    with Mounted(uri, folder, *options) as mount:
        (mount.version("datasets/test/v1") / "file").write_bytes(b"content")
        assert (mount.path / "datasets/test/v1/file").read_bytes() == b"content"
        yield mount
    assert_healthy_log(mount)
    shutil.rmtree(folder)


@pytest.fixture
def other() -> Iterator[Actor]:
    with Actor(OTHER, OTHER) as actor:
        yield actor


@needs_root
def test_another_user_gets_in_where_permissions_let_them_and_nowhere_else(
    shared: Mounted, other: Actor
) -> None:
    version = shared.version("datasets/test/v2")
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        (version / name).write_bytes(b"content")
        (version / name).chmod(mode)
    assert other.attempt("open", str(version / "open"), os.O_RDONLY) is None
    assert other.attempt("open", str(version / "open"), os.O_WRONLY) == "EACCES"
    assert other.attempt("open", str(version / "closed"), os.O_RDONLY) == "EACCES"
    assert other.attempt("unlink", str(version / "open")) == "EACCES"
    assert other.attempt("mkdir", str(version.parent / "v3"), 0o755) == "EACCES"
    assert other.attempt("chmod", str(version / "open"), 0o777) == "EPERM"


@needs_root
def test_sealing_takes_the_right_to_write_in_the_version(shared: Mounted, other: Actor) -> None:
    version = shared.version("datasets/test/v4")
    (version / "file").write_bytes(b"content")
    sealed = (str(version), "user.lake.sealed", b"1")
    assert other.attempt("setxattr", *sealed) == "EACCES"
    version.chmod(0o777)
    with Actor(OWNER, OWNER) as owner:
        owner.setxattr(*sealed)
    assert os.getxattr(version, "user.lake.state") == b"sealed"


@needs_root
def test_what_a_mount_keeps_on_the_machine_is_closed_to_other_users(
    shared: Mounted, other: Actor
) -> None:
    shared.path.joinpath("datasets/test/v1/file").read_bytes()
    for secret in (shared.log, f"/proc/{shared.pid}/environ", f"/proc/{shared.pid}/mem"):
        assert other.attempt("open", str(secret), os.O_RDONLY) in ("EACCES", "EPERM"), secret
    for folder in (shared.path.parent / "cache", f"/proc/{shared.pid}/fd"):
        assert other.attempt("listdir", str(folder)) == "EACCES", folder
    assert other.attempt("getxattr", str(shared.path), "user.lake.address") == "EACCES"


def test_what_the_machine_shows_of_a_mount_has_no_secret(shared: Mounted) -> None:
    shown = [
        Path(f"/proc/{shared.pid}/cmdline").read_text(),
        Path("/proc/mounts").read_text(),
        subprocess.run(["df", shared.path], capture_output=True, text=True, check=True).stdout,
        subprocess.run(
            ["getfattr", "-R", "-d", "-m", "-", shared.path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout,
        str([os.listxattr(each) for each in (shared.path, *shared.path.iterdir())]),
    ]
    assert str(shared.path) in shown[1]
    assert not [secret for secret in SECRETS for text in shown if secret in text]


def test_the_most_talkative_log_has_no_secret(shared: Mounted) -> None:
    with pytest.raises(PermissionError):
        (shared.path / "not-here").touch()
    text = shared.log_text()
    assert " DEBUG " in text
    assert not [secret for secret in SECRETS if secret in text]
    assert "saslStart" not in text


def test_what_a_mount_writes_to_the_lake_has_no_secret(shared: Mounted, secured: Mongod) -> None:
    with secured.client() as client:
        database = client["shared"]
        for name in database.list_collection_names():
            text = repr(list(database[name].find()))
            assert not [secret for secret in SECRETS if secret in text], name
        assert str(shared.path) in repr(list(database["fs.lake"].find()))


COMMANDS = [
    ["status"],
    ["check"],
    ["gc"],
    ["log", "datasets/test"],
    ["show", "datasets/test/v1"],
    ["manifest", "datasets/test/v1"],
    ["verify", "datasets/test/v1"],
    ["diff", "datasets/test/v1", "datasets/test/v2"],
    ["seal", "datasets/test/v1"],
    ["fork", "datasets/test/v1", "v2"],
    ["tag", "datasets/test"],
    ["link", "datasets/test/v1", "--from", "datasets/test/v2"],
    ["delete", "--yes", "datasets/test/v1"],
    ["put", "/etc/hostname", "datasets/test/v1/"],
    ["get", "datasets/test/v1/", "{}/got"],
    ["backup", "init", "--vault", "{}/vault"],
    ["backup", "create", "--vault", "{vault}"],
    ["backup", "list", "--vault", "{vault}"],
    ["backup", "prune", "--keep-last", "1", "--vault", "{vault}"],
    ["backup", "restore", "latest", "datasets/test/v1", "--vault", "{vault}"],
    ["backup", "verify", "--vault", "{vault}"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: "-".join(each[:2]))
def test_no_command_repeats_a_password_that_is_refused(
    secured: Mongod, tmp_path: Path, arguments: list[str]
) -> None:
    login = secured.uri_for("lake").replace(f"root:{quote_plus(PASSWORD)}", "ana:QXZ7")
    vault = login.replace("/lake?", "/vault?")
    given = [each.format(tmp_path, vault=vault) for each in arguments]
    environment = {"GRIDFSMOUNT_URI": login, "XDG_CONFIG_HOME": str(tmp_path)}
    answer = CliRunner().invoke(commands, given, env=environment)
    assert answer.exit_code in (1, 2), answer.output
    assert isinstance(answer.exception, SystemExit)
    assert "refuses the user name or the password" in answer.output, answer.output
    assert "Traceback" not in answer.output
    assert "QXZ7" not in answer.output


def test_a_private_server_inherits_no_address(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    environment = {**os.environ, "GRIDFSMOUNT_URI": "mongodb://ana:QXZ7@127.0.0.1:1/lake"}
    command = [*COMMAND, "mount", "--foreground", "--log-file", str(tmp_path / "log")]
    with subprocess.Popen(
        [*command, "--embedded", str(tmp_path / "data"), str(tmp_path / "mnt")],
        stdin=subprocess.DEVNULL,
        env=environment,
    ) as mount:
        try:
            eventually(lambda: os.path.ismount(tmp_path / "mnt"), "it is mounted")
            tasks = Path(f"/proc/{mount.pid}/task").glob("*/children")
            children = [child for each in tasks for child in each.read_text().split()]
            environments = []
            for child in children:
                with suppress(OSError):  # it only asked whether the mount answers
                    environments.append(Path(f"/proc/{child}/environ").read_bytes())
            assert any(b"PATH=" in each for each in environments)
            assert not any(b"QXZ7" in each for each in environments)
        finally:
            mount.terminate()
