"""Charts, lineages and calendars of the catalogue page, before they are drawn."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.core.model import Inode, Kind, Name, Node, Origin, Source, State
from gridfsmount.core.summary import Summary
from gridfsmount.vaults.notes import Verification
from gridfsmount.vaults.stock import Stocked
from gridfsmount.versions.history import Heir, Relative, VersionInfo
from gridfsmount.web.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Measured, chart, spark
from gridfsmount.web.lineage import BOX_HEIGHT, BOX_WIDTH, MOST, drawing
from gridfsmount.web.months import Look, look_of, months

DAY = 86400 * 10**9

SUMMARY = Summary(
    lake="lake",
    taken_ns=1,
    consistent=True,
    manifest_sha256="",
    files=1,
    folders=1,
    bytes=1,
    blobs=1,
    blob_bytes=1,
    new_blobs=1,
    new_bytes=1,
    seconds=1.0,
    by="root@test",
    program="0",
)

GOOD = Verification(1, good=True, of=1, damaged=0)
BAD = Verification(1, good=False, of=1, damaged=1)


def info(name: str, number: int = 1) -> VersionInfo:
    node = Node(
        Inode(number),
        Kind.DIRECTORY,
        (Name(Inode(9), name),),
        mode=0o755,
        uid=0,
        gid=0,
        mtime_ns=1,
        ctime_ns=1,
        version=Inode(number),
        state=State.DRAFT,
        created_ns=number,
    )
    return VersionInfo(
        node=node,
        path=f"datasets/d/{name}",
        files=1,
        bytes=1,
        tags=(),
        latest=False,
        parent=None,
        sources=(),
        forks=(),
        used_by=(),
    )


def fork_of(path: str, now: str | None) -> Relative:
    return Relative(Origin(Inode(1), path), now)


def snapshot(day: str, verification: Verification | None = GOOD) -> Stocked:
    return Stocked(f"{day}T03-00-00Z", SUMMARY, verification, None)


# --- sizes ------------------------------------------------------------------------------------

measured = st.builds(
    Measured,
    name=st.sampled_from(["v1", "x" * 40]),
    at_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    bytes=st.integers(0, (1 << 63) - 1),
    sealed=st.booleans(),
)


@given(st.lists(measured, min_size=2, max_size=8))
def test_whatever_the_sizes_and_times_the_chart_stays_within_its_frame(
    versions: list[Measured],
) -> None:
    drawn = chart(versions)
    assert drawn is not None
    assert len(drawn.points) == len(versions)
    for point in drawn.points:
        assert LEFT <= point.x <= WIDTH - RIGHT
        assert TOP <= point.y <= HEIGHT - BOTTOM
    assert 2 <= len(drawn.sizes) <= 6
    assert drawn.sizes[0].label == "0 B"


def test_one_version_is_no_chart() -> None:
    assert chart([Measured("v1", 1, 1, sealed=True)]) is None
    assert spark([1]) is None


def test_points_are_where_their_time_and_size_are() -> None:
    drawn = chart(
        [
            Measured("v3", 30 * DAY, 2 << 20, sealed=False),
            Measured("v1", 10 * DAY, 0, sealed=True),
            Measured("v2", 20 * DAY, 1 << 20, sealed=True),
        ]
    )
    assert drawn is not None
    first, middle, last = drawn.points
    assert (first.name, middle.name, last.name) == ("v1", "v2", "v3")
    assert (first.x, first.y) == (LEFT, HEIGHT - BOTTOM)
    assert middle.x == (LEFT + WIDTH - RIGHT) / 2
    assert last.x == WIDTH - RIGHT
    assert middle.y == pytest.approx((first.y + last.y) / 2, abs=0.1)
    assert [tick.label for tick in drawn.times] == ["1970-01-11", "1970-01-21", "1970-01-31"]
    assert "from 0 B (v1) to 2.0 MiB (v3)" in drawn.summary


# --- lineage ----------------------------------------------------------------------------------


def test_versions_without_any_relation_are_no_picture() -> None:
    assert drawing([info("v1", 1), info("v2", 2)]) is None


def test_what_came_later_is_to_the_right() -> None:
    first = replace(info("v1", 1), forks=("datasets/d/v2",), used_by=(heir("models/m/a"),))
    second = replace(info("v2", 2), parent=fork_of("datasets/d/v1", "datasets/d/v1"))
    drawn = drawing([second, first])
    assert drawn is not None
    boxes = {box.path: box for box in drawn.boxes}
    assert boxes["datasets/d/v1"].x < boxes["datasets/d/v2"].x == boxes["models/m/a"].x
    assert [line.kind for line in drawn.lines] == ["fork", "made"]
    assert boxes["models/m/a"].kind == "elsewhere"


def test_a_version_that_is_gone_is_in_the_picture_without_a_link() -> None:
    drawn = drawing([replace(info("v2"), parent=fork_of("datasets/d/v1", None))])
    assert drawn is not None
    assert [box.kind for box in drawn.boxes] == ["gone", "draft"]
    assert drawn.sentences == ["datasets/d/v2 was forked from datasets/d/v1 (deleted)"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40))
def test_no_two_boxes_overlap_even_in_circles(pairs: list[tuple[int, int]]) -> None:
    infos = []
    for number in range(13):
        parents = [old for new, old in pairs if new == number]
        sources = tuple(
            Relative(
                Origin(Inode(old), f"datasets/d/v{old}"),
                f"datasets/d/v{old}",
                Source(Origin(Inode(old), ""), "", "", 0),
            )
            for old in parents
        )
        infos.append(replace(info(f"v{number}", number), sources=sources))
    drawn = drawing(infos)
    assert drawn is not None
    places = {(box.x, box.y) for box in drawn.boxes}
    assert len(places) == len(drawn.boxes)
    for x, y in places:
        assert 0 <= x <= drawn.width - BOX_WIDTH
        assert 0 <= y <= drawn.height - BOX_HEIGHT
        assert not any(ax == x and 0 < ay - y < BOX_HEIGHT for ax, ay in places)


def test_a_picture_of_too_many_says_how_many_it_lacks() -> None:
    infos = [
        replace(info(f"v{number}", number), used_by=(heir(f"models/m/{number}"),))
        for number in range(MOST)
    ]
    drawn = drawing(infos)
    assert drawn is not None
    assert len(drawn.boxes) == MOST
    assert drawn.left_out == MOST // 2


def heir(path: str) -> Heir:
    return Heir(path, Source(Origin(Inode(1), ""), "", "", 0))


# --- calendar ---------------------------------------------------------------------------------


def test_a_day_looks_like_the_worst_of_its_snapshots() -> None:
    good, never, bad = snapshot("2026-11-02"), snapshot("2026-11-02", None), None
    bad = snapshot("2026-11-02", BAD)
    lost = Stocked("2026-11-02T04-00-00Z", None, GOOD, None)
    assert look_of([]) is Look.NONE
    assert look_of([good]) is Look.VERIFIED
    assert look_of([good, never]) is Look.UNVERIFIED
    assert look_of([good, never, bad]) is Look.DAMAGED
    assert look_of([lost]) is Look.DAMAGED


def test_months_go_from_today_to_the_oldest_snapshot() -> None:
    found = months([snapshot("2026-02-28"), snapshot("2025-12-31")], date(2026, 3, 15))
    assert [each.title for each in found] == [
        "March 2026",
        "February 2026",
        "January 2026",
        "December 2025",
    ]
    last = [day for week in found[3].weeks for day in week if day is not None][-1]
    assert (last.number, last.look, last.text) == (31, Look.VERIFIED, "1 snapshot, verified")
    assert last.snapshot == "2025-12-31T03-00-00Z"
    assert all(len(week) == 7 for each in found for week in each.weeks)


@given(st.lists(st.dates(date(1999, 1, 1), date(2999, 12, 28)), min_size=1, max_size=6))
def test_a_year_of_months_is_shown_at_most(days: list[date]) -> None:
    found = months([snapshot(f"{day:%Y-%m-%d}") for day in days], date(2026, 11, 30))
    assert 1 <= len(found) <= 12


def test_without_snapshots_there_is_no_calendar() -> None:
    assert months([], datetime.now(UTC).date()) == []
    assert months([Stocked("strange", None, None, None)], date(2026, 1, 1)) == []
