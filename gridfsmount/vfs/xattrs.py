"""Extended attributes: `user.*` is stored, `user.lake.*` tells what the lake knows."""

from typing import Final

from gridfsmount.core.model import Content
from gridfsmount.errors import InvalidArgument, NotPermitted, NotSupported, NotUtf8, TooLarge

LAKE_PREFIX: Final = "user.lake."
SHA256: Final = "user.lake.sha256"
CONTENT: Final = "user.lake.content"

PID: Final = "user.lake.pid"
"""On the root: the process that serves the mount; `gridfsmount umount` waits for it."""

DISK_CACHE: Final = "user.lake.disk-cache"
"""On the root of a mount that has one: the folder of its disk cache."""

ADDRESS: Final = "user.lake.address"
"""On the root: the address of the server, with its password; for the mount's owner and for root."""

BUCKET: Final = "user.lake.bucket"
"""On the root: the prefix of the collections."""

MAX_TOTAL: Final = 1 << 20
"""Bytes of all attributes of a node: they live in its document, which has at most 16 MiB."""


def decode_attribute(raw: bytes) -> str:
    """Text of an attribute's name.

    Raises:
        NotSupported: not in the `user.` namespace.
        InvalidArgument: no name after the namespace.
        NotUtf8: not UTF-8.
    """
    if not raw.startswith(b"user."):
        raise NotSupported(f"{raw!r}: only user.* attributes are kept")
    if raw == b"user.":
        raise InvalidArgument("an attribute needs a name after user.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8(f"{raw!r} is not UTF-8") from error


def described(content: Content | None, name: str) -> bytes | None:
    """Value of a `user.lake.*` attribute of a file, None when there is nothing to tell."""
    if content is None:
        return None
    if name == SHA256:
        return None if content.sha256 is None else content.sha256.hex().encode()
    return str(content.id).encode() if name == CONTENT else None


def with_attribute(xattrs: dict[str, bytes], name: str, value: bytes) -> dict[str, bytes]:
    """`xattrs` with one more.

    Raises:
        NotPermitted: the lake's own attributes cannot be set.
        TooLarge: all together would not fit.
    """
    if name.startswith(LAKE_PREFIX):
        raise NotPermitted(f"{name} is kept by the lake")
    changed = {**xattrs, name: value}
    if sum(len(key) + len(each) for key, each in changed.items()) > MAX_TOTAL:
        raise TooLarge(f"the attributes of a node have at most {MAX_TOTAL} bytes together")
    return changed
