"""Where log lines go, and what they must not contain."""

import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from gridfsmount.addresses import redact
from gridfsmount.errors import ConfigError

LOG_BYTES: Final = 10 << 20
LOG_FILES: Final = 3


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Private(logging.handlers.RotatingFileHandler):
    """Makes files that other users cannot read: names of files and servers are in them."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o640)

        return open(self.baseFilename, "a", encoding=self.encoding, opener=opener)


def set_up_logging(file: Path | None, verbosity: int) -> None:
    """Log to `file`, which is rotated at 10 MiB, or to standard error.

    Raises:
        ConfigError: the file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler()
    else:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = _Private(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the log {file} cannot be written: {error.strerror}") from error
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(
        level=logging.DEBUG if verbosity else logging.INFO, handlers=[handler], force=True
    )
    # The driver's own debug log shows every command with its data.
    logging.getLogger("pymongo").setLevel(logging.INFO if verbosity > 1 else logging.WARNING)
