"""The lake and other GridFS clients; removal for good; what crashes leave."""

import contextlib
import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gridfs import GridFSBucket
from pymongo import MongoClient
from pymongo.database import Database

from tests.mounting import Mounted, eventually
from tests.semantics.conftest import Shared
from tests.semantics.refusals import refused

MIB = 1 << 20


def test_a_driver_reads_by_path_what_was_written_through_the_mount(
    here: Path, path: str, bucket: GridFSBucket
) -> None:
    data = os.urandom(3 * MIB + 1)
    (here / "folder").mkdir()
    (here / "folder" / "file").write_bytes(data)
    assert bucket.open_download_stream_by_name(f"{path}/folder/file").read() == data


def test_an_upload_below_a_version_appears_there_and_any_other_in_unsorted(
    shared: Shared, here: Path, path: str, bucket: GridFSBucket
) -> None:
    name = here.parent.name
    bucket.upload_from_stream(f"{path}/folder/file", b"filed")
    bucket.upload_from_stream(f"{name}/loose", b"loose")
    unsorted = shared.one.path / "unsorted"
    eventually((here / "folder" / "file").exists, "it is adopted")
    eventually((unsorted / name / "loose").exists, "it is adopted")
    assert (here / "folder" / "file").read_bytes() == b"filed"
    assert (unsorted / name / "loose").read_bytes() == b"loose"


def test_hostile_filenames_become_one_harmless_name_in_unsorted(
    shared: Shared, bucket: GridFSBucket
) -> None:
    bucket.upload_from_stream("../../etc/passwd", b"hostile")
    bucket.upload_from_stream("datasets//x\0y", b"hostile")
    unsorted = shared.one.path / "unsorted"
    for name in ("..%2F..%2Fetc%2Fpasswd", "datasets%2F%2Fx%00y"):
        eventually((unsorted / name).exists, f"{name} is there")
        assert (unsorted / name).read_bytes() == b"hostile"


def test_the_newest_revision_is_shown_and_the_older_stay_for_drivers(
    here: Path, path: str, bucket: GridFSBucket
) -> None:
    for data in (b"first", b"second"):
        bucket.upload_from_stream(f"{path}/file", data)
        eventually((here / "file").exists, "it is adopted")
        eventually(lambda wanted=data: _reads(here / "file", wanted), f"{data!r} is shown")  # type: ignore[misc]
    assert bucket.open_download_stream_by_name(f"{path}/file", revision=0).read() == b"first"
    newest = bucket.open_download_stream_by_name(f"{path}/file")
    bucket.delete(newest._id)
    eventually(lambda: _reads(here / "file", b"first"), "the older is shown again")


def _reads(path: Path, wanted: bytes) -> bool:
    try:
        return path.read_bytes() == wanted
    except OSError:
        return False  # just removed, or its revision just replaced


def test_what_drivers_rename_and_remove_follows(
    here: Path, path: str, bucket: GridFSBucket
) -> None:
    key = bucket.upload_from_stream(f"{path}/file", b"bytes")
    eventually((here / "file").exists, "it is adopted")
    bucket.rename(key, f"{path}/folder/renamed")
    eventually((here / "folder" / "renamed").exists, "it is renamed")
    eventually(lambda: not (here / "file").exists(), "the old name is gone")
    bucket.delete(key)
    eventually(lambda: not (here / "folder" / "renamed").exists(), "it is removed")


def test_a_driver_s_own_metadata_is_kept(
    here: Path, path: str, bucket: GridFSBucket, database: Database[dict[str, Any]]
) -> None:
    key = bucket.upload_from_stream(f"{path}/file", b"bytes", metadata={"label": 7})
    eventually((here / "file").exists, "it is adopted")
    found = database["fs.files"].find_one({"_id": key})
    assert found is not None
    assert found["metadata"]["label"] == 7


def test_writing_an_adopted_file_makes_a_new_content_and_leaves_older_revisions(
    here: Path, path: str, bucket: GridFSBucket, database: Database[dict[str, Any]]
) -> None:
    older = bucket.upload_from_stream(f"{path}/file", b"first")
    newer = bucket.upload_from_stream(f"{path}/file", b"second")
    eventually(lambda: _reads(here / "file", b"second"), "it is adopted")
    (here / "file").write_bytes(b"third")
    kept = {each["_id"] for each in database["fs.files"].find({"filename": f"{path}/file"})}
    assert older in kept
    assert newer not in kept
    assert bucket.open_download_stream_by_name(f"{path}/file").read() == b"third"


def test_a_file_moves_out_of_unsorted_by_rename(
    shared: Shared, here: Path, path: str, bucket: GridFSBucket
) -> None:
    name = here.parent.name
    bucket.upload_from_stream(f"{name}.bin", b"bytes")
    loose = shared.one.path / "unsorted" / f"{name}.bin"
    eventually(loose.exists, "it is adopted")
    with refused(errno.EPERM):
        loose.with_name("folder").mkdir()
    with refused(errno.EPERM):
        loose.with_name("new").write_bytes(b"")
    (here / "other").write_bytes(b"")
    with refused(errno.EPERM):
        (here / "other").rename(loose.with_name("other"))
    loose.rename(here / "file")
    assert (here / "file").read_bytes() == b"bytes"
    assert bucket.open_download_stream_by_name(f"{path}/file").read() == b"bytes"


def test_drivers_stop_seeing_a_removed_file_at_once(
    here: Path, path: str, database: Database[dict[str, Any]]
) -> None:
    (here / "file").write_bytes(b"bytes")
    (here / "file").unlink()
    assert database["fs.files"].find_one({"filename": f"{path}/file"}) is None


def test_removed_contents_are_erased_after_24_hours_and_not_before(lake: Mounted) -> None:
    version = lake.version()
    with MongoClient[dict[str, Any]](lake.uri) as client:
        database = client.get_default_database()
        keys = {}
        for hours in (23, 25):
            (version / str(hours)).write_bytes(b"bytes")
            found = database["fs.files"].find_one({"filename": f"datasets/test/v1/{hours}"})
            assert found is not None
            keys[hours] = found["_id"]
            (version / str(hours)).unlink()
            since = datetime.now(UTC) - timedelta(hours=hours)
            database["fs.trash"].update_one({"_id": found["_id"]}, {"$set": {"since": since}})
        lake.restart()  # sweeps now, and every ten minutes
        left = database["fs.chunks"]
        eventually(lambda: left.count_documents({"files_id": keys[25]}) == 0, "the sweep")
        assert left.count_documents({"files_id": keys[23]}) == 1


def test_what_a_crash_left_is_swept_when_its_lease_expires(lake_uri: str, tmp_path: Path) -> None:
    with (
        MongoClient[dict[str, Any]](lake_uri) as client,
        Mounted(lake_uri, tmp_path, "--lease", "1") as mount,
    ):
        chunks = client.get_default_database()["fs.chunks"]
        descriptor = os.open(mount.version() / "file", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, bytes(16 * MIB))
        assert chunks.count_documents({}) > 0
        mount.kill()
        with contextlib.suppress(OSError):
            os.close(descriptor)
        mount.start()
        eventually(lambda: chunks.count_documents({}) == 0, "the sweep")
        assert (mount.version() / "file").read_bytes() == b""
