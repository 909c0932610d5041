"""Reading through a mount: right bytes in every order, and from every cache."""

import errno
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from gridfs import GridFSBucket

from gridfsmount.core.model import AREAS, Inode, Kind, Name
from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually, mounted
from tests.reading_lakes import (
    DATASET,
    KIB,
    LITTLE_MEMORY,
    MIB,
    VERSION,
    Files,
    Inside,
    bytes_of,
    database_of,
    drop_pages,
    fill,
    small_files,
    wait_until_cached,
    without_chunks,
    write,
)
from tests.sealing import seal
from tests.store.lakes import Garden, opened

CHUNK_SIZES = ["4KiB", "255KiB", "1MiB"]
SIZES = [0, 1, 4095, 4096, 4097, 255 * KIB, MIB - 1, MIB, MIB + 1, 3 * MIB + 17]
LARGE = 32 * MIB
THREADS = 4

DRAFT = f"datasets/{DATASET}/v2"

SMALL_FILES = small_files(300)
PAUSED = "--deadline=5"
"""Seconds until a server that is asked and does not answer is an error."""

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes what is root's, or acts for it")


# --- one file, in every order ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Files of all sizes with chunks of all sizes, on a mount that remembers little of them."""
    uri, folder = mongod.uri_for("reading_shapes"), tmp_path_factory.mktemp("shapes")
    for chunk_size in CHUNK_SIZES:
        files = {f"{chunk_size}/{size}": bytes_of((chunk_size, size), size) for size in SIZES}
        if chunk_size == "255KiB":
            files["large"] = bytes_of("large", LARGE)
        fill(uri, folder, files, f"--chunk-size={chunk_size}", sealed=False)
    with mounted(uri, folder, "--cache-size=8MiB") as mount:
        yield mount
    with database_of(uri) as database:
        database.client.drop_database(database.name)
    assert_healthy_log(mount)


Piece = tuple[int, int]
"""Offset and size."""


def pieces_of(length: int, size: int) -> list[Piece]:
    return [(offset, min(size, length - offset)) for offset in range(0, length, size)]


def piecemeal(path: Path, pieces: list[Piece]) -> bytes:
    """The whole file, from pieces that are read in the order given."""
    found = bytearray(sum(size for _, size in pieces))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for offset, size in pieces:
            found[offset : offset + size] = os.pread(descriptor, size, offset)
        assert os.pread(descriptor, 100, len(found)) == b""
    finally:
        os.close(descriptor)
    return bytes(found)


def at_once(path: Path) -> bytes:
    return path.read_bytes()


def forwards(path: Path) -> bytes:
    return piecemeal(path, pieces_of(path.stat().st_size, 10_007))


def backwards(path: Path) -> bytes:
    return piecemeal(path, pieces_of(path.stat().st_size, 50_021)[::-1])


def strided(path: Path) -> bytes:
    pieces = pieces_of(path.stat().st_size, 20_011)
    return piecemeal(path, pieces[::3] + pieces[1::3] + pieces[2::3])


def at_random_by_several(path: Path) -> bytes:
    pieces = pieces_of(path.stat().st_size, 30_011)
    random.Random(1).shuffle(pieces)
    found = bytearray(path.stat().st_size)

    def read(piece: Piece) -> None:
        with path.open("rb", buffering=0) as file:
            found[piece[0] : sum(piece)] = os.pread(file.fileno(), piece[1], piece[0])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, pieces))
    return bytes(found)


def mapped(path: Path) -> bytes:
    if not path.stat().st_size:
        return b""  # nothing cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        return view[:]


def directly(path: Path) -> bytes:
    """Past the kernel's pages."""
    found = b""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 256 * KIB) as buffer:
            while count := os.preadv(descriptor, [buffer], len(found)):
                found += buffer[:count]
    finally:
        os.close(descriptor)
    return found


WAYS = [at_once, forwards, backwards, strided, at_random_by_several, mapped, directly]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_any_size_is_read_right_in_any_way(
    shapes: Mounted, way: Callable[[Path], bytes], chunk_size: str
) -> None:
    for size in SIZES:
        path = shapes.path / VERSION / chunk_size / str(size)
        drop_pages(path)
        assert way(path) == bytes_of((chunk_size, size), size), f"{size} bytes"


@pytest.mark.parametrize("offset", [0, 1, 4095, 255 * KIB - 1, MIB, 3 * MIB + 16])
@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_single_bytes_are_read_right_at_and_beside_the_borders(
    shapes: Mounted, chunk_size: str, offset: int
) -> None:
    size = SIZES[-1]
    path = shapes.path / VERSION / chunk_size / str(size)
    drop_pages(path)
    with path.open("rb", buffering=0) as file:
        for at in range(max(0, offset - 1), min(size, offset + 2)):
            wanted = bytes_of((chunk_size, size), size)[at : at + 1]
            assert os.pread(file.fileno(), 1, at) == wanted


def test_a_mapped_file_is_read_right_by_several_threads_at_several_places(
    shapes: Mounted,
) -> None:
    path, quarter = shapes.path / VERSION / "large", LARGE // THREADS
    drop_pages(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:

        def read(begin: int) -> bytes:
            step = 64 * KIB
            return b"".join(view[at : at + step] for at in range(begin, begin + quarter, step))

        with ThreadPoolExecutor(THREADS) as pool:
            found = b"".join(pool.map(read, range(0, LARGE, quarter)))
    assert found == bytes_of("large", LARGE)


@needs_root
def test_as_root_the_kernel_is_told_to_read_ahead_a_mebibyte(shapes: Mounted) -> None:
    device = shapes.path.stat().st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    eventually(lambda: setting.read_text() == "1024\n", "the kernel reads ahead further")


# --- many small files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The same small files in a sealed version, v1, and in a draft, v2."""
    uri, folder = mongod.uri_for("reading_small"), tmp_path_factory.mktemp("small")
    with mounted(uri, folder / "filling") as mount:
        for version in (VERSION, DRAFT):
            write(mount.version(version), SMALL_FILES)
    with database_of(uri) as database:
        seal(database, DATASET, "v1")
    with mounted(uri, folder) as mount:
        yield mount
    with database_of(uri) as database:
        database.client.drop_database(database.name)
    assert_healthy_log(mount)


Order = Callable[[Path, Files], list[str]]
"""Names of the files in a folder, in some order."""


def listed(folder: Path, _: Files) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def shuffled(folder: Path, files: Files) -> list[str]:
    names = listed(folder, files)
    random.Random(2).shuffle(names)
    return names


def by_name(_: Path, files: Files) -> list[str]:
    """As somebody who knows the names reads them, without a listing."""
    return sorted(Path(name).name for name in files)


@pytest.mark.parametrize("order", [listed, shuffled, by_name])
@pytest.mark.parametrize("version", [VERSION, DRAFT], ids=["sealed", "draft"])
def test_small_files_are_read_right_in_any_order(
    small: Mounted, version: str, order: Order
) -> None:
    small.restart()
    folder = small.path / version / "folder"
    for _ in range(2):  # the second time, from what the first one left in the caches
        names = order(folder, SMALL_FILES)
        assert {f"folder/{name}": (folder / name).read_bytes() for name in names} == SMALL_FILES


def test_small_files_of_a_sealed_version_are_read_right_by_two_processes_at_once(
    small: Mounted,
) -> None:
    small.restart()
    script = "import sys; [sys.stdout.buffer.write(open(n, 'rb').read()) for n in sys.argv[1:]]"
    names = [small.path / VERSION / name for name in SMALL_FILES]
    command: list[str | Path] = [sys.executable, "-S", "-c", script, *names]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        found = list(pool.map(lambda process: process.communicate()[0], [one, other]))
    wanted = b"".join(SMALL_FILES.values())
    assert found == [wanted, wanted]


@pytest.mark.parametrize("version", [VERSION, DRAFT], ids=["sealed", "draft"])
def test_ls_shows_the_sizes_of_all_files(small: Mounted, version: str) -> None:
    small.restart()
    folder = small.path / version / "folder"
    for _ in range(2):
        done = subprocess.run(["ls", "-ln", folder], capture_output=True, text=True, check=True)
        lines = [line.split() for line in done.stdout.splitlines()[1:]]
        found = {f"folder/{fields[-1]}": int(fields[4]) for fields in lines}
        assert found == {name: len(data) for name, data in SMALL_FILES.items()}


def test_ls_shows_the_sizes_in_a_folder_of_several_pages(lake_uri: str, tmp_path: Path) -> None:
    sizes = {f"{number:04}.bin": 1000 + 7 * number for number in range(1500)}
    with mounted(lake_uri, tmp_path) as mount, database_of(lake_uri) as database:
        folder = mount.version()
        (folder / "model").touch()
        model = database["fs.tree"].find_one({"names.name": "model"})
        assert model is not None
        (parent,) = (name["parent"] for name in model["names"])
        names = [{"parent": parent, "name": name} for name in sizes]
        database["fs.tree"].insert_many(
            {**model, "_id": model["_id"] + 1 + number, "names": [name], "size": size}
            for number, (name, size) in enumerate(zip(names, sizes.values(), strict=True))
        )
        (folder / "model").unlink()
        done = subprocess.run(["ls", "-ln", folder], capture_output=True, text=True, check=True)
        lines = [line.split() for line in done.stdout.splitlines()[1:]]
        assert {fields[-1]: int(fields[4]) for fields in lines} == sizes
    assert_healthy_log(mount)


@pytest.fixture(scope="module")
def pair(
    mongod: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mounted, Mounted]]:
    """One lake on two mounts, as two machines see it."""
    uri, folder = mongod.uri_for("reading_pair"), tmp_path_factory.mktemp("pair")
    with mounted(uri, folder / "one") as one, mounted(uri, folder / "other") as other:
        yield one, other
    with database_of(uri) as database:
        database.client.drop_database(database.name)
    for mount in (one, other):
        assert_healthy_log(mount)


@pytest.mark.parametrize("order", [listed, shuffled, by_name])
def test_what_another_mount_replaces_shows_at_the_next_open_although_it_was_read_ahead(
    pair: tuple[Mounted, Mounted], order: Order
) -> None:
    files = small_files(140)
    here, there = (mount.path / f"datasets/{order.__name__}/v1" for mount in pair)
    write(there, files)
    names = order(here / "folder", files)
    for name in names[:60]:
        assert (here / "folder" / name).read_bytes() == files[f"folder/{name}"]

    for number, name in enumerate(names[50:110:3]):  # some were read, some ahead, some neither
        new = bytes_of(("new", name), len(files[f"folder/{name}"]) + number % 2)
        files[f"folder/{name}"] = new
        if number % 3:
            (there / "folder" / name).write_bytes(new)
        else:
            (there / "new").write_bytes(new)
            (there / "new").rename(there / "folder" / name)

    for name in [*names[50:], *names[:50]]:
        assert (here / "folder" / name).read_bytes() == files[f"folder/{name}"], name


# --- what the kernel keeps ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pausable() -> Iterator[Mongod]:
    """A server that tests may pause."""
    with Mongod() as server:
        yield server


@pytest.fixture
def paused_uri(pausable: Mongod) -> str:
    return pausable.uri_for(f"lake_{uuid.uuid4().hex}")


def test_pages_of_a_sealed_file_survive_its_reopening(
    pausable: Mongod, paused_uri: str, tmp_path: Path
) -> None:
    files = {"folder/file": bytes_of("file", 8 * MIB)}
    fill(paused_uri, tmp_path, files, sealed=True)
    with (
        mounted(paused_uri, tmp_path, LITTLE_MEMORY, PAUSED) as mount,
        Inside(mount.path / VERSION / "folder") as folder,
    ):
        assert folder.read("file") == files["folder/file"]
        pausable.pause()
        try:
            assert folder.read("file") == files["folder/file"]
        finally:
            pausable.resume()
    assert_healthy_log(mount)


def test_pages_of_a_file_that_is_unchanged_in_a_draft_survive_its_reopening(
    lake_uri: str, tmp_path: Path
) -> None:
    files = {"file": bytes_of("file", 8 * MIB)}
    fill(lake_uri, tmp_path, files, sealed=False)
    with mounted(lake_uri, tmp_path, LITTLE_MEMORY) as mount:
        path = mount.path / VERSION / "file"
        assert path.read_bytes() == files["file"]
        without_chunks(lake_uri)
        assert path.read_bytes() == files["file"]
    assert_healthy_log(mount)


def test_what_was_seen_of_a_sealed_version_is_there_while_the_server_hangs(
    pausable: Mongod, paused_uri: str, tmp_path: Path
) -> None:
    files = small_files(100)
    fill(paused_uri, tmp_path, files, sealed=True)
    with (
        mounted(paused_uri, tmp_path, PAUSED) as mount,
        Inside(mount.path / VERSION / "folder") as folder,
    ):
        names = folder.names()
        seen = {name: folder.stat(name) for name in names}
        read = {name: folder.read(name) for name in names}
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                folder.stat("missing")

        pausable.pause()
        try:
            with pytest.raises(FileNotFoundError):
                folder.stat("missing")
            assert {name: folder.stat(name) for name in names} == seen
            assert {name: folder.read(name) for name in names} == read
        finally:
            pausable.resume()
    assert {f"folder/{name}": data for name, data in read.items()} == files
    assert_healthy_log(mount)


# --- attributes that security modules ask for -----------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="gridfsmount-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    ids = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    return subprocess.run(["setpriv", *ids, *command], capture_output=True, check=False)


@needs_root
def test_security_attributes_are_not_supported_and_the_mode_decides_all_the_same(
    lake_uri: str, open_folder: Path
) -> None:
    with mounted(lake_uri, open_folder, "--allow-other") as mount:
        public, private = mount.version() / "public", mount.version() / "private"
        for path, mode in ((public, 0o644), (private, 0o600)):
            path.write_bytes(b"content")
            path.chmod(mode)

        for path in (public, private, private.parent):
            for name in ("security.selinux", "system.posix_acl_access"):
                for _ in range(2):
                    with pytest.raises(OSError, match="not supported") as caught:
                        os.getxattr(path, name)
                    assert caught.value.errno == errno.EOPNOTSUPP

        assert as_nobody("cat", public).stdout == b"content"
        refused = as_nobody("cat", private)
        assert refused.returncode == 1
        assert b"Permission denied" in refused.stderr
        assert as_nobody("tee", public).returncode == 1
        private.chmod(0o604)
        assert as_nobody("cat", private).stdout == b"content"
        assert os.getxattr(mount.path, "user.lake.pid") == str(mount.pid).encode()
        assert_healthy_log(mount)


# --- the local disk -------------------------------------------------------------------------------

MIXED = {"large": bytes_of("large", 5 * MIB + 3), "empty": b"", **small_files(40)}


def read_all(version: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(version)): path.read_bytes()
        for path in sorted(version.rglob("*"))
        if path.is_file()
    }


def cached(folder: Path) -> tuple[str, Path, str]:
    return "--disk-cache", folder / "cache", LITTLE_MEMORY


def test_two_mounts_share_the_folder_of_their_disk_cache(lake_uri: str, tmp_path: Path) -> None:
    fill(lake_uri, tmp_path, MIXED, sealed=True)
    options = cached(tmp_path)
    with (
        mounted(lake_uri, tmp_path / "one", *options) as one,
        mounted(lake_uri, tmp_path / "other", *options) as other,
    ):
        versions = [mount.path / VERSION for mount in (one, other)]
        for _ in range(2):
            with ThreadPoolExecutor(2) as pool:
                assert list(pool.map(read_all, versions)) == [MIXED, MIXED]
            for version in versions:
                for name in MIXED:
                    drop_pages(version / name)
        wait_until_cached(lake_uri, tmp_path / "cache")
    for mount in (one, other):
        assert_healthy_log(mount)


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "draft"])
def test_what_was_read_is_on_the_local_disk_for_the_next_mount(
    lake_uri: str, tmp_path: Path, sealed: bool
) -> None:
    fill(lake_uri, tmp_path, MIXED, sealed=sealed)
    with mounted(lake_uri, tmp_path, *cached(tmp_path)) as mount:
        version = mount.path / VERSION
        assert read_all(version) == MIXED
        wait_until_cached(lake_uri, tmp_path / "cache")
        mount.restart()

        without_chunks(lake_uri)

        assert read_all(version) == MIXED
        for name in MIXED:
            drop_pages(version / name)
        assert read_all(version) == MIXED
    assert_healthy_log(mount)


def test_a_second_file_of_the_same_content_is_on_the_local_disk_too(
    lake_uri: str, tmp_path: Path
) -> None:
    fill(lake_uri, tmp_path, MIXED, sealed=True)
    with mounted(lake_uri, tmp_path, *cached(tmp_path)) as mount:
        assert read_all(mount.path / VERSION) == MIXED
        wait_until_cached(lake_uri, tmp_path / "cache")
    with opened(lake_uri) as lake:
        folder = lake.tree.find(Inode(AREAS["datasets"]), "test")
        assert folder is not None
        version = lake.tree.find(folder.inode, "v1")
        assert version is not None
        large = lake.tree.find(version.inode, "large")
        assert large is not None
        garden = Garden(lake)
        fork = garden.folder(folder, "v2")
        inode = Inode(garden.number())
        shared = replace(large, inode=inode, names=(Name(fork.inode, "shared"),), rev=0)
        lake.commits.create(replace(shared, version=fork.version))
        assert shared.kind is Kind.FILE
    without_chunks(lake_uri)

    with mounted(lake_uri, tmp_path, *cached(tmp_path)) as mount:
        assert (mount.path / "datasets/test/v2/shared").read_bytes() == MIXED["large"]
    assert_healthy_log(mount)


def test_an_upload_that_replaces_one_of_the_same_id_and_length_is_not_served_from_the_old_bytes(
    lake_uri: str, tmp_path: Path
) -> None:
    old, new = (bytes_of(seed, 700 * KIB) for seed in ("old", "new"))
    name = f"{VERSION}/upload"
    with database_of(lake_uri) as database:
        bucket = GridFSBucket(database)
        with mounted(lake_uri, tmp_path, *cached(tmp_path)) as mount:
            bucket.upload_from_stream_with_id("the id", name, old)
            path = mount.path / name
            eventually(path.exists, "the upload is adopted")
            assert path.read_bytes() == old
            wait_until_cached(lake_uri, tmp_path / "cache")
        bucket.delete("the id")
        bucket.upload_from_stream_with_id("the id", name, new)
    with mounted(lake_uri, tmp_path, *cached(tmp_path)) as mount:
        eventually(path.exists, "the upload is adopted")
        assert path.read_bytes() == new
        wait_until_cached(lake_uri, tmp_path / "cache")
        mount.restart()
        without_chunks(lake_uri)
        assert path.read_bytes() == new
    assert_healthy_log(mount)
