"""Paths in a lake, and the rules of the tree for what is put there."""

import pytest

from gridfsmount.core.model import Kind
from gridfsmount.errors import InvalidArgument, LakeError, NotFound, NotPermitted, ReadOnly
from gridfsmount.places import LakePath, check_new, parse

FILE, FOLDER = Kind.FILE, Kind.DIRECTORY


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("datasets/mnist/v1", LakePath(("datasets", "mnist", "v1"))),
        ("/datasets//mnist/./v1", LakePath(("datasets", "mnist", "v1"))),
        ("models/digits/", LakePath(("models", "digits"), folder=True)),
        ("models/digits/.", LakePath(("models", "digits"), folder=True)),
        ("unsorted/ü b", LakePath(("unsorted", "ü b"))),
        ("/", LakePath((), folder=True)),
        ("", LakePath((), folder=True)),
    ],
)
def test_a_path_is_taken_as_it_is_typed(text: str, path: LakePath) -> None:
    assert parse(text) == path


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mnist/v1", NotFound),
        ("/mnt/lake/datasets", NotFound),
        ("datasets/../models", InvalidArgument),
        ("datasets/x\0", InvalidArgument),
        ("datasets/x/v1/" + "n" * 256, LakeError),
        ("datasets/x/v1/\udcff", LakeError),
    ],
)
def test_a_path_that_is_none_is_refused(text: str, error: type[LakeError]) -> None:
    with pytest.raises(error):
        parse(text)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("datasets/mnist/v1", FOLDER),
        ("models/mnist/v1/file", FILE),
        ("models/mnist/v1/a/b/c", FOLDER),
        ("models/mnist/v1/latest", Kind.SYMLINK),
    ],
)
def test_what_lies_in_a_version_has_a_place(path: str, kind: Kind) -> None:
    check_new(parse(path), kind)


@pytest.mark.parametrize(
    ("path", "kind", "error"),
    [
        ("", FOLDER, NotPermitted),
        ("datasets", FOLDER, NotPermitted),
        ("datasets/mnist", FOLDER, NotPermitted),
        ("datasets/mnist/v1", FILE, NotPermitted),
        ("datasets/mnist/v1", Kind.SYMLINK, NotPermitted),
        ("datasets/mn st/v1", FOLDER, InvalidArgument),
        ("datasets/mnist/latest", FOLDER, InvalidArgument),
        ("snapshots/now/v1/x", FILE, ReadOnly),
        ("unsorted/a/b/c", FILE, NotPermitted),
    ],
)
def test_what_lies_outside_of_versions_has_none(
    path: str, kind: Kind, error: type[LakeError]
) -> None:
    with pytest.raises(error):
        check_new(parse(path), kind)
