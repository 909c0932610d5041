"""Extended attributes: which are kept, which are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import InvalidArgument, NotPermitted, NotSupported, NotUtf8, TooLarge
from gridfsmount.vfs.xattrs import (
    CONTENT,
    MAX_TOTAL,
    SHA256,
    decode_attribute,
    described,
    with_attribute,
)

DIGEST = bytes(range(32))
CONTENT_ID = ContentId(b"...", "65a1f0")


def test_names_in_the_user_namespace_are_text() -> None:
    assert decode_attribute("user.größe".encode()) == "user.größe"


@pytest.mark.parametrize(
    "raw", [b"security.selinux", b"trusted.x", b"system.posix_acl_access", b"user", b"", b"xuser.a"]
)
def test_other_namespaces_are_not_supported(raw: bytes) -> None:
    with pytest.raises(NotSupported):
        decode_attribute(raw)


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(NotUtf8):
        decode_attribute(b"user.\xff")


def test_the_lake_tells_digest_and_content() -> None:
    content = Content(CONTENT_ID, 5, 4096, sha256=DIGEST)
    assert described(content, SHA256) == DIGEST.hex().encode()
    assert described(content, CONTENT) == b"65a1f0"
    assert described(content, "user.lake.other") is None


def test_nothing_is_told_that_is_not_known() -> None:
    assert described(Content(CONTENT_ID, 5, 4096), SHA256) is None
    assert described(None, SHA256) is None
    assert described(None, CONTENT) is None


@given(
    st.dictionaries(st.text().map("user.a".__add__), st.binary()),
    st.text().map("user.b".__add__),
    st.binary(),
)
def test_one_more_attribute_leaves_the_others_alone(
    before: dict[str, bytes], name: str, value: bytes
) -> None:
    after = with_attribute(before, name, value)
    assert after == {**before, name: value}
    assert name not in before


def test_an_attribute_can_be_replaced() -> None:
    assert with_attribute({"user.a": b"1"}, "user.a", b"2") == {"user.a": b"2"}


@pytest.mark.parametrize("name", ["user.lake.sha256", "user.lake.", "user.lake.x"])
def test_the_lakes_own_cannot_be_set(name: str) -> None:
    with pytest.raises(NotPermitted):
        with_attribute({}, name, b"")


def test_an_attribute_needs_a_name() -> None:
    with pytest.raises(InvalidArgument):
        decode_attribute(b"user.")


def test_the_attributes_of_a_node_are_bounded() -> None:
    half = {"user.a": bytes(MAX_TOTAL // 2)}
    fits = with_attribute(half, "user.b", bytes(MAX_TOTAL // 2 - 12))
    with pytest.raises(TooLarge):
        with_attribute(half, "user.b", bytes(MAX_TOTAL // 2 - 11))
    assert with_attribute(fits, "user.b", b"")["user.b"] == b""
