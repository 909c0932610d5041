"""`gridfsmount backup restore`, as it is typed, and killed."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from gridfsmount.core.model import Node
from gridfsmount.places import find, parse
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.directory import DirectoryVault
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.sealing import Sealer
from tests.backup.restore.snapshots import back_up, blob_path, flip
from tests.mounting import COMMAND, eventually, run_command
from tests.store.lakes import Garden

V1 = "datasets/test/v1"


def test_a_version_is_restored_and_told_of(
    store: Lake, garden: Garden, vault: DirectoryVault, lake_uri: str
) -> None:
    version = garden.version()
    garden.file(version, "file", b"one")
    seal = Sealer(store, Hasher(store)).seal(version, "", "ana@gpu1").record
    assert seal is not None
    assert seal.seal is not None
    snapshot = back_up(store, vault)
    arguments = ("backup", "restore", "--vault", vault.address, "--uri", lake_uri)
    refused = run_command(*arguments, "latest", V1)
    assert (refused.returncode, "sealed" in refused.stderr) == (1, True), refused.stderr
    done = run_command(*arguments, snapshot[:12], V1, "--as", "datasets/test/v2")
    assert (done.returncode, seal.seal.digest in done.stdout) == (0, True), done.stderr
    told = run_command(*arguments, snapshot, V1, "--as", "datasets/test/v3", "--json")
    (restored,) = json.loads(told.stdout)["restored"]
    assert (restored["path"], restored["sealed"]) == ("datasets/test/v3", True)
    assert restored["counts"]["relinked"] == 1


def test_a_damaged_blob_is_told_in_one_line(
    store: Lake, garden: Garden, vault: DirectoryVault, lake_uri: str
) -> None:
    node = garden.file(garden.version(), "fi\nle", b"one")
    back_up(store, vault)
    store.commits.unlink(node, node.names[0])
    store.trash.sweep(-1)
    flip(blob_path(Path(vault.address), b"one"))
    done = run_command(
        "backup", "restore", "latest", V1, "--as", "datasets/test/v2",
        "--vault", vault.address, "--uri", lake_uri,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{V1.replace('v1', 'v2')}/fi\\x0ale: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_restore_that_is_ended_leaves_nothing_that_is_seen(
    store: Lake, garden: Garden, vault: DirectoryVault, lake_uri: str, number: signal.Signals
) -> None:
    version = garden.version()
    for name in range(20):
        garden.file(version, f"file-{name:02}", os.urandom(2000))
    back_up(store, vault)
    # It waits for ever for the last file.
    last = garden.read(find_node(store, f"{V1}/file-19"))
    path = blob_path(Path(vault.address), last)
    path.unlink()
    os.mkfifo(path)
    store.connection.collection("files").delete_many({})
    process = subprocess.Popen(
        [
            *COMMAND, "backup", "restore", "latest", V1, "--as", "datasets/test/v2",
            "--vault", vault.address, "--uri", lake_uri, "--jobs", "1",
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    tree = store.connection.collection("tree")

    def has_ended() -> bool:
        with suppress(OSError):  # nobody waits for it
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return process.poll() is not None

    try:
        eventually(lambda: tree.find_one({"detached": {"$exists": True}}), "it is under way")
        assert find(store, parse("datasets/test/v2")) is None
        process.send_signal(number)
        eventually(has_ended, "it ends")
        assert process.returncode != 0
    finally:
        process.kill()
        process.wait()
    assert find(store, parse("datasets/test/v2")) is None
    age = [{"$set": {"detached.beat": {"$dateSubtract": _MINUTES}}}]
    tree.update_many({"detached": {"$exists": True}}, age)
    assert run_command("gc", lake_uri, "--grace", "0s").returncode == 0
    assert tree.count_documents({"detached": {"$exists": True}}) == 0
    assert tree.count_documents({"names.name": "file-00"}) == 1


_MINUTES = {"startDate": "$$NOW", "unit": "minute", "amount": 5}


def find_node(store: Lake, path: str) -> Node:
    node = find(store, parse(path))
    assert node is not None
    return node
