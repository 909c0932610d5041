"""The `gridfsmount` command, and that of mount(8): output, exit codes, nothing else."""

from gridfsmount.cli.main import main
from gridfsmount.cli.mount_helper import mount_helper

__all__ = ["main", "mount_helper"]
