"""What a mount that died has left does not keep the next one away."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from gridfsmount.errors import MountError
from gridfsmount.mount.mountpoint import check_mountpoint, clear_dead
from tests.faults.lakes import errno_of, recovered
from tests.mounting import Mounted, eventually, mounted, run_command

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount another file system")


def killed(mount: Mounted) -> None:
    assert mount.process is not None
    mount.process.kill()
    mount.process.wait()
    assert errno_of(lambda: os.scandir(mount.path)) == errno.ENOTCONN


def mounts_on(path: Path) -> int:
    return Path("/proc/self/mounts").read_text().count(f" {path} ")


def test_the_next_mount_takes_a_dead_one_away_that_is_in_use(lake_uri: str, tmp_path: Path) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "file"
        path.write_bytes(b"kept")
        reading = os.open(path, os.O_RDONLY)
        try:
            killed(mount)
            mount.start()
            # The kernel shows what it remembers of the dead one for a moment.
            eventually(lambda: recovered(path, b"kept"), "it is mounted anew")
            assert errno_of(lambda: os.read(reading, 1)) in (errno.ENOTCONN, errno.ECONNABORTED)
        finally:
            errno_of(lambda: os.close(reading))
        assert mounts_on(mount.path) == 1
        assert f"{mount.path} was left from a mount that died: cleared away" in mount.log_text()


def test_in_the_background_as_well(lake_uri: str, tmp_path: Path) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        killed(mount)
        done = run_command("mount", "--log-file", mount.log, lake_uri, mount.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert mounts_on(mount.path) == 1
        assert run_command("umount", mount.path).returncode == 0


@AS_ROOT
def test_the_dead_mount_of_another_program_is_left_alone(tmp_path: Path) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    subprocess.run(
        ["mount", "-i", "-t", "fuse.other", "-o", options, "other", tmp_path],
        check=True,
        pass_fds=[device],
    )
    os.close(device)
    try:
        clear_dead(tmp_path)
        with pytest.raises(MountError, match=r"left from a mount of fuse.other that died: umount"):
            check_mountpoint(tmp_path)
        assert mounts_on(tmp_path) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)
