"""A machine of its own as far as mounts go: what is put in /etc and /sbin is nobody else's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.mounting import eventually

ROOT = Path(__file__).parents[2]

PROGRAM = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from gridfsmount.cli import main, mount_helper
sys.exit({{entry}}())
"""
"""What pip makes of an entry point."""


class Machine:
    """A mount name space with an /etc and a /sbin of its own; a context manager. Needs root.

    Attributes:
        folder: Where its mount points should be.
        etc: What is /etc there, a copy of the real one with an empty folder `gridfsmount`.
        sbin: What is /sbin there, with nothing but what is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etc = folder / "etc"
        self.sbin = folder / "sbin"
        self.sbin.mkdir()
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True)
        (self.etc / "gridfsmount").mkdir(exist_ok=True)
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Nothing that is mounted there shows here. `cat` ends when its input does.
        script = (
            'mount --bind "$0"/etc /etc && mount --bind "$0"/sbin "$(realpath /sbin)" &&'
            # For everybody, as udev makes it.
            'mknod -m 666 "$0"/fuse c 10 229 && mount --bind "$0"/fuse /dev/fuse &&'
            "echo there && exec cat"
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"there\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._holder is not None
        for fields in reversed(self.mounts()):
            self.run("umount", "--lazy", fields[1])
        self._holder.communicate()

    def install_helper(self) -> None:
        """Put the program for mount(8) into /sbin, as `install-units` does."""
        write_program(self.sbin / "mount.gridfsmount", "mount_helper")

    def run(
        self, *command: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(
            self.inside(*command),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GRIDFSMOUNT_URI": "", **(env or {})},
        )

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command that runs another one there."""
        assert self._holder is not None
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *command]

    def at(self, path: Path) -> Path:
        """A path there, as this process reaches it."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def mounts(self) -> list[list[str]]:
        """The fields of /proc/mounts there of the lakes below its folder: source, path, type ..."""
        assert self._holder is not None
        text = Path(f"/proc/{self._holder.pid}/mounts").read_text()
        lines = [line.split(" ") for line in text.splitlines()]
        return [
            fields
            for fields in lines
            if fields[2] == "fuse.gridfsmount" and fields[1].startswith(str(self.folder))
        ]


def write_program(path: Path, entry: str) -> None:
    """Make a program of one of the package's entry points."""
    path.write_text(PROGRAM.format(entry=entry))
    path.chmod(0o755)


def ended(process_id: int) -> None:
    """Wait for the end of the process that served a mount."""
    eventually(lambda: not Path(f"/proc/{process_id}").exists(), f"{process_id} has ended")
