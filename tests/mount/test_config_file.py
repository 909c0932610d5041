"""The config file, the environment and options, as commands take them."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import gridfsmount
from gridfsmount.addresses import known_embedded
from gridfsmount.cli.config import config_commands
from gridfsmount.cli.lakes import LakeChoice, open_lake_for_command
from gridfsmount.cli.main import mount as mount_command
from gridfsmount.cli.paths import locate
from gridfsmount.cli.vaults import choose_vaults
from gridfsmount.config.checking import check_text
from gridfsmount.config.keys import KEYS, OPTIONS, SECTIONS, VAULTS
from gridfsmount.config.logins import Login
from gridfsmount.door.lakes import close_doors
from gridfsmount.errors import ConfigError
from tests.mongod import PASSWORD, USER, Mongod
from tests.mounting import run_command

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"

NO_KEY = {
    "config": "it says which file",
    "uri_file": "the file says uri",
    "embedded": "a key outside of tables",
    "bucket": "a key outside of tables",
    "source": "mount(8) says it",
    "noexec": "mount(8) says it",
    "user": "a key outside of tables",
    "password_file": "a key outside of tables",
    "tls_ca_file": "a key outside of tables",
    "tls_cert_file": "a key outside of tables",
    "ask_password": "of a person at a terminal",
    "foreground": "of a person at a terminal, or a unit",
    "vaults": "a table",
    "no_lake": "when the server of the file is gone",
}


@pytest.fixture(autouse=True)
def _nobody_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GRIDFSMOUNT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def options_of(*arguments: str | Path) -> dict[str, Any]:
    """What `mount` understands, without mounting."""
    return mount_command.make_context("mount", [*map(str, arguments)]).params


def test_every_option_of_mount_has_a_key_and_every_key_an_option() -> None:
    options = {each.name for each in mount_command.params if isinstance(each, click.Option)}
    keys = {*SECTIONS["mount"], *OPTIONS.values()} - {"mountpoint"}
    assert keys == options - NO_KEY.keys()
    assert set(OPTIONS) == {("log", key) for key in SECTIONS["log"]}
    for name, key in SECTIONS["mount"].items():
        option = next((each for each in mount_command.params if each.name == name), None)
        if isinstance(option, click.Option) and name not in {"disk_cache"}:
            assert type(option.type) is type(key.kind), name


def test_options_go_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[mount]\ncache_size = '1GiB'\nallow_other = true\ndeadline = '2m'\nuid = 7\n"
    file = private(tmp_path / "lake.toml", text + "[log]\nfile = '/var/log/x'\nverbose = 2\n")
    found = options_of("--config", file, "/mnt")
    assert (found["cache_size"], found["allow_other"], found["deadline"]) == (1 << 30, True, 120)
    assert (found["uid"], found["log_file"], found["verbose"]) == (7, Path("/var/log/x"), 2)
    assert found["read_only"] is False

    monkeypatch.setenv("GRIDFSMOUNT_CACHE_SIZE", "2GiB")
    monkeypatch.setenv("GRIDFSMOUNT_ALLOW_OTHER", "no")
    monkeypatch.setenv("GRIDFSMOUNT_CONFIG", str(file))
    found = options_of("/mnt")
    assert (found["cache_size"], found["allow_other"], found["uid"]) == (2 << 30, False, 7)
    found = options_of("--cache-size", "3GiB", "--allow-other", "/mnt")
    assert (found["cache_size"], found["allow_other"]) == (3 << 30, True)
    monkeypatch.setenv("GRIDFSMOUNT_ALLOW_OTHER", "")
    assert options_of("--no-allow-other", "/mnt")["allow_other"] is False


def test_the_file_may_be_a_pipe() -> None:
    read, write = os.pipe()
    os.write(write, b"bucket = 'b'\n[mount]\nuid = 7\n[vaults]\nnas = '/srv'\n")
    os.close(write)
    found = options_of("--config", f"/dev/fd/{read}", "/mnt")
    os.close(read)
    assert (found["uid"], found["config"].table("vaults")) == (7, {"nas": "/srv"})
    assert found["config"].values["bucket"] == "b"


def test_every_key_of_mount_and_log_reaches_its_option(tmp_path: Path) -> None:
    values = {
        "mount": {
            "read_only": True,
            "allow_other": True,
            "chunk_size": "2MiB",
            "cache_size": "3MiB",
            "disk_cache": str(tmp_path),
            "disk_cache_size": "4MiB",
            "read_preference": "nearest",
            "uid": 1,
            "gid": 2,
            "umask": "027",
            "squash": "3:4",
            "metrics": "127.0.0.1:9464",
            "deadline": "5s",
            "lease": "6s",
        },
        "log": {"file": "/x", "verbose": 1, "format": "json", "slow": "7s"},
    }
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for section, keys in values.items()
    )
    found = options_of("--config", private(tmp_path / "lake.toml", text), "/mnt")
    names = {section: {*keys} - {"mountpoint"} for section, keys in SECTIONS.items()}
    assert {section: {*keys} for section, keys in values.items()} == {
        section: names[section] for section in values
    }
    logs = ("log_file", "verbose", "log_format", "slow")
    assert {name: found[name] for name in (*values["mount"], *logs)} == {
        "read_only": True,
        "allow_other": True,
        "chunk_size": 2 << 20,
        "cache_size": 3 << 20,
        "disk_cache": tmp_path,
        "disk_cache_size": 4 << 20,
        "read_preference": "nearest",
        "uid": 1,
        "gid": 2,
        "umask": 0o27,
        "squash": (3, 4),
        "metrics": ("127.0.0.1", 9464),
        "deadline": 5.0,
        "lease": 6.0,
        "log_file": Path("/x"),
        "verbose": 1,
        "log_format": "json",
        "slow": 7.0,
    }


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    file = private(tmp_path / "lake.toml", "")
    done = run_command("mount", "--config", file, "/mnt", env={"GRIDFSMOUNT_CACHE_SIZE": "9q"})
    assert done.returncode == 2
    assert "Invalid value of GRIDFSMOUNT_CACHE_SIZE in the environment: '9q'" in done.stderr


def example() -> str:
    section = DOCUMENT.read_text().partition("\n## The config file\n")[2].partition("\n## ")[0]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_of_the_document_is_right_and_has_every_key() -> None:
    config = check_text(Path("lake.toml"), example())
    assert config.problems == ()
    commented = {"embedded", "auth", "tls_certificate_key_file"}
    there = {*config.values} | {key for key in commented if f"# {key} = " in example()}
    assert there == {*KEYS, *SECTIONS}
    for section, keys in SECTIONS.items():
        if section != VAULTS:
            assert {*config.values[section]} == {*keys}, section
    for key in commented:  # and they would be right
        [line] = re.findall(rf"^# ({key} = .*)$", example(), re.MULTILINE)
        assert check_text(Path("x"), line).problems == ()
        assert tomllib.loads(line)


def test_check_tells_everything_at_once_and_show_what_holds(tmp_path: Path) -> None:
    password = private(tmp_path / "password", "QXZ7")
    text = (
        f"uri = 'mongodb://db/lake'\nuser = 'me'\npassword_file = '{password}'\n"
        f"[vaults]\nnas = 'mongodb://you:QXZ7@nas/vault'\n"
        f"[mount]\nmountpoint = '{tmp_path}'\ndisk_cache = '{tmp_path}/cache'\nuid = 7\n"
    )
    file = private(tmp_path / "lake.toml", text)
    done = run_command("config", "check", "--config", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file} is in order\n", "")

    environment = {"GRIDFSMOUNT_UID": "8", "GRIDFSMOUNT_PASSWORD": "QXZ7"}
    shown = run_command("config", "show", "--config", file, env=environment)
    assert shown.returncode == 0
    assert "QXZ7" not in shown.stdout
    lines = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    for expected in (
        ["uri", "mongodb://db/lake", f"{file}:1"],
        ["bucket", "fs", "default"],
        ["password", "***", "GRIDFSMOUNT_PASSWORD"],
        ["nas", "mongodb://***@nas/vault", f"{file}:5"],
        ["uid", "8", "GRIDFSMOUNT_UID"],
        ["deadline", "30s", "default"],
    ):
        assert expected in lines
    shown_again = CliRunner().invoke(config_commands, ["show", "--config", str(file), "--json"])
    rows = json.loads(shown_again.stdout)
    assert {"table": "mount", "key": "uid", "value": "7", "source": f"{file}:9"} in rows

    password.chmod(0o644)
    wrong = text.replace("uid = 7", "uid = -7\ncache_size = 1").replace(
        f"'{tmp_path}/cache'", f"'{tmp_path}/no/cache'"
    )
    file.write_text(wrong.replace("mongodb://db/lake", "mongodb://db:port/lake"))
    file.chmod(0o644)
    done = run_command("config", "check", "--config", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert "QXZ7" not in done.stderr
    told = done.stderr.splitlines()
    for line, (begin, said) in zip(
        told,
        [
            (f"{file} ", "holds a password and everybody may read it"),
            (f"{file}:9: [mount] uid: ", "-7 is not in the range"),
            (f"{file}:10: [mount] cache_size: ", "must be a string"),
            (f"{file}:1: uri: ", "the address is no MongoDB URI"),
            (f"{file}:3: password_file: ", f"chmod o-rw {password}"),
            (f"{file}:8: [mount] disk_cache: ", f"{tmp_path}/no does not exist"),
        ],
        strict=True,
    ):
        assert line.startswith(begin)
        assert said in line


def test_without_a_file_check_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("addresses", "cli.config"):  # the machine may have one
        monkeypatch.setattr(f"gridfsmount.{module}.default_configs", lambda: [tmp_path / "none"])
    done = CliRunner().invoke(config_commands, ["check"])
    assert (done.exit_code, done.output) == (
        1,
        f"gridfsmount: there is no config file: looked for {tmp_path}/none\n",
    )


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    """A server that wants a password."""
    with Mongod(auth=True) as server:
        yield server


@pytest.fixture
def file(guarded: Mongod, tmp_path: Path) -> Path:
    """A config file that says all that a mount needs."""
    (tmp_path / "mnt").mkdir()
    text = f"""
        uri = "mongodb://127.0.0.1:{guarded.port}/lake?replicaSet=tests&authSource=admin"
        user = "{USER}"
        password_file = "{private(tmp_path / "password", PASSWORD)}"
        [mount]
        mountpoint = "{tmp_path}/mnt"
        squash = "7:8"
        [log]
        file = "{tmp_path}/log/mount.log"
        """
    return private(tmp_path / "lake.toml", text)


def test_a_mount_needs_nothing_but_its_config_file_and_its_paths_no_login(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mountpoint = tmp_path / "mnt"
    environment = {"GRIDFSMOUNT_CONFIG": str(file), "GRIDFSMOUNT_PASSWORD": PASSWORD}
    done = run_command("mount", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    try:
        process = Path("/proc", os.getxattr(mountpoint, "user.lake.pid").decode())
        status = (mountpoint / "datasets").stat()
        assert (status.st_uid, status.st_gid) == (7, 8)
        limits = (process / "limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), "no core dump has the password"
        assert PASSWORD not in (process / "cmdline").read_text()

        monkeypatch.setenv("GRIDFSMOUNT_TLS_CA_FILE", "/of/other/lakes")
        choice = LakeChoice(None, private(tmp_path / "empty.toml", ""), None, 30.0)
        found = locate([str(mountpoint / "datasets")], None, choice)
        with open_lake_for_command(found.choice, found.uri, existing=True) as lake:
            assert lake.connection.deployment.database == "lake"
        with pytest.raises(ConfigError, match="a mount has a login already"):
            locate([str(mountpoint)], None, replace(choice, login=Login(user="me")))
        monkeypatch.delenv("GRIDFSMOUNT_TLS_CA_FILE")
    finally:
        assert run_command("umount", mountpoint).returncode == 0
    assert PASSWORD not in (tmp_path / "log" / "mount.log").read_text()


def test_every_command_and_python_take_the_login_of_the_file_the_environment_and_options(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_text("content")
    put = run_command("put", "-q", "--config", file, source, "datasets/test/v1/")
    assert (put.returncode, put.stderr) == (0, "")
    monkeypatch.setenv("GRIDFSMOUNT_CONFIG", str(file))
    close_doors()  # those that other tests of this process left open, to other lakes
    try:
        with gridfsmount.open("datasets/test/v1/source", "rb") as opened:
            assert opened.read() == b"content"
    finally:
        close_doors()

    wrong = private(tmp_path / "wrong", "wrong")
    done = run_command("status", "--config", file, "--password-file", wrong)
    assert done.returncode == 2
    assert re.fullmatch(
        "gridfsmount: the server at .* refuses the user name or the password.*\n", done.stderr
    )
    uri = tomllib.loads(file.read_text())["uri"]
    right = run_command("status", uri, "--user", USER, env={"GRIDFSMOUNT_PASSWORD": PASSWORD})
    assert (right.returncode, right.stderr) == (0, "")


def test_a_private_server_may_be_in_the_file_and_gets_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    text = f"embedded = '{tmp_path}/data'\n[mount]\nmountpoint = '{tmp_path}/mnt'\n"
    file = private(tmp_path / "lake.toml", f"{text}[log]\nfile = '{tmp_path}/log'\n")
    environment = {"GRIDFSMOUNT_PASSWORD": "QXZ7", "GRIDFSMOUNT_CONFIG": str(file)}
    done = run_command("mount", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    try:
        process = os.getxattr(tmp_path / "mnt", "user.lake.pid").decode()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        assert children, "its server"
        for child in children:
            assert b"GRIDFSMOUNT_PASSWORD" not in Path(f"/proc/{child}/environ").read_bytes()
        status = run_command("status", "--json", "--config", file)
        assert json.loads(status.stdout)["lake"]["database"] == "lake"
    finally:
        assert run_command("umount", tmp_path / "mnt").returncode == 0


def test_an_address_goes_before_a_private_server_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"embedded": "~/lake"}
    assert known_embedded(settings) == Path.home() / "lake"
    monkeypatch.setenv("GRIDFSMOUNT_URI", "mongodb://db/lake")
    assert known_embedded(settings) is None
    both = check_text(Path("x"), "uri = 'mongodb://db'\nembedded = '/srv'").problems
    assert both == ("x:2: embedded: there is a `uri` too: one of them says where the lake is",)


def test_vaults_of_the_file_take_their_passwords_from_credentials_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[vaults]\nnas = 'mongodb://me@nas/vault'\ndisk = '/srv/vault'\n"
    file = private(tmp_path / "lake.toml", text)
    assert [each.address for each in choose_vaults(file, ("disk",))] == ["/srv/vault"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    private(tmp_path / "vault-nas", "p@ss")
    found = choose_vaults(file, ())
    assert [each.address for each in found] == ["mongodb://me:p%40ss@nas/vault", "/srv/vault"]
    assert "p%40ss" not in repr(found)
