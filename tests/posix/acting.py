"""System calls as any user: a process for each user, which does what it is told.

Run as a program it is that process; imported it is what the tests hold. It knows nothing of the
project, so that it can be started as root and then become somebody else.
"""

import ctypes
import errno
import fcntl
import os
import pickle
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Self

UTIME_NOW = (1 << 30) - 1  # linux/stat.h
UTIME_OMIT = (1 << 30) - 2

F_OFD_GETLK, F_OFD_SETLK = 36, 37  # asm-generic/fcntl.h
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)


class Actor:
    """A user. Every function of `os`, and those below, is a method: `nobody.mkdir(path, 0o755)`.

    Descriptors are those of the user's process. The umask there is 0.
    """

    def __init__(self, uid: int, gid: int, *groups: int) -> None:
        self.uid, self.gid = uid, gid
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, *map(str, (uid, gid, *groups))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> Any:
            return self.begin(name, *arguments, **options)()

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def kill(self) -> None:
        """SIGKILL, as the kernel does to one that took too much memory."""
        self._process.kill()
        self._process.wait(30)

    def begin(self, name: str, *arguments: object, **options: object) -> Callable[[], Any]:
        """Start a call, and return what waits for its end: others can act meanwhile."""
        assert self._process.stdin is not None
        pickle.dump((name, arguments, options), self._process.stdin)
        self._process.stdin.flush()

        def finish() -> Any:
            assert self._process.stdout is not None
            succeeded, value = pickle.load(self._process.stdout)
            if succeeded:
                return value
            raise OSError(value, f"{name}{arguments}: {os.strerror(value)}")

        return finish


# --- what the process can do beside the functions of `os` ----------------------------------------


def utimensat(path: str, atime: tuple[int, int], mtime: tuple[int, int], flags: int = 0) -> None:
    """Seconds and nanoseconds, or UTIME_NOW and UTIME_OMIT in place of the nanoseconds."""
    times = (ctypes.c_long * 4)(*atime, *mtime)
    _check(_LIBC.utimensat(_AT_FDCWD, os.fsencode(path), times, flags))


def renameat2(old: str, new: str, flags: int) -> None:
    done = _LIBC.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    _check(done)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    _check(_LIBC.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def raw_truncate(path: str, length: int) -> None:
    """As truncate(2): Python's refuses some numbers by itself."""
    _check(_LIBC.truncate(os.fsencode(path), ctypes.c_long(length)))


def raw_pwrite(descriptor: int, data: bytes, offset: int) -> int:
    written: int = _LIBC.pwrite(descriptor, data, ctypes.c_size_t(len(data)), ctypes.c_long(offset))
    _check(written)
    return written


def flock(descriptor: int, operation: int) -> None:
    fcntl.flock(descriptor, operation)


def lockf(descriptor: int, operation: int, length: int = 0, start: int = 0) -> None:
    fcntl.lockf(descriptor, operation, length, start)


def ofd_lock(descriptor: int, kind: int, start: int = 0, length: int = 0) -> None:
    """A lock of the open file description; F_RDLCK, F_WRLCK or F_UNLCK; never waits."""
    fcntl.fcntl(descriptor, F_OFD_SETLK, struct.pack("hhqqi", kind, 0, start, length, 0))


def limit_file_size(size: int) -> None:
    """For the rest of the process's life."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def write_file(path: str, data: bytes, flags: int = os.O_CREAT | os.O_TRUNC) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags, 0o666)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def append_lines(path: str, prefix: str, count: int) -> None:
    """One open(2), a write(2) for each line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        for number in range(count):
            os.write(descriptor, f"{prefix} {number}\n".encode())
    finally:
        os.close(descriptor)


def attempt(name: str, *arguments: object, **options: object) -> object:
    """What comes of a call: `None` for anything that it returns, or the name of its errno.

    A descriptor that it returns is closed again.
    """
    try:
        result = _function(name)(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if name == "open":
        os.close(result)
    return None


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _function(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = globals().get(name) or getattr(os, name)
    return function


def _become(uid: int, gid: int, groups: list[int]) -> None:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.umask(0)


def _serve() -> None:
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            name, arguments, options = pickle.load(questions)
        except EOFError:
            return
        try:
            answer = (True, _function(name)(*arguments, **options))
        except OSError as error:
            answer = (False, error.errno)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    own, group, *others = map(int, sys.argv[1:])
    if os.geteuid() == 0:
        _become(own, group, others)
    else:
        os.umask(0)
    _serve()
