"""Names of snapshots, and summaries."""

import json
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.summary import Summary, decode_summary, encode_summary
from gridfsmount.core.vault import is_note_name, is_snapshot_name, snapshot_name, snapshot_time
from gridfsmount.errors import Damaged

seconds = st.integers(0, 7_000_000_000)
nanoseconds = seconds.map(lambda each: each * 10**9 + 999_999_999)
texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(0, 2**63 - 1)
summaries = st.builds(
    Summary,
    **{each.name: counts for each in fields(Summary) if each.type == "int" or each.type is int},
    lake=texts,
    consistent=st.booleans(),
    manifest_sha256=texts,
    seconds=st.floats(0, 1e9),
    by=texts,
    program=texts,
    skipped=st.lists(texts, max_size=3).map(tuple),
)


@given(st.lists(nanoseconds, min_size=1, max_size=10))
def test_names_ascend_whatever_the_clock_does(times: list[int]) -> None:
    names: list[str] = []
    for taken_ns in times:
        names.append(snapshot_name(taken_ns, names[-1] if names else None))

    assert names == sorted(set(names))
    assert all(map(is_snapshot_name, names))


@given(nanoseconds)
def test_a_name_is_the_second_of_its_moment(taken_ns: int) -> None:
    name = snapshot_name(taken_ns, None)

    assert snapshot_time(name).timestamp() == taken_ns // 10**9


@pytest.mark.parametrize("name", ["", "latest", "2026-01-01", "2026-01-01T00-00-00Z\n", "../x"])
def test_what_is_no_time_is_no_snapshot(name: str) -> None:
    assert not is_snapshot_name(name)
    assert not is_note_name(f"pins/{name}.")
    with pytest.raises(ValueError, match="no time like"):
        snapshot_time(name)


@given(summaries)
def test_a_summary_comes_back_as_it_was(summary: Summary) -> None:
    assert decode_summary(encode_summary(summary), "T") == summary


@given(summaries)
def test_a_summary_of_a_later_version_can_be_read(summary: Summary) -> None:
    later = json.dumps({**asdict(summary), "weather": "fine"}).encode()

    assert decode_summary(later, "T") == summary


@given(summaries, st.sampled_from([each.name for each in fields(Summary)]), st.none() | st.just([]))
def test_a_summary_with_a_wrong_field_is_damage(summary: Summary, name: str, wrong: object) -> None:
    document = json.dumps({**asdict(summary), name: wrong}).encode()
    if name == "skipped" and wrong == []:
        assert decode_summary(document, "T").skipped == ()
        return

    with pytest.raises(Damaged, match=r"^T"):
        decode_summary(document, "T")


@given(st.binary(max_size=40) | st.sampled_from([b"[]", b"{}", b"null", b'"x"', b"[" * 20_000]))
def test_what_is_no_summary_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged, match="no summary"):
        decode_summary(data, "T")
