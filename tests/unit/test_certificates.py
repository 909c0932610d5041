"""Files with certificates: what is wrong with one is told, with its name."""

import subprocess
from pathlib import Path

import pytest

from gridfsmount.config.certificates import unfit_authority, unfit_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate and its key, as PEM."""
    folder = tmp_path_factory.mktemp("certificate")
    made = ("-keyout", folder / "key", "-out", folder / "certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me", *made],
        check=True,
        capture_output=True,
    )
    return (folder / "certificate").read_text() + (folder / "key").read_text()


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o640)
    return path


def test_good_files_are_fit(tmp_path: Path, certificate: str) -> None:
    path = private(tmp_path / "me.pem", certificate)
    assert unfit_authority(path) == unfit_certificate(path, None) == ""


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    wrong, missing = private(tmp_path / "wrong.pem", "QXZ7"), tmp_path / "missing.pem"
    for path in (wrong, missing):
        assert str(path) in unfit_authority(path)
        assert str(path) in unfit_certificate(path, None)
    assert "cannot be read: No such file" in unfit_authority(missing)
    assert "PEM" in unfit_authority(wrong)


def test_a_key_that_everybody_may_read_is_told(tmp_path: Path, certificate: str) -> None:
    path = private(tmp_path / "me.pem", certificate)
    path.chmod(0o644)
    assert f"chmod o-rw {path}" in unfit_certificate(path, None)
    assert unfit_authority(path) == ""


def test_an_encrypted_key_is_not_asked_for(tmp_path: Path, certificate: str) -> None:
    plain = private(tmp_path / "plain.pem", certificate)
    made = ("-passout", "pass:QXZ7", "-out", tmp_path / "key")
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-in", plain, *made], check=True, capture_output=True
    )
    only = certificate.partition("-----BEGIN PRIVATE")[0]
    mine = private(tmp_path / "me.pem", only + (tmp_path / "key").read_text())
    assert unfit_certificate(mine, "QXZ7") == ""
    assert "add tlsCertificateKeyFilePassword" in unfit_certificate(mine, None)
    assert "Password right?" in unfit_certificate(mine, "another")
