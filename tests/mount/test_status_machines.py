"""`gridfsmount status` about machines: servers, clocks, and who mounts the lake."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gridfsmount import __version__
from gridfsmount.cli.settings import Settings
from gridfsmount.cli.status_machines import (
    LAG_SECONDS,
    SKEW_SECONDS,
    mounts,
    problems_of,
    skew_problems,
    skew_text,
)
from gridfsmount.store.lake import Lake
from gridfsmount.store.members import Member, Offset, clock_offset, members
from gridfsmount.store.processes import DEAD_SECONDS
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted, run_command
from tests.replica_set import ReplicaSet
from tests.store.lakes import opened, raw


@pytest.fixture(scope="module")
def replicas() -> Iterator[ReplicaSet]:
    with ReplicaSet() as replicas:
        yield replicas


@pytest.fixture(scope="module")
def uri(replicas: ReplicaSet) -> str:
    """A lake on three members."""
    uri = replicas.uri_for("status")
    with opened(uri):
        return uri


def status(uri: str, code: int = 0) -> dict[str, Any]:
    done = run_command("status", uri, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_status_tells_all_members_and_how_far_they_are_behind(
    replicas: ReplicaSet, uri: str
) -> None:
    found = {each["address"]: each for each in status(uri)["members"]["members"]}
    primary, *secondaries = (
        found[f"127.0.0.1:{each.port}"] for each in (replicas.primary, *replicas.secondaries)
    )
    assert (primary["state"], primary["lag_seconds"]) == ("primary", None)
    for each in secondaries:
        assert each["state"] == "secondary"
        assert 0 <= each["lag_seconds"] < LAG_SECONDS


def test_a_member_that_hangs_is_a_problem_and_holds_nobody_up(
    replicas: ReplicaSet, uri: str
) -> None:
    with replicas.secondaries_frozen():
        done = run_command("status", uri)
    assert done.returncode == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith("PROBLEM")]
    assert problems == [
        f"PROBLEM   127.0.0.1:{port} does not answer: see whether it runs, and can be reached"
        for port in sorted(each.port for each in replicas.secondaries)
    ]


def test_the_lag_of_a_secondary_grows_while_it_gets_nothing(replicas: ReplicaSet, uri: str) -> None:
    often = f"{uri}&heartbeatFrequencyMS=500"  # else the driver asks every ten seconds
    with opened(often) as lake, replicas.replication_held_up(), raw(uri) as database:

        def is_behind() -> bool:
            database["other"].insert_one({})
            return any((each.lag or 0) >= 2 for each in members(lake.connection))

        eventually(is_behind, "a secondary is behind")


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (Member("db:1", "primary"), None),
        (Member("db:1", "secondary", LAG_SECONDS), None),
        (Member("db:1", "secondary", 7200.0), "db:1 is 2 hours behind the primary"),
        (Member("db:1", "neither primary nor secondary"), "see rs.status() on it"),
        (Member("db:1", "silent"), "db:1 does not answer"),
    ],
)
def test_members_that_do_not_keep_up_are_problems(member: Member, problem: str | None) -> None:
    found = problems_of(member)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_a_clock_that_is_wrong_is_told_by_how_much_and_which_way(
    lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(lake_uri) as lake:
        right = clock_offset(lake.connection)
        assert right.least < 1
        assert skew_problems(right) == []
        now = time.time_ns
        monkeypatch.setattr("time.time_ns", lambda: now() - 3 * 3600 * 10**9)
        wrong = clock_offset(lake.connection)
    assert skew_text(wrong) == "this machine's is 2 hours behind the server's"
    assert skew_problems(wrong)


def test_what_a_slow_answer_may_explain_is_no_wrong_clock() -> None:
    assert skew_problems(Offset(SKEW_SECONDS + 1, uncertainty=2)) == []
    assert skew_problems(Offset(-SKEW_SECONDS - 1, uncertainty=0.1))
    assert skew_text(Offset(90, 0.1)) == "this machine's is 1 minute ahead of the server's"


@pytest.fixture(scope="module")
def mount(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(mongod.uri_for("status_of_mounts"), tmp_path_factory.mktemp("status")) as mount:
        with opened(mount.uri) as lake:
            eventually(lambda: told(lake)["mounts"] == 1, "it is announced")
        yield mount


def told(lake: Lake) -> Any:
    """What is said of mounts, without the start of a command."""
    return mounts(lake, Settings()).facts


def be_silent(uri: str, seconds: float) -> None:
    """Let all processes of a lake have given their last sign of life a while ago."""
    with raw(uri) as database:
        past = {"$subtract": ["$beat", int(timedelta(seconds=seconds) / timedelta(milliseconds=1))]}
        database["fs.lake"].update_many({"process": {"$exists": True}}, [{"$set": {"beat": past}}])


def test_status_tells_who_mounts_the_lake_where_and_with_which_version(mount: Mounted) -> None:
    text = run_command("status", mount.uri).stdout
    assert text.startswith("well ")
    assert f"{socket.gethostname()}:{mount.path}, gridfsmount {__version__}, for" in text
    with opened(mount.uri) as lake:
        (process,) = told(lake)["processes"]
    assert process["host"] == socket.gethostname()
    assert process["mountpoint"] == str(mount.path)
    assert process["version"] == __version__
    assert process["pid"] == mount.pid
    assert process["alive"] is True
    assert process["age_seconds"] < 600


def test_a_mount_that_died_is_told_of_until_it_comes_back(mount: Mounted) -> None:
    mount.kill()
    be_silent(mount.uri, DEAD_SECONDS + 3600)
    with opened(mount.uri) as lake:
        (process,) = told(lake)["processes"]
        assert (process["alive"], told(lake)["mounts"]) == (False, 0)
        assert "no sign of life for 1 hour" in mounts(lake, Settings()).text
        mount.start()
        eventually(lambda: told(lake)["mounts"] == 1, "it is back")
        assert len(told(lake)["processes"]) == 1


def test_documents_of_processes_that_make_no_sense_are_no_trouble(lake_uri: str) -> None:
    with opened(lake_uri) as lake, raw(lake_uri) as database:
        database["fs.lake"].insert_many(
            [
                {"_id": "process 1", "process": 5, "beat": "never"},
                {"_id": "process 2", "process": {"what": "mount"}, "beat": None, "since": 7},
                {"_id": "process 3", "process": {}, "beat": datetime.now(UTC), "since": "-"},
            ]
        )
        (process,) = told(lake)["processes"]
        assert process["age_seconds"] is None
        assert "for an unknown time" in mounts(lake, Settings()).text


def test_a_host_with_a_line_break_makes_no_line(lake_uri: str) -> None:
    with opened(lake_uri) as lake, raw(lake_uri) as database:
        lake.processes.announce("put")
        database["fs.lake"].update_one(
            {"process": {"$exists": True}}, {"$set": {"process.host": "a\nPROBLEM  b"}}
        )
        assert "\nPROBLEM" not in mounts(lake, Settings()).text
