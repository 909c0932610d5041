"""Arrays in files: numpy's mappings, HDF5, Zarr."""

import itertools
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pytest
import zarr

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log

NUMBERS: Final = itertools.count()


@pytest.fixture(scope="module")
def mount(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    name = f"arrays_{uuid.uuid4().hex}"
    with Mounted(mongod.uri_for(name), tmp_path_factory.mktemp("arrays")) as mounted:
        yield mounted
    with mongod.client() as client:
        client.drop_database(name)
    assert_healthy_log(mounted)


@pytest.fixture
def version(mount: Mounted) -> Path:
    return mount.version(f"datasets/arrays/v{next(NUMBERS)}")


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


# --- numpy ---------------------------------------------------------------------------------------


def test_numpy_maps_a_file_and_changes_it_in_place(mount: Mounted, version: Path) -> None:
    path = version / "array.npy"
    expected = numbers(700, 1000)
    np.save(path, expected)
    mapped = np.load(path, mmap_mode="r+")
    mapped[100:110] = 1.0
    mapped[:, 999] += 2.0
    mapped.flush()
    expected[100:110] = 1.0
    expected[:, 999] += 2.0
    assert np.array_equal(np.load(path), expected)
    del mapped
    mount.restart()
    assert np.array_equal(np.load(path, mmap_mode="r"), expected)


def test_numpy_makes_a_mapped_file_of_its_own(mount: Mounted, version: Path) -> None:
    path = version / "raw"
    mapped: Any = np.memmap(path, dtype="int32", mode="w+", shape=(1000, 1000))
    assert not mapped.any()
    mapped[::7] = np.arange(1000)
    del mapped  # unmapped without a flush: committed all the same
    copied: Any = np.memmap(path, dtype="int32", mode="c", shape=(1000, 1000))
    copied[:] = 0  # in memory only
    mount.restart()
    kept = np.fromfile(path, dtype="int32").reshape(1000, 1000)
    assert np.array_equal(kept[::7], np.tile(np.arange(1000), (143, 1)))
    assert not kept[1::7].any()


def test_numpy_saves_many_arrays_in_one_archive(version: Path) -> None:
    arrays = {f"a{n}": numbers(50, 50, seed=n) for n in range(20)}
    np.savez_compressed(version / "arrays.npz", **arrays)
    with np.load(version / "arrays.npz") as found:
        assert set(found) == set(arrays)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


# --- HDF5 ----------------------------------------------------------------------------------------


def test_h5py_writes_resizes_and_reads_back(mount: Mounted, version: Path) -> None:
    path = version / "data.h5"
    expected = numbers(2000, 100)
    with h5py.File(path, "w") as file:
        file.attrs["kind"] = "test"
        rows = file.create_dataset("rows", (0, 100), "f8", maxshape=(None, 100), chunks=(64, 100))
        for start in range(0, 2000, 250):
            rows.resize(start + 250, axis=0)
            rows[start:] = expected[start : start + 250]
        packed = file.create_group("deep/er").create_dataset(
            "packed", data=expected[:500], compression="gzip", shuffle=True
        )
        assert packed.shape == (500, 100)
    with h5py.File(path, "r+") as file:
        file["rows"][10:20] = 0
        file["rows"].resize(1500, axis=0)
        del file["deep/er/packed"]
        file["again"] = expected[:10]
        file.flush()
    expected[10:20] = 0
    mount.restart()
    with h5py.File(path) as file:
        assert np.array_equal(file["rows"][:], expected[:1500])
        assert np.array_equal(file["rows"][700:710, ::3], expected[700:710, ::3])
        assert list(file["deep/er"]) == []
        assert file.attrs["kind"] == "test"


def test_h5py_keeps_two_writers_apart_by_its_locks(version: Path) -> None:
    path = version / "data.h5"
    script = "import h5py, sys; h5py.File(sys.argv[1], 'r+')"
    with h5py.File(path, "w") as file:
        file["a"] = [1, 2, 3]
        file.flush()
        denied = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
        )
        assert "unable to lock file" in denied.stderr
    subprocess.run([sys.executable, "-c", script, path], check=True)


# --- Zarr ----------------------------------------------------------------------------------------


def test_zarr_writes_an_array_as_many_files(mount: Mounted, version: Path) -> None:
    expected = numbers(400, 400)
    array = zarr.create_array(
        store=version / "array.zarr", shape=(400, 400), chunks=(40, 40), dtype="f8"
    )
    array[:] = expected
    array[35:45, 35:45] = 0
    array.attrs["kind"] = "test"
    expected[35:45, 35:45] = 0
    assert len(list((version / "array.zarr").rglob("*"))) > 100
    mount.restart()
    again = zarr.open_array(store=version / "array.zarr", mode="r+")
    assert np.array_equal(again[:], expected)
    again.resize((100, 400))
    again.append(expected[100:120])
    assert np.array_equal(again[:], expected[:120])
    assert again.attrs["kind"] == "test"


def test_zarr_keeps_groups_and_shards(version: Path) -> None:
    group = zarr.open_group(store=version / "group.zarr", mode="w")
    expected = numbers(256, 256)
    for name in ("a", "b"):
        array = group.require_group(name).create_array(
            "x", shape=(256, 256), chunks=(16, 16), shards=(128, 128), dtype="f8"
        )
        array[:] = expected
        array[5:9] = 1  # rewrites two shards
    expected[5:9] = 1
    found = zarr.open_group(store=version / "group.zarr", mode="r")
    assert sorted(found) == ["a", "b"]
    assert all(np.array_equal(found[f"{name}/x"][:], expected) for name in ("a", "b"))
