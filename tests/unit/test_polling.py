"""Lingering before the loop sleeps: for a request, for a moment, and for nobody's harm."""

import os
from collections.abc import Iterator

import pytest

from gridfsmount.fuse import polling
from gridfsmount.fuse.polling import LINGER_SECONDS, Linger

LONG = 60.0


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in place of the FUSE device; its writing end."""
    reading, writing = os.pipe()
    monkeypatch.setattr(polling, "_devices", lambda: [reading])
    yield writing
    os.close(reading)
    os.close(writing)


class Clock:
    """Time that passes with every look at it."""

    def __init__(self) -> None:
        self.looks = 0

    def perf_counter(self) -> float:
        self.looks += 1
        return self.looks * LINGER_SECONDS / 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(polling, "time", found)
    return found


def test_it_gives_up_after_a_moment(device: int, clock: Clock) -> None:
    Linger(lambda: False).before_io_wait(LONG)
    assert clock.looks == 11


def test_a_request_ends_it_at_once(device: int, clock: Clock) -> None:
    os.write(device, b"a request")
    Linger(lambda: False).before_io_wait(LONG)
    assert clock.looks == 1


def test_it_leaves_the_processor_to_threads_at_work(device: int, clock: Clock) -> None:
    Linger(lambda: True).before_io_wait(LONG)
    assert clock.looks == 0


def test_a_loop_that_has_work_does_not_linger(device: int, clock: Clock) -> None:
    Linger(lambda: False).before_io_wait(0.0)
    assert clock.looks == 0


def test_without_a_device_nothing_is_watched(clock: Clock) -> None:
    Linger(lambda: False).before_io_wait(LONG)
    assert clock.looks == 11
