"""The command as a user types it: how a mount begins and ends, and what is said when it cannot."""

import contextlib
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import gridfs
import pytest
from pymongo import MongoClient

from gridfsmount import __version__
from gridfsmount.store.lake import LAKE_FORMAT
from tests.mongod import PASSWORD, USER, Mongod
from tests.mounting import COMMAND, eventually, run_command

SECRETS = (PASSWORD, quote_plus(PASSWORD), "sekret")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take a device away")

# Seconds. A refusal that takes longer has hung; the server's absence is certain after ten.
PROMPTLY = 30.0


@dataclass(frozen=True, slots=True)
class Shell:
    """One user at a prompt, whose settings are in a folder of their own."""

    folder: Path

    @property
    def mountpoint(self) -> Path:
        return self.folder / "mnt"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "mount.log"

    @property
    def config(self) -> Path:
        return self.folder / "config" / "gridfsmount" / "lake.toml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "GRIDFSMOUNT_URI": "",
        }

    def run(
        self, *arguments: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, env={**self.environment, **(env or {})})

    def mount(
        self, *arguments: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Mount on `mountpoint`, in the background."""
        return self.run("mount", "--log-file", self.log, *arguments, self.mountpoint, env=env)

    def mounted(self, *arguments: str | Path, env: dict[str, str] | None = None) -> int:
        """Mount, which must go well; return the process id of what serves the mount."""
        done = self.mount(*arguments, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return self.process_id

    def umount(self) -> subprocess.CompletedProcess[str]:
        return self.run("umount", self.mountpoint)

    def unmounted(self) -> None:
        done = self.umount()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @property
    def process_id(self) -> int:
        return int(os.getxattr(self.mountpoint, "user.lake.pid"))

    def version(self) -> Path:
        path = self.mountpoint / "datasets" / "test" / "v1"
        path.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.mountpoint.mkdir()
    yield shell
    if is_mounted(shell.mountpoint):
        with contextlib.suppress(OSError, ValueError):
            os.kill(shell.process_id, signal.SIGTERM)
        subprocess.run(["fusermount3", "-u", "-z", "-q", shell.mountpoint], check=False)
    eventually(lambda: not processes_about(tmp_path), "all processes of the test have ended")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    """A server that wants a password."""
    with Mongod(auth=True) as server:
        yield server


def is_mounted(path: Path) -> bool:
    return f" {path} fuse.gridfsmount " in Path("/proc/mounts").read_text()


def is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def command_lines() -> dict[int, str]:
    """What every process of the machine shows as its command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[int(process.name)] = (process / "cmdline").read_bytes().decode(errors="replace")
    return found


def processes_about(folder: Path) -> dict[int, str]:
    return {
        number: line
        for number, line in command_lines().items()
        if f"{folder}/" in line and number != os.getpid() and is_alive(number)
    }


def content_of(uri: str, filename: str) -> bytes:
    with MongoClient[dict[str, Any]](uri) as client:
        bucket = gridfs.GridFSBucket(client.get_default_database())
        return bucket.open_download_stream_by_name(filename).read()


def upload(uri: str, filename: str, data: bytes, bucket: str = "fs") -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        gridfs.GridFSBucket(database, bucket_name=bucket).upload_from_stream(filename, data)


def private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def assert_refused(
    done: subprocess.CompletedProcess[str], message: str, *, usage: bool = False
) -> None:
    """It failed, with one line that says why; `message` is a pattern for that line."""
    assert done.returncode == (2 if usage else 1), done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    if usage:
        assert lines[0].startswith("Usage: gridfsmount")
        assert [line.startswith("Error: ") for line in lines].count(True) == 1
    else:
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("gridfsmount: ")
    assert re.search(message, lines[-1]), lines[-1]
    assert len(lines[-1]) < 500, lines[-1]
    assert not any(secret in done.stderr for secret in SECRETS)


# --- beginning and ending ------------------------------------------------------------------------


def test_mount_returns_when_the_mount_answers(shell: Shell, lake_uri: str) -> None:
    process_id = shell.mounted(lake_uri)

    assert sorted(os.listdir(shell.mountpoint)) == ["datasets", "models", "snapshots", "unsorted"]  # noqa: PTH208
    assert os.getsid(process_id) == process_id
    assert Path(f"/proc/{process_id}/cwd").readlink() == Path("/")
    for descriptor in "012":
        assert Path(f"/proc/{process_id}/fd/{descriptor}").readlink() == Path("/dev/null")


def test_umount_writes_everything_and_waits_for_the_process(shell: Shell, lake_uri: str) -> None:
    process_id = shell.mounted(lake_uri)
    (shell.version() / "file").write_bytes(b"kept")
    made = time.time_ns()

    shell.unmounted()

    assert not is_alive(process_id)
    assert not is_mounted(shell.mountpoint)
    assert content_of(lake_uri, "datasets/test/v1/file") == b"kept"
    with MongoClient[dict[str, Any]](lake_uri) as client:
        version = client.get_default_database()["fs.tree"].find_one({"names.name": "v1"})
        leases = client.get_default_database()["fs.uploads"].count_documents({})
    assert version is not None
    assert abs(version["mtime_ns"] - made) < 1e9
    assert leases == 0


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            lambda shell, _: subprocess.run(["fusermount3", "-u", shell.mountpoint], check=True),
            id="fusermount3",
        ),
        pytest.param(lambda _, process: os.kill(process, signal.SIGTERM), id="SIGTERM"),
        pytest.param(lambda _, process: os.kill(process, signal.SIGINT), id="SIGINT"),
        pytest.param(lambda _, process: os.kill(process, signal.SIGHUP), id="SIGHUP"),
    ],
)
def test_it_also_ends_with(
    shell: Shell, lake_uri: str, end: Callable[[Shell, int], object]
) -> None:
    process_id = shell.mounted(lake_uri)
    (shell.version() / "file").write_bytes(b"kept")

    end(shell, process_id)

    eventually(lambda: not is_alive(process_id), "the process has ended")
    assert not is_mounted(shell.mountpoint)
    assert content_of(lake_uri, "datasets/test/v1/file") == b"kept"
    assert "Traceback" not in shell.log.read_text()


def test_a_termination_while_a_file_is_written_leaves_the_old_content_whole(
    shell: Shell, lake_uri: str
) -> None:
    process_id = shell.mounted(lake_uri)
    path = shell.version() / "file"
    path.write_bytes(b"old")
    writing = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        for _ in range(20):
            os.write(writing, bytes(1 << 20))

        os.kill(process_id, signal.SIGTERM)
        eventually(lambda: not is_alive(process_id), "the process has ended")
    finally:
        with contextlib.suppress(OSError):
            os.close(writing)

    assert not is_mounted(shell.mountpoint)
    assert content_of(lake_uri, "datasets/test/v1/file") == b"old"
    shell.mounted(lake_uri)
    assert path.read_bytes() == b"old"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_in_the_foreground_it_logs_to_standard_error_and_ends_with_ctrl_c(
    shell: Shell, lake_uri: str
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "mount", "-f", lake_uri, str(shell.mountpoint)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **shell.environment},
    )
    with process:
        assert process.stderr is not None
        eventually(lambda: is_mounted(shell.mountpoint), "it is mounted")
        assert (shell.mountpoint / "datasets").is_dir()

        process.send_signal(signal.SIGINT)
        _, logged = process.communicate(timeout=PROMPTLY)

    assert process.returncode == 0
    assert "mounted read-write" in logged
    assert "unmounted" in logged
    assert not is_mounted(shell.mountpoint)


def test_it_can_be_mounted_through_a_symbolic_link_and_under_an_unusual_name(
    shell: Shell, lake_uri: str
) -> None:
    folder = shell.folder / "ein Ordner\\mit ü\tund so"
    folder.mkdir()
    link = shell.folder / "link"
    link.symlink_to(folder)

    assert shell.run("mount", "--log-file", shell.log, lake_uri, link).returncode == 0
    busy = shell.run("mount", "--log-file", shell.log, lake_uri, folder)
    done = shell.run("umount", link)

    assert_refused(busy, "something is mounted on .* already")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(folder) == []  # noqa: PTH208


# --- mount points that are not fit ---------------------------------------------------------------


def test_a_mount_point_must_be_an_empty_directory(shell: Shell, lake_uri: str) -> None:
    (shell.folder / "file").touch()
    full = shell.folder / "full"
    full.mkdir()
    (full / "something").touch()

    assert_refused(shell.run("mount", lake_uri, shell.folder / "nowhere"), "does not exist: make")
    assert_refused(shell.run("mount", lake_uri, shell.folder / "file"), "is not a directory")
    assert_refused(shell.run("mount", lake_uri, full), "is not empty: mount on an empty")


@pytest.mark.parametrize("option", ["--log-file", "--disk-cache", "--embedded"])
def test_what_the_mount_uses_itself_is_refused_below_the_mount_point(
    shell: Shell, lake_uri: str, option: str
) -> None:
    (shell.folder / "link").symlink_to(shell.mountpoint)
    lake = [] if option == "--embedded" else [lake_uri]

    for place in (shell.mountpoint / "inside", shell.folder / "link" / "inside"):
        done = shell.run("mount", option, place, *lake, shell.mountpoint)

        assert_refused(done, f"{option} {place}: that is below the mount point")
        assert not place.exists()


def test_a_mount_point_that_is_taken_is_refused(shell: Shell, lake_uri: str) -> None:
    process_id = shell.mounted(lake_uri)

    assert_refused(shell.mount(lake_uri), "something is mounted on .* already: gridfsmount umount")

    assert shell.process_id == process_id


def test_a_dead_mount_is_cleared_away_by_umount(shell: Shell, lake_uri: str) -> None:
    process_id = shell.mounted(lake_uri)
    os.kill(process_id, signal.SIGKILL)
    eventually(lambda: not is_alive(process_id), "the process has ended")

    shell.unmounted()

    assert not is_mounted(shell.mountpoint)
    shell.mounted(lake_uri)


def test_umount_says_when_nothing_is_mounted(shell: Shell) -> None:
    assert_refused(shell.umount(), f"no lake is mounted on {shell.mountpoint}")
    assert_refused(shell.run("umount", shell.folder / "nowhere"), "no lake is mounted on")
    assert_refused(shell.run("umount", "/proc"), "no lake is mounted on /proc")


def test_a_mount_in_use_stays_and_umount_names_who_uses_it(shell: Shell, lake_uri: str) -> None:
    shell.mounted(lake_uri)
    path = shell.version() / "file"
    path.write_bytes(b"content")
    code = "import sys; file = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()

        assert_refused(
            shell.umount(), rf"cannot unmount .* It is in use by: python[\d.]* \({user.pid}\)\."
        )

        assert path.read_bytes() == b"content"
        path.with_name("other").write_bytes(b"more")
    shell.unmounted()


@AS_ROOT
@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("true", "there is no /dev/fuse"),
        ("mknod -m 0 /dev/fuse c 10 229", "/dev/fuse may not be opened"),
        ("touch /dev/fuse", "FUSE cannot mount on"),
    ],
    ids=["no device", "not for this user", "no such device"],
)
def test_without_fuse_it_says_what_is_missing(
    shell: Shell, lake_uri: str, prepare: str, message: str
) -> None:
    # A name space of its own, so that the device is missing for this command alone; and none of
    # the capabilities that let root open everything.
    script = f"mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && {prepare} && exec $@"
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    alone = ["unshare", "--mount", "sh", "-c", script, "sh", *powerless]
    done = subprocess.run(
        [*alone, *COMMAND, "mount", "--log-file", shell.log, lake_uri, shell.mountpoint],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROMPTLY,
        env={**os.environ, **shell.environment},
    )

    said = done.stderr.splitlines()
    assert done.returncode == 1
    assert said[-1].startswith("gridfsmount: ")
    assert message in said[-1]
    # libfuse says for itself what the system told it.
    assert all(line.startswith("fuse") for line in said[:-1]), done.stderr
    assert not is_mounted(shell.mountpoint)


@AS_ROOT
def test_a_user_who_may_not_mount_is_told(shell: Shell, lake_uri: str) -> None:
    powerless = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"]
    done = subprocess.run(
        [*powerless, *COMMAND, "mount", "--log-file", shell.log, lake_uri, shell.mountpoint],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROMPTLY,
        env={**os.environ, **shell.environment},
    )

    assert done.returncode == 1
    assert re.fullmatch(
        r"fusermount3: mount failed: Operation not permitted\n"
        r"gridfsmount: FUSE cannot mount on .*\n",
        done.stderr,
    )


# --- servers that are not fit --------------------------------------------------------------------


def test_a_server_out_of_reach_is_named(shell: Shell) -> None:
    began = time.monotonic()

    done = shell.mount("mongodb://root:sekret@127.0.0.1:1/lake")

    assert_refused(done, "no server answered at 127.0.0.1:1 within .* Connection refused$")

    assert time.monotonic() - began < PROMPTLY


def test_wrong_credentials_are_refused(shell: Shell, guarded: Mongod) -> None:
    address = f"127.0.0.1:{guarded.port}"

    assert_refused(
        shell.mount(f"mongodb://{USER}:sekret@{address}/lake?authSource=admin"),
        f"the server at {address} refuses the user name or the password",
    )
    assert_refused(shell.mount(f"mongodb://{address}/lake"), f"rights on lake.fs.* at {address}")


@pytest.mark.parametrize(
    "uri",
    [
        "http://root:sekret@127.0.0.1/lake",
        "mongo://root:sekret@127.0.0.1/lake",
        "root:sekret@127.0.0.1/lake",
        "mongodb://root:sekret@127.0.0.1:port/lake",
        "mongodb://root:sekret@127.0.0.1:99999/lake",
        "mongodb://root:sek@ret@127.0.0.1:99999/lake",
        "mongodb://root:sekret@/lake",
        "mongodb://root:sekret@127.0.0.1/la$ke",
        "mongodb://root:sekret@127.0.0.1/lake?replicaSet",
        "mongodb+srv://root:sekret@127.0.0.1/lake",
        "mongodb://127.0.0.1/la$ke",
        "mongodb://",
        "nonsense",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(shell: Shell, uri: str) -> None:
    done = shell.mount(uri)

    assert_refused(done, "the address is no MongoDB URI")
    assert "ret@" not in done.stderr


def test_a_newer_lake_is_left_alone(shell: Shell, lake_uri: str) -> None:
    with MongoClient[dict[str, Any]](lake_uri) as client:
        database = client.get_default_database()
        database["fs.lake"].insert_one({"_id": "lake", "format": LAKE_FORMAT + 1})

        assert_refused(shell.mount(lake_uri), f"has format {LAKE_FORMAT + 1}; .* upgrade")

        assert database.list_collection_names() == ["fs.lake"]


@pytest.mark.parametrize("value", [None, "1", True, 0, -1, [1]])
def test_a_collection_of_another_program_is_left_alone(
    shell: Shell, lake_uri: str, value: object
) -> None:
    with MongoClient[dict[str, Any]](lake_uri) as client:
        database = client.get_default_database()
        database["fs.lake"].insert_one({"_id": "lake", "format": value})

        assert_refused(shell.mount(lake_uri), "another program's collection\\? Choose another")

        assert database.list_collection_names() == ["fs.lake"]


def make_a_view(database: Any) -> None:
    database.create_collection("fs.files", viewOn="others", pipeline=[])


def make_duplicates(database: Any) -> None:
    database["fs.chunks"].insert_many([{"files_id": 1, "n": 0}, {"files_id": 1, "n": 0}])


def make_an_index_that_is_not_unique(database: Any) -> None:
    database["fs.chunks"].create_index([("files_id", 1), ("n", 1)])


def make_a_stranger_in_the_root(database: Any) -> None:
    database["fs.tree"].insert_one({"_id": "x", "names": [{"parent": 1, "name": "datasets"}]})


def make_a_root_that_is_none(database: Any) -> None:
    database["fs.tree"].insert_one({"_id": 1, "names": "none"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (make_a_view, "fs.files cannot have the index .* is a view, not a collection"),
        (make_duplicates, "fs.chunks cannot have the index .*duplicate key"),
        (make_an_index_that_is_not_unique, "fs.chunks cannot have the index .*same name"),
        (make_a_stranger_in_the_root, "fs.tree has documents of another program"),
        (make_a_root_that_is_none, "the mount does not answer"),
    ],
)
def test_collections_that_cannot_hold_a_lake_are_named(
    shell: Shell, lake_uri: str, spoil: Callable[[Any], None], message: str
) -> None:
    with MongoClient[dict[str, Any]](lake_uri) as client:
        spoil(client.get_default_database())

    done = shell.mount(lake_uri)

    assert done.returncode == 1
    assert re.fullmatch(f"gridfsmount: .*{message}.*\n", done.stderr)
    assert not is_mounted(shell.mountpoint)


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk-size", "1"], "1 is not between 4 KiB and 8192 KiB"),
        (["--chunk-size", "16MiB"], "16MiB is not between"),
        (["--chunk-size", "-4KiB"], "'-4KiB' is not a size"),
        (["--chunk-size", "many"], "'many' is not a size like 255KiB"),
        (["--umask", "8"], "'8' is not an octal mask like 022"),
        (["--umask", "07777"], "is not an octal mask"),
        (["--umask", ""], "is not an octal mask"),
        (["--squash", "1000"], "'1000' is not UID:GID"),
        (["--squash", "root:root"], "is not UID:GID"),
        (["--squash", "4294967295:0"], "is not UID:GID"),
        (["--uid", "-1"], "-1 is not in the range"),
        (["--gid", "4294967295"], "4294967295 is not in the range"),
        (["--deadline", "0"], "not in the range"),
        (["--lease", "never"], "'never' is not a duration like"),
        (["--secure"], "No such option"),
        (["--bucket"], "MOUNTPOINT is missing after the URI"),
    ],
)
def test_a_value_that_makes_no_sense_is_a_usage_error(
    shell: Shell, options: list[str], message: str
) -> None:
    uri = "mongodb://root:sekret@127.0.0.1:1/lake"

    assert_refused(shell.run("mount", uri, *options, shell.mountpoint), message, usage=True)


@pytest.mark.parametrize("bucket", ["", "a$b", "a..b", ".a", "a\n$b", "x" * 300])
def test_a_bucket_that_cannot_be_is_refused(shell: Shell, lake_uri: str, bucket: str) -> None:
    done = shell.mount(lake_uri, "--bucket", bucket)

    assert done.returncode == 1
    assert re.fullmatch(
        r"gridfsmount: .*(cannot be a bucket's name|cannot have the index).*\n", done.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["mount"],
        ["mount", "mongodb://root:sekret@127.0.0.1:1/lake"],
        ["mount", "mongodb://root:sekret@127.0.0.1:1/lake", "one", "two"],
        ["mount", "mountpoint", "mongodb://root:sekret@127.0.0.1:1/lake"],
        ["mount", "--uid", "mongodb://root:sekret@127.0.0.1:1/lake", "mountpoint"],
        ["mongodb://root:sekret@127.0.0.1:1/lake", "mountpoint"],
        ["umount"],
        ["remount"],
    ],
)
def test_a_wrong_command_line_is_answered_without_its_secrets(
    shell: Shell, arguments: list[str]
) -> None:
    assert_refused(shell.run(*arguments), "", usage=True)


def test_an_address_in_place_of_the_mount_point_is_not_repeated(shell: Shell) -> None:
    assert_refused(shell.run("umount", "mongodb://root:sekret@127.0.0.1:1/lake"), "no lake is")


def test_without_any_address_it_says_where_to_give_one(shell: Shell) -> None:
    assert_refused(shell.mount(), "no URI: .*--uri-file.*GRIDFSMOUNT_URI.*config file.*--embedded")


def test_a_uri_file_must_be_readable_private_and_not_empty(shell: Shell) -> None:
    address = "mongodb://root:sekret@127.0.0.1:1/lake"
    public = private(shell.folder / "public", address)
    public.chmod(0o644)
    token = private(shell.folder / "token", "mongodb://h/?tlsCertificateKeyFilePassword=sekret")
    token.chmod(0o644)
    empty = private(shell.folder / "empty", " \n\n")
    binary = private(shell.folder / "binary", "")
    binary.write_bytes(b"\xff\xfe")

    for path, message in [
        (public, f"everybody may read it: chmod o-r {public}"),
        (token, "everybody may read it"),
        (empty, "is empty: it should hold one line"),
        (binary, "cannot be read"),
        (shell.folder / "nowhere", "cannot be read: .*No such file"),
        (shell.folder, "cannot be read: .*Is a directory"),
    ]:
        assert_refused(shell.mount("--uri-file", path), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "mongodb://127.0.0.1"', "lake.toml:1: url: unknown key; did you mean 'uri'"),
        ("uri = 5", "lake.toml:1: uri: must be a string"),
        ('uri = "mongodb://root:sekret@127.0.0.1', "lake.toml:1: no TOML: "),
        ("[lake]\nuri = 'x'", "lake.toml:1: lake: unknown key"),
    ],
)
def test_a_config_file_that_makes_no_sense_is_refused(
    shell: Shell, text: str, message: str
) -> None:
    private(shell.config, text)

    assert_refused(shell.mount(), message)


def test_a_config_file_with_a_password_must_be_private(shell: Shell) -> None:
    private(shell.config, 'uri = "mongodb://root:sekret@127.0.0.1:1/lake"').chmod(0o644)

    assert_refused(shell.mount(), "holds a password and everybody may read it")
    assert_refused(shell.mount("--config", shell.folder / "nowhere.toml"), "cannot be read")


def test_a_log_that_cannot_be_written_is_refused(shell: Shell, lake_uri: str) -> None:
    done = shell.run("mount", "--log-file", "/proc/nowhere/log", lake_uri, shell.mountpoint)

    assert_refused(done, "the log /proc/nowhere/log cannot be written")


def test_the_version_and_the_help_are_there(shell: Shell) -> None:
    version = shell.run("--version")
    assert (version.returncode, version.stdout) == (0, f"gridfsmount, version {__version__}\n")
    for arguments in (["--help"], ["-h"], ["mount", "--help"], ["umount", "--help"]):
        done = shell.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Usage: gridfsmount")
    for option in ("--uri-file", "--embedded", "--chunk-size", "--read-only", "--lease"):
        assert option in shell.run("mount", "--help").stdout


# --- where the address comes from, and where it must not go --------------------------------------


def give_as_argument(shell: Shell, uri: str) -> tuple[list[str], dict[str, str]]:
    return [uri], {}


def give_in_a_file(shell: Shell, uri: str) -> tuple[list[str], dict[str, str]]:
    return ["--uri-file", str(private(shell.folder / "uri", f"\n{uri}\n\n"))], {}


def give_in_the_environment(shell: Shell, uri: str) -> tuple[list[str], dict[str, str]]:
    return [], {"GRIDFSMOUNT_URI": uri}


def give_in_the_users_config(shell: Shell, uri: str) -> tuple[list[str], dict[str, str]]:
    private(shell.config, f"uri = '{uri}'\n")
    return [], {}


def give_in_a_config(shell: Shell, uri: str) -> tuple[list[str], dict[str, str]]:
    return ["--config", str(private(shell.folder / "some.toml", f"uri = '{uri}'\n"))], {}


def seen_by_others() -> str:
    """All that every user of the machine can see of its processes and mounts."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    return "\n".join([listing.stdout, *command_lines().values(), Path("/proc/mounts").read_text()])


@pytest.mark.parametrize(
    "give",
    [
        give_as_argument,
        give_in_a_file,
        give_in_the_environment,
        give_in_the_users_config,
        give_in_a_config,
    ],
)
def test_an_address_works_from_everywhere_and_its_password_shows_nowhere(
    shell: Shell,
    guarded: Mongod,
    give: Callable[[Shell, str], tuple[list[str], dict[str, str]]],
) -> None:
    arguments, environment = give(shell, guarded.uri_for("lake"))
    seen = ""
    command = [*COMMAND, "mount", "-vv", "--log-file", str(shell.log)]
    with subprocess.Popen(
        [*command, *arguments, str(shell.mountpoint)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **shell.environment, **environment},
    ) as mounting:
        while mounting.poll() is None:
            if give is not give_as_argument:  # which shows until the command begins to run
                seen += seen_by_others()
        assert mounting.stderr is not None
        assert (mounting.returncode, mounting.stderr.read()) == (0, "")
    path = shell.version() / "file"
    path.write_bytes(b"content")
    for _ in range(5):
        seen += seen_by_others()
        assert path.read_bytes() == b"content"
    with pytest.raises(PermissionError):
        (shell.mountpoint / "datasets" / "file").touch()
    shell.unmounted()

    assert str(shell.mountpoint) in seen
    assert content_of(guarded.uri_for("lake"), "datasets/test/v1/file") == b"content"
    logged = shell.log.read_text()
    assert "DEBUG" in logged
    assert "Traceback" not in logged
    for secret in (PASSWORD, quote_plus(PASSWORD)):
        assert secret not in seen
        assert secret not in logged


def test_an_unquoted_or_misspelt_password_is_hidden_from_the_process_list(shell: Shell) -> None:
    addresses = [
        "mongo://root:se kr@et@127.0.0.1/x",
        "mongodb://h/?tlsCertificateKeyFilePassword=sekret",
    ]
    read, write = os.pipe()  # a URI file that does not end keeps the command waiting
    try:
        with subprocess.Popen(
            [*COMMAND, "mount", "--config", f"/dev/fd/{read}", *addresses],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[read],
            env={**os.environ, **shell.environment},
        ) as waiting:

            def title() -> str:
                assert waiting.poll() is None, "it ended"
                return Path(f"/proc/{waiting.pid}/cmdline").read_text()

            try:
                eventually(lambda: "***" in title(), f"{title()!r} is hidden")
                assert "mongo://***@127.0.0.1/x" in title()
                assert not re.search("se kr|et@|sekret", title())
            finally:
                os.close(write)
    finally:
        os.close(read)
    assert waiting.returncode == 2


def test_what_is_nearer_to_the_command_wins(shell: Shell, mongod: Mongod, lake_uri: str) -> None:
    nowhere = "mongodb://127.0.0.1:1/lake"
    private(shell.config, f"uri = '{nowhere}'\nbucket = 'other'\n")
    file = private(shell.folder / "uri", nowhere)

    shell.mounted(lake_uri, "--uri-file", file, env={"GRIDFSMOUNT_URI": nowhere})
    shell.unmounted()
    file.write_text(lake_uri)
    shell.mounted("--uri-file", file, env={"GRIDFSMOUNT_URI": nowhere})
    shell.unmounted()
    shell.mounted("--bucket", "third", env={"GRIDFSMOUNT_URI": lake_uri})
    shell.unmounted()

    with MongoClient[dict[str, Any]](lake_uri) as client:
        names = client.get_default_database().list_collection_names()
    assert {name.split(".")[0] for name in names} == {"other", "third"}


# --- options that show in the tree ---------------------------------------------------------------


def test_adopted_contents_get_the_owner_and_permissions_of_the_options(
    shell: Shell, lake_uri: str
) -> None:
    upload(lake_uri, "datasets/test/v1/folder/file", b"theirs")

    shell.mounted(lake_uri, "--uid", "1234", "--gid", "2345", "--umask", "027")
    path = shell.mountpoint / "datasets/test/v1/folder/file"
    eventually(path.exists, "the upload is adopted")

    file, folder = path.stat(), path.parent.stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (1234, 2345, 0o640)
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (1234, 2345, 0o750)
    own = path.with_name("own")
    own.touch()
    assert own.stat().st_uid == os.getuid()
    assert shell.mountpoint.stat().st_uid == 1234


def test_squash_shows_one_owner_and_stores_the_real_one(shell: Shell, lake_uri: str) -> None:
    upload(lake_uri, "datasets/test/v1/theirs", b"theirs")

    shell.mounted(lake_uri, "--squash", "1234:2345")
    folder = shell.version()
    (folder / "own").write_bytes(b"own")
    eventually((folder / "theirs").exists, "the upload is adopted")

    for path in [shell.mountpoint, folder, *folder.iterdir()]:
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)
    shell.unmounted()
    shell.mounted(lake_uri)
    assert (folder / "own").stat().st_uid == os.getuid()


def test_a_bucket_of_another_name_is_a_lake_of_its_own(shell: Shell, lake_uri: str) -> None:
    upload(lake_uri, "datasets/test/v1/theirs", b"theirs", bucket="other")
    shell.mounted(lake_uri)
    (shell.version() / "file").write_bytes(b"in fs")
    shell.unmounted()

    shell.mounted(lake_uri, "--bucket", "other")
    path = shell.version() / "theirs"
    eventually(path.exists, "the upload is adopted")

    assert path.read_bytes() == b"theirs"
    assert [each.name for each in path.parent.iterdir()] == ["theirs"]
    assert f".other {shell.mountpoint} " in Path("/proc/mounts").read_text()


@pytest.mark.parametrize(
    ("options", "chunk_size"),
    [([], 1 << 20), (["--chunk-size", "255KiB"], 255 << 10), (["--chunk-size=8m"], 8 << 20)],
)
def test_new_files_have_the_chunk_size_of_the_option(
    shell: Shell, lake_uri: str, options: Sequence[str], chunk_size: int
) -> None:
    data = os.urandom(chunk_size + 1)
    shell.mounted(lake_uri, *options)
    (shell.version() / "file").write_bytes(data)
    shell.unmounted()

    with MongoClient[dict[str, Any]](lake_uri) as client:
        database = client.get_default_database()
        document = database["fs.files"].find_one({})
        lengths = [len(each["data"]) for each in database["fs.chunks"].find().sort("n", 1)]
    assert document is not None
    assert document["chunkSize"] == chunk_size
    assert lengths == [chunk_size, 1]
    assert content_of(lake_uri, "datasets/test/v1/file") == data


def test_the_log_goes_where_it_is_sent_and_says_as_much_as_asked(
    shell: Shell, lake_uri: str
) -> None:
    shell.mounted(lake_uri)
    shell.unmounted()
    quiet = shell.log.read_text()
    shell.log.unlink()
    shell.mounted("-v", lake_uri)
    shell.unmounted()

    assert "mounted read-write on" in quiet
    assert " DEBUG " not in quiet
    assert " DEBUG " in shell.log.read_text()


# --- the embedded server -------------------------------------------------------------------------


def mongod_of(directory: Path) -> int:
    return int((directory / "db" / "mongod.lock").read_text())


def test_an_embedded_lake_keeps_its_data_and_its_server_ends_with_the_mount(shell: Shell) -> None:
    lake = shell.folder / "lake"
    data = os.urandom(3 << 20)

    shell.mounted("--embedded", lake)
    server = mongod_of(lake)
    (shell.version() / "file").write_bytes(data)
    shell.unmounted()
    assert not is_alive(server)

    process_id = shell.mounted("--embedded", lake)
    assert (shell.version() / "file").read_bytes() == data
    (shell.version() / "second").write_bytes(b"second")
    server = mongod_of(lake)
    os.kill(process_id, signal.SIGKILL)
    wait_for_end(server)
    shell.unmounted()

    shell.mounted("--embedded", lake)
    assert (shell.version() / "file").read_bytes() == data
    assert (shell.version() / "second").read_bytes() == b"second"
    assert stat.S_IMODE(lake.stat().st_mode) == 0o700


def wait_for_end(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(process_id)
        try:
            ended, _, _ = select.select([process], [], [], PROMPTLY)
            assert ended, f"process {process_id} still runs"
        finally:
            os.close(process)


def test_an_embedded_lake_is_mounted_once_at_a_time(shell: Shell, lake_uri: str) -> None:
    lake = shell.folder / "lake"
    other = shell.folder / "other"
    other.mkdir()
    process_id = shell.mounted("--embedded", lake)

    done = shell.run("mount", "--log-file", shell.log, "--embedded", lake, other)

    assert_refused(done, f"{lake} is in use by process {process_id}")
    assert (shell.mountpoint / "datasets").is_dir()
    assert_refused(shell.run("mount", "--embedded", lake, lake_uri, other), "leave the URI out")


def test_without_a_mongod_an_embedded_lake_says_what_to_install(shell: Shell) -> None:
    hidden = shell.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.metadata\nimportlib.metadata.distributions = lambda: iter(())\n"
    )

    done = shell.mount(
        "--embedded",
        shell.folder / "lake",
        env={"PATH": str(hidden), "PYTHONPATH": str(hidden)},
    )

    assert_refused(done, r"no mongod found: .*pip install 'gridfsmount\[embedded\]'")
    assert not (shell.folder / "lake").exists()


def test_an_embedded_server_that_cannot_start_says_why(shell: Shell) -> None:
    lake = shell.folder / "lake"
    lake.touch()

    assert_refused(shell.mount("--embedded", lake), f"cannot run mongod in {lake}: .*File exists")
