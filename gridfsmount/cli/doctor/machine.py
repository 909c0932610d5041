"""This machine: FUSE, limits, the config file, and systemd."""

import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridfsmount import __version__
from gridfsmount.addresses import find_config
from gridfsmount.cli.doctor.findings import Finding, ok, problem, warning
from gridfsmount.cli.settings import Settings, read_settings
from gridfsmount.errors import ConfigError

DEVICE: Final = Path("/dev/fuse")
FUSE_CONF: Final = Path("/etc/fuse.conf")

FEWEST_FILES: Final = 1024
"""Descriptors: a mount has a hundred connections to each server at most, and some files."""

_SYS_ADMIN: Final = 21  # capabilities(7), linux/capability.h

TIMERS: Final = ("gridfsmount-backup.timer", "gridfsmount-verify.timer", "gridfsmount-prune.timer")


def fuse() -> Iterator[Finding]:
    """What every mount needs of the system."""
    kernel = os.uname().release
    program = f"gridfsmount {__version__}"
    yield from _device(f"{DEVICE} can be opened (Linux {kernel}, {program})")
    helper = shutil.which("fusermount3")
    if helper is None:
        yield problem("fusermount3", "it is not installed", "apt install fuse3")
    elif os.geteuid() != 0 and not Path(helper).stat().st_mode & 0o4000:
        yield problem(
            "fusermount3", f"{helper} may not mount for you", f"as root: chmod u+s {helper}"
        )
    else:
        yield ok("fusermount3", f"{helper}, {_said(helper, '--version')}")
    yield _allow_other(FUSE_CONF)


def _device(well: str) -> Iterator[Finding]:
    container = "in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN"
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        yield problem("fuse", f"there is no {DEVICE}", f"modprobe fuse; {container}")
        return
    except OSError as error:
        mend = f"as root: chmod 666 {DEVICE}; {container}"
        yield problem("fuse", f"{DEVICE} cannot be opened: {error.strerror}", mend)
        return
    status = os.fstat(descriptor)
    os.close(descriptor)
    if not stat.S_ISCHR(status.st_mode):
        yield problem("fuse", f"{DEVICE} is no device", container)
    elif not _may_mount():
        yield problem("fuse", "nothing here may mount: SYS_ADMIN was taken away", container)
    else:
        yield ok("fuse", well)


def _may_mount() -> bool:
    """Whether root, or fusermount3 for other users, has what mount(2) needs."""
    which = "CapEff" if os.geteuid() == 0 else "CapBnd"
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == which:
            return bool(int(value, 16) >> _SYS_ADMIN & 1)
    return True


def _allow_other(file: Path) -> Finding:
    if os.geteuid() == 0:
        return ok("allow-other", "root may let other users in (mount --allow-other)")
    try:
        lines = file.read_text().splitlines()
    except OSError:
        lines = []
    if any(line.strip() == "user_allow_other" for line in lines):
        return ok("allow-other", f"users may let others in: user_allow_other is in {file}")
    return warning(
        "allow-other",
        "your mounts are for you alone: --allow-other will be refused",
        f"if others are to see them, as root: echo user_allow_other >> {file}",
    )


def limits() -> Iterator[Finding]:
    """Open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEWEST_FILES:
        mend = f"ulimit -n {FEWEST_FILES}, or LimitNOFILE={FEWEST_FILES} in a unit of systemd"
        if hard != resource.RLIM_INFINITY and hard < FEWEST_FILES:
            mend += " (the hard limit is low, too: limits.conf(5))"
        yield problem("open files", f"a process may have {soft} only", mend)
    else:
        most = "any number" if soft == resource.RLIM_INFINITY else f"{soft:,}"
        yield ok("open files", f"a process may have {most}")


def config(file: Path | None) -> Iterator[Finding]:
    """Whether the config file can be read, and makes sense."""
    found = find_config(file)
    if found is None:
        yield ok("config file", "there is none, and none is needed")
        return
    try:
        read_settings(file)
    except ConfigError as error:
        yield problem("config file", str(error))
    else:
        yield ok("config file", f"{found} makes sense")


def services(settings: Settings) -> Iterator[Finding]:
    """Units of systemd, where it runs."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return
    listed = _said("systemctl", "list-units", "--all", "--plain", "--no-legend", "gridfsmount*")
    yield from failed_units(listed)
    if settings.vaults:
        states = {each: _said("systemctl", "is-enabled", each) for each in TIMERS}
        yield timers(states)


def failed_units(listed: str) -> Iterator[Finding]:
    """What `systemctl list-units --plain --no-legend` lists: UNIT LOAD ACTIVE SUB DESCRIPTION."""
    rows = [line.split() for line in listed.splitlines()]
    units = [row for row in rows if len(row) >= 4]
    failed = [row[0] for row in units if row[2] == "failed"]
    for unit in failed:
        yield problem("systemd", f"{unit} has failed", f"journalctl -u {unit}")
    if units and not failed:
        yield ok("systemd", f"none of {len(units)} units has failed")


def timers(states: dict[str, str]) -> Finding:
    """What `systemctl is-enabled` says of each timer."""
    off = [name for name, state in states.items() if not state.startswith("enabled")]
    if not off:
        return ok("timers", "backups, verification and pruning run on timers")
    return warning(
        "timers",
        f"the config file names vaults, and nothing here runs {', '.join(off)}",
        f"systemctl enable --now {' '.join(off)}, unless another machine does it",
    )


def _said(*command: str) -> str:
    """What a program prints; whether it succeeds does not matter."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return (done.stdout or done.stderr).strip()
