"""Passwords are kept out of the process list, of children's environments and of core dumps."""

import os
import re
import resource
import sys
from typing import Final

import setproctitle

from gridfsmount.addresses import URI_VARIABLE, redact
from gridfsmount.config.logins import PASSWORD_VARIABLE

# In an argument of its own: a password that nobody quoted may hold anything.
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*:/{1,2}).*@", re.IGNORECASE | re.DOTALL)


def scrub_process_title() -> None:
    """Take credentials out of what ps(1) shows of this process."""
    command = " ".join(sys.argv)
    clean = redact(" ".join(_ADDRESS.sub(r"\1***@", each) for each in sys.argv))
    if clean != command:
        setproctitle.setproctitle(clean)


def forget_secrets() -> None:
    """Take them out of the environment, which programs that this one starts would get."""
    for variable in (URI_VARIABLE, PASSWORD_VARIABLE):
        os.environ.pop(variable, None)


def forbid_core_dumps() -> None:
    """No copy of this process's memory on a disk, if it crashes; nor of those that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
