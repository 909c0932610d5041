"""Asking a mount for its `.stats`, without hanging when it does."""

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from gridfsmount.errors import MountError
from gridfsmount.mount.mountpoint import FILE_SYSTEM, is_mounted, mount_of
from gridfsmount.vfs.stats import NAME

T = TypeVar("T")

FIRST_SECONDS: Final = 10.0
"""For the first answer. A mount whose server is gone takes a second."""


class Question(Generic[T]):
    """A call in a thread of its own: one that waits for a mount that hangs cannot be called off."""

    def __init__(self, call: Callable[[], T]) -> None:
        """Begin."""
        self._call = call
        self._done = threading.Event()
        self._answer: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def answered(self, seconds: float) -> bool:
        """Wait for the answer, that long at most."""
        return self._done.wait(seconds)

    def answer(self) -> T:
        """The answer, or what was raised."""
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def _run(self) -> None:
        try:
            self._answer.append(self._call())
        except BaseException as error:  # whatever it is, it is raised where it was asked
            self._error = error
        self._done.set()


def first_report(path: Path) -> tuple[Path, dict[str, Any]]:
    """The mount that a path lies in, and its report.

    Raises:
        MountError: it lies in none, or it does not answer.
    """

    def ask() -> tuple[Path, dict[str, Any]]:
        mountpoint = mount_of(path)
        return mountpoint, read_report(mountpoint)

    question = Question(ask)
    if not question.answered(FIRST_SECONDS):
        raise MountError(f"the mount on {path} does not answer within {FIRST_SECONDS:.0f} s")
    return question.answer()


def read_report(mountpoint: Path) -> dict[str, Any]:
    """What a mount tells. Blocking, for as long as the mount hangs.

    Raises:
        MountError: it has ended, or tells nothing.
    """
    try:
        text = (mountpoint / NAME).read_bytes()
        report: dict[str, Any] = json.loads(text)
    except FileNotFoundError as error:
        if is_mounted(mountpoint, FILE_SYSTEM):
            raise MountError(
                f"the mount on {mountpoint} has no {NAME}: it is of an older version"
            ) from error
        raise MountError(f"the mount on {mountpoint} has ended") from error
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            raise MountError(f"the mount on {mountpoint} has ended") from error
        raise MountError(f"the mount on {mountpoint} does not answer: {error.strerror}") from error
    except ValueError as error:
        raise MountError(f"{mountpoint / NAME} is no report of a mount: {error}") from error
    return report
