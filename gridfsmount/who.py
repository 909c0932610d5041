"""Who runs a command, as the lake notes it."""

import getpass
import os
import socket


def who() -> str:
    """User and machine, as in "ana@gpu1"."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for the user's number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
