"""The log of a mount: lines for people or for programs, and what took long with its path."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.lakes import Lake, errno_of
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted

BLOCK_MS = 1300
"""Milliseconds that the server takes: more than the second from which on a mount tells of it."""

FILE = "datasets/test/v1/train.bin"


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod(replica_set=False, extra=["--setParameter", "enableTestCommands=1"]) as server:
        yield server


@pytest.fixture(scope="module")
def lake(server: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Its config file says other things than the command line."""
    folder = tmp_path_factory.mktemp("logs")
    config = folder / "lake.toml"
    config.write_text('[log]\nformat = "text"\nslow = "1d"\n')
    options = ("--log-format", "json", "--slow", "1s", "--deadline", "1.5")
    # With so little of it, a file is not in memory after it was written.
    memory = ("--cache-size", "1MiB")
    with mounted(server.uri_for("logs"), folder, "--config", config, *options, *memory) as mount:
        (mount.version() / "train.bin").write_bytes(os.urandom(3 << 20))
        yield mount


@contextmanager
def slowed(server: Mongod, *commands: str) -> Iterator[None]:
    """Within the block the server takes its time for some commands."""
    data = {"failCommands": commands, "blockConnection": True, "blockTimeMS": BLOCK_MS}
    with server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


def records(mount: Mounted) -> list[dict[str, Any]]:
    return [json.loads(line) for line in mount.log_text().splitlines()]


def slow(mount: Mounted, operation: str, path: str) -> dict[str, Any]:
    """The first record of such an operation."""

    def look() -> dict[str, Any] | None:
        for each in records(mount):
            if (each.get("operation"), each.get("path")) == (operation, path):
                return each
        return None

    found = eventually(look, f"{operation} of {path} is told\n{mount.log_text()}")
    assert found is not None
    return found


def test_a_slow_read_is_told_with_path_content_duration_and_bytes(
    server: Mongod, lake: Mounted
) -> None:
    with (lake.path / FILE).open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with slowed(server, "find", "getMore"):
            file.read()
        told = slow(lake, "read", f"/{FILE}")
    with Lake(lake.uri) as documents:
        content = documents.node("train.bin")["content"]
    assert told["content"] == str(content)
    assert told["seconds"] >= 1.0
    assert told["bytes"] >= 4096
    assert told["level"] == "WARNING"
    assert f"/{FILE}, content {content}, {told['bytes']} bytes" in told["message"]


def test_a_slow_change_is_told_with_the_name_that_it_was_about(
    server: Mongod, lake: Mounted
) -> None:
    folder = lake.version()
    with slowed(server, "insert", "update", "findAndModify"):
        (folder / "new folder").mkdir()
    told = slow(lake, "mkdir", "/datasets/test/v1/new folder")
    assert told["bytes"] is None


def test_a_server_that_is_silent_is_not_asked_for_the_path(server: Mongod, lake: Mounted) -> None:
    path = lake.path / FILE
    path.stat()
    server.pause()
    try:
        assert errno_of(lambda: path.with_name("other").touch()) == errno.EIO
    finally:
        server.resume()
    told = [each for each in records(lake) if str(each.get("path", "")).endswith("/other")]
    assert told, lake.log_text()
    assert told[-1]["path"] == "/datasets/test/v1/other"


def test_lines_for_programs_have_time_level_logger_and_message(lake: Mounted) -> None:
    found = records(lake)
    assert all({"time", "level", "logger", "message"} <= each.keys() for each in found)
    (first, *_) = found
    assert first["level"] == "INFO"
    assert first["time"].endswith("+00:00")
    assert first["logger"] == "gridfsmount.mount.service"


def test_the_config_file_says_the_form_and_what_is_slow(server: Mongod, tmp_path: Path) -> None:
    config = tmp_path / "lake.toml"
    config.write_text('[log]\nformat = "json"\nslow = "0s"\n')
    with mounted(server.uri_for("configured"), tmp_path, "--config", config) as mount:
        (mount.path / "models").stat()
        assert slow(mount, "lookup", "/models")["seconds"] < 1000
