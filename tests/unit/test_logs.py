"""Lines of a log: one for each record, readable by machines if so wanted, and without secrets."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridfsmount.cli.logs import _Lines, _Objects, set_up_logging
from gridfsmount.config.keys import JSON, LOG_FORMATS, TEXT

URI = "mongodb://ana:s3cret@db.example.org/lake"


@pytest.fixture(autouse=True)
def root_handlers() -> Iterator[None]:
    """What pytest set up is there again afterwards."""
    root, pymongo = logging.getLogger(), logging.getLogger("pymongo")
    handlers, level, theirs = list(root.handlers), root.level, pymongo.level
    root.handlers.clear()
    yield
    for each in root.handlers:
        each.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    pymongo.setLevel(theirs)


@pytest.mark.parametrize("form", LOG_FORMATS)
def test_secrets_are_in_no_field_of_any_form(form: str, tmp_path: Path) -> None:
    file = tmp_path / "log"
    set_up_logging(file, 0, form)
    log = logging.getLogger("gridfsmount.test")
    log.warning("asking %s", URI, extra={"path": f"/{URI}", "seconds": 1.5})
    try:
        raise ValueError(URI)
    except ValueError:
        log.exception("it failed")
    text = file.read_text()
    assert "s3cret" not in text
    assert "***@db.example.org" in text
    assert "Traceback" in text


def test_a_name_with_a_line_break_forges_no_line_for_people(tmp_path: Path) -> None:
    file = tmp_path / "log"
    set_up_logging(file, 0, TEXT)
    logging.getLogger("gridfsmount.test").warning("slow: %s", "a\n2026-01-01 ERROR forged\x1b[31m")
    (line,) = file.read_text().splitlines()
    assert line.endswith("slow: a\\x0a2026-01-01 ERROR forged\\x1b[31m")


def test_an_object_has_what_was_said_beside_the_text(tmp_path: Path) -> None:
    file = tmp_path / "log"
    set_up_logging(file, 0, JSON)
    said = {"operation": "read", "bytes": 4096, "seconds": 1.25, "content": None}
    logging.getLogger("gridfsmount.test").info("slow", extra=said)
    (line,) = file.read_text().splitlines()
    told = json.loads(line)
    assert {key: told[key] for key in said} == said
    assert (told["level"], told["logger"], told["message"]) == ("INFO", "gridfsmount.test", "slow")
    assert told.keys() == {"time", "level", "logger", "message", *said}


@settings(max_examples=30)
@given(st.text(), st.text())
def test_whatever_is_said_is_one_line(message: str, path: str) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (message,), "path": path})
    assert len(_Lines("%(message)s").format(record).splitlines()) <= 1
    line = _Objects().format(record)
    assert len(line.splitlines()) == 1
    json.loads(line)
