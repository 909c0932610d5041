"""Fifty kills: nothing that was acknowledged is lost, and nothing is ever seen in part.

`make torture` does the same for an hour.
"""

from pathlib import Path

import pytest

from tests.torture.session import Report, Session, Target, rounds

SEED = 4


def tortured(folder: Path, *, replica_set: bool, kills: dict[Target, int]) -> Report:
    targets = [target for target, count in kills.items() for _ in range(count)]
    with Session(folder / "session", SEED, replica_set=replica_set) as session:
        for each in rounds(targets, SEED):
            session.round(each)
        session.finish()
        return session.report


@pytest.mark.long
@pytest.mark.parametrize(
    ("replica_set", "kills"),
    [
        pytest.param(True, {Target.SERVER: 12, Target.MOUNT: 12, Target.BOTH: 6}, id="replica set"),
        pytest.param(False, {Target.SERVER: 8, Target.MOUNT: 8, Target.BOTH: 4}, id="standalone"),
    ],
)
def test_kills_lose_nothing_that_was_acknowledged_and_show_nothing_in_part(
    tmp_path: Path, replica_set: bool, kills: dict[Target, int]
) -> None:
    report = tortured(tmp_path, replica_set=replica_set, kills=kills)

    assert not report.violations, "\n".join(map(str, (report, *report.violations, *report.kills)))
    # That it was torture indeed: kills met operations, and those were of all kinds.
    count = sum(kills.values())
    assert len(report.kills) == count
    assert report.hits >= 0.8 * count
    assert report.acknowledged.total() >= 10 * count
    assert {"write", "replace", "rename", "unlink", "log", "patch", "append"} <= set(
        report.acknowledged
    )
    assert report.refused.total() >= count / 4
    assert report.files >= 2 * count
