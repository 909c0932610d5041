"""`gridfsmount doctor`: what is broken is found, named, and does not hold the doctor up."""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gridfsmount.addresses import redact
from gridfsmount.cli.doctor import backups, machine, mounts
from gridfsmount.cli.doctor.asking import Check, _findings
from gridfsmount.cli.doctor.command import _document
from gridfsmount.cli.doctor.findings import Finding, Look, Verdict
from gridfsmount.cli.doctor.lake import lake
from gridfsmount.cli.lakes import LakeChoice
from gridfsmount.cli.settings import Settings
from gridfsmount.cli.vaults import VaultChoice
from gridfsmount.vaults.opening import make_vault
from gridfsmount.vfs.xattrs import PID
from tests.mongod import PASSWORD, USER, Mongod
from tests.mounting import COMMAND, PATIENCE, Mounted, mounted, run_command
from tests.store.lakes import opened, raw

CHOICE = LakeChoice(None, None, None, 30.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a server's certificate for 127.0.0.1 that is good for ten days."""
    folder = tmp_path_factory.mktemp("tls")
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10"]
    for name in ("server", "other"):
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run([*new, *subject, *files], cwd=folder, check=True, capture_output=True)
    pem = (folder / "server.crt").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(pem)
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[Mongod]:
    """Wants users to log in, and takes connections with TLS and without."""
    extra = ["--tlsMode", "preferTLS", "--tlsCertificateKeyFile", str(certificates / "server.pem")]
    with Mongod(auth=True, extra=extra) as server:
        yield server


@pytest.fixture(scope="module")
def mount(server: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    folder = tmp_path_factory.mktemp("doctor")
    with mounted(server.uri_for("lake"), folder, "--deadline=1.5") as mount:
        yield mount


def found(look: Look) -> list[Finding]:
    """What a check finds."""
    return list(_findings(Check("test", look, 10.0, "it")))


def looked(uri: str) -> list[Finding]:
    return found(partial(lake, CHOICE, uri, None, Settings(), {}))


def named(findings: list[Finding], check: str) -> list[tuple[Verdict, str]]:
    return [(each.verdict, each.text) for each in findings if each.check == check]


def test_where_all_is_well_nothing_is_a_problem(server: Mongod, mount: Mounted) -> None:
    done = run_command("doctor", mount.path, "--json")
    assert done.returncode == 0, done.stdout
    facts = json.loads(done.stdout)
    assert facts["well"] is True
    verdicts = {each["check"]: each["verdict"] for each in facts["checks"]}
    assert verdicts.pop("backups") == "warning", "nobody backs it up"
    assert set(verdicts.values()) == {"ok"}, done.stdout
    assert verdicts.keys() >= {
        *("fuse", "fusermount3", "allow-other", "open files", "config file", "log folder"),
        *("mount", "address", "network", "server", "version", "deployment", "write concern"),
        *("rights", "lake", "indexes", "members", "clock", "uploads", "space"),
    }
    assert PASSWORD not in done.stdout


def test_problems_are_told_with_what_mends_them_and_give_the_exit_code(tmp_path: Path) -> None:
    uri = f"mongodb://{USER}:sekret@127.0.0.1:1/lake"
    config = tmp_path / "lake.toml"
    config.write_text("[stauts]\n")
    vault = ("--vault", tmp_path / "no vault")
    done = run_command("doctor", uri, tmp_path / "nowhere", "--config", config, *vault)
    assert done.returncode == 1
    assert "sekret" not in done.stdout
    lines = done.stdout.splitlines()
    assert any("did you mean 'status'?" in line for line in lines if line.startswith("PROBLEM"))
    assert any("nowhere does not exist: make it with mkdir" in line for line in lines)
    (refusal,) = (number for number, line in enumerate(lines) if "Connection refused" in line)
    assert lines[refusal + 1].lstrip().startswith("-> see whether mongod runs there")
    assert any("no vault is no vault" in line for line in lines)
    assert lines[-1].startswith("4 problems, ")


def test_the_lake_of_the_config_file_is_looked_at_with_its_login(
    server: Mongod, mount: Mounted, tmp_path: Path
) -> None:
    rest = server.uri_for("lake").partition("@")[2]
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "lake.toml"
    config.write_text(
        f"uri = 'mongodb://{rest}'\nuser = '{USER}'\npassword_file = '{tmp_path}/password'\n"
    )
    done = run_command("doctor", "--config", config, "--json")
    verdicts = {each["check"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}
    assert verdicts["rights"] == verdicts["lake"] == "ok", done.stdout

    config.write_text(f"embedded = '{tmp_path}/data'\n")
    done = run_command("doctor", "--config", config)
    assert f"no server runs in {tmp_path}/data now" in done.stdout


def test_a_command_line_that_makes_no_sense_gives_two() -> None:
    done = run_command("doctor", "/a", "/b")
    assert done.returncode == 2
    assert "give one URI and one MOUNTPOINT at most" in done.stderr


# --- the way to the server, and what the user may do ----------------------------------------------


def test_certificates_are_looked_at(server: Mongod, certificates: Path) -> None:
    uri = f"{server.uri_for('lake')}&tls=true"
    soon = looked(f"{uri}&tlsCAFile={certificates / 'server.crt'}")
    ((verdict, text),) = named(soon, "tls")
    assert verdict is Verdict.WARNING
    assert "good for 10 days" in text
    assert named(soon, "server")
    for address, why in (
        (f"{uri}&tlsCAFile={certificates / 'other.crt'}", "self-signed certificate"),
        (uri.replace("127.0.0.1", "localhost"), "self-signed certificate"),
        (f"{uri}&tlsCAFile={certificates / 'server.key'}", "cannot be used"),
    ):
        findings = looked(address)
        ((verdict, text),) = named(findings, "tls")
        assert verdict is Verdict.PROBLEM
        assert why in text
        assert findings[-1].mend


def test_a_certificate_of_another_host_is_found(server: Mongod, certificates: Path) -> None:
    uri = server.uri_for("lake").replace("127.0.0.1", "localhost")
    ((verdict, text),) = named(
        looked(f"{uri}&tls=true&tlsCAFile={certificates / 'server.crt'}"), "tls"
    )
    assert verdict is Verdict.PROBLEM
    assert "not valid for 'localhost'" in text


def test_a_wrong_password_is_told_without_showing_it(server: Mongod) -> None:
    last = looked(f"mongodb://ana:sekret@127.0.0.1:{server.port}/lake?directConnection=true")[-1]
    assert last.verdict is Verdict.PROBLEM
    assert "refuses the user name or the password" in last.text
    assert "sekret" not in last.text


@pytest.mark.parametrize(
    ("actions", "verdict", "text"),
    [
        ((), Verdict.PROBLEM, "may not find in fs.files"),
        (
            ("find", "listIndexes", "listCollections"),
            Verdict.OK,
            "may read, so mounts are read-only",
        ),
        (
            ("find", "listIndexes", "insert", "update"),
            Verdict.WARNING,
            "may write some, but not remove in fs.files, fs.chunks",
        ),
        (
            ("find", "listIndexes", "insert", "update", "remove"),
            Verdict.OK,
            "may read and write",
        ),
    ],
)
def test_rights_that_lack_are_named(
    server: Mongod, mount: Mounted, actions: tuple[str, ...], verdict: Verdict, text: str
) -> None:
    name = f"user{len(actions)}{'listCollections' in actions}"
    resource = {"db": "lake", "collection": ""}
    privileges = [{"resource": resource, "actions": actions}] if actions else []
    with server.client() as client:
        client["lake"].command("createRole", name, privileges=privileges, roles=[])
        client["lake"].command("createUser", name, pwd="x", roles=[name])
    findings = looked(f"mongodb://{name}:x@127.0.0.1:{server.port}/lake?directConnection=true")
    rights, *untold = named(findings, "rights")
    assert rights[0] is verdict
    assert text in rights[1]
    if verdict is not Verdict.PROBLEM:
        ((told, what),) = untold
        assert told is Verdict.WARNING
        assert "dbStats in lake" in what
        # Who only reads has no uploads of other clients to adopt.
        watched = "fs.files, fs.tree" if "insert" in actions else "fs.tree"
        assert f"changeStream in {watched}" in what
        assert named(findings, "space") == [(Verdict.WARNING, "this user may not ask for that")]


def test_a_database_without_a_lake_is_told_and_stays_empty(server: Mongod) -> None:
    findings = looked(server.uri_for("empty"))
    ((verdict, text),) = named(findings, "lake")
    assert verdict is Verdict.WARNING
    assert "holds no lake: mount it once" in text
    with server.client() as client:
        assert client["empty"].list_collection_names() == []


def test_a_standalone_server_without_an_index_is_told_what_it_lacks(standalone_uri: str) -> None:
    with opened(standalone_uri), raw(standalone_uri) as database:
        database["fs.tree"].drop_index("content")
    findings = looked(standalone_uri)
    ((verdict, text),) = named(findings, "deployment")
    assert (verdict, text[:10]) == (Verdict.WARNING, "a standalo")
    ((verdict, text),) = named(findings, "indexes")
    assert verdict is Verdict.PROBLEM
    assert "fs.tree: content" in text


def test_an_address_that_cannot_be_read_is_told_without_its_secrets() -> None:
    for uri in ("mongodb://ana:sek/ret@h/x", "mongodb://ana:sekret@[h/x"):
        (finding,) = looked(uri)
        assert finding.verdict is Verdict.PROBLEM
        assert "ret" not in redact(finding.text).replace("secret", "")


# --- mounts ---------------------------------------------------------------------------------------


def test_a_mount_whose_process_died_is_found(server: Mongod, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    # In the background: when that returns, the mount no longer looks at itself. While it does,
    # the kernel cannot end it.
    done = run_command("mount", "--log-file", tmp_path / "log", server.uri_for("dead"), point)
    assert done.returncode == 0, done.stderr
    process = os.pidfd_open(int(os.getxattr(point, PID)))
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], PATIENCE)[0], "it ends"
        (finding,) = found(partial(mounts.mount, point))
    finally:
        os.close(process)
        subprocess.run(["fusermount3", "-u", "-z", point], check=True)
    assert finding.verdict is Verdict.PROBLEM
    assert "its process has died" in finding.text
    assert finding.mend == f"gridfsmount umount {point}"


def test_a_mount_without_its_server_is_found(server: Mongod, mount: Mounted) -> None:
    server.pause()
    try:
        *_, silent = found(partial(mounts.mount, mount.path))
    finally:
        server.resume()
    assert silent.verdict is Verdict.PROBLEM
    assert "its server does not answer (Input/output error)" in silent.text


ASKING = """
import sys
from functools import partial
from pathlib import Path
from gridfsmount.cli.doctor import mounts
from gridfsmount.cli.doctor.asking import Check, ask
from gridfsmount.cli.doctor.command import lake_on
from gridfsmount.cli.doctor.findings import ok

def fails():
    yield ok("fails", "well so far")
    raise ValueError("mongodb://ana:sekret@h/")

point = Path(sys.argv[1])
assert lake_on(point) == point
checks = [
    Check("mount", partial(mounts.mount, point), 1.0, str(point)),
    Check("fails", fails, 60.0, "it"),
]
for each in ask(checks):
    print(each.check, each.verdict.value, each.text, sep="|")
"""


def test_a_mount_that_hangs_holds_up_neither_the_doctor_nor_its_other_checks(
    mount: Mounted,
) -> None:
    assert mount.process is not None
    subprocess.run(["kill", "-STOP", str(mount.pid)], check=True)
    try:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", ASKING, mount.path],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        took = time.monotonic() - began
    finally:
        subprocess.run(["kill", "-CONT", str(mount.pid)], check=True)
    assert took < 30
    assert done.stdout.splitlines() == [
        f"mount|problem|{mount.path} does not answer within 1 s",
        "fails|ok|well so far",
        "fails|problem|the check failed: ValueError: mongodb://***@h/",
    ]


# --- this machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prepare", "message"),
    [("true", "there is no /dev/fuse"), ("touch /dev/fuse", "/dev/fuse is no device")],
)
def test_without_fuse_it_says_what_is_missing(prepare: str, message: str) -> None:
    script = f"mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && {prepare} && exec $@"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *COMMAND, "doctor", "/tmp", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "GRIDFSMOUNT_URI": ""},
    )
    assert done.returncode == 1, done.stderr
    fuse = next(each for each in json.loads(done.stdout)["checks"] if each["check"] == "fuse")
    assert (fuse["verdict"], fuse["text"]) == ("problem", message)
    assert "--device /dev/fuse" in fuse["mend"]


def test_too_few_open_files_are_a_problem() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (machine.FEWEST_FILES - 1, limits[1]))
    try:
        (finding,) = found(machine.limits)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert finding.verdict is Verdict.PROBLEM
    assert "ulimit -n" in finding.mend


def test_folders_that_are_no_good_disk_cache_are_told_so(tmp_path: Path) -> None:
    def verdicts(folder: Path) -> list[Verdict]:
        return [each.verdict for each in found(partial(mounts.disk_cache, folder))]

    assert verdicts(tmp_path / "to" / "be" / "made") == [Verdict.OK]
    file = tmp_path / "file"
    file.touch()
    assert verdicts(file) == [Verdict.PROBLEM]
    assert verdicts(tmp_path) == [Verdict.PROBLEM], "it holds a file"
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    assert verdicts(open_to_all) == [Verdict.WARNING, Verdict.OK]
    (shared,) = [
        each.text
        for each in found(partial(mounts.disk_cache, Path("/dev/shm/gridfsmount-cache")))
        if "in memory" in each.text
    ]
    assert "tmpfs" in shared


LISTED = """\
gridfsmount-backup.service loaded failed   failed  Back up a gridfsmount lake
gridfsmount-backup.timer   loaded active   waiting Back up a gridfsmount lake every night
"""


def test_units_that_failed_and_timers_that_are_off_are_told() -> None:
    (failed,) = machine.failed_units(LISTED)
    assert (failed.verdict, failed.mend) == (
        Verdict.PROBLEM,
        "journalctl -u gridfsmount-backup.service",
    )
    (well,) = machine.failed_units(LISTED.replace("failed ", "active "))
    assert well.verdict is Verdict.OK
    assert list(machine.failed_units("")) == []
    states = dict.fromkeys(machine.TIMERS, "enabled")
    assert machine.timers(states).verdict is Verdict.OK
    off = machine.timers(states | {"gridfsmount-verify.timer": "disabled"})
    assert off.verdict is Verdict.WARNING
    assert off.mend.startswith("systemctl enable --now gridfsmount-verify.timer,")


# --- backups --------------------------------------------------------------------------------------


def test_vaults_that_are_missing_empty_or_of_another_lake_are_told(tmp_path: Path) -> None:
    make_vault(str(tmp_path / "vault"), "the id of another lake").close()
    (gone,) = found(partial(backups.vault, VaultChoice("gone", str(tmp_path / "gone"))))
    assert gone.verdict is Verdict.PROBLEM
    assert "is no vault" in gone.text
    (empty,) = found(partial(backups.vault, VaultChoice("nas", str(tmp_path / "vault"))))
    assert (empty.verdict, empty.mend) == (Verdict.WARNING, "gridfsmount backup create")
    this = Finding("lake", Verdict.OK, "", facts={"lake": "the id of this one"})
    (stranger,) = backups.strangers([this, gone, empty])
    assert stranger.verdict is Verdict.PROBLEM
    assert "nas is of another lake" in stranger.text
    same = Finding("lake", Verdict.OK, "", facts={"lake": "the id of another lake"})
    assert list(backups.strangers([same, gone, empty])) == []


def test_a_document_for_programs_counts_what_it_has() -> None:
    findings = [Finding("a", verdict, "text", "mend") for verdict in Verdict]
    document: Any = _document(findings)
    assert (document["well"], document["problems"], document["warnings"]) == (False, 1, 1)
    assert document["checks"][0] == {
        "check": "a",
        "verdict": "ok",
        "text": "text",
        "mend": "mend",
    }
