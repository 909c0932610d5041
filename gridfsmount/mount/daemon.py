"""Into the background: the command returns when the mount answers, or says why it does not."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gridfsmount.errors import LakeError

log = logging.getLogger(__name__)

_READY = b"\0"


def run_in_background(serve: Callable[[Callable[[], None]], None]) -> str | None:
    """Run `serve(ready)` in a process of its own and wait until it calls `ready`.

    Must be called while this process has one thread and no connections.

    Returns:
        None when the mount answers; else the reason why it never did.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _serve(serve, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 (a descriptor, not a path)
        said = pipe.read()
    if said == _READY:
        return None
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return said.decode() or f"the mount's process ended before it answered (exit code {code})"


def _serve(serve: Callable[[Callable[[], None]], None], writing: int) -> NoReturn:
    status = 1
    listener: int | None = writing

    def ready() -> None:
        nonlocal listener
        os.write(writing, _READY)
        os.close(writing)
        listener = None
        _detach()

    try:
        os.setsid()
        serve(ready)
        status = 0
    except BaseException as error:
        if isinstance(error, LakeError):
            reason = str(error)
            log.error("%s", reason)
        else:
            reason = f"{type(error).__name__}: {error}"
            log.exception("the mount ended unexpectedly; please report this")
        if listener is not None:  # else nobody listens, and the number may be another file's
            os.write(listener, reason.encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _detach() -> None:
    """Let go of the terminal, and of any directory that somebody may want to unmount."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def default_log_file(mountpoint: Path) -> Path:
    """Where a mount in the background logs when nobody says."""
    if os.geteuid() == 0:
        folder = Path("/var/log/gridfsmount")
    else:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        folder = Path(state).expanduser() / "gridfsmount"
    name = str(mountpoint.absolute()).strip("/").replace("/", "-") or "root"
    return folder / f"{name}.log"
