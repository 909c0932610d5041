"""What goes wrong, again and again: one fault at a time, each at a random moment, and mended."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.mongod import Mongod
from tests.mounting import Mounted, eventually
from tests.proxy import Proxy

ELECTION_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to strike; `strike` returns when it is mended."""

    name: str
    strike: Callable[[], None]


def all_faults(
    server: Mongod, proxy: Proxy, killed: Mounted, paused: Mounted, chance: random.Random
) -> Sequence[Fault]:
    """Those of the matrix that can be mended without any help.

    `killed` is the mount that may die, `paused` one that must not, but may be put to sleep.
    """

    def kill_server() -> None:
        server.kill()
        server.start()

    def pause_server() -> None:
        server.pause()
        _last(chance.uniform(1, 6))
        server.resume()

    def step_down() -> None:
        with (
            suppress(PyMongoError),
            MongoClient[dict[str, object]](
                "127.0.0.1", server.port, directConnection=True
            ) as client,
        ):
            client.admin.command("replSetStepDown", 1, force=True)
        eventually(lambda: _is_primary(server), "it is primary again", ELECTION_SECONDS)

    def cut() -> None:
        proxy.cut()

    def cut_in_a_message() -> None:
        proxy.cut_after(chance.randint(1, 3 << 20))

    def slow() -> None:
        proxy.slow(0.02)
        _last(4)
        proxy.heal()

    def stall() -> None:
        proxy.stall()
        _last(chance.uniform(1, 6))
        proxy.heal()

    def refuse() -> None:
        proxy.refuse()
        _last(chance.uniform(0.5, 3))
        proxy.heal()

    def kill_mount() -> None:
        killed.kill()
        killed.start()

    def sleep_mount() -> None:
        paused.pause()
        _last(chance.uniform(1, 8))
        paused.resume()

    return [
        Fault(each.__name__.replace("_", " "), each)
        for each in (
            kill_server,
            pause_server,
            step_down,
            cut,
            cut_in_a_message,
            slow,
            stall,
            refuse,
            kill_mount,
            sleep_mount,
        )
    ]


def _last(seconds: float) -> None:
    time.sleep(seconds)  # the fault itself


def _is_primary(server: Mongod) -> bool:
    with (
        suppress(PyMongoError),
        MongoClient[dict[str, object]](
            "127.0.0.1", server.port, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client,
    ):
        return bool(client.admin.command("hello")["isWritablePrimary"])
    return False
