"""Names: bytes to text and back, and what a shelf takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.names import (
    check_shelf_name,
    decode_name,
    decode_target,
    encode_name,
    is_shelf_name,
)
from gridfsmount.errors import InvalidArgument, NameTooLong, NotUtf8


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=63))
def test_a_name_survives_the_way_to_text_and_back(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@given(st.binary(max_size=255))
def test_any_bytes_decode_or_are_refused_as_not_utf8(raw: bytes) -> None:
    try:
        assert encode_name(decode_name(raw)) == raw
    except NotUtf8:
        with pytest.raises(UnicodeDecodeError):
            raw.decode()


@pytest.mark.parametrize("raw", [b"\xff", b"a\x80", b"\xc0\xaf", b"\xed\xa0\x80"])
def test_what_is_not_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(NotUtf8):
        decode_name(raw)
    with pytest.raises(NotUtf8):
        decode_target(raw)


def test_a_name_has_at_most_255_bytes() -> None:
    assert decode_name(b"n" * 255) == "n" * 255
    with pytest.raises(NameTooLong):
        decode_name(b"n" * 256)
    with pytest.raises(NameTooLong):
        decode_name("ü".encode() * 128)


def test_length_is_looked_at_before_the_encoding() -> None:
    with pytest.raises(NameTooLong):
        decode_name(b"\xff" * 256)


def test_a_link_target_has_at_most_4095_bytes() -> None:
    assert decode_target(b"t" * 4095) == "t" * 4095
    with pytest.raises(NameTooLong):
        decode_target(b"t" * 4096)


@pytest.mark.parametrize("name", ["mnist", "v1", "1", "A.b_c-d", "2026-11-22", "x" * 128, "a."])
def test_shelf_names(name: str) -> None:
    assert is_shelf_name(name)
    check_shelf_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "-x", "_x", "latest", "a b", "a/b", "ü", "aü", "x" * 129),
        *("a\n", "\na", "a\0", "v1\r", "v¹", "٣", "a+b", "a:b"),
    ],
)
def test_what_no_shelf_takes(name: str) -> None:
    assert not is_shelf_name(name)
    with pytest.raises(InvalidArgument):
        check_shelf_name(name)


@given(st.text())
def test_a_shelf_name_is_plain_ascii(name: str) -> None:
    if is_shelf_name(name):
        assert name.isascii()
        assert "/" not in name
        assert not name.startswith(".")
