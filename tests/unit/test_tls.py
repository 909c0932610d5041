"""What an address says of TLS."""

import pytest

from gridfsmount.store.tls import Tls, explain, tls_of

AT = "mongodb://host/lake"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (AT, Tls(False)),
        (f"{AT}?tls=true", Tls(True)),
        (f"{AT}?ssl=true", Tls(True)),
        (f"{AT}?TLS=TRUE&tlscafile=a%20b.pem", Tls(True, "a b.pem")),
        (f"{AT}?tlsCAFile=/etc/ca.pem", Tls(True, "/etc/ca.pem")),
        (f"{AT}?tls=false&tlsCAFile=/etc/ca.pem", Tls(False, "/etc/ca.pem")),
        (f"{AT}?tlsCertificateKeyFile=k&tlsCertificateKeyFilePassword=p", Tls(True, "", "k", "p")),
        ("mongodb+srv://host/lake", Tls(True)),
        ("mongodb+srv://host/lake?tls=false", Tls(False)),
        ("no address at all", Tls(False)),
    ],
)
def test_options_are_understood_as_the_driver_does(uri: str, expected: Tls) -> None:
    assert tls_of(uri) == expected


def test_the_password_of_a_key_is_in_no_text() -> None:
    assert "QXZ7" not in repr(tls_of(f"{AT}?tlsCertificateKeyFilePassword=QXZ7"))


@pytest.mark.parametrize(
    ("reason", "tls", "said"),
    [
        ("[SSL: X] certificate verify failed: IP address mismatch, ...", Tls(True), "another name"),
        ("[SSL: X] certificate verify failed: certificate has expired", Tls(True), "renew it"),
        ("certificate verify failed: certificate is not yet valid", Tls(True), "not valid yet"),
        ("certificate verify failed: unable to get local issuer", Tls(True), "tlsCAFile=FILE"),
        ("host:1: connection closed", Tls(False), "it may want TLS"),
        ("host:1: connection closed", Tls(True), "it may want a client's certificate"),
        ("host:1: connection closed", Tls(True, "", "k.pem"), "not trust the certificate in k.pem"),
        ("[SSL: UNEXPECTED_EOF] EOF occurred in violation", Tls(True), "knows no TLS"),
    ],
)
def test_a_connection_that_fails_is_explained(reason: str, tls: Tls, said: str) -> None:
    assert said in (explain("host:1", reason, tls) or "")


def test_other_reasons_are_none_of_tls() -> None:
    assert explain("host:1", "Connection refused", Tls(True)) is None
    assert explain("host:1", "timed out", Tls(False)) is None
