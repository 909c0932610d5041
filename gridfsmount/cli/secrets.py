"""A password on the command line is kept out of the process list."""

import re
import sys
from typing import Final

import setproctitle

from gridfsmount.addresses import redact

# In an argument of its own: a password that nobody quoted may hold anything.
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*:/{1,2}).*@", re.IGNORECASE | re.DOTALL)


def scrub_process_title() -> None:
    """Take credentials out of what ps(1) shows of this process."""
    command = " ".join(sys.argv)
    clean = redact(" ".join(_ADDRESS.sub(r"\1***@", each) for each in sys.argv))
    if clean != command:
        setproctitle.setproctitle(clean)
