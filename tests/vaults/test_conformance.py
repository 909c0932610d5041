"""The contract of `gridfsmount.core.vault.Vault`, kept by every store."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gridfsmount.core.vault import Blob, Vault
from gridfsmount.errors import (
    AlreadyExists,
    ConfigError,
    Damaged,
    InUse,
    InvalidArgument,
    LakeFormatError,
    NotFound,
    StoreUnavailable,
)
from gridfsmount.vaults.manifest import Manifest, ManifestWriter
from gridfsmount.vaults.opening import make_vault, open_vault
from tests.vaults.stores import LAKE, Store, sha256, summary_of
from tests.vaults.writer import blob_of, name_of

T = "2026-11-22T03-00-00Z"
SMALL = [b"blob %d" % n for n in range(40)]
LARGE = random.Random(1).randbytes((3 << 20) + 17)


@pytest.fixture
def vault(store: Store) -> Iterator[Vault]:
    with store.opened() as vault:
        yield vault


def put(vault: Vault, *datas: bytes) -> list[bytes]:
    vault.put_many([(sha256(each), each) for each in datas])
    return [sha256(each) for each in datas]


def read(vault: Vault, blob: bytes) -> bytes:
    data = b""
    while piece := vault.read(blob, len(data), 1 << 20):
        data += piece
    return data


def by_digest(vault: Vault) -> dict[bytes, Blob]:
    found = list(vault.blobs())
    blobs = {each.sha256: each for each in found}
    assert len(blobs) == len(found)  # each once
    return blobs


def publish(vault: Vault, folder: Path, snapshot: str = T, data: bytes = b"manifest") -> None:
    (folder / "made").write_bytes(data)
    vault.publish(snapshot, folder / "made", summary_of(data))


# --- the header --------------------------------------------------------------------------------


def test_a_vault_says_the_same_of_itself_whenever_it_is_opened(store: Store) -> None:
    with store.opened() as one, store.opened() as other:
        assert one.header == other.header
        assert one.header.lake == LAKE
        assert one.header.format == 1


def test_a_vault_is_not_made_where_something_is(store: Store) -> None:
    with pytest.raises(ConfigError, match="there is a vault in"):
        make_vault(store.address, LAKE)


@pytest.mark.parametrize("number", [2, 99])
def test_a_newer_format_is_refused(store: Store, number: int) -> None:
    store.set_format(number)

    with pytest.raises(LakeFormatError, match=f"format {number}.*upgrade gridfsmount"):
        open_vault(store.address)


def test_a_header_that_makes_no_sense_is_refused(store: Store) -> None:
    store.set_format("null" if store.address.startswith("file") else None)

    with pytest.raises(LakeFormatError, match="header of a vault"):
        open_vault(store.address)


def test_a_vault_that_vanished_is_out_of_reach_and_never_filled_as_an_empty_place(
    store: Store, vault: Vault, tmp_path: Path
) -> None:
    put(vault, b"a")
    store.take_away()
    (tmp_path / "made").write_bytes(b"m")
    attempts: list[Callable[[], object]] = [
        lambda: vault.present([sha256(b"a")]),
        lambda: vault.put(sha256(b"b"), 1, [b"b"]),
        lambda: vault.put_many([(sha256(b"b"), b"b")]),
        lambda: list(vault.blobs()),
        lambda: vault.read(sha256(b"b"), 0, 1),
        lambda: vault.note_verified({sha256(b"a"): True}),
        lambda: vault.remove([sha256(b"a")]),
        vault.snapshots,
        lambda: vault.summary(T),
        lambda: vault.manifest(T, tmp_path),
        lambda: vault.publish(T, tmp_path / "made", summary_of(b"m")),
        lambda: vault.remove_snapshot(T),
        lambda: vault.note("a"),
        lambda: vault.set_note("a", b"x"),
        lambda: vault.notes(""),
        lambda: vault.claim("x", "y").__enter__(),
    ]

    for attempt in attempts:
        with pytest.raises(StoreUnavailable, match="the vault is gone") as raised:
            attempt()
        assert vault.address in str(raised.value)
    with pytest.raises(ConfigError, match="is no vault"):
        open_vault(store.address)


def test_another_vault_in_its_place_is_noticed(store: Store, vault: Vault) -> None:
    attempts: list[Callable[[], object]] = [
        vault.snapshots,
        lambda: vault.put(sha256(b"a"), 1, [b"a"]),
        lambda: vault.put_many([(sha256(b"a"), b"a")]),
        lambda: vault.set_note("a", b""),
        lambda: vault.claim("x", "y").__enter__(),
        lambda: list(vault.blobs()),
    ]

    store.set_id("f" * 32)

    for attempt in attempts:
        with pytest.raises(StoreUnavailable, match="another vault"):
            attempt()


def test_what_others_put_there_is_not_taken_for_the_vaults(store: Store, vault: Vault) -> None:
    blobs = put(vault, *SMALL)
    vault.set_note("a", b"x")
    store.litter(T)

    assert set(by_digest(vault)) >= set(blobs)
    assert all(len(each) == 32 for each in by_digest(vault))
    assert len(by_digest(vault)) == len(blobs)
    assert vault.snapshots() == []
    assert vault.notes("") == ["a"]


# --- blobs -------------------------------------------------------------------------------------


def test_blobs_are_there_whole_once_they_were_put(vault: Vault) -> None:
    blobs = put(vault, *SMALL, b"")
    vault.put(sha256(LARGE), len(LARGE), [LARGE[:1000], memoryview(LARGE)[1000:]])

    absent = [sha256(b"absent %d" % n) for n in range(5000)]
    assert vault.present([*blobs, sha256(LARGE), *absent]) == {*blobs, sha256(LARGE)}
    assert vault.present([]) == set()
    for data in (*SMALL, b"", LARGE):
        assert read(vault, sha256(data)) == data
    lengths = {each.sha256: each.length for each in vault.blobs()}
    assert lengths == {sha256(data): len(data) for data in (*SMALL, b"", LARGE)}


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 1), (5, (1 << 20) - 5), ((1 << 20) - 3, 7), (2 << 20, 9 << 20), (len(LARGE), 1), (1, 0)],
)
def test_any_bytes_of_a_blob_can_be_read(vault: Vault, offset: int, size: int) -> None:
    vault.put(sha256(LARGE), len(LARGE), [LARGE])

    assert vault.read(sha256(LARGE), offset, size) == LARGE[offset : offset + size]


def test_a_missing_blob_is_damage(vault: Vault) -> None:
    with pytest.raises(Damaged, match=f"blob {sha256(b'no').hex()} is missing"):
        vault.read(sha256(b"no"), 0, 10)


@pytest.mark.parametrize("pieces", [[b"othe"], [b"other", b"s"], [], [LARGE]])
def test_pieces_that_are_not_the_blob_are_refused_and_leave_nothing(
    store: Store, vault: Vault, pieces: list[bytes]
) -> None:
    with pytest.raises(Damaged, match="SHA-256"):
        vault.put(sha256(b"other"), 5, pieces)

    assert vault.present([sha256(b"other")]) == set()
    assert store.leftovers() == 0


def test_pieces_that_cannot_be_got_leave_no_blob(store: Store, vault: Vault) -> None:
    def pieces() -> Iterator[bytes]:
        yield LARGE
        raise Damaged("the lake has lost it")

    with pytest.raises(Damaged, match="the lake has lost it"):
        vault.put(sha256(LARGE), len(LARGE), pieces())

    assert list(vault.blobs()) == []
    assert store.leftovers() == 0


def test_a_blob_that_is_there_stays_when_it_is_put_again(store: Store, vault: Vault) -> None:
    put(vault, b"a", b"a", b"b")
    put(vault, b"a", b"c")
    vault.put(sha256(b"b"), 1, [b"b"])

    assert set(by_digest(vault)) == {sha256(each) for each in (b"a", b"b", b"c")}
    assert read(vault, sha256(b"a")) == b"a"
    assert store.leftovers() == 0


def test_many_threads_may_put_the_same_blobs_at_once(store: Store, vault: Vault) -> None:
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(put, vault, *SMALL) for _ in range(4)]:
            each.result()
        large = (sha256(LARGE), len(LARGE), [LARGE])
        for done in [pool.submit(vault.put, *large) for _ in range(3)]:
            done.result()

    assert set(by_digest(vault)) == {sha256(each) for each in (*SMALL, LARGE)}
    assert all(read(vault, sha256(each)) == each for each in (*SMALL, LARGE))
    assert store.leftovers() == 0


@pytest.mark.parametrize("data", [b"small", LARGE])
def test_a_damaged_blob_is_set_apart_and_replaced(store: Store, vault: Vault, data: bytes) -> None:
    blob = sha256(data)
    vault.put(blob, len(data), [data])
    vault.read(blob, 0, 1)
    store.flip(blob)

    vault.note_verified({blob: False})

    assert vault.present([blob]) == set()
    assert by_digest(vault)[blob].damaged
    assert read(vault, blob) != data  # what is left can be looked at
    vault.note_verified({blob: False})  # once more
    vault.put(blob, len(data), [data])
    assert vault.present([blob]) == {blob}
    assert not by_digest(vault)[blob].damaged
    assert read(vault, blob) == data
    assert store.leftovers() == 0


def test_a_damaged_blob_is_replaced_among_many(store: Store, vault: Vault) -> None:
    blobs = put(vault, *SMALL)
    store.flip(blobs[3])
    vault.note_verified(dict.fromkeys(blobs, True) | {blobs[3]: False})

    put(vault, *SMALL)

    assert not any(each.damaged for each in by_digest(vault).values())
    assert read(vault, blobs[3]) == SMALL[3]


def test_a_blob_can_be_damaged_twice(store: Store, vault: Vault) -> None:
    [blob] = put(vault, b"data")
    for _ in range(2):
        store.flip(blob)
        vault.note_verified({blob: False})
        assert by_digest(vault)[blob].damaged
        put(vault, b"data")
    assert read(vault, blob) == b"data"


def test_one_that_was_only_read_wrongly_comes_back(vault: Vault) -> None:
    [blob] = put(vault, b"data")
    vault.note_verified({blob: False})

    vault.note_verified({blob: True})

    assert vault.present([blob]) == {blob}
    assert not by_digest(vault)[blob].damaged


def test_bytes_that_are_gone_are_not_made_up(store: Store, vault: Vault) -> None:
    vault.put(sha256(LARGE), len(LARGE), [LARGE])
    store.lose(sha256(LARGE))

    try:
        found = vault.read(sha256(LARGE), 0, 100)
    except Damaged as error:
        found = b""
        said = str(error)
        assert "chunk 0 is missing" in said
    assert found == b""


def test_a_blob_says_when_it_was_verified(vault: Vault) -> None:
    blobs = put(vault, b"a", b"b")
    before = by_digest(vault)
    assert abs(before[blobs[0]].verified_ns - time.time_ns()) < 60 * 10**9

    vault.note_verified({blobs[0]: True, sha256(b"unknown"): True, sha256(b"other"): False})

    after = by_digest(vault)
    assert after[blobs[0]].verified_ns >= before[blobs[0]].verified_ns
    assert after[blobs[1]] == before[blobs[1]]
    assert set(after) == set(blobs)


def test_removed_blobs_are_gone_damaged_ones_too(store: Store, vault: Vault) -> None:
    blobs = put(vault, *SMALL)
    vault.read(blobs[0], 0, 1)
    vault.note_verified({blobs[1]: False})

    vault.remove([*blobs[:2], sha256(b"never there")])
    vault.remove(blobs[:2])

    assert set(by_digest(vault)) == set(blobs[2:])
    for each in blobs[:2]:
        with pytest.raises(Damaged):
            vault.read(each, 0, 1)
    assert store.leftovers() == 0


# --- snapshots ---------------------------------------------------------------------------------


def test_a_published_snapshot_is_there_whole(store: Store, vault: Vault, tmp_path: Path) -> None:
    assert vault.snapshots() == []
    publish(vault, tmp_path, "2026-11-22T03-00-01Z", LARGE)
    publish(vault, tmp_path)

    with store.opened() as other:
        assert other.snapshots() == [T, "2026-11-22T03-00-01Z"]
        assert other.summary(T) == summary_of(b"manifest")
        assert other.manifest(T, tmp_path).read_bytes() == b"manifest"
        assert other.manifest("2026-11-22T03-00-01Z", tmp_path).read_bytes() == LARGE
    assert store.leftovers() == 0


def test_a_snapshot_is_published_once(vault: Vault, tmp_path: Path) -> None:
    publish(vault, tmp_path)

    with pytest.raises(AlreadyExists, match=f"has a snapshot {T} already"):
        publish(vault, tmp_path, data=b"other")

    assert vault.manifest(T, tmp_path).read_bytes() == b"manifest"


def test_a_manifest_that_is_not_the_summarys_is_not_published(
    store: Store, vault: Vault, tmp_path: Path
) -> None:
    (tmp_path / "made").write_bytes(b"one")

    with pytest.raises(Damaged, match="as its summary says"):
        vault.publish(T, tmp_path / "made", summary_of(b"other"))

    assert vault.snapshots() == []
    assert store.leftovers() == 0
    publish(vault, tmp_path)


@pytest.mark.parametrize("name", [T, "../blobs", "", "2026"])
def test_a_snapshot_that_is_not_there_is_not_found(vault: Vault, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        vault.summary(name)
    with pytest.raises(NotFound):
        vault.manifest(name, tmp_path)


def test_a_spoilt_summary_is_damage(store: Store, vault: Vault, tmp_path: Path) -> None:
    publish(vault, tmp_path)
    store.spoil_summary(T, b'{"lake": "x"')

    with pytest.raises(Damaged, match="no summary"):
        vault.summary(T)
    assert vault.snapshots() == [T]


def written(path: Path) -> tuple[int, int]:
    """Which file it is, and when it was written; whoever reads it changes other times."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_a_copy_of_a_manifest_is_used_again_only_if_it_is_right(
    store: Store, vault: Vault, tmp_path: Path
) -> None:
    publish(vault, tmp_path)
    with store.opened() as other:
        first = other.manifest(T, tmp_path)
        seen = written(first)
        assert written(other.manifest(T, tmp_path)) == seen
    with store.opened() as other:
        assert written(other.manifest(T, tmp_path)) == seen
    if first.is_relative_to(tmp_path / "vault"):
        return  # no copy
    first.write_bytes(b"torn")

    assert vault.manifest(T, tmp_path).read_bytes() == b"manifest"


def test_a_removed_snapshot_is_gone_but_readable_by_who_has_it_open(
    store: Store, vault: Vault, tmp_path: Path
) -> None:
    writer = ManifestWriter(tmp_path / "new")
    writer.finish({"lake": LAKE})
    publish(vault, tmp_path, data=(tmp_path / "new").read_bytes())
    blobs = put(vault, b"a")
    manifest = Manifest(vault.manifest(T, tmp_path), T)

    vault.remove_snapshot(T)
    vault.remove_snapshot(T)

    assert manifest.meta() == {"lake": LAKE}
    manifest.close()
    assert vault.snapshots() == []
    with pytest.raises(NotFound):
        vault.summary(T)
    assert vault.present(blobs) == set(blobs)
    assert store.leftovers() == 0
    publish(vault, tmp_path)


# --- notes -------------------------------------------------------------------------------------


def test_notes_are_replaced_as_a_whole(store: Store, vault: Vault) -> None:
    assert vault.note("a") is None
    for value in (b"first", b"", bytes(9 << 20), b"last", bytes(10 << 20), b"end"):
        vault.set_note("pins/2026-11-22T03-00-00Z", value)
        with store.opened() as other:
            assert other.note("pins/2026-11-22T03-00-00Z") == value
    vault.set_note("verified/x", b"y")
    vault.set_note("condemned", b"z")

    assert vault.notes("") == ["condemned", "pins/2026-11-22T03-00-00Z", "verified/x"]
    assert vault.notes("pins/") == ["pins/2026-11-22T03-00-00Z"]
    for name in ("condemned", "condemned", "never"):
        vault.set_note(name, None)
    assert vault.note("condemned") is None
    assert vault.notes("c") == []
    assert store.leftovers() == 0


@pytest.mark.parametrize("name", ["", "../vault", "/etc/passwd", "a//b", "a.b", "a/", "ä", "a\n"])
def test_names_of_notes_lead_nowhere_else(vault: Vault, name: str) -> None:
    with pytest.raises(InvalidArgument):
        vault.note(name)
    with pytest.raises(InvalidArgument):
        vault.set_note(name, b"")


# --- the lease ---------------------------------------------------------------------------------


def test_one_holds_the_lease_and_the_other_is_told_who(store: Store, vault: Vault) -> None:
    with store.opened() as other:
        with vault.claim("backup create", "root@server") as claim:
            claim.renew()
            for each in (other, vault):
                with pytest.raises(InUse, match="`backup create` of root@server, process"):
                    each.claim("backup prune", "me").__enter__()
            claim.renew()
        with other.claim("backup prune", "me") as claim:
            claim.renew()
            with pytest.raises(InUse, match="backup prune"):
                vault.claim("x", "y").__enter__()


def test_of_many_claims_at_once_one_wins(store: Store) -> None:
    def claim() -> bool:
        with store.opened() as vault:
            try:
                with vault.claim("x", "y"):
                    barrier.append(1)
                    return len(barrier) == 1
            except InUse:
                return False

    for _ in range(3):
        barrier: list[int] = []
        with ThreadPoolExecutor(6) as pool:
            results = [each.result() for each in [pool.submit(claim) for _ in range(6)]]
        assert sum(results) == 1


def test_notes_can_be_written_while_another_has_the_lease(store: Store, vault: Vault) -> None:
    with store.opened() as other, other.claim("backup create", "x"):
        vault.set_note("pins/a", b"why")
        assert other.note("pins/a") == b"why"


# --- crashes -----------------------------------------------------------------------------------


@contextmanager
def writer(store: Store, folder: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.vaults.writer", str(folder), str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(store.address + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_whenever_a_writer_is_killed_what_it_had_done_is_there_and_all_else_is_whole(
    store: Store, vault: Vault, tmp_path: Path
) -> None:
    choose = random.Random(6)
    done: list[list[str]] = []
    for round_ in range(3):
        with writer(store, tmp_path, 1 + round_ * 10_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "claimed\n"  # that of the killed one was free
            time.sleep(choose.uniform(0.01, 0.3))  # the moment of death, not a wait for anything
            process.kill()
            done += [line.split() for line in process.stdout if line.endswith("\n")]

    with vault.claim("look", "me"):
        assert store.leftovers() == 0
    there = set()
    for blob in by_digest(vault):
        data = read(vault, blob)
        number = int(data.split(b" ")[0])
        assert sha256(data) == blob
        assert data == blob_of(number)
        there.add(number)
    assert {int(n) for what, *rest in done if what == "blobs" for n in rest} <= there
    snapshots = vault.snapshots()
    assert {name_of(int(rest[0])) for what, *rest in done if what == "snapshot"} <= set(snapshots)
    for snapshot in snapshots:
        number = vault.summary(snapshot).files
        assert vault.manifest(snapshot, tmp_path).read_bytes() == blob_of(number)
    notes = [int(rest[0]) for what, *rest in done if what == "note"]
    value = vault.note("last")
    if notes:
        assert value is not None
        assert int(value[: len(value) // 1000]) >= notes[-1]
        assert value == value[: len(value) // 1000] * 1000
