"""What holds when nobody chose otherwise."""

from typing import Final

DEFAULT_DEADLINE: Final = 30.0
"""Seconds for one database operation, fail-over included."""

DEFAULT_SLOW: Final = 1.0
"""Seconds: an operation of a mount that takes as long is worth a line in its log."""

DEFAULT_LEASE: Final = 300.0
"""Seconds after which a writer that no longer renews its lease counts as dead."""

DEFAULT_CACHE: Final = 128 << 20
"""Bytes of chunks in memory."""

DEFAULT_DISK_CACHE: Final = 50 << 30
"""Bytes of chunks on the local disk, when there is a folder for them."""
