"""`.stats`: what it holds, and who may do what with it."""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounting import Mounted, eventually
from tests.telemetry.conftest import read_from_the_mount, stats

MIB = 1 << 20


def test_it_is_there_for_who_names_it_and_in_no_listing(watched: Mounted) -> None:
    path = watched.path / ".stats"

    status = path.stat()

    assert path not in list(watched.path.iterdir())
    assert stat.S_ISREG(status.st_mode)
    assert (stat.S_IMODE(status.st_mode), status.st_size) == (0o444, 0)
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    assert status.st_ino > 1 << 60, "no node has that number"


def test_it_says_which_mount_it_is(watched: Mounted) -> None:
    report = stats(watched)

    assert report["pid"] == watched.pid
    assert report["mountpoint"] == str(watched.path)
    assert report["deployment"] in watched.log_text()
    assert not report["read_only"]
    assert report["uptime"] > 0
    assert report["process"]["resident_bytes"] > 10 * MIB
    descriptors = len(list(Path(f"/proc/{watched.pid}/fd").iterdir()))
    assert abs(report["process"]["descriptors"] - descriptors) <= 4, "connections come and go"
    assert report["process"]["threads"] > 1


def test_it_counts_requests_and_the_errors_that_they_got(watched: Mounted, version: Path) -> None:
    before = stats(watched)["operations"]

    for number in range(5):
        assert not (version / f"missing {number}").exists()

    after = stats(watched)["operations"]
    missing = [each["lookup"]["errors"].get("ENOENT", 0) for each in (before, after)]
    assert missing[1] - missing[0] == 5
    assert after["lookup"]["count"] - before["lookup"]["count"] >= 5
    assert after["lookup"]["seconds"] > before["lookup"]["seconds"]
    assert 0 < after["lookup"]["p50"] <= after["lookup"]["p99"] <= after["lookup"]["max"]
    assert sum(after["lookup"]["latencies"].values()) == after["lookup"]["count"]


@pytest.mark.parametrize("size", [100, 5 * MIB + 1], ids=["handed over whole", "in chunks"])
def test_it_counts_what_is_written_and_sent(watched: Mounted, version: Path, size: int) -> None:
    before = stats(watched)

    (version / "file").write_bytes(os.urandom(size))

    after = stats(watched)
    assert after["operations"]["write"]["bytes"] - before["operations"]["write"]["bytes"] == size
    sent = {what: after["writing"][what] - before["writing"][what] for what in after["writing"]}
    assert sent == {"commits": 1, "chunks": -(-size // MIB), "bytes": size, "failures": 0}
    assert (after["gauges"]["dirty_bytes"], after["gauges"]["uploads"]) == (0, 0)


def test_it_tells_how_much_is_open_and_not_committed(watched: Mounted, version: Path) -> None:
    with (version / "file").open("wb", buffering=0) as file:
        file.write(bytes(1000))
        gauges = stats(watched)["gauges"]

    assert (gauges["open_files"], gauges["open_handles"], gauges["dirty_files"]) == (1, 1, 1)
    assert gauges["dirty_bytes"] == 1000
    eventually(lambda: stats(watched)["gauges"]["open_handles"] == 0, "the handle is closed")
    assert stats(watched)["gauges"]["dirty_files"] == 0


def test_it_tells_from_where_chunks_came(watched: Mounted, version: Path) -> None:
    data = os.urandom(12 * MIB)
    (version / "file").write_bytes(data)
    start = stats(watched)["reading"]

    assert read_from_the_mount(version / "file") == data
    first = stats(watched)["reading"]
    eventually(
        lambda: stats(watched)["gauges"]["disk_cache_bytes"] > 11 * MIB, "the disk has kept it"
    )
    assert read_from_the_mount(version / "file") == data
    second = stats(watched)["reading"]

    assert first["server"]["bytes"] - start["server"]["bytes"] >= 12 * MIB
    assert second["disk"]["bytes"] - first["disk"]["bytes"] >= 8 * MIB
    looked = {what: second["memory"][what] - start["memory"][what] for what in second["memory"]}
    assert looked["hits"] > 0
    assert looked["waits"] + looked["misses"] > 0


def test_what_is_read_ahead_was_used_or_is_wasted_or_waits(watched: Mounted, version: Path) -> None:
    path = version / "file"
    path.write_bytes(bytes(12 * MIB))
    before = stats(watched)["reading"]["ahead"]

    read_from_the_mount(path)

    after = stats(watched)["reading"]["ahead"]
    assert after["fetched"] - before["fetched"] > 4
    assert after["used"] - before["used"] > 4
    assert after["used"] + after["wasted"] <= after["fetched"]


def test_it_counts_commands_to_the_server_by_name(watched: Mounted, version: Path) -> None:
    before = stats(watched)["database"]["commands"]

    (version / "file").write_bytes(b"new")

    after = stats(watched)["database"]["commands"]
    assert after["insert"]["count"] > before["insert"]["count"]
    assert after["insert"]["seconds"] > before["insert"]["seconds"]
    assert "getMore" not in after, "a change stream's questions wait for news"


def test_it_counts_changes_that_the_server_tells_of(watched: Mounted, version: Path) -> None:
    before = stats(watched)["invalidations"]

    (version / "folder").mkdir()

    eventually(lambda: stats(watched)["invalidations"] > before, "the server told of it")


def test_a_handle_has_the_figures_of_its_open(watched: Mounted) -> None:
    with (watched.path / ".stats").open("rb", buffering=0) as file:
        first = file.read(1 << 20)
        later = stats(watched)
        file.seek(0)
        again = b"".join(iter(lambda: file.read(100), b""))

    assert first == again
    assert json.loads(first)["uptime"] < later["uptime"]


def test_names_of_files_are_not_in_it(watched: Mounted, version: Path) -> None:
    (version / "a name that nobody else has").write_bytes(b"x")
    (version / "a name that nobody else has").read_bytes()

    text = (watched.path / ".stats").read_text()

    assert "a name that nobody else has" not in text
    assert version.parent.name not in text


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "write": lambda path, _: path.write_bytes(b"x"),
    "append": lambda path, _: path.open("ab").close(),
    "truncate": lambda path, _: os.truncate(path, 0),
    "chmod": lambda path, _: path.chmod(0o666),
    "chown": lambda path, _: os.chown(path, 1, 1),
    "touch": lambda path, _: os.utime(path),
    "remove": lambda path, _: path.unlink(),
    "rename": lambda path, inside: path.rename(inside / "stats"),
    "replace": lambda path, inside: (inside / "file").replace(path),
    "link": lambda path, inside: (inside / "stats").hardlink_to(path),
    "attribute": lambda path, _: os.setxattr(path, "user.note", b"x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_cannot_be_changed(watched: Mounted, change: Callable[[Path, Path], object]) -> None:
    inside = watched.version("datasets/refusals/v1")
    (inside / "file").write_bytes(b"x")

    with pytest.raises(OSError) as refused:  # noqa: PT011 (the errno is what counts)
        change(watched.path / ".stats", inside)

    assert refused.value.errno == errno.EPERM
    assert stats(watched)["pid"] == watched.pid
