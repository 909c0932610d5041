"""One mount with both caches and metrics, for all tests that only look; and what it says."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log

Report = dict[str, Any]


def stats(mount: Mounted) -> Report:
    """What the mount tells now."""
    report: Report = json.loads((mount.path / ".stats").read_bytes())
    return report


def metrics_address(mount: Mounted) -> str:
    """Where it serves metrics."""
    found = re.search(r"metrics on (http://\S+)", mount.log_text())
    assert found
    return found[1]


def read_from_the_mount(path: Path) -> bytes:
    """All of a file, past the kernel's memory of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        pieces = []
        while piece := os.read(descriptor, 128 << 10):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


@pytest.fixture(scope="package")
def watched(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount that counts."""
    name, folder = f"telemetry_{uuid.uuid4().hex}", tmp_path_factory.mktemp("telemetry")
    options = ("--metrics", "0", "--cache-size", "16MiB", "--disk-cache", folder / "disk")
    with Mounted(mongod.uri_for(name), folder, *options) as mount:
        yield mount
    with mongod.client() as client:
        client.drop_database(name)
    assert_healthy_log(mount)


@pytest.fixture
def version(watched: Mounted) -> Path:
    """A version that the test has for itself."""
    return watched.version(f"datasets/d{uuid.uuid4().hex}/v1")
