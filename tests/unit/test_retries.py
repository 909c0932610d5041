"""Opens that are tried once more."""

from gridfsmount.vfs.retries import KEPT, Retries


def test_a_refusal_counts_for_the_next_open_of_the_same_thread_only() -> None:
    retries = Retries()
    assert retries.take(7) is None

    retries.refused(7)

    assert retries.take(8) is None
    assert retries.take(7) is not None
    assert retries.take(7) is None


def test_threads_that_never_come_back_are_forgotten() -> None:
    retries = Retries()
    for thread in range(KEPT + 1):
        retries.refused(thread)

    assert retries.take(0) is None
    assert retries.take(KEPT) is not None
