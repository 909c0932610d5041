"""The rules for names, and the one place where names turn from bytes to text and back.

POSIX names are bytes, MongoDB strings are UTF-8: the lake takes UTF-8 names of 1 to 255 bytes.
The kernel checks neither the encoding nor (for FUSE) the length.
"""

import re
from typing import Final

from gridfsmount.errors import InvalidArgument, NameTooLong, NotUtf8

MAX_NAME_BYTES: Final = 255
"""NAME_MAX of every Linux file system that tools are tested on."""

MAX_TARGET_BYTES: Final = 4095
"""PATH_MAX less its closing NUL: the longest target that symlink(2) takes."""

LATEST: Final = "latest"
"""The tag that the lake keeps itself."""

_SHELF_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def decode_name(raw: bytes) -> str:
    """Text of a directory entry's name.

    Raises:
        NameTooLong: more than 255 bytes.
        NotUtf8: not UTF-8.
    """
    if len(raw) > MAX_NAME_BYTES:
        raise NameTooLong(f"a name has at most {MAX_NAME_BYTES} bytes, this one {len(raw)}")
    return _decode(raw)


def decode_target(raw: bytes) -> str:
    """Text of a symbolic link's target.

    Raises:
        NameTooLong: more than 4095 bytes.
        NotUtf8: not UTF-8.
    """
    if len(raw) > MAX_TARGET_BYTES:
        raise NameTooLong(f"a link target has at most {MAX_TARGET_BYTES} bytes")
    return _decode(raw)


def encode_name(name: str) -> bytes:
    """Bytes of a name, as the kernel wants it."""
    return name.encode()


def is_shelf_name(name: str) -> bool:
    """Whether a dataset, a model, a version or a tag may have this name."""
    return _SHELF_NAME.fullmatch(name) is not None and name != LATEST


def check_shelf_name(name: str) -> None:
    """Refuse a name that no dataset, model, version or tag may have.

    Raises:
        InvalidArgument: it does not match `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, or is `latest`.
    """
    if name == LATEST:
        raise InvalidArgument("'latest' is kept by the lake; choose another name")
    if not is_shelf_name(name):
        raise InvalidArgument(
            f"{name!r} cannot name a dataset, model, version or tag: letters, digits, '.', '_' "
            "and '-', at most 128, beginning with a letter or digit"
        )


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8(f"{raw!r} is not UTF-8") from error
