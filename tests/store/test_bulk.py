"""Batches of new files: whole, or not at all."""

from dataclasses import replace

import pytest

from gridfsmount.core.model import Content, Node
from gridfsmount.errors import AlreadyExists, Damaged, Stale
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.uploading import whole_content
from tests.store.lakes import CHUNK, Garden, at_once, bare, one_deployment

COUNT = 50


def new_file(lake: Lake, folder: Node, name: str, data: bytes) -> NewFile:
    node = bare(lake.tree.allocate(1)[0], (folder.inode, name), version=folder.version)
    path = f"datasets/test/v1/{name}"
    if not data:
        return NewFile(node, path)
    content, chunks = whole_content(lake.contents.new_id(), data, CHUNK)
    node = replace(node, content=content.id, size=content.length)
    return NewFile(node, path, content, tuple(chunks))


def batch(lake: Lake, folder: Node, count: int = COUNT) -> list[NewFile]:
    return [
        new_file(lake, folder, f"{number:03}", bytes([number]) * number * 100)
        for number in range(count)
    ]


def left_over(lake: Lake) -> tuple[int, int, int]:
    """Leases, contents that no node shows, and chunks that no content has."""
    database = lake.connection.database
    shown = [each["content"] for each in database["fs.tree"].find({"content": {"$exists": True}})]
    files = [each["_id"] for each in database["fs.files"].find({}, {"_id": 1})]
    return (
        database["fs.uploads"].count_documents({}),
        len(set(files) - set(shown)),
        database["fs.chunks"].count_documents({"files_id": {"$nin": files}}),
    )


def test_a_batch_is_there_whole(store: Lake, garden: Garden) -> None:
    folder = garden.version()

    assert store.bulk.publish(batch(store, folder)) == set()

    for number in range(COUNT):
        node = store.tree.find(folder.inode, f"{number:03}")
        assert node is not None
        assert garden.read(node) == bytes([number]) * number * 100
    assert left_over(store) == (0, 0, 0)


def test_files_whose_names_are_taken_are_refused_and_the_others_are_there(
    store: Lake, garden: Garden
) -> None:
    folder = garden.version()
    taken = [garden.file(folder, name, b"before") for name in ("003", "040")]
    files = batch(store, folder)

    refused = store.bulk.publish(files)

    assert refused == {files[3].node.inode, files[40].node.inode}
    assert [garden.read(node) for node in taken] == [b"before", b"before"]
    assert len(store.tree.page(folder.inode, "", 1000).entries) == COUNT
    store.leases.release_finished()
    assert left_over(store) == (0, 0, 0)


def test_of_batches_with_the_same_names_each_name_is_taken_once(
    store: Lake, garden: Garden
) -> None:
    folder = garden.version()
    batches = [batch(store, folder) for _ in range(4)]

    outcomes = at_once(*(lambda files=files: store.bulk.publish(files) for files in batches))

    refused = [each for each in outcomes if isinstance(each, set)]
    assert len(refused) == 4, outcomes
    assert sum(map(len, refused)) == 3 * COUNT
    assert len(store.tree.page(folder.inode, "", 1000).entries) == COUNT
    store.leases.release_finished()
    assert left_over(store) == (0, 0, 0)


def test_a_batch_for_a_folder_that_is_gone_leaves_nothing(store: Lake, garden: Garden) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    store.tree.remove_directory(folder)
    files = batch(store, folder)

    assert store.bulk.publish(files) == {file.node.inode for file in files}

    assert not store.tree.has_children(folder.inode)
    assert left_over(store)[:2] == (0, 0)  # the chunks are the trash's


def test_a_large_file_appears_with_its_content(store: Lake, garden: Garden) -> None:
    folder = garden.version()
    file = uploaded(store, garden, folder, "large")

    store.bulk.publish_uploaded(file)

    node = store.tree.find(folder.inode, "large")
    assert node is not None
    assert garden.read(node) == b"x" * 10 * CHUNK
    store.leases.release_finished()
    assert left_over(store) == (0, 0, 0)


@one_deployment
def test_a_large_file_whose_name_is_taken_keeps_its_lease(store: Lake, garden: Garden) -> None:
    folder = garden.version()
    garden.file(folder, "large", b"before")
    file = uploaded(store, garden, folder, "large")

    with pytest.raises(AlreadyExists):
        store.bulk.publish_uploaded(file)

    assert left_over(store)[0] == 2  # that of the file before is given back later


@one_deployment
def test_a_large_file_is_not_published_when_its_lease_or_its_folder_is_gone(
    store: Lake, garden: Garden
) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    store.tree.remove_directory(folder)
    with pytest.raises(Stale):
        store.bulk.publish_uploaded(uploaded(store, garden, folder, "large"))
    assert not store.tree.has_children(folder.inode)

    file = uploaded(store, garden, version, "large")
    assert file.content is not None
    store.leases.forsake(file.content.id)
    store.connection.collection("uploads").delete_many({})
    with pytest.raises(Damaged):
        store.bulk.publish_uploaded(file)
    assert store.tree.find(version.inode, "large") is None


@one_deployment
def test_what_lies_below_a_path_is_measured(store: Lake, garden: Garden) -> None:
    folder = garden.version()
    store.bulk.publish(batch(store, folder, 4))

    assert store.bulk.measure("datasets/test/v1") == (3, 600)
    assert store.bulk.measure("datasets/test/v") == (0, 0)
    assert store.bulk.measure("") == (3, 600)


def uploaded(lake: Lake, garden: Garden, folder: Node, name: str) -> NewFile:
    """A large file's chunks and lease, and what it will be."""
    node = bare(lake.tree.allocate(1)[0], (folder.inode, name), version=folder.version)
    content: Content = garden.upload(node, b"x" * 10 * CHUNK)
    node = replace(node, content=content.id, size=content.length)
    return NewFile(node, f"datasets/test/v1/{name}", content)
