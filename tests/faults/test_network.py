"""The network between a mount and its server is cut, stalls, or is slow."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.lakes import (
    DEADLINE,
    LEASE,
    MIB,
    InThread,
    assert_alive,
    errno_of,
    recovered,
    succeeds,
)
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted
from tests.proxy import Proxy

BOUND = 4 * DEADLINE
DATA = os.urandom(12 * MIB)


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Mongod) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def shared(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """One mount for all tests: each leaves it as good as it was."""
    options = (f"--deadline={DEADLINE}", f"--lease={10 * LEASE}")
    with mounted(proxy.uri_for("lake"), tmp_path_factory.mktemp("net"), *options) as mount:
        yield mount


@pytest.fixture
def folder(request: pytest.FixtureRequest, proxy: Proxy, shared: Mounted) -> Iterator[Path]:
    """A folder of its own for each test; afterwards everything works again, without a remount."""
    number = abs(hash(request.node.name)) % 10**9
    path = shared.version(f"datasets/net/v{number}")
    yield path
    proxy.heal()
    eventually(lambda: succeeds((path / "afterwards").write_bytes, DATA[:MIB]), "it recovers")
    assert recovered(path / "afterwards", DATA[:MIB])
    assert_alive(shared)


def copy(path: Path) -> None:
    """Write and commit in pieces, as `cp` does."""
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(DATA), MIB):
            file.write(DATA[at : at + MIB])


def in_direct_reads(path: Path) -> bytes:
    """Past the kernel's page cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        return b"".join(iter(partial(os.read, descriptor, MIB), b""))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("after", [0, 100, 300_000, 5 * MIB])
def test_connections_that_are_cut_while_a_file_is_read_go_unnoticed(
    proxy: Proxy, folder: Path, after: int
) -> None:
    copy(folder / "file")
    os.posix_fadvise(fd := os.open(folder / "file", os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    proxy.cut_after(after + 1)
    assert in_direct_reads(folder / "file") == DATA


def test_connections_that_are_cut_while_a_file_is_written_cost_nothing_that_was_acknowledged(
    proxy: Proxy, folder: Path
) -> None:
    for number, after in enumerate((0, 50, 500, 2000)):
        path = folder / f"file-{number}"
        proxy.cut_after(after + 1)
        if errno_of(partial(copy, path)) is None:
            assert recovered(path, DATA)
        else:
            assert path.read_bytes() == b""


def test_a_network_that_lets_nothing_through_is_an_error_in_time_and_heals(
    proxy: Proxy, folder: Path
) -> None:
    path = folder / "file"
    path.write_bytes(b"old")
    with path.open("r+b", buffering=0) as file:
        file.write(b"new")
        proxy.stall()
        calls: list[Callable[[], object]] = [
            partial(os.stat, folder / "unknown"),
            partial(os.listdir, folder.parent),
            partial(os.mkdir, folder / "made"),
            partial(os.fsync, file.fileno()),
        ]
        for call in calls:
            began = time.monotonic()
            assert errno_of(call) in (errno.EIO, errno.ETIMEDOUT)
            assert time.monotonic() - began < BOUND
        proxy.heal()
        eventually(lambda: succeeds(os.fsync, file.fileno()), "what was written is committed")
    assert recovered(path, b"new")


def test_a_network_that_stalls_for_a_moment_goes_unnoticed(proxy: Proxy, folder: Path) -> None:
    proxy.stall()
    working = InThread(lambda: (folder / "file").write_bytes(DATA[:MIB]))
    time.sleep(DEADLINE / 3)  # the moment
    proxy.heal()
    working.join()
    assert recovered(folder / "file", DATA[:MIB])


def test_a_slow_network_is_slow_and_right(proxy: Proxy, folder: Path) -> None:
    proxy.slow(0.02)
    for number in range(3):
        (folder / f"file-{number}").write_bytes(DATA[: 300_000 * number])
    assert sorted(each.name for each in folder.iterdir()) == ["file-0", "file-1", "file-2"]
    for number in range(3):
        assert in_direct_reads(folder / f"file-{number}") == DATA[: 300_000 * number]


def test_a_server_that_cannot_be_reached_is_an_error_in_time_and_heals(
    proxy: Proxy, folder: Path
) -> None:
    (folder / "file").write_bytes(b"content")
    proxy.refuse()
    began = time.monotonic()
    assert errno_of(lambda: (folder / "file").write_bytes(b"lost")) == errno.EIO
    assert time.monotonic() - began < BOUND
    proxy.heal()
    eventually(lambda: succeeds((folder / "file").read_bytes), "it can be read again")
    assert (folder / "file").read_bytes() == b"content"
