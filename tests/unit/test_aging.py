"""What is old: only what no answer on its way can be older than, whatever the clock says."""

import pytest
import trio

from gridfsmount.vfs.aging import LEAST_SECONDS, LOOKS, Aging


class Drops:
    """Notes what it is told to drop."""

    def __init__(self) -> None:
        self.before: list[float] = []

    def __call__(self, before: float) -> None:
        self.before.append(before)


def test_old_is_what_was_there_so_many_looks_ago() -> None:
    drops = Drops()
    aging = Aging(1.0, drops)
    for number in range(LOOKS):
        aging.look(100.0 + number)
    assert not drops.before
    for number in range(LOOKS, LOOKS + 3):
        aging.look(100.0 + number)
    assert drops.before == [100.0, 101.0, 102.0]


def test_what_was_there_before_the_process_was_stopped_for_hours_is_not_old_at_once() -> None:
    drops = Drops()
    aging = Aging(1.0, drops)
    for number in range(2 * LOOKS):
        aging.look(100.0 + number)
    just_before = 100.0 + 2 * LOOKS
    aging.look(just_before + 9999.0)
    assert max(drops.before) < just_before
    for number in range(1, LOOKS):
        aging.look(just_before + 9999.0 + number)
    assert max(drops.before) < just_before
    aging.look(just_before + 9999.0 + LOOKS)
    assert max(drops.before) > just_before


@pytest.mark.parametrize(
    ("deadline", "seconds"), [(1.0, LEAST_SECONDS), (3600.0, 3600.0)], ids=["short", "long"]
)
async def test_between_two_looks_is_a_deadline(
    autojump_clock: trio.testing.MockClock, deadline: float, seconds: float
) -> None:
    looked: list[float] = []

    class Noting(Aging):
        def look(self, now: float) -> None:
            looked.append(trio.current_time())

    with trio.move_on_after(3.5 * seconds):
        await Noting(deadline, Drops()).run()
    assert [at - looked[0] for at in looked] == [number * seconds for number in range(4)]
