"""What a mount's process frees by itself."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio

from gridfsmount.mount import runtime


class Cycle:
    """Kept by nothing but itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nobody_else_collects() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def left_in(generation: int) -> weakref.ref[Cycle]:
    """A cycle that is garbage by now, and was found to be in use so many times."""
    cycle = Cycle()
    for each in range(generation):
        gc.collect(each)
    return weakref.ref(cycle)


@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_what_only_cycles_keep_is_freed_in_time(
    generation: int, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(runtime, "_COLLECT_SECONDS", 0.001)
    cycle = left_in(generation)
    assert cycle() is not None

    nursery.start_soon(runtime.free_in_time)

    for _ in range(1000):
        await trio.sleep(0.01)
        if cycle() is None:
            return
    pytest.fail("it is never freed")


BURST = """
import trio
from pathlib import Path
from gridfsmount.mount import runtime

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

async def main():
    runtime._COLLECT_SECONDS = 0.01
    runtime.tune_runtime()
    before = resident()
    buffers = [bytearray(100_000) for _ in range(2000)]
    kept = buffers[::20]
    del buffers
    print(resident() - before)
    with trio.move_on_after(1):
        await runtime.free_in_time()
    print(resident() - before)

trio.run(main)
"""


def test_memory_of_a_burst_goes_back_to_the_system() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", BURST], capture_output=True, text=True, check=True, timeout=60
    )
    held, left = map(int, answer.stdout.split())
    assert held > 150_000_000  # what is in use lies among it
    assert left < 50_000_000
