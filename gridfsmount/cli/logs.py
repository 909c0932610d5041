"""Where log lines go, what they look like, and what they must not contain."""

import json
import logging
import logging.handlers
import os
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import click

from gridfsmount.addresses import redact
from gridfsmount.config.keys import JSON, SECTIONS, TEXT
from gridfsmount.core.defaults import DEFAULT_SLOW
from gridfsmount.core.wording import printable
from gridfsmount.errors import ConfigError

LOG_BYTES: Final = 10 << 20
LOG_FILES: Final = 3

# What every record has; all else was said with `extra=`.
_COMMON: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}

log_format_option = click.option(
    "--log-format",
    type=SECTIONS["log"]["format"].kind,
    default=TEXT,
    show_default=True,
    help="Lines for people, or one JSON object each.",
)

slow_option = click.option(
    "--slow",
    type=SECTIONS["log"]["slow"].kind,
    default=DEFAULT_SLOW,
    show_default="1s",
    help="Log each operation that takes as long, as in 500ms or 5s.",
)


class _Lines(logging.Formatter):
    """For people: a line each, whatever a file's name does; and the traceback, if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (its name in logging)
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Private(logging.handlers.RotatingFileHandler):
    """Makes files that other users cannot read: names of files and servers are in them."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o640)

        return open(self.baseFilename, "a", encoding=self.encoding, opener=opener)


class _Objects(logging.Formatter):
    """For programs: an object on each line, with what the text says as fields as well."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: each for key, each in record.__dict__.items() if key not in _COMMON}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: _clean(each) for key, each in fields.items()})


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def set_up_logging(file: Path | None, verbosity: int, form: str = TEXT) -> None:
    """Log to `file`, which is rotated at 10 MiB, or to standard error; `form` is TEXT or JSON.

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
    handler.setFormatter(
        _Objects() if form == JSON else _Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(
        level=logging.DEBUG if verbosity else logging.INFO, handlers=[handler], force=True
    )
    # The driver's own debug log shows every command with its data.
    logging.getLogger("pymongo").setLevel(logging.INFO if verbosity > 1 else logging.WARNING)
