"""A mount asked from outside of its process, as every other program asks it.

A thread of the mount's own that waits for the mount's answer cannot be ended: the kernel gives up a
request only when nobody serves it any more, and that thread would keep the connection open. Killed
in such a moment, the mount would stay for good, and hold up whoever uses it.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

_ALIVE: Final = "system.gridfsmount.alive"
"""The name of an extended attribute that no lake has. The kernel checks nobody's rights for names
of the system, so it asks the mount just this; and the mount refuses those at once."""

_QUESTIONS: Final = """
import os, sys
try:
    if sys.argv[2]:
        os.getxattr(sys.argv[1], sys.argv[2])
    else:
        print(os.stat(sys.argv[1]).st_dev)
except OSError as error:
    sys.exit(error.errno)
"""


class Probe:
    """Asks one mount; one question at a time."""

    def __init__(self, mountpoint: Path) -> None:
        """Ask the mount on `mountpoint`."""
        self._mountpoint = mountpoint
        self._asking: trio.Process | None = None
        """Who waits for an answer still: it cannot be ended before."""

    async def device(self) -> int:
        """The number of the mount's file system, as in stat(2), once it answers.

        Raises:
            OSError: it does not.
        """
        process = await self._ask("")
        assert process.stdout is not None
        said = b"".join([piece async for piece in process.stdout])
        code = await process.wait()
        if code != 0:
            raise OSError(code, os.strerror(code) if code > 0 else "nobody could be asked")
        return int(said)

    async def answers(self) -> bool:
        """Whether the mount answers what needs no server; waits until it does."""
        if self._asking is None:
            self._asking = await self._ask(_ALIVE)
        code = await self._asking.wait()
        self._asking = None
        return code in (0, errno.EOPNOTSUPP)

    async def _ask(self, attribute: str) -> trio.Process:
        # Without site packages, and without an environment that may have secrets.
        command = [sys.executable, "-I", "-S", "-c", _QUESTIONS, str(self._mountpoint), attribute]
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
