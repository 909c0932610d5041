"""The `gridfsmount` command: output, exit codes, nothing else."""

from gridfsmount.cli.main import main

__all__ = ["main"]
