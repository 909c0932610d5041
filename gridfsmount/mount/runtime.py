"""Python and glibc, set up for a process that moves megabytes between threads."""

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Final

import trio

# malloc.h, see mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_M_ARENA_MAX: Final = -8

_KEPT_BYTES: Final = 64 << 20
"""Freed memory that glibc keeps: what readers give back the next query needs at once."""

_LARGE_BYTES: Final = 32 << 20
"""The most that mallopt(3) takes. By default each buffer of a query is mapped anew and faulted in
page by page: half of the system time of a cold read."""

_SWITCH_SECONDS: Final = 0.0003
"""How long a thread that decodes a query may keep the loop waiting for the interpreter's lock.
Python's 5 ms cost a fifth of the speed of a cold read, and so did 0.1 ms."""

_YOUNG_OBJECTS: Final = 20_000
"""Objects made before the youngest are looked through for cycles, of which there are few here."""

_COLLECT_SECONDS: Final = 30.0
"""Between looks through all but the oldest. An error of the driver that it retried keeps up to some
thousand frames, and the chunks in them, in a cycle: without failures there are none."""

_LOOKS: Final = 10
"""So many of these looks before the oldest may be due as well."""

_GROWTH: Final = 1.25
"""By how much the oldest must have grown for that: however many there are, they cost little."""


def tune_runtime() -> None:
    """Set up this process; without glibc, as far as possible."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what was imported stays for good
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
    mallopt = _of_glibc("mallopt")
    mallopt(_M_ARENA_MAX, 1)  # what one thread gives back another can have
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


async def free_in_time() -> None:
    """Free what cycles alone keep, and give the system what is free, until cancelled.

    In a mount with little to do the cycles would stay. And glibc gives back only what lies above
    all that is in use, so that a mount would keep what it needed once: see malloc_trim(3).
    """
    trim = _of_glibc("malloc_trim")
    kept = 0
    while True:
        for _ in range(_LOOKS):
            await trio.sleep(_COLLECT_SECONDS)
            gc.collect(1)
            trim(0)
        if len(gc.get_objects(2)) > _GROWTH * kept:
            gc.collect()
            kept = len(gc.get_objects(2))


def _of_glibc(name: str) -> Callable[..., object]:
    """A function of glibc; with another library, one that does nothing."""
    try:
        found: Callable[..., object] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return lambda *_: None
    return found
