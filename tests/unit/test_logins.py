"""Users, passwords and certificates, and how they come into an address."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri

from gridfsmount.addresses import find_uri, redact
from gridfsmount.config.logins import (
    NO_LOGIN,
    Login,
    log_in,
    log_in_to_vault,
    read_secret,
)
from gridfsmount.errors import ConfigError

SECRET = "QXZ7@:/%41 ß"
URI = "mongodb://db.example.org/lake"


@pytest.fixture(autouse=True)
def _nothing_else_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URI", "USER", "PASSWORD", "PASSWORD_FILE", "TLS_CA_FILE", "TLS_CERT_FILE"):
        monkeypatch.delenv(f"GRIDFSMOUNT_{name}", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def private(path: Path, text: str = f"{SECRET}\n", mode: int = 0o640) -> Path:
    path.write_text(text, newline="")
    path.chmod(mode)
    return path


def parsed(uri: str) -> tuple[Any, Any]:
    found = parse_uri(uri)
    return found["username"], found["password"]


def refusal(uri: str, login: Login, settings: dict[str, Any], *, from_file: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        log_in(uri, login, settings, from_file=from_file)
    assert "QXZ7" not in str(caught.value)
    return str(caught.value)


HOSTS = st.sampled_from(["h", "h:1", "a:1,b:2", "[::1]:3", "%2Frun%2Fmongod.sock"])
PATHS = st.sampled_from(["", "/", "/lake", "/lake?authSource=admin", "/?w=1&journal=true"])
TEXTS = st.text(min_size=1).filter(lambda text: text.isprintable() and not text.isspace())


@given(HOSTS, PATHS, TEXTS, TEXTS)
def test_any_password_and_user_reach_the_driver_as_they_are(
    host: str, path: str, user: str, password: str
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRIDFSMOUNT_PASSWORD", password)
        made = log_in(f"mongodb://{host}{path}", Login(user=user), {}, from_file=False)
    assert parsed(made) == (user, password)
    assert parse_uri(made)["nodelist"] == parse_uri(f"mongodb://{host}{path}")["nodelist"]
    assert made.endswith(f"@{host}{path}")


def test_a_password_comes_from_the_nearest_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "mongodb://me@db/lake"
    option = Login(password_file=private(tmp_path / "option", "of the option"))
    settings = {"password_file": str(private(tmp_path / "file", "of the file"))}
    (tmp_path / "credentials").mkdir()
    private(tmp_path / "credentials" / "password", "of systemd")

    def found(login: Login = NO_LOGIN) -> Any:
        return parsed(log_in(uri, login, {**settings, "user": "me"}, from_file=False))[1]

    assert found() == "of the file"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert found() == "of systemd"
    monkeypatch.setenv("GRIDFSMOUNT_PASSWORD", "of the environment")
    assert found() == "of the environment"
    monkeypatch.setenv("GRIDFSMOUNT_PASSWORD_FILE", str(private(tmp_path / "named", "of a file")))
    assert found() == "of a file"
    assert found(option) == "of the option"
    own = "mongodb://me:its%20own@db"
    assert parsed(log_in(own, NO_LOGIN, {}, from_file=False))[1] == "its own"
    assert parsed(log_in(own, NO_LOGIN, {"uri": own}, from_file=True))[1] == "of a file"


def test_what_the_config_file_says_of_a_login_is_for_its_own_address(tmp_path: Path) -> None:
    settings = {
        "uri": URI,
        "user": "me",
        "password_file": str(private(tmp_path / "password", SECRET)),
    }
    assert parsed(find_uri("", None, settings, place="")) == ("me", SECRET)
    assert find_uri("mongodb://other/lake", None, settings, place="") == "mongodb://other/lake"
    without = {name: settings[name] for name in ("user", "password_file")}
    assert parsed(find_uri("mongodb://any/lake", None, without, place="")) == ("me", SECRET)
    assert parsed(find_uri("mongodb://me@any", None, without, place="")) == ("me", SECRET)
    assert "no password" in refusal("mongodb://you@any", NO_LOGIN, without)
    assert "no password" in refusal(URI, Login(user="you"), settings, from_file=True)
    within = settings | {"uri": "mongodb://me@db/lake"}
    del within["user"]
    assert parsed(find_uri("", None, within, place="")) == ("me", SECRET)
    assert "no password" in refusal(within["uri"], Login(user="you"), within, from_file=True)


def test_an_address_may_be_a_credential_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = {"uri": "mongodb://file/"}
    assert find_uri("", None, settings, place="") == "mongodb://file/"
    private(tmp_path / "uri", f"mongodb://me@db/lake\n{SECRET}")
    private(tmp_path / "password", SECRET)
    assert parsed(find_uri("", None, settings, place="")) == ("me", SECRET)


def test_the_environment_goes_before_the_file_and_not_before_an_address_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDFSMOUNT_USER", "you")
    monkeypatch.setenv("GRIDFSMOUNT_PASSWORD", "yours")
    uri = "mongodb://me:mine@db/lake"
    assert parsed(log_in(uri, NO_LOGIN, {"uri": uri}, from_file=True)) == ("you", "yours")
    assert log_in(uri, NO_LOGIN, {}, from_file=False) == uri
    assert parsed(log_in(uri, Login(user="she"), {"uri": uri}, from_file=True)) == ("she", "yours")
    by_certificate = "mongodb://db/?authMechanism=MONGODB-X509&tlsCAFile=/ca.pem&tls=true"
    monkeypatch.setenv("GRIDFSMOUNT_TLS_CA_FILE", str(private(tmp_path / "ca.pem")))
    assert log_in(by_certificate, NO_LOGIN, {}, from_file=False) == by_certificate
    assert "tlsCAFile=" in log_in(URI, NO_LOGIN, {}, from_file=False)


def test_what_is_said_twice_or_in_vain_is_refused(tmp_path: Path) -> None:
    file = private(tmp_path / "password")
    asked = Login(user="me", ask=True)
    for uri, login, settings, said in [
        ("mongodb://me:x@db", Login(password_file=file), {}, "a password in the URI already"),
        ("mongodb://me:x@db", Login(ask=True), {}, "leave --ask-password out"),
        ("mongodb://me@db", Login(user="you"), {}, "another user in the URI than by --user"),
        ("mongodb://me:x@db", NO_LOGIN, {"user": "me", "password_file": str(file)}, "already"),
        (URI, Login(password_file=file), {}, "there is no user: give --user"),
        (URI, Login(user="me", password_file=file, ask=True), {}, "not both"),
        (URI, Login(user="me"), {}, "a user and no password: give it with --password-file"),
        (f"{URI}?authMechanism=MONGODB-X509", asked, {}, "takes no password"),
    ]:
        assert said in refusal(uri, login, settings)


def test_a_password_file_is_private_and_has_something_in_its_first_line(tmp_path: Path) -> None:
    assert read_secret(private(tmp_path / "a", "pass word \r\nnote")) == "pass word "
    for mode in (0o644, 0o602):
        with pytest.raises(ConfigError, match=r"everybody .*: chmod o-rw .*/b$"):
            read_secret(private(tmp_path / "b", mode=mode))
    with pytest.raises(ConfigError, match="is empty"):
        read_secret(private(tmp_path / "c", "\nsecond"))
    with pytest.raises(ConfigError, match="No such file"):
        read_secret(tmp_path / "missing")
    latin = private(tmp_path / "latin", "")
    latin.write_bytes(b"QXZ7\xff")
    with pytest.raises(ConfigError, match="no text in UTF-8") as caught:
        read_secret(latin)
    assert "QXZ7" not in str(caught.value)


def test_certificates_go_into_the_address_and_turn_tls_on(tmp_path: Path) -> None:
    authority = private(tmp_path / "the ca & more.pem", mode=0o644)
    login = Login(tls_ca_file=authority, tls_cert_file=private(tmp_path / "me.pem"))
    made = log_in(f"{URI}?w=1", login, {}, from_file=False)
    options = parse_uri(made, validate=False)["options"]
    assert options["tls"] == "true"
    assert options["tlsCAFile"] == str(authority)
    assert options["tlsCertificateKeyFile"] == str(tmp_path / "me.pem")
    assert made.startswith(f"{URI}?w=1&tls=true&tlsCAFile=")

    again = log_in("mongodb://db?tls=true", Login(tls_ca_file=authority), {}, from_file=False)
    assert again.count("tls=true") == 1
    assert "says tlsCAFile already" in refusal(f"{URI}?tlscafile=/x", login, {})
    assert "tls=false" in refusal(f"{URI}?tls=false", login, {})


def test_a_certificate_may_be_the_login(tmp_path: Path) -> None:
    mine = private(tmp_path / "me.pem")
    settings = {"auth": "x509", "tls_certificate_key_file": str(mine)}
    options = parse_uri(log_in(URI, NO_LOGIN, settings, from_file=False), validate=False)["options"]
    assert options["authMechanism"] == "MONGODB-X509"
    assert options["tls"] == "true"
    with_user = log_in(
        "mongodb://CN=me@db", NO_LOGIN, settings | {"user": "CN=me"}, from_file=False
    )
    assert parse_uri(with_user, validate=False)["username"] == "CN=me"


def test_vaults_have_credentials_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "mongodb://me@db/vault?authSource=admin"
    with pytest.raises(ConfigError, match=r"'nas' has a user and no password: .*vault-nas:FILE"):
        log_in_to_vault("nas", address)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    private(tmp_path / "vault-nas")
    assert parsed(log_in_to_vault("nas", address)) == ("me", SECRET)
    for other in ("/srv/vault", "mongodb://db/v", "mongodb://me:x@db/v"):
        assert log_in_to_vault("nas", other) == other
    with pytest.raises(ConfigError):
        log_in_to_vault("../vault-nas", address)


ASK = """
from gridfsmount.config.logins import Login, log_in
print(log_in("mongodb://me@db/lake", Login(ask=True), {}, from_file=False))
"""


def test_a_password_is_asked_for_at_the_terminal_and_not_shown() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASK])
    shown = b""
    while b"Password of me: " not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"QXZ7\n")
    while b"/lake" not in shown:
        shown += os.read(terminal, 1000)
    os.close(terminal)
    os.waitpid(child, 0)
    assert b"mongodb://me:QXZ7@db/lake" in shown
    assert shown.count(b"QXZ7") == 1, "in the address that is printed, and not where it was typed"


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input="QXZ7\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert "--ask-password needs a terminal to ask at: use --password-file" in done.stderr


def test_an_address_with_a_password_put_in_is_shown_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRIDFSMOUNT_PASSWORD", SECRET)
    made = log_in("mongodb://me@db/lake", NO_LOGIN, {}, from_file=False)
    assert redact(made) == "mongodb://***@db/lake"
