"""Programs that know fsspec, on `lake://`."""

from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import zarr

from gridfsmount.door.filesystem import LakeFileSystem


@pytest.fixture
def options(uri: str) -> dict[str, Any]:
    return {"uri": uri}


@pytest.fixture
def frame() -> pd.DataFrame:
    numbers = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "key": np.arange(5000),
            "value": numbers.normal(size=5000),
            "kind": numbers.choice(["a", "b", "c"], 5000),
        }
    )


def test_pandas_writes_and_reads_parquet_and_csv(
    frame: pd.DataFrame, version: str, options: dict[str, Any]
) -> None:
    frame.to_parquet(f"lake://{version}/a.parquet", storage_options=options)
    frame.to_csv(f"lake://{version}/a.csv.gz", index=False, storage_options=options)
    parquet = pd.read_parquet(f"lake://{version}/a.parquet", storage_options=options)
    pd.testing.assert_frame_equal(parquet, frame)
    csv = pd.read_csv(f"lake://{version}/a.csv.gz", storage_options=options)
    assert np.allclose(csv["value"], frame["value"])


def test_pandas_finds_the_lake_of_the_environment(
    frame: pd.DataFrame, version: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDFSMOUNT_URI", uri)
    frame.to_parquet(f"lake://{version}/a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(f"lake://{version}/a.parquet"), frame)


def test_pyarrow_writes_and_filters_a_partitioned_dataset(
    frame: pd.DataFrame, version: str, fs: LakeFileSystem
) -> None:
    table = pa.Table.from_pandas(frame)
    place: dict[str, Any] = {"base_dir": f"{version}/data", "filesystem": fs}
    pyarrow.dataset.write_dataset(table, **place, format="parquet", partitioning=["kind"])
    found = pyarrow.dataset.dataset(f"{version}/data", filesystem=fs, partitioning=["kind"])
    assert len(found.files) == 3
    some = found.to_table(filter=pyarrow.dataset.field("kind") == "b", columns=["key"])
    assert sorted(some["key"].to_pylist()) == frame[frame["kind"] == "b"]["key"].tolist()
    pyarrow.dataset.write_dataset(
        table,
        **place,
        format="parquet",
        partitioning=["kind"],
        existing_data_behavior="delete_matching",
    )
    assert found.count_rows() == len(frame)


def test_zarr_keeps_an_array_in_a_lake(version: str, options: dict[str, Any]) -> None:
    url = f"lake://{version}/array.zarr"
    data = np.random.default_rng(2).normal(size=(300, 200))
    array = zarr.create_array(
        url, shape=data.shape, chunks=(100, 100), dtype="f8", storage_options=options
    )
    array[:] = data
    array[10:20, 5] = 1.0
    data[10:20, 5] = 1.0
    found: Any = zarr.open_array(url, mode="r", storage_options=options)
    assert np.array_equal(found[:], data)


def test_numpy_and_fsspec_s_own_functions_work_as_elsewhere(
    version: str, options: dict[str, Any], fs: LakeFileSystem
) -> None:
    data = np.arange(100_000)
    with fsspec.open(f"lake://{version}/a.npz", "wb", **options) as file:
        np.savez_compressed(file, data=data)
    with fsspec.open(f"lake://{version}/a.npz", "rb", **options) as file, np.load(file) as found:
        assert np.array_equal(found["data"], data)
    mapping = fsspec.get_mapper(f"lake://{version}/map", **options)
    mapping["one/two"] = b"three"
    assert dict(mapping) == {"one/two": b"three"}
    with fsspec.open(f"simplecache::lake://{version}/map/one/two", lake=options) as cached:
        assert cached.read() == b"three"
