"""Contents of a lake that lost bytes, healed from a vault."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import gridfs
import pytest

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.checking import healing
from gridfsmount.checking.checker import Checker
from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.healing import Healer
from gridfsmount.checking.mender import Mender
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.directory import DirectoryVault
from tests.backup.restore.snapshots import back_up, blob_path, flip
from tests.mounting import run_command
from tests.store.lakes import Garden, one_deployment, opened, raw

DATA = os.urandom(5500)
"""Six chunks of a garden."""


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    with opened(any_uri) as lake:
        yield lake


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healing, "READ_BYTES", 2048)


def found(lake: Lake) -> list[Finding]:
    findings: list[Finding] = []
    Checker(
        lake, data=True, told=findings.append, moved=lambda _: None, pause=lambda seconds: None
    ).run()
    return findings


def mended(lake: Lake, vault: DirectoryVault) -> list[bool]:
    """For each finding whether it was mended."""
    healer = Healer(lake, vault)
    mender = Mender(lake, healer)
    try:
        return [mender.mend(each) for each in found(lake)]
    finally:
        healer.close()


def damage(lake: Lake) -> None:
    """Lose a chunk, alter one, and cut one short."""
    chunks = lake.connection.collection("chunks")
    chunks.delete_one({"n": 1})
    chunks.update_one({"n": 2}, {"$set": {"data": os.urandom(1024)}})
    chunks.update_one({"n": 4}, {"$set": {"data": b"short"}})


def test_chunks_that_are_missing_altered_or_short_are_healed(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    node = garden.file(garden.version(), "file", DATA)
    back_up(store, vault)
    ids = {each["n"]: each["_id"] for each in store.connection.collection("chunks").find()}
    damage(store)
    assert {each.fault for each in found(store)} == {
        Fault.MISSING_CHUNK,
        Fault.WRONG_HASH,
        Fault.WRONG_LENGTH,
    }
    assert set(mended(store, vault)) == {True}
    assert garden.read(node) == DATA
    assert found(store) == []
    now = {each["n"]: each["_id"] for each in store.connection.collection("chunks").find()}
    assert [n for n in ids if ids[n] == now[n]] == [0, 2, 3, 4, 5]


def test_a_driver_s_upload_without_hashes_is_healed_by_what_the_snapshot_knows(
    store: Lake, garden: Garden, vault: DirectoryVault, any_uri: str
) -> None:
    with raw(any_uri) as database:
        bucket = gridfs.GridFSBucket(database)
        bucket.upload_from_stream("datasets/test/v1/file", DATA, chunk_size_bytes=1024)
    Adopter(store).adopt_batch()
    back_up(store, vault)
    files = store.connection.collection("files")
    hashes = {"metadata.lake.sha256": "", "metadata.lake.chunk_xxh3": ""}
    files.update_one({}, {"$unset": hashes})  # as if whoever backed up could not note them
    store.connection.collection("chunks").delete_one({"n": 3})
    before = files.find_one({})
    assert before is not None
    files.update_one({}, {"$set": {"uploadDate": before["uploadDate"] + timedelta(seconds=1)}})
    assert mended(store, vault) == [False]  # it may be another upload
    files.update_one({}, {"$set": {"uploadDate": before["uploadDate"]}})
    assert mended(store, vault) == [True]
    assert found(store) == []


def test_a_content_that_is_gone_altogether_comes_back(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    node = garden.file(garden.version(), "file", DATA)
    back_up(store, vault)
    for name in ("files", "chunks"):
        store.connection.collection(name).delete_many({})
    assert [each.fault for each in found(store)] == [Fault.DANGLING]
    assert mended(store, vault) == [True]
    assert garden.read(node) == DATA
    assert found(store) == []


def test_what_the_vault_does_not_have_is_not_healed(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    back_up(store, vault)
    garden.file(garden.version(), "file", DATA)
    damage(store)
    before = found(store)
    assert set(mended(store, vault)) == {False}
    assert found(store) == before


def test_nothing_is_written_from_a_blob_that_is_damaged(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    garden.file(garden.version(), "file", DATA)
    back_up(store, vault)
    flip(blob_path(Path(vault.address), DATA), 1500)
    damage(store)
    before = found(store)
    assert set(mended(store, vault)) == {False}
    assert found(store) == before


@one_deployment
def test_the_command_heals_and_tells(
    store: Lake, garden: Garden, vault: DirectoryVault, any_uri: str
) -> None:
    node = garden.file(garden.version(), "file", DATA)
    back_up(store, vault)
    store.connection.collection("chunks").delete_one({"n": 1})
    told = run_command("check", any_uri, "--json")
    (finding,) = json.loads(told.stdout)["findings"]
    assert "--from VAULT" in finding["todo"]
    done = run_command("check", any_uri, "--repair", "--from", vault.address, "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, report["mended"], report["findings"][0]["path"]) == (
        1,
        1,
        "datasets/test/v1/file",
    )
    assert garden.read(node) == DATA
    refused = run_command("check", any_uri, "--from", vault.address)
    assert "--repair" in refused.stderr
