"""How the tests say which error a call must end with."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(code: int) -> Iterator[None]:
    """The block must end with an OSError of this errno."""
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        yield
    name = errno.errorcode.get(caught.value.errno or 0)
    assert caught.value.errno == code, f"{name}, not {errno.errorcode[code]}"
