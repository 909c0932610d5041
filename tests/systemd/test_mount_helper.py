"""mount(8), /etc/fstab, umount(8) and findmnt(8), with lakes as with any file system."""

import os
import signal
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.lakes import opened
from tests.systemd.namespaces import ROOT, Machine, ended

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount by mount(8)")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        machine.install_helper()
        yield machine


@pytest.fixture
def folder(machine: Machine) -> Path:
    """An empty folder to mount on."""
    return Path(tempfile.mkdtemp(prefix="mnt-", dir=machine.folder))


@pytest.fixture
def config(machine: Machine, lake_uri: str) -> Iterator[Path]:
    """The machine's own config file, for a lake that is there."""
    with opened(lake_uri):
        pass
    path = machine.etc / "gridfsmount" / "lake.toml"
    path.write_text(f'uri = "{lake_uri}"\n')
    path.chmod(0o600)
    yield path
    path.unlink()


DOCUMENT = ROOT / "docs" / "operations.md"


def log(folder: Path) -> str:
    return f"log_file={folder}.log"


def process_of(machine: Machine, folder: Path) -> int:
    return int(os.getxattr(machine.at(folder), "user.lake.pid"))


def unmounted(machine: Machine, folder: Path) -> None:
    process = process_of(machine, folder)
    done = machine.run("umount", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ended(process)


def test_mount_mounts_an_address_and_umount_ends_it(
    machine: Machine, folder: Path, lake_uri: str
) -> None:
    options = f"allow_other,cache_size=64MiB,{log(folder)}"
    done = machine.run("mount", "-t", "gridfsmount", "-o", options, lake_uri, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.at(folder / "datasets").is_dir()
    found = machine.run("findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", folder)
    assert found.stdout.split() == ["fuse.gridfsmount", lake_uri]
    ((_, _, _, given, *_),) = machine.mounts()
    assert {"rw", "nosuid", "nodev", "allow_other"} <= set(given.split(","))
    unmounted(machine, folder)
    assert machine.mounts() == []


def test_the_lines_of_the_document_mount_what_they_say_once(
    machine: Machine, folder: Path, lake_uri: str, config: Path
) -> None:
    _, _, section = DOCUMENT.read_text().partition("### By fstab\n\n")
    example, _, _ = section.partition("\n\n")
    photos = folder.with_name(f"{folder.name}-photos")
    photos.mkdir()
    for word, meant in {
        "/mnt/lake": str(folder),
        "/mnt/photos": str(photos),
        "mongodb://db/photos": lake_uri,
        "gridfsmount  ": f"gridfsmount  {log(folder)},",
    }.items():
        assert word in example
        example = example.replace(word, meant)
    (machine.etc / "fstab").write_text(textwrap.dedent(example) + "\n")
    for _ in range(2):
        done = machine.run("mount", "--all")
        assert (done.returncode, done.stderr) == (0, "")
        ((source, _, _, options, *_),) = machine.mounts()
        assert source == "lake"
        assert {"rw", "allow_other"} <= set(options.split(","))
    done = machine.run("mount", photos)
    assert (done.returncode, done.stderr) == (0, "")
    _, (source, _, _, options, *_) = machine.mounts()
    assert source == lake_uri
    assert "ro" in options.split(",")
    unmounted(machine, photos)
    unmounted(machine, folder)


def test_a_folder_of_fstab_is_mounted_by_its_name_alone(
    machine: Machine, folder: Path, config: Path
) -> None:
    path = config.rename(config.with_name("photos of 2026.toml"))
    spec = str(path).replace(str(machine.etc), "/etc").replace(" ", "\\040")
    options = f"ro,noexec,noatime,nofail,user,comment=mine,x-systemd.idle-timeout=9,{log(folder)}"
    (machine.etc / "fstab").write_text(f"{spec} {folder} gridfsmount {options} 0 0\n")
    try:
        done = machine.run("mount", folder)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        path.rename(config)
    ((source, _, _, options, *_),) = machine.mounts()
    assert source == spec
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(options.split(","))
    unmounted(machine, folder)


def test_a_mount_that_died_is_mounted_again(machine: Machine, folder: Path, config: Path) -> None:
    command = ("mount", "-t", "gridfsmount", "-o", log(folder), "lake", folder)
    assert machine.run(*command).returncode == 0
    process = process_of(machine, folder)
    os.kill(process, signal.SIGKILL)
    ended(process)
    done = machine.run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(machine.mounts()) == 1
    unmounted(machine, folder)


def test_nothing_is_mounted_by_a_trial_run(machine: Machine, folder: Path, config: Path) -> None:
    done = machine.run("mount", "--fake", "-t", "gridfsmount", "lake", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.mounts() == []


@pytest.mark.parametrize(
    ("code", "spec", "options", "said"),
    [
        (1, "nothing", "rw", "nothing: there is no config file /etc/gridfsmount/nothing.toml; "),
        (1, "/etc/nothing", "rw", "/etc/nothing: there is no config file /etc/nothing; "),
        (1, "lake", "cachesize=1GiB", "unknown option 'cachesize'; see `gridfsmount mount"),
        (1, "lake", "foreground", "unknown option 'foreground'; "),
        (1, "lake", "cache_size", "the option cache_size is written cache_size=VALUE"),
        (1, "lake", "allow_other=yes", "the option allow_other is written allow_other alone"),
        (1, "lake", "cache_size=much", "Invalid value for '--cache-size': 'much' is not a size"),
        (1, "lake", "config=/etc/other.toml", "is a config file: leave the option config= out"),
        (1, "mongodb://me:secret@127.0.0.1:1/x", "rw", "an address with a password is for every"),
        (1, "mongodb://127.0.0.1:1/x?authMechanismProperties=a:secret", "rw", "with a password"),
        (32, "http://127.0.0.1/lake", "rw", "mongodb://"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(
    machine: Machine, folder: Path, config: Path, code: int, spec: str, options: str, said: str
) -> None:
    options = f"{options},{log(folder)}"
    done = machine.run("mount", "-t", "gridfsmount", "-o", options, spec, folder)
    assert said in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith(("mount.gridfsmount: ", "gridfsmount: "))
    assert "secret" not in done.stderr
    assert machine.mounts() == []


def test_unknown_options_are_left_out_when_mount_is_told_to_be_sloppy(
    machine: Machine, folder: Path, config: Path
) -> None:
    command: list[str | Path] = [
        "mount",
        "--fake",
        "-t",
        "gridfsmount",
        "-o",
        "nonsense",
        "lake",
        folder,
    ]
    assert machine.run(*command).returncode == 1
    assert machine.run(*command, "-s").returncode == 0


@pytest.mark.parametrize("arguments", [[], ["lake"], ["lake", "/mnt", "more"], ["-x"], ["-N", "1"]])
def test_the_helper_by_hand_says_how_it_is_used(machine: Machine, arguments: list[str]) -> None:
    done = machine.run("/sbin/mount.gridfsmount", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("mount.gridfsmount: ")
    assert done.stderr.count("\n") == 1
