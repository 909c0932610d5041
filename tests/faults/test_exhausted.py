"""A mount runs out of connections, of file descriptors, or of the server's cursors."""

import os
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.lakes import DEADLINE, LEASE, Lake, assert_alive, errno_of, recovered
from tests.mongod import Mongod
from tests.mounting import assert_healthy_log, eventually, mounted, run_command
from tests.soak.gauges import sample

OPTIONS = (f"--deadline={DEADLINE}", f"--lease={LEASE}")
PROGRAMS = 24


def at_once(call: Callable[[int], object]) -> list[int | None]:
    """Errnos of as many calls as there are programs, made at the same time."""
    gate = threading.Barrier(PROGRAMS)

    def run(number: int) -> int | None:
        gate.wait()
        return errno_of(lambda: call(number))

    with ThreadPoolExecutor(PROGRAMS) as pool:
        return list(pool.map(run, range(PROGRAMS)))


def test_with_few_connections_everything_takes_its_turn(lake_uri: str, tmp_path: Path) -> None:
    with mounted(f"{lake_uri}&maxPoolSize=2", tmp_path, "--deadline=20") as mount:
        folder = mount.version()
        contents = [os.urandom(200_000) for _ in range(PROGRAMS)]

        def write(number: int) -> object:
            return (folder / f"{number}").write_bytes(contents[number])

        def look(number: int) -> object:
            assert (folder / f"{number}").read_bytes() == contents[number]
            return list(folder.iterdir())

        assert at_once(write) == [None] * PROGRAMS
        assert at_once(look) == [None] * PROGRAMS
        assert_healthy_log(mount)


def test_a_mount_without_file_descriptors_fails_clean_and_recovers(tmp_path: Path) -> None:
    with Mongod() as server, mounted(server.uri_for("lake"), tmp_path, *OPTIONS) as mount:
        folder = mount.version()
        (folder / "kept").write_bytes(b"kept")
        _, most = resource.prlimit(mount.pid, resource.RLIMIT_NOFILE)
        open_now = sample(mount.pid).descriptors
        resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (open_now, most))
        server.restart()  # so that all connections have to be made anew, more than there may be

        codes = at_once(lambda number: (folder / f"{number}").write_bytes(b"%d" % number))
        written = {number for number, code in enumerate(codes) if code is None}
        for number in written:
            assert recovered(folder / f"{number}", b"%d" % number)

        resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (most, most))
        eventually(lambda: recovered(folder / "kept", b"kept"), "it recovers")
        assert at_once(lambda number: (folder / f"{number}").write_bytes(b"new")) == (
            [None] * PROGRAMS
        )
        assert_alive(mount)


def test_a_listing_that_is_read_slowly_is_whole_though_the_server_forgot_its_cursors(
    lake_uri: str, tmp_path: Path
) -> None:
    """As it does when a session was idle for half an hour, or an administrator ends them all."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3000):
        (source / f"{number:05}").touch()
    with mounted(lake_uri, tmp_path) as mount, Lake(lake_uri) as lake:
        done = run_command("put", f"{source}/", "datasets/test/v1/", "--uri", lake_uri)
        assert done.returncode == 0, done.stderr
        with os.scandir(mount.path / "datasets/test/v1") as entries:
            seen = [next(entries).name]
            lake.database.client.admin.command("killAllSessions", [])
            seen += [each.name for each in entries]
        assert sorted(seen) == sorted(each.name for each in source.iterdir())
        (mount.path / "datasets/test/v1/afterwards").write_bytes(b"content")
        assert lake.read("datasets/test/v1/afterwards") == b"content"
        assert_alive(mount)


def test_a_server_that_hangs_for_long_costs_neither_memory_nor_threads(tmp_path: Path) -> None:
    with Mongod() as server, mounted(server.uri_for("lake"), tmp_path, *OPTIONS) as mount:
        folder = mount.version()
        (folder / "file").write_bytes(b"content")
        at_once(lambda number: list(folder.iterdir()))
        before = sample(mount.pid)
        server.pause()
        until = time.monotonic() + 8 * DEADLINE
        while time.monotonic() < until:
            at_once(lambda number: (folder / f"folder-{number}").mkdir())
        server.resume()
        eventually(lambda: recovered(folder / "file", b"content"), "it recovers")
        after = sample(mount.pid)
        assert after.resident < before.resident + (32 << 20)
        assert after.threads < before.threads + PROGRAMS + 8
        assert after.descriptors < before.descriptors + 2 * PROGRAMS
        assert_alive(mount)
