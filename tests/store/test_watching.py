"""Mounts that share a backlog, without a mount."""

from collections.abc import Callable

import pytest
import trio

from gridfsmount.adopting import watcher
from gridfsmount.adopting.watcher import Watcher
from gridfsmount.store.backlog import Backlog, Turn
from gridfsmount.store.foreign import LOOK
from gridfsmount.store.lake import Lake
from gridfsmount.workers import Workers
from tests.mounting import eventually
from tests.store.lakes import opened, raw


async def until(look: Callable[[], bool], what: str) -> None:
    await trio.to_thread.run_sync(eventually, look, what)


async def test_a_backlog_is_left_to_the_mount_whose_turn_it_is(
    store: Lake, any_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(watcher, "POLL_SECONDS", 30)
    looks: list[Turn | None] = []
    turn = store.backlog.turn

    def look(_: Backlog) -> Turn | None:
        looks.append(turn())
        return looks[-1]

    monkeypatch.setattr(Backlog, "turn", look)
    count = 5 * LOOK
    with raw(any_uri) as database, opened(any_uri) as other:
        database["fs.files"].insert_many(
            {"_id": f"{n}", "filename": f"{n}", "length": 0, "chunkSize": 1} for n in range(count)
        )
        assert other.backlog.take_turn()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Watcher(store, Workers()).run)
            await until(lambda: len(looks) > 3, "it asks whose turn it is")
            assert store.backlog.count() >= count - LOOK  # what came last is for everybody
            other.backlog.end_turn()
            await until(lambda: store.backlog.count() == 0, "all are adopted")
            await until(other.backlog.take_turn, "the turn is given back")
            nursery.cancel_scope.cancel()
        assert database["fs.tree"].count_documents({"kind": "file"}) == count
