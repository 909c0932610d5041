"""Inode numbers after a crash of the server: none is given out twice."""

from tests.mongod import Mongod
from tests.store.lakes import opened

SLOW_JOURNAL = ("--journalCommitInterval", "500")  # milliseconds; so that a crash loses something


def test_a_crash_of_the_server_gives_no_number_out_again() -> None:
    with Mongod(extra=SLOW_JOURNAL) as server:
        uri = server.uri_for("lake")
        with opened(uri) as lake:
            before = set(lake.tree.allocate(1000))
            server.kill()
        server.start()
        with opened(uri) as lake:
            assert before.isdisjoint(lake.tree.allocate(1000))
