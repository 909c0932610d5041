"""When a process is said to have grown."""

import os

from tests.soak.gauges import Sample, growth, sample

MIB = 1 << 20


def samples(*resident: int, descriptors: int = 20, threads: int = 10) -> list[Sample]:
    return [Sample(each * MIB, descriptors, threads) for each in resident]


def test_what_stays_as_it_was_has_not_grown() -> None:
    assert growth(samples(10, 50, 100, 100, 99, 101, 100, 104, 103)) == []


def test_memory_that_goes_on_growing_is_told() -> None:
    assert growth(samples(*range(100, 190, 10))) == ["memory from 140.0 MiB to 170.0 MiB"]


def test_descriptors_and_threads_that_go_on_growing_are_told() -> None:
    before = samples(*[100] * 6)
    after = samples(*[100] * 3, descriptors=30, threads=40)
    assert growth(before + after) == ["descriptors from 20 to 30", "threads from 10 to 40"]


def test_of_few_samples_nothing_is_told() -> None:
    assert growth(samples(100, 1000)) == []


def test_a_process_that_runs_can_be_looked_at() -> None:
    found = sample(os.getpid())
    assert found.resident > MIB
    assert found.descriptors > 2
    assert found.threads >= 1
