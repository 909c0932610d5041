"""A wheel, installed as users install it: it runs, mounts, and connects itself with the system."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gridfsmount import __version__

UNITS = "usr/local/lib/systemd/system"


def run(
    program: Path, *arguments: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an installed program, far from the checkout."""
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": path or os.environ["PATH"], "HOME": str(program.parent)},
    )


@pytest.fixture(scope="module")
def program(installed: Path) -> Path:
    return installed / "gridfsmount"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty system to install units into."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def system(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that units were installed into; not to be changed."""
    path = tmp_path_factory.mktemp("system")
    done = run(program, "install-units", "--root", path)
    assert done.returncode == 0, done.stderr
    assert "systemctl enable --now gridfsmount@lake" in done.stdout
    return path


def files(root: Path) -> dict[str, str]:
    """All files and links below a folder, and what is in them."""
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_it_tells_its_version_and_mounts(program: Path, lake_uri: str, tmp_path: Path) -> None:
    assert run(program, "--version").stdout == f"gridfsmount, version {__version__}\n"
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    done = run(program, "mount", "--log-file", tmp_path / "log", lake_uri, mountpoint)
    try:
        assert (done.returncode, done.stderr) == (0, "")
        version = mountpoint / "datasets" / "test" / "v1"
        version.mkdir(parents=True)
        (version / "file").write_bytes(b"content")
        assert (version / "file").read_bytes() == b"content"
    finally:
        done = run(program, "umount", mountpoint)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_units_run_it_where_it_is_and_are_what_systemd_takes(
    program: Path, system: Path
) -> None:
    units = sorted((system / UNITS).iterdir())
    assert [each.name for each in units] == [
        "gridfsmount-backup.service",
        "gridfsmount-backup.timer",
        "gridfsmount-prune.service",
        "gridfsmount-prune.timer",
        "gridfsmount-verify.service",
        "gridfsmount-verify.timer",
        "gridfsmount@.service",
    ]
    starts = [
        line
        for unit in units
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart")
    ]
    assert len(starts) == 5
    assert all(f"={program} " in line or f"=+-{program} " in line for line in starts)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, "gridfsmount" in checked.stderr) == (0, False), checked.stderr


def test_its_user_and_folders_are_what_sysusers_and_tmpfiles_take(
    program: Path, system: Path
) -> None:
    (system / "etc").mkdir()
    for name in ("passwd", "group"):
        (system / "etc" / name).write_text(Path("/etc", name).read_text())
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        subprocess.run([*command, f"--root={system}", "gridfsmount.conf"], check=True, timeout=60)
    passwd = (system / "etc" / "passwd").read_text()
    user = re.search(
        r"^gridfsmount:x:(\d+):(\d+):Mounts of gridfsmount:.*/nologin$", passwd, re.MULTILINE
    )
    assert user is not None
    config = (system / "etc" / "gridfsmount").stat()
    assert (config.st_mode & 0o777, config.st_uid, config.st_gid) == (0o750, 0, int(user[2]))
    cache = (system / "var" / "cache" / "gridfsmount").stat()
    assert (cache.st_mode & 0o777, cache.st_uid) == (0o700, int(user[1]))
    assert (system / "var" / "log" / "gridfsmount").is_dir()


def test_the_link_for_mount_leads_to_the_helper(program: Path, system: Path) -> None:
    helper = system / "sbin" / "mount.gridfsmount"
    assert helper.readlink() == program.with_name("mount.gridfsmount")
    done = run(helper)
    assert (done.returncode, done.stderr) == (
        1,
        "mount.gridfsmount: usage: mount.gridfsmount SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]\n",
    )


def test_installing_again_changes_nothing_and_removing_leaves_nothing(
    program: Path, root: Path
) -> None:
    planned = run(program, "install-units", "--root", root, "--dry-run")
    assert planned.returncode == 0
    assert "would write: " in planned.stdout
    assert files(root) == {}
    first = run(program, "install-units", "--root", root)
    assert "written: " in first.stdout
    before = files(root)
    again = run(program, "install-units", "--root", root)
    assert again.returncode == 0
    assert "written" not in again.stdout
    assert files(root) == before
    assert (
        "would remove: "
        in run(program, "install-units", "--root", root, "--remove", "--dry-run").stdout
    )
    assert files(root) == before
    assert run(program, "install-units", "--root", root, "--remove").returncode == 0
    assert files(root) == {}


def test_what_others_put_there_is_left_alone(program: Path, root: Path) -> None:
    mine = root / UNITS / "gridfsmount@.service"
    mine.parent.mkdir(parents=True)
    mine.write_text("[Service]\n# my own\n")
    done = run(program, "install-units", "--root", root)
    assert done.returncode == 1
    assert done.stderr == (
        f"gridfsmount: {mine} was not installed by this command: move it away first\n"
    )
    assert files(root) == {f"{UNITS}/gridfsmount@.service": "[Service]\n# my own\n"}
    mine.rename(root / "mine")
    assert run(program, "install-units", "--root", root).returncode == 0
    (root / "mine").rename(mine)
    removed = run(program, "install-units", "--root", root, "--remove")
    assert removed.returncode == 0
    assert f"left alone, it is not of this command: {mine}" in removed.stdout
    assert files(root) == {f"{UNITS}/gridfsmount@.service": "[Service]\n# my own\n"}


def test_places_that_cannot_be_written_are_named(program: Path, root: Path) -> None:
    (root / "usr").write_text("no folder")
    done = run(program, "install-units", "--root", root)
    assert done.returncode == 1
    assert done.stderr == f"gridfsmount: {root}/usr/local/lib/systemd/system: Not a directory\n"


def test_man_pages_are_right_and_of_every_command(program: Path, system: Path) -> None:
    pages = sorted((system / "usr/local/share/man").glob("man?/*"))
    names = {each.stem for each in pages}
    assert {
        "gridfsmount",
        "gridfsmount-mount",
        "gridfsmount-backup-create",
        "mount.gridfsmount",
    } <= names
    listed = re.findall(r"^  ([a-z][a-z-]*) {2,}", run(program, "--help").stdout, re.MULTILINE)
    assert {f"gridfsmount-{word}" for word in listed} <= names
    warned = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *pages],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (warned.returncode, warned.stderr) == (0, "")
    shown = subprocess.run(
        [
            "groff",
            "-man",
            "-Tascii",
            "-P-c",
            system / "usr/local/share/man/man1/gridfsmount-mount.1",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    text = " ".join(re.sub(r".\x08", "", shown).split())
    assert "gridfsmount mount [OPTIONS] [URI]" in text
    assert "--disk-cache DIR Keep what was read in DIR" in text


def test_bash_completes_commands_and_options(program: Path, system: Path) -> None:
    script = system / "usr/local/share/bash-completion/completions/gridfsmount"
    assert script.read_text().splitlines()[1] == "# Installed by `gridfsmount install-units`."
    assert completed(program, script, "gridfsmount umo") == ["umount"]
    assert completed(program, script, "gridfsmount mount --disk-cache-") == ["--disk-cache-size"]


def completed(program: Path, script: Path, line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    words = " ".join(f"'{word}'" for word in line.split(" "))
    source = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));"
        "$(complete -p gridfsmount | sed 's/.*-F \\([^ ]*\\) .*/\\1/') gridfsmount;"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{program.parent}:{os.environ['PATH']}"
    return run(Path("/bin/bash"), "-c", source, path=path).stdout.splitlines()


@pytest.mark.parametrize(
    ("shell", "first"),
    [
        ("bash", "_gridfsmount_completion() {"),
        ("zsh", "#compdef gridfsmount"),
        ("fish", "function _gridfsmount_completion;"),
    ],
)
def test_completion_is_printed_for_each_shell(program: Path, shell: str, first: str) -> None:
    done = run(program, "completion", shell)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == first


def test_man_writes_pages_for_packages(program: Path, tmp_path: Path) -> None:
    assert run(program, "man", tmp_path / "man1").returncode == 0
    assert (tmp_path / "man1" / "gridfsmount.1").read_text().startswith(".TH GRIDFSMOUNT 1 ")
    done = run(program, "man", "/proc/nothing")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
