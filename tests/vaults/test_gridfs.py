"""Vaults in MongoDB: what drivers see, and the lease that a server keeps."""

from collections.abc import Callable
from pathlib import Path

import gridfs
import pytest

from gridfsmount.errors import AccessDenied, ConfigError, ConnectError, Damaged, InUse
from gridfsmount.store.vault_opening import open_gridfs_vault
from gridfsmount.vaults.opening import make_vault, open_vault
from tests.mongod import Mongod
from tests.mounting import eventually
from tests.vaults.stores import LAKE, GridFSStore, sha256, summary_of

T = "2026-11-22T03-00-00Z"
SOON = 0.4
"""Seconds after which a silent holder is dead, in these tests."""


@pytest.fixture
def place(lake_uri: str) -> GridFSStore:
    return GridFSStore(lake_uri)


def test_any_driver_reads_blobs_and_manifests(place: GridFSStore, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"manifest")
    with place.opened() as vault:
        vault.put(sha256(b"data"), 4, [b"data"])
        vault.publish(T, tmp_path / "made", summary_of(b"manifest"))
    bucket = gridfs.GridFSBucket(place.files.database, "vault")

    blob = bucket.open_download_stream_by_name(f"blobs/{sha256(b'data').hex()}").read()
    assert blob == b"data"
    name = f"snapshots/{T}/manifest.sqlite"
    assert bucket.open_download_stream_by_name(name).read() == b"manifest"
    place.close()


def test_a_silent_holder_loses_the_lease_and_can_publish_nothing(
    place: GridFSStore, tmp_path: Path
) -> None:
    (tmp_path / "made").write_bytes(b"manifest")
    slow = open_gridfs_vault(place.address)
    with slow.claim("backup create", "root@slow") as claim:
        # As if it had been silent for long.
        place.vault.update_one({"_id": "lease"}, {"$unset": {"beat": 1}})
        with place.opened() as other, other.claim("backup prune", "root@other"):
            with pytest.raises(InUse, match="the lease is lost"):
                slow.publish(T, tmp_path / "made", summary_of(b"manifest"))
            assert other.snapshots() == []
            slow._lease._sure_until = 0.0  # type: ignore[union-attr]
            for attempt in (
                claim.renew,
                lambda: slow.put(sha256(b"x"), 1, [b"x"]),
                lambda: slow.remove([sha256(b"x")]),
            ):
                with pytest.raises(InUse, match="the lease is lost"):
                    attempt()
    slow.close()
    place.close()


def test_a_holder_that_works_for_long_keeps_the_lease(place: GridFSStore) -> None:
    slow = open_gridfs_vault(place.address, dead_seconds=SOON)
    impatient = open_gridfs_vault(place.address, dead_seconds=60)

    def beat() -> object:
        found = place.vault.find_one({"_id": "lease"})
        return found and found["beat"]

    with slow.claim("backup create", "root@slow") as claim:
        first = beat()
        eventually(lambda: beat() != first, "the lease is renewed by itself")
        claim.renew()
        with pytest.raises(InUse):
            impatient.claim("backup prune", "me").__enter__()
    assert beat() is None
    for each in (slow, impatient):
        each.close()
    place.close()


def test_a_manifest_that_was_altered_is_damage(place: GridFSStore, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"manifest")
    with place.opened() as vault:
        vault.publish(T, tmp_path / "made", summary_of(b"manifest"))
        found = place.files.find_one({"filename": f"snapshots/{T}/manifest.sqlite"})
        assert found is not None
        place.chunks.update_one({"files_id": found["_id"]}, {"$set": {"data": b"manifesT"}})

        with pytest.raises(Damaged, match="has the SHA-256"):
            vault.manifest(T, tmp_path)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["made"]

        place.files.delete_one({"_id": found["_id"]})
        with pytest.raises(Damaged, match=f"manifest of {T} is missing"):
            vault.manifest(T, tmp_path)
    place.close()


def test_an_address_names_its_database(mongod: Mongod) -> None:
    address = mongod.uri_for("")
    for each in (address, address.split("?")[0].rstrip("/")):
        with pytest.raises(ConfigError, match="names its database"):
            open_vault(each)


def test_a_server_that_does_not_answer_is_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gridfsmount.store.connection.CONNECT_DEADLINE", 0.3)
    with pytest.raises(ConnectError, match=r"no server answered at 127\.0\.0\.1:9") as raised:
        open_vault("mongodb://user:secret@127.0.0.1:9/vault")
    assert "secret" not in str(raised.value)


def test_who_may_only_read_reads_and_is_told_so_when_writing() -> None:
    with Mongod(auth=True) as server:
        place = GridFSStore(server.uri_for("vault"))
        place.files.database.command("createUser", "reader", pwd="secret", roles=["read"])
        with place.opened() as vault:
            vault.put(sha256(b"x"), 1, [b"x"])
        place.close()
        address = f"mongodb://reader:secret@127.0.0.1:{server.port}/vault"
        reader = open_vault(address)
        attempts: list[Callable[[], object]] = [
            lambda: reader.claim("x", "y").__enter__(),
            lambda: reader.put(sha256(b"y"), 1, [b"y"]),
            lambda: reader.set_note("a", b""),
            lambda: reader.remove([sha256(b"x")]),
        ]

        assert "secret" not in reader.address
        assert reader.read(sha256(b"x"), 0, 9) == b"x"
        assert [each.sha256 for each in reader.blobs()] == [sha256(b"x")]
        assert reader.snapshots() == []
        for attempt in attempts:
            with pytest.raises(AccessDenied, match="not authorized") as raised:
                attempt()
            assert reader.address in str(raised.value)
        reader.close()
        with pytest.raises(ConfigError, match="there is a vault"):
            make_vault(address, LAKE)
        with pytest.raises(ConnectError, match="refuses the user name or the password") as refused:
            open_vault(address.replace("secret", "guess"))
        assert "guess" not in str(refused.value)
