"""A minute of everything at once; `make soak` does it for half an hour, and looks at memory too."""

from pathlib import Path

import pytest

from tests.soak.run import Soak

SEED = 7


@pytest.mark.long
def test_mixed_work_under_faults_loses_nothing_and_never_hangs(tmp_path: Path) -> None:
    report = Soak(tmp_path / "soak", SEED, seconds=25, pause=1.5).run()

    assert report.violations == [], report
    # That there was work, of all kinds, and that it met faults.
    assert report.struck.total() >= 5
    assert {"write", "look", "seal", "backup create"} <= set(report.done), report
    assert report.files >= 5
