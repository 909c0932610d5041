"""What the log says of a large adoption."""

import pytest

from gridfsmount.adopting.progress import TELL_SECONDS, Progress


def test_a_line_now_and_then_tells_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    progress = Progress(100_000, 0)
    for second in range(1, 26):
        progress.add(1000, second)
    progress.end(25)
    assert progress.done == 25_000
    assert [each.getMessage() for each in caplog.records] == [
        "adopting 100,000 contents that other clients uploaded, in the background",
        "adopting other clients' uploads: 10,000 contents done, about 90,000 left, 1000 a second",
        "adopting other clients' uploads: 20,000 contents done, about 80,000 left, 1000 a second",
        "adopted 25,000 contents that other clients uploaded, in 25 s",
    ]


def test_what_came_meanwhile_makes_nothing_negative(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Progress(10, 0).add(1000, TELL_SECONDS)
    assert "about 0 left" in caplog.text
