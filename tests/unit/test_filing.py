"""Filing: whatever a driver's filename is, its place in the tree is safe."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gridfsmount.core.filing import MAX_DEPTH, encode, place_of, unsorted_place
from gridfsmount.core.names import MAX_NAME_BYTES, is_shelf_name

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=400)
HOSTILE_TEXT = st.text(st.sampled_from("./\0%~ aé\ud800\udcff\U0001f600\n"), max_size=40)
SLASHED = st.lists(st.sampled_from(["", ".", "..", "datasets", "models", "x", "v1", "latest"]))
FILENAMES = ANY_TEXT | HOSTILE_TEXT | SLASHED.map("/".join)
CLEAN_PART = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60
).filter(lambda part: part not in (".", ".."))


def assert_safe(parts: tuple[str, ...]) -> None:
    for part in parts:
        assert part not in ("", ".", "..")
        assert "/" not in part
        assert "\0" not in part
        assert len(part.encode()) <= MAX_NAME_BYTES
    if parts[0] in ("datasets", "models"):
        assert len(parts) >= 4
        assert is_shelf_name(parts[1])
        assert is_shelf_name(parts[2])
    else:
        assert parts[0] == "unsorted"
        assert len(parts) >= 2


@given(FILENAMES)
@example("/")
@example("a/")
@example("a//b")
@example("/etc/passwd")
@example("datasets/../../etc/passwd")
@example("datasets/x/v1/..")
@example("../" * 200)
@example("\ud800")
@example("x" * 70_000)
def test_the_place_of_any_string_is_safe(filename: str) -> None:
    assert_safe(place_of(filename, "65a").parts)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.dictionaries(st.text(), st.integers())
    | st.lists(st.text())
    | st.just(""),
    ANY_TEXT,
)
def test_without_a_filename_the_id_makes_a_safe_name(filename: object, content: str) -> None:
    parts = place_of(filename, content).parts
    assert_safe(parts)
    assert len(parts) == 2
    assert parts[1].startswith("untitled-")


@given(
    st.sampled_from(["datasets", "models"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(is_shelf_name),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(is_shelf_name),
    st.lists(CLEAN_PART, min_size=1, max_size=5),
)
def test_a_clean_path_below_a_version_stays_as_it_is(
    shelf: str, name: str, version: str, rest: list[str]
) -> None:
    parts = (shelf, name, version, *rest)
    assert place_of("/".join(parts), "65a").parts == parts


@given(st.lists(CLEAN_PART, min_size=1, max_size=5))
def test_every_other_clean_path_goes_below_unsorted(parts: list[str]) -> None:
    place = place_of("/".join(parts), "65a").parts
    assert place in (tuple(parts), ("unsorted", *parts))


@pytest.mark.parametrize(
    ("filename", "place"),
    [
        ("datasets/mnist/v1/train.bin", "datasets/mnist/v1/train.bin"),
        ("models/bert/2026/a/b", "models/bert/2026/a/b"),
        ("datasets/mnist/v1", "unsorted/datasets/mnist/v1"),
        ("datasets/x", "unsorted/datasets/x"),
        ("datasets", "unsorted/datasets"),
        ("datasets/mnist/latest/x", "unsorted/datasets/mnist/latest/x"),
        ("datasets/.git/v1/x", "unsorted/datasets/.git/v1/x"),
        ("Datasets/mnist/v1/x", "unsorted/Datasets/mnist/v1/x"),
        ("snapshots/a/b/c", "unsorted/snapshots/a/b/c"),
        ("unsorted/x", "unsorted/unsorted/x"),
        ("photo.jpg", "unsorted/photo.jpg"),
        ("a b\nc", "unsorted/a b\nc"),
        ("..", "unsorted/%2E%2E"),
        (".", "unsorted/%2E"),
        ("/etc/passwd", "unsorted/%2Fetc%2Fpasswd"),
        ("a//b", "unsorted/a%2F%2Fb"),
        ("a/../b", "unsorted/a%2F..%2Fb"),
        ("nul\0byte", "unsorted/nul%00byte"),
        ("\udcff", "unsorted/%ED%B3%BF"),
        ("100%/", "unsorted/100%25%2F"),
        ("", "unsorted/untitled-65a"),
        (None, "unsorted/untitled-65a"),
        (7, "unsorted/untitled-65a"),
        ("/".join("d" * MAX_DEPTH), "unsorted/" + "/".join("d" * MAX_DEPTH)),
    ],
)
def test_places(filename: object, place: str) -> None:
    assert str(place_of(filename, "65a")) == place


def test_a_path_that_is_too_deep_becomes_one_name() -> None:
    (_, name) = place_of("/".join("d" * (MAX_DEPTH + 1)), "65a").parts
    assert name.startswith("d%2Fd%2Fd")


def test_an_over_long_part_becomes_one_name_of_255_bytes() -> None:
    (_, name) = place_of("a/" + "é" * 200, "65a").parts
    assert len(name) == MAX_NAME_BYTES


@given(FILENAMES, ANY_TEXT)
def test_an_encoded_name_is_harmless_ascii_of_at_most_255_bytes(text: str, suffix: str) -> None:
    name = encode(text or "x", suffix)
    assert name.isascii()
    assert_safe(("unsorted", name))


@given(st.sets(FILENAMES, max_size=50))
def test_distinct_texts_have_distinct_encodings(texts: set[str]) -> None:
    assert len({encode(text) for text in texts}) == len(texts)


@given(FILENAMES, st.sets(st.from_regex(r"[0-9a-f]{1,64}", fullmatch=True), max_size=20))
def test_a_suffix_tells_apart(text: str, suffixes: set[str]) -> None:
    names = {encode(text, suffix) for suffix in suffixes}
    assert len(names) == len(suffixes)
    assert encode(text) not in names


def test_ten_thousand_hostile_names_have_ten_thousand_places() -> None:
    hostile = {
        f"{head}{number}{tail}"
        for number in range(500)
        for head in ("../", "/", "", ("x" * 300), "%2E%2E/", "a//")
        for tail in ("/..", "\0", "//", "/", "\udcff")
    } - {""}
    assert len(hostile) > 10_000
    assert len({place_of(name, "65a").parts for name in hostile}) == len(hostile)


def test_encoding_is_stable_across_releases() -> None:
    # Names in existing lakes depend on it.
    assert encode("x" * 300) == "x" * 222 + "~" + hashlib.sha256(b"x" * 300).hexdigest()[:32]
    assert unsorted_place("a/b", suffix="5f").parts == ("unsorted", "a%2Fb~5f")
