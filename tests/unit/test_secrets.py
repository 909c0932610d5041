"""No password gets out."""

from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gridfsmount.addresses import read_config, read_uri_file, redact
from gridfsmount.errors import ConfigError

# Distinctive enough that no other part of a message has it by chance.
CORES = st.text("QXZ7", min_size=8, max_size=12)
ODD = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), max_size=6)
PASSWORDS = st.builds(lambda a, core, b: a + core + b, ODD, CORES, ODD)
SCHEMES = st.sampled_from(["mongodb://", "mongodb+srv://", "MongoDB://"])
HOSTS = st.sampled_from(["host", "127.0.0.1:27017", "a:1,b:2", "[::1]:27017"])
PATHS = st.sampled_from(["", "/", "/lake", "/lake?replicaSet=x", "/?authSource=admin"])


def core_of(password: str) -> str:
    return "".join(letter for letter in password if letter in "QXZ7")


@given(SCHEMES, ODD, PASSWORDS, HOSTS, PATHS, st.sampled_from([quote, quote_plus, str]))
def test_no_password_survives(
    scheme: str, user: str, password: str, host: str, path: str, quoted: object
) -> None:
    assert callable(quoted)
    secret = quoted(password)
    assume(secret == "".join(secret.split()))  # a space ends an address in running text
    text = f"cannot reach {scheme}{quoted(user)}:{secret}@{host}{path}: no answer"
    clean = redact(text)
    assert core_of(password) not in core_of(clean)
    assert clean.startswith(f"cannot reach {scheme}***@")
    assert clean.endswith(": no answer")
    assert path in clean


@given(SCHEMES, PASSWORDS, PASSWORDS)
def test_every_address_in_a_text_is_redacted(scheme: str, first: str, second: str) -> None:
    clean = redact(f"{scheme}u:{first}@a/x, then {scheme}v:{second}@b/y")
    assert core_of(first) not in clean
    assert core_of(second) not in clean


@given(SCHEMES, HOSTS, PATHS)
def test_an_address_without_credentials_stays(scheme: str, host: str, path: str) -> None:
    text = f"{scheme}{host}{path} is fine, says me@example.org"
    assert redact(text) == text


@given(st.text())
def test_other_text_stays(text: str) -> None:
    assume("mongodb" not in text.lower())
    assert redact(text) == text


@given(SCHEMES, PASSWORDS, HOSTS)
def test_redacting_twice_changes_nothing_more(scheme: str, password: str, host: str) -> None:
    once = redact(f"{scheme}user:{password}@{host}/x")
    assert redact(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://user:QXZ7@host/lake",
        "mongodb://user:p@QXZ7@host/lake",
        "mongodb://user:p/QXZ7@host/lake",
        "mongodb://user:QXZ7%40%3A@host/lake",
        "mongodb://QXZ7@host",
        'Error("mongodb+srv://u:QXZ7@cluster.example.net/?retryWrites=true")',
        "mongodb://u:QXZ7@h1,h2/a mongodb://v:QXZ7@h3/b",
        "MONGODB://u:QXZ7@host",
        "mongodb://host/?tlsCertificateKeyFilePassword=QXZ7&x=1",
        "mongodb://host/?authMechanismProperties=AWS_SESSION_TOKEN:QXZ7",
    ],
)
def test_secrets_in_known_shapes(text: str) -> None:
    assert "QXZ7" not in redact(text)


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_an_address_comes_from_a_files_first_line(tmp_path: Path) -> None:
    file = private(tmp_path / "uri", "\n  mongodb://u:p@host/lake  \n# note\n")
    assert read_uri_file(file) == "mongodb://u:p@host/lake"


def test_a_file_that_everybody_may_read_must_hold_no_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod o-r") as caught:
        read_uri_file(private(tmp_path / "uri", "mongodb://u:QXZ7@host/lake", 0o644))
    assert "QXZ7" not in str(caught.value)
    open_to_all = private(tmp_path / "open", "mongodb://host/lake", 0o644)
    assert read_uri_file(open_to_all) == "mongodb://host/lake"


def test_a_user_alone_is_no_secret(tmp_path: Path) -> None:
    text = "mongodb://me@host:27017/lake"
    assert read_uri_file(private(tmp_path / "uri", text, 0o644)) == text
    for secret in ("mongodb://me:@h", "mongodb+srv://a@b:c@h", "x\nMONGODB:/u:p/w@h"):
        with pytest.raises(ConfigError, match="chmod o-r"):
            read_uri_file(private(tmp_path / "uri", secret, 0o604))


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_address_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="empty"):
        read_uri_file(private(tmp_path / "uri", text))


def test_an_address_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_uri_file(tmp_path / "missing")


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    file = private(tmp_path / "lake.toml", 'uri = "mongodb://u:p@h/x"\nbucket = "data"\n')
    assert read_config(file) == {"uri": "mongodb://u:p@h/x", "bucket": "data"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uri = ", "invalid value"),
        ("url = 'x'", "unknown key"),
        ("bucket = 5", "bucket: must be a string"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(private(tmp_path / "lake.toml", text))


def test_settings_are_looked_for_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "gridfsmount").mkdir()
    private(tmp_path / "gridfsmount" / "lake.toml", 'bucket = "mine"')
    assert read_config(None) == {"bucket": "mine"}
