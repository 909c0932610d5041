"""All datasets and models at a glance."""

from gridfsmount.store.lake import Lake
from gridfsmount.versions.catalogue import catalogue
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.sealing import Sealer
from tests.store.lakes import Garden


def test_a_lake_without_anything_has_an_empty_catalogue(store: Lake) -> None:
    assert catalogue(store) == []


def test_datasets_come_before_models_and_each_by_name(store: Lake, garden: Garden) -> None:
    garden.version("models/a/v1")
    garden.version("datasets/z/v1")
    garden.folder(2, "empty")
    found = catalogue(store)
    assert [(each.area, each.name) for each in found] == [
        ("datasets", "empty"),
        ("datasets", "z"),
        ("models", "a"),
    ]
    assert (found[0].versions, found[0].latest) == ([], None)


def test_the_newest_version_is_first_and_the_last_sealed_one_is_the_latest(
    store: Lake, garden: Garden
) -> None:
    for name in ("v1", "v2"):
        version = garden.version(f"datasets/d/{name}")
        garden.file(version, "file", b"bytes")
        Sealer(store, Hasher(store)).seal(version, "", "ana@gpu1")
    garden.version("datasets/d/v3")
    (shelf,) = catalogue(store)
    assert [each.names[0].name for each in shelf.versions] == ["v3", "v2", "v1"]
    assert shelf.latest is not None
    assert shelf.latest.names[0].name == "v2"
    assert (shelf.sealed, shelf.drafts) == (2, 1)
