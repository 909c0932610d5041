"""Documents that no lake writes: what looks at many of them is ended by none."""

from datetime import UTC, datetime
from typing import Any, Final

from bson import Decimal128, Int64, ObjectId, Regex, encode
from bson.raw_bson import RawBSONDocument

from gridfsmount.core.model import NO_FOLDER, Inode
from gridfsmount.scanning import scan
from gridfsmount.store.lake import Lake
from gridfsmount.store.versions import Answer, new_attempt
from tests.store.lakes import Garden, one_deployment

pytestmark = one_deployment

LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
LATER: Final = datetime(2100, 1, 1, tzinfo=UTC)
NO_NUMBERS: Final = ("text", True, {"x": 1}, [1], float("nan"), float("inf"), Decimal128("NaN"))


def put(store: Lake, name: str, *documents: dict[str, Any]) -> None:
    store.connection.collection(name).insert_many(list(documents))


def change(store: Lake, name: str, key: object, **fields: object) -> None:
    done = store.connection.collection(name).update_one({"_id": key}, {"$set": fields})
    assert done.matched_count == 1


# --- what is going on --------------------------------------------------------------------------


def test_states_that_are_none_are_counted_as_no_version(store: Lake, garden: Garden) -> None:
    garden.version()
    for number, state in enumerate(({"x": 1}, ["draft"], 5, None)):
        version = garden.version(f"datasets/test/odd{number}")
        change(store, "tree", version.inode, state=state)

    catalog = store.overview.catalog()

    assert (catalog.datasets, catalog.drafts, catalog.sealed) == (1, 1, 0)


def test_runs_and_turns_and_processes_that_are_none_are_told_of_as_far_as_they_make_sense(
    store: Lake,
) -> None:
    for number, odd in enumerate(NO_NUMBERS):
        process = {"what": "put", "pid": odd, "writing": [odd, Int64(5000)], "host": odd}
        put(
            store,
            "lake",
            {"_id": f"run {number}", "run": [{"what": "create", "began": odd}]},
            {"_id": f"process {number}", "process": process, "beat": LATER},
        )
    put(store, "lake", {"_id": "adopting", "mount": 5, "at": LATER, "done": "many"})

    assert store.runs.all() == []
    alive = store.processes.alive()
    assert [each.pid for each in alive] == [0] * len(NO_NUMBERS)
    assert {each.writing for each in alive} == {(Inode(5000),)}
    turn = store.backlog.turn()
    assert turn is not None
    assert turn.done == 0


def test_leases_without_a_date_or_a_name_do_not_keep_the_others_from_the_sweep(
    store: Lake, garden: Garden
) -> None:
    lost = garden.upload(garden.file(garden.version(), "lost"), b"lost")
    store.leases.forsake(lost.id)
    change(store, "uploads", ObjectId(str(lost.id)), beat=LONG_AGO)
    put(
        store,
        "uploads",
        {"_id": None, "beat": LONG_AGO},
        {"_id": "dateless"},
        {"_id": "operator", "beat": {"$gt": ""}},
        {"_id": "text", "beat": "yesterday"},
        {"_id": "inode", "beat": LONG_AGO, "inode": {"$gt": 0}, "pid": [], "name": {}},
    )

    assert lost.id in store.leases.seize_expired()
    assert store.leases.seize_expired(patiently=True) == []  # those just seized, and no other
    assert store.commits.sweep_leases() == 0


# --- the trash ---------------------------------------------------------------------------------


def test_entries_of_the_trash_that_hold_no_files_document_are_swept(store: Lake) -> None:
    odd = (*NO_NUMBERS, Decimal128("4"), -1)
    for number, value in enumerate(odd):
        put(
            store,
            "trash",
            {"_id": f"file {number}", "since": LONG_AGO, "file": value, "name": value},
            {
                "_id": f"length {number}",
                "since": LONG_AGO,
                "file": {"_id": f"length {number}", "length": value},
            },
        )

    assert store.trash.expired(0).contents == 2 * len(odd)
    assert store.trash.sweep(0).contents == 2 * len(odd)


def test_a_files_document_of_another_content_is_never_put_back(store: Lake, garden: Garden) -> None:
    node = garden.file(garden.version(), "file", b"content")
    assert node.content is not None
    strangers: tuple[object, ...] = ("text", [], {"_id": "stranger", "length": 5, "chunkSize": 5})
    for file in strangers:
        key = ObjectId(str(node.content))
        store.connection.collection("trash").replace_one(
            {"_id": key}, {"_id": key, "since": LONG_AGO, "file": file}, upsert=True
        )

        store.trash.keep(node.content)
        assert not store.trash.recall(node.content)
        store.trash.sweep(0)
        assert store.connection.collection("files").count_documents({}) == 1
        assert garden.read(node) == b"content"


# --- nodes -------------------------------------------------------------------------------------


def test_what_is_set_aside_without_a_place_to_go_back_to_is_told_of(
    store: Lake, garden: Garden
) -> None:
    node = garden.file(garden.version(), "file", b"content")
    nowhere = [{"parent": Int64(NO_FOLDER), "name": str(node.inode)}]
    odd: tuple[object, ...] = (5, True, None, [5], [{}], [{"parent": "x", "name": 5}])
    for was in odd:
        change(store, "tree", node.inode, names=nowhere, was=was)

        assert [(each.inode, homes) for each, homes in store.tree.parked()] == [(node.inode, [])]


def test_folders_that_no_number_names_do_not_keep_a_version_from_being_measured_and_sealed(
    store: Lake, garden: Garden
) -> None:
    version = garden.version()
    garden.file(version, "file", b"content")
    odd = garden.file(version, "odd size", b"content")
    change(store, "tree", odd.inode, size="large")
    name = {"parent": Int64(version.inode), "name": "x"}
    put(
        store,
        "tree",
        {"_id": {"x": 1}, "kind": "dir", "names": [{**name, "name": "document"}]},
        {"_id": "text", "kind": "dir", "names": [{**name, "name": "text"}]},
        {"_id": 5000.5, "kind": "file", "names": {**name, "name": "no list"}, "size": 1},
        {"_id": {"y": 1}, "kind": "file", "names": [{**name, "name": "nan"}], "size": Int64(0)},
    )

    assert store.versions.measure(version.inode) == (3, len(b"content"))
    attempt = new_attempt()
    store.versions.claim(version.inode, "me", attempt)
    store.versions.freeze(version.inode, attempt)
    assert store.versions.freeze(version.inode, attempt) == 0
    store.versions.release(version.inode, attempt)


def test_questions_and_answers_that_are_none_do_not_hide_the_others(
    store: Lake, garden: Garden
) -> None:
    asked = garden.version()
    for number, sealing in enumerate(([{"attempt": "x"}], {"attempt": 5}, {"attempt": {"x": 1}})):
        odd = garden.version(f"datasets/test/odd{number}")
        change(store, "tree", odd.inode, sealing=sealing)
    put(store, "tree", {"_id": {"x": 1}, "sealing": {"attempt": "x"}})
    attempt = new_attempt()
    store.versions.claim(asked.inode, "me", attempt)

    assert [each.version for each in store.versions.questions()] == [asked.inode]
    store.versions.answer(store.versions.questions()[0], ["file"])
    store.connection.collection("tree").update_one(
        {"_id": asked.inode},
        {"$push": {"sealing.answers": {"$each": [5, {}, {"process": 5, "pid": "x"}]}}},
    )
    first, *others = store.versions.answers(asked.inode, attempt)
    assert first.writing == ("file",)
    assert others == [Answer("", "", 0, ())] * 2


def test_a_removal_takes_what_no_query_can_name_with_it(store: Lake, garden: Garden) -> None:
    version = garden.version()
    kept = garden.file(garden.version("datasets/test/v2"), "kept", b"kept")
    name = {"parent": Int64(version.inode), "name": "x"}
    contents = (Regex("x"), {"$gt": ""}, [1], [ObjectId(str(kept.content))], "gone")
    for number, content in enumerate(contents):
        node = {"_id": Int64(7000 + number), "kind": "file", "content": content}
        put(store, "tree", {**node, "names": [{**name, "name": f"file {number}"}]})
    put(store, "tree", {"_id": {"x": 1}, "kind": "dir", "names": [name]})

    while store.removals.remove_below([version.inode]):
        pass

    assert not store.tree.has_children(version.inode)
    assert garden.read(kept) == b"kept"


def test_paths_that_are_no_text_do_not_keep_drivers_from_being_told_others(
    store: Lake, garden: Garden
) -> None:
    first, second = garden.version(), garden.version("datasets/test/v2")
    node = garden.file(first, "file", b"content")
    assert node.content is not None
    for number, detached in enumerate(("text", [{"path": "x"}], {"path": 5})):
        folder = garden.version(f"datasets/test/odd{number}")
        change(store, "tree", folder.inode, detached=detached)
        shown = garden.file(folder, "shown")
        change(store, "tree", shown.inode, content=ObjectId(str(node.content)))
    document = encode({"_id": Int64(8000), "names": [{"parent": second.inode, "name": "n#"}]})
    put(store, "tree", RawBSONDocument(document.replace(b"n#", b"n\xff")))  # type: ignore[arg-type]
    change(store, "tree", Int64(8000), content=ObjectId(str(node.content)), kind="file")

    paths = store.filenames.of([node.content])[node.content]

    assert "datasets/test/v1/file" in paths
    assert all(path.isascii() for path in paths)


# --- contents ----------------------------------------------------------------------------------


def test_a_length_that_nothing_stands_behind_is_looked_at_without_delay(
    store: Lake, garden: Garden
) -> None:
    node = garden.file(garden.version(), "file", bytes(3000))
    assert node.content is not None
    change(store, "files", ObjectId(str(node.content)), length=Int64(1 << 40))
    content = store.contents.get(node.content)

    pieces = list(scan(store, [content]))

    assert len(pieces) < 5
    assert [len(each) for each in pieces[0].chunks[:2] if isinstance(each, bytes)] == [1024, 1024]
    assert (pieces[-1].first, pieces[-1].chunks) == ((1 << 30) - 1, [None])


def test_chunks_whose_numbers_are_none_are_told_of(store: Lake, garden: Garden) -> None:
    node = garden.file(garden.version(), "file", b"content")
    assert node.content is not None
    content = store.contents.get(node.content)
    odd = ("text", True, {"x": 1}, float("nan"), float("inf"))
    put(
        store,
        "chunks",
        *({"files_id": ObjectId(str(content.id)), "n": each, "data": b""} for each in odd),
    )

    missing, extra = store.audit.faults_in_numbers(content.id, 1)

    assert missing == []
    assert len(extra) == len(odd)


def test_keys_that_are_no_numbers_can_be_compared(store: Lake) -> None:
    keys = [Decimal128("sNaN"), {"x": Decimal128("sNaN")}, float("inf")]
    put(store, "files", *({"_id": each, "length": 1, "chunkSize": 1} for each in keys))
    put(store, "tree", {"_id": Decimal128("1E+300"), "kind": "file"})

    contents, _ = store.audit.contents(None)

    assert len(store.audit.content_states(contents)) == len(keys)
    usable, odd, _ = store.audit.inodes(Inode(NO_FOLDER))
    assert len(odd) == 1
    assert len(store.audit.nodes(usable)) == len(usable)
