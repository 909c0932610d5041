"""TLS and certificates, against a server that is set up as docs/security.md says."""

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gridfsmount.errors import ConfigError
from gridfsmount.store.connection import connect
from tests.mongod import PASSWORD, Mongod
from tests.mounting import COMMAND, assert_healthy_log, mounted, run_command
from tests.security.authority import SUBJECT
from tests.security.conftest import tls
from tests.security.documented import calls, command

DATA = bytes(range(256)) * 12_000


@pytest.fixture(scope="module")
def x509(secured: Mongod) -> Mongod:
    """The server with the document's roles, and its user who is a certificate."""
    with secured.client() as client:
        for database, name, given in calls():
            if name == "createRole" or database == "$external":
                client[database].command(command(name, given))
    return secured


def by_certificate(server: Mongod, database: str, query: str) -> str:
    mode = "replicaSet=tests&authMechanism=MONGODB-X509"
    return f"mongodb://127.0.0.1:{server.port}/{database}?{mode}{query}"


def test_a_mount_works_over_tls_with_a_password_and_with_a_certificate_alone(
    x509: Mongod, certificates: Path, tmp_path: Path
) -> None:
    user = by_certificate(x509, "lake", tls(certificates))
    with mounted(x509.uri_for("lake"), tmp_path / "password") as founder:
        (founder.version() / "file").write_bytes(DATA)
        with mounted(user, tmp_path / "certificate") as mount:
            assert (mount.path / "datasets/test/v1/file").read_bytes() == DATA
            (mount.path / "datasets/test/v1/new").write_bytes(DATA)
            assert "mounted read-write" in mount.log_text()
        assert (founder.path / "datasets/test/v1/new").read_bytes() == DATA
    for each in (founder, mount):
        assert_healthy_log(each)
        assert PASSWORD not in each.log_text()
    done = run_command("status", user)
    assert done.stderr == ""
    assert "this user may write" in done.stdout


def test_nothing_is_sent_in_the_clear(secured: Mongod) -> None:
    """The server takes no connection without TLS, so that a client cannot do without by mistake."""
    with socket.create_connection(("127.0.0.1", secured.port), timeout=10) as plain:
        plain.sendall(b"\x10\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0")
        with suppress(ConnectionResetError):
            assert plain.recv(1) == b""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", secured.port), timeout=10) as plain,
        context.wrap_socket(plain) as secure,
    ):
        assert secure.version() in ("TLSv1.2", "TLSv1.3")


def test_what_is_wrong_is_said_in_one_line_without_secrets(
    x509: Mongod, certificates: Path
) -> None:
    """All at once: the driver tries each for ten seconds, as a server may be about to come back."""
    at, here = f"127.0.0.1:{x509.port}", certificates
    login, end = x509.uri_for("lake").split(at)
    plain = end.partition("&tls=")[0]
    unlocked = x509.uri_for("lake").replace("root:", "root:wrong")
    with ExitStack() as stack:
        expired = stack.enter_context(presenting(here / "expired-server.crt", here / "server.key"))
        other = stack.enter_context(presenting(here / "elsewhere.crt", here / "elsewhere.key"))
        cases = {
            f"{login}{at}{plain}{tls(here, ca='another')}": "a certificate of an unknown "
            "authority: name the right one with tlsCAFile",
            f"{login}127.0.0.1:{expired}{plain}{tls(here)}": "a certificate that has expired",
            f"{login}127.0.0.1:{other}{plain}{tls(here)}": "a certificate for another name",
            f"{login}{at}{plain}": "closes every connection: it may want TLS: add .tls=true",
            f"{login}{at}{plain}{tls(here, key='')}": "it may want a client's certificate: add "
            "tlsCertificateKeyFile",
            f"{login}{at}{plain}{tls(here, key='expired')}": r"may not trust the certificate in .*"
            r"/expired\.pem, or that has expired",
            f"{login}{at}{plain}{tls(here, key='foreign')}": r"may not trust .*/foreign\.pem",
            by_certificate(x509, "lake", tls(here, key="elsewhere")): "has no user for the "
            'client.s certificate: Could not find user "CN=elsewhere,O=Example"',
            unlocked: "refuses the user name or the password",
        }
        running = [
            subprocess.Popen(
                [*COMMAND, "status", uri],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for uri in cases
        ]
        said = [(*process.communicate(timeout=120), process.returncode) for process in running]
    for expected, (out, err, code) in zip(cases.values(), said, strict=True):
        assert (out, code) == ("", 2), err
        assert re.fullmatch(f"gridfsmount: the server at 127.0.0.1:.*{expected}.*\n", err), err
        assert "wrong" not in err
        assert PASSWORD not in err


@contextmanager
def presenting(certificate: Path, key: Path) -> Iterator[int]:
    """A port where a server presents a certificate; mongod would not start with an expired one."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0"]
    server = subprocess.Popen(
        [*command, "-cert", certificate, "-key", key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        line = next(line for line in server.stdout if line.startswith("ACCEPT"))
        yield int(line.rpartition(":")[2])
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tlsCAFile={}/missing.pem", r".*/missing\.pem cannot be read: No such file"),
        ("tlsCAFile={}/junk.pem", r".*/junk\.pem holds no certificate"),
        ("tlsCertificateKeyFile={}/missing.pem", r"missing\.pem cannot be read: No such file"),
        ("tlsCertificateKeyFile={}/junk.pem", "should hold a private key and its certificate"),
        ("tlsCertificateKeyFile={}/gpu1.crt", "should hold a private key and its certificate"),
        ("tlsCertificateKeyFile={}/mixed.pem", "the key in it is not that of the certificate"),
        ("tlsCertificateKeyFile={}/locked.pem", "the key in it is encrypted"),
        (
            "tlsCertificateKeyFile={}/locked.pem&tlsCertificateKeyFilePassword=wrong",
            "is tlsCertificateKeyFilePassword right",
        ),
        ("tlsCertificateKeyFile={}/open.pem", r"everybody may read .*: chmod o-rw .*/open\.pem"),
        ("tls=false&tlsCAFile={}/ca.pem", "TLS has not been enabled"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_at_once(
    certificates: Path, query: str, said: str
) -> None:
    uri = f"mongodb://127.0.0.1:1/lake?tls=true&{query.format(certificates)}"
    with pytest.raises(ConfigError, match=said) as raised:
        connect(uri.replace("tls=true&tls=false", "tls=false"), bucket="fs", deadline=1)
    assert "wrong" not in str(raised.value)


def test_a_key_with_a_password_is_opened_by_it(secured: Mongod, certificates: Path) -> None:
    locked = tls(certificates, key="locked") + "&tlsCertificateKeyFilePassword=sekret"
    uri = secured.uri_for("lake").replace(tls(certificates), locked)
    connect(uri, bucket="fs", deadline=30).close()


def test_the_documented_name_of_the_certificate_is_its_own(certificates: Path) -> None:
    done = subprocess.run(
        ["openssl", "x509", "-in", "gpu1.pem", "-noout", "-subject", "-nameopt", "RFC2253"],
        cwd=certificates,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"subject={SUBJECT}\n"
    assert [each["user"] for database, _, each in calls() if database == "$external"] == [SUBJECT]
