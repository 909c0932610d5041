"""Change streams of a server that hangs: nobody waits for good."""

import pytest

from gridfsmount.errors import StoreUnavailable
from tests.mongod import Mongod
from tests.store.lakes import opened


def test_a_server_that_hangs_ends_the_stream_of_uploads_within_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gridfsmount.store.foreign.WATCH_SECONDS", 0.2)
    with Mongod() as server, opened(server.uri_for("lake")) as lake:
        lake.connection.seam.deadline = 1.0
        changes = lake.foreign.watch()
        assert changes.next_change() is None
        server.pause()
        try:
            with pytest.raises(StoreUnavailable):
                changes.next_change()
        finally:
            server.resume()
        changes.close()
