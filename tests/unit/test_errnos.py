"""Every answer of the file system has its errno."""

import errno
from collections.abc import Iterator

import pytest

from gridfsmount import errors
from gridfsmount.core.errnos import _ERRNO, FAULTS, errno_of


def subclasses(
    kind: type[errors.FileSystemError],
) -> Iterator[type[errors.FileSystemError]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


ANSWERS = sorted(subclasses(errors.FileSystemError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_error_has_an_errno_of_its_own(kind: type[errors.FileSystemError]) -> None:
    assert kind in _ERRNO
    assert errno_of(kind("x")) == _ERRNO[kind]
    assert _ERRNO[kind] in errno.errorcode


def test_the_table_has_nothing_else() -> None:
    assert set(_ERRNO) == set(ANSWERS)


def test_a_subclass_takes_after_its_base() -> None:
    special = type("Special", (errors.NotFound,), {})
    assert errno_of(special("x")) == errno.ENOENT


def test_the_base_alone_is_an_io_error() -> None:
    assert errno_of(errors.FileSystemError("x")) == errno.EIO


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.NotFound, errno.ENOENT),
        (errors.AlreadyExists, errno.EEXIST),
        (errors.DirectoryNotEmpty, errno.ENOTEMPTY),
        (errors.NotPermitted, errno.EPERM),
        (errors.AccessDenied, errno.EACCES),
        (errors.ReadOnly, errno.EROFS),
        (errors.CrossVersion, errno.EXDEV),
        (errors.NameTooLong, errno.ENAMETOOLONG),
        (errors.NotUtf8, errno.EILSEQ),
        (errors.NoSpace, errno.ENOSPC),
        (errors.FileTooBig, errno.EFBIG),
        (errors.TooManyLinks, errno.EMLINK),
        (errors.NoAttribute, errno.ENODATA),
        (errors.Damaged, errno.EIO),
    ],
)
def test_errnos_that_programs_depend_on(kind: type[errors.FileSystemError], expected: int) -> None:
    assert errno_of(kind("x")) == expected


def test_trouble_is_logged_and_rules_are_not() -> None:
    assert errno.EIO in FAULTS
    assert errno.ENOENT not in FAULTS
    assert errno.EPERM not in FAULTS
