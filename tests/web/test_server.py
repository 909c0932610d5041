"""The page as programs meet it: who may ask what, and what is said when something is wrong."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gridfs import GridFSBucket

from gridfsmount.cli.main import commands
from gridfsmount.cli.settings import Settings
from gridfsmount.cli.web import sections
from gridfsmount.store.runs import CREATE
from tests.mongod import Mongod
from tests.mounting import COMMAND, PATIENCE, eventually, run_command
from tests.store.lakes import Garden, opened, raw
from tests.web.exhibits import HOSTILE
from tests.web.serving import Served, served

PAGES = (
    "/",
    "/datasets/digits",
    "/datasets/digits/versions/v2",
    "/datasets/digits/diff?a=v1&b=v2",
    "/snapshots",
)

ELSEWHERE = (
    "/nothing",
    "/datasets/nothing",
    "/datasets/digits/versions/nothing",
    "/datasets/digits/diff?a=v1",
    "/datasets/digits/diff?a=v1&b=nothing",
    "/datasets/digits/diff?a=v1&b=..%2F..",
    "/datasets/%2E%2E/versions/%00",
    "/snapshots/2026",
    "/unsorted/digits",
    "/static/../application.py",
    "/static/%2e%2e/application.py",
)


def test_every_answer_forbids_scripts_and_requests_elsewhere(page: Served) -> None:
    for path in (*PAGES, *ELSEWHERE, "/healthz", "/static/style.css"):
        headers = page.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self' data:;")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in headers


def test_pages_are_always_of_now_and_their_style_is_kept(page: Served) -> None:
    assert page.get("/").headers["Cache-Control"] == "no-store"
    style = page.get("/static/style.css").headers
    assert style["Cache-Control"] == "no-cache"
    again = page.get("/static/style.css", headers={"If-None-Match": style["ETag"]})
    assert (again.status, again.text) == (304, "")


def test_what_is_not_there_is_said_to_be_so(page: Served) -> None:
    for path in ELSEWHERE:
        answer = page.get(path)
        assert answer.status == 404, path
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_allowed(page: Served, method: str) -> None:
    answer = page.get("/", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_question_for_the_head_alone_brings_no_page(page: Served) -> None:
    for path in PAGES:
        answer = page.get(path, "HEAD")
        assert (answer.status, answer.text) == (200, "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("192.168.7.7", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST:8080", 200),
        ("rebound.example", 421),
        ("127.0.0.1.example:8080", 421),
        ("localhost.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_site_that_lets_its_name_lead_here_gets_nothing(
    page: Served, host: str, status: int
) -> None:
    answer = page.get("/healthz", headers={"Host": host})
    assert answer.status == status
    assert ("well" in answer.text) is (status == 200)


def test_a_program_is_told_whether_the_lake_is_well(page: Served) -> None:
    answer = page.get("/healthz")
    assert (answer.status, json.loads(answer.text)) == (200, {"well": True, "problems": []})


def test_the_page_writes_nothing(exhibition: str, page: Served) -> None:
    with raw(exhibition) as database:
        before = {name: list(database[name].find()) for name in database.list_collection_names()}
        for path in PAGES:
            assert page.get(path).status == 200
        after = {name: list(database[name].find()) for name in database.list_collection_names()}
    assert after == before


@pytest.fixture(scope="module")
def own_server() -> Iterator[Mongod]:
    """A server that may be stopped, with a user `looker` who may only read."""
    with Mongod(auth=True) as server, server.client() as client:
        roles = [{"role": "read", "db": "troubled"}]
        client.admin.command("createUser", "looker", pwd="secret", roles=roles)
        yield server


@pytest.fixture(scope="module")
def troubled(own_server: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, for who may only read, of a lake with all that a page should not trip over."""
    uri = own_server.uri_for("troubled")
    folder = tmp_path_factory.mktemp("troubled")
    with opened(uri) as lake:
        garden = Garden(lake)
        for name in ("v1", "v2", "v4"):
            garden.version(f"datasets/many/{name}")
        garden.plant(1500, garden.version("datasets/many/v3").inode)
        lake.runs.note(
            CREATE,
            "nas",
            "",
            began_ns=lake.runs.now_ns(),
            good=False,
            text="<b>no disk</b> at mongodb://ana:secret@server/vault",
            by="root@backup",
        )
    with raw(uri) as database:
        tree = database["fs.tree"]
        versions = {
            each["names"][0]["name"]: each["_id"] for each in tree.find({"created_ns": {"$gt": 0}})
        }
        for number, name in enumerate(("v1", "v2")):
            identity = GridFSBucket(database).upload_from_stream(HOSTILE, bytes([number]) * 100)
            tree.insert_one(
                {
                    "_id": 900_000 + number,
                    "names": [{"parent": versions[name], "name": "upload"}],
                    "kind": "file",
                    "version": versions[name],
                    "size": 100,
                    "content": identity,
                    "mtime_ns": 1,
                    "ctime_ns": 1,
                    "rev": 1,
                }
            )
        # Names that no program of this project makes.
        strange: list[Any] = [HOSTILE, "..", "a b", "x" * 300, 7]
        for number, name in enumerate(strange):
            tree.insert_one(
                {
                    "_id": 910_000 + number,
                    "names": [{"parent": 2, "name": name}],
                    "kind": "dir",
                    "mtime_ns": 1,
                    "ctime_ns": 1,
                    "rev": 1,
                }
            )
        circle = [
            {"version": versions[name], "path": HOSTILE, "digest": "x"} for name in ("v1", "v2")
        ]
        tree.update_one({"_id": versions["v1"]}, {"$set": {"parent": circle[1]}})
        tree.update_one({"_id": versions["v2"]}, {"$set": {"parent": circle[0]}})
        tree.update_one({"_id": versions["v4"]}, {"$set": {"by": 3.5}})
        tree.update_one({"_id": versions["v3"]}, {"$set": {"created_ns": 2**63 - 1}})
    uri = f"mongodb://looker:secret@127.0.0.1:{own_server.port}/troubled?authSource=admin"
    vault = f"mongodb://ana:secret@127.0.0.1:{own_server.port}/vault"
    with served(folder, "--deadline", "2", "--vault", vault, "--vault", folder / "gone", uri) as it:
        yield it


def test_a_problem_is_the_first_thing_on_the_page(troubled: Served) -> None:
    answer = troubled.get("/")
    assert answer.status == 200
    assert "<title>1 problem – gridfsmount</title>" in answer.text
    assert "the last backup failed" in answer.text
    assert troubled.get("/healthz").status == 503


def test_a_question_that_the_user_may_not_ask_is_told_beside_the_others(
    own_server: Mongod, troubled: Served
) -> None:
    resource = {"db": "troubled", "collection": ""}
    privileges = [{"resource": resource, "actions": ["find", "listIndexes"]}]
    with own_server.client() as client:
        client["troubled"].command("createRole", "narrow", privileges=privileges, roles=[])
        client["troubled"].command("createUser", "narrow", pwd="secret", roles=["narrow"])
    uri = f"mongodb://narrow:secret@127.0.0.1:{own_server.port}/troubled"
    with opened(uri, read_only=True) as lake:
        told = {each.name: each for each in sections(lake, Settings())}
    assert "0 models: " in told["versions"].text
    assert told["disk"].text == "not known"
    assert "not authorized" in told["disk"].problems[0]


def test_texts_of_the_lake_are_escaped_and_without_secrets(troubled: Served) -> None:
    for path in ("/", "/healthz", "/snapshots", "/datasets/many"):
        text = troubled.get(path).text
        assert "<b>no disk" not in text or path == "/healthz"
        assert "<img" not in text
        assert "secret" not in text


def test_malformed_documents_break_no_page(troubled: Served) -> None:
    assert "many" in troubled.get("/").text
    for path in ("/datasets/many", "/datasets/many/versions/v3", "/datasets/a%20b"):
        answer = troubled.get(path)
        assert answer.status in (200, 404, 503), path
        assert "This page has a fault" not in answer.text


def test_a_comparison_shows_a_thousand_lines_and_tells_how_many_there_are(
    troubled: Served,
) -> None:
    text = troubled.get("/datasets/many/diff?a=v2&b=v3").text
    assert "1,501 differences" in text
    assert text.count("<tr>") == 1000 + 1
    assert "The first 1,000 of 1,501" in text


def test_a_comparison_reads_no_bytes_and_says_of_what_it_does_not_know_them(
    own_server: Mongod, troubled: Served
) -> None:
    text = troubled.get("/datasets/many/diff?a=v1&b=v2").text
    assert "1 file came from other clients" in text
    with raw(own_server.uri_for("troubled")) as database:
        assert all("sha256" not in str(each) for each in database["fs.files"].find())


def test_vaults_that_cannot_be_read_are_told_beside_each_other(troubled: Served) -> None:
    answer = troubled.get("/snapshots")
    assert answer.status == 200
    assert answer.text.count("This vault cannot be read: ") == 2


def test_a_server_that_does_not_answer_is_told_and_the_page_recovers(
    own_server: Mongod, troubled: Served
) -> None:
    own_server.pause()
    try:
        answer = troubled.get("/")
        assert answer.status == 503
        assert "the lake does not tell how it is" in answer.text
        answer = troubled.get("/datasets/many")
        assert answer.status == 503
        assert "The lake cannot be read now" in answer.text
    finally:
        own_server.resume()
    eventually(lambda: troubled.get("/datasets/many").status == 200, "the page is back")


# --- the command ------------------------------------------------------------------------------


def test_ctrl_c_is_a_good_end_even_while_the_server_hangs(
    own_server: Mongod, tmp_path: Path
) -> None:
    uri = own_server.uri_for("ending")
    with opened(uri):
        pass
    page = Served(tmp_path, "--deadline", "3", uri)
    own_server.pause()
    try:
        with socket.create_connection(("127.0.0.1", page.port)) as waiting:
            before = threads(page)
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            eventually(lambda: threads(page) > before, "a thread asks the server")
            page.process.send_signal(signal.SIGINT)
            assert page.process.wait(PATIENCE) == 0
    finally:
        own_server.resume()
        page.end()
    assert page.log.read_text() == ""


def threads(page: Served) -> int:
    return len(list(Path(f"/proc/{page.process.pid}/task").iterdir()))


def test_the_page_says_where_it_is(page: Served) -> None:
    assert page.said.startswith(f"{page.url}/ shows 127.0.0.1:")


def test_who_opens_it_to_others_is_warned_and_may_name_it(exhibition: str, tmp_path: Path) -> None:
    names = ("--allow-host", "Catalogue.example")
    with served(tmp_path, "--listen", "0.0.0.0:0", *names, exhibition) as page:
        assert "can read this page: it has no log-in" in page.log.read_text()
        headers = {"Host": "catalogue.example:80"}
        assert page.get("/healthz", headers=headers).status == 200
        assert page.get("/healthz", headers={"Host": socket.gethostname()}).status == 200
        assert page.get("/healthz", headers={"Host": "other.example"}).status == 421


def test_a_port_that_is_taken_is_told_in_one_line(exhibition: str, page: Served) -> None:
    done = run_command("web", "--listen", f"127.0.0.1:{page.port}", exhibition)
    assert done.returncode == 1
    assert done.stderr == (
        f"gridfsmount: --listen 127.0.0.1:{page.port}: Address already in use; "
        "give another address or port\n"
    )


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:99999", "::1:80", "a b:80"])
def test_an_address_that_is_none_is_a_wrong_command_line(listen: str) -> None:
    done = CliRunner().invoke(commands, ["web", "--listen", listen])
    assert done.exit_code == 2
    assert "is no address and port" in done.output


def test_without_its_packages_the_command_names_what_to_install(
    exhibition: str, tmp_path: Path
) -> None:
    blocked = tmp_path / "starlette"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ModuleNotFoundError('none', name='starlette')\n")
    done = run_command("web", exhibition, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == (
        "gridfsmount: the page needs starlette: pip install 'gridfsmount[web]'\n"
    )


def test_no_lake_is_no_page(mongod: Mongod) -> None:
    done = run_command("web", mongod.uri_for("nothing_here"))
    assert done.returncode == 1
    assert "holds no lake" in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_commands_need_none_of_its_packages() -> None:
    done = subprocess.run(
        [COMMAND[0], "-X", "importtime", *COMMAND[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"starlette", "uvicorn", "jinja2"} & {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    }
