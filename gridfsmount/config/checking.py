"""What a config file says, and everything that is wrong with it, with the line of each."""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import click

from gridfsmount.config.document import Config, place
from gridfsmount.config.keys import KEYS, SECTIONS, key_of
from gridfsmount.config.lines import find_lines

_FORMS: Final[Mapping[type, str]] = {
    str: 'must be a string, as in key = "..."',
    int: "must be a whole number",
    bool: "must be true or false",
    dict: "must be a table, as in [name]",
}

_POSITION: Final = re.compile(r" \(at line (\d+), column \d+\)$")


def check_text(path: Path, text: str) -> Config:
    """What the text of a config file says, with all that is wrong in it.

    No message repeats a value that may be secret: those of `uri` and of [vaults].
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Config(path, problems=(_no_toml(path, text, str(error)),))
    lines = find_lines(text)
    problems: list[str] = []
    parsed: dict[tuple[str, str], Any] = {}

    def say(section: str, name: str, what: str) -> None:
        table = f"[{section}] " if section else ""
        problems.append(f"{place(path, lines, section, name)}: {table}{name}: {what}")

    def take(section: str, values: Mapping[str, Any], known: Collection[str]) -> None:
        for name, value in values.items():
            key = key_of(section, name)
            if key is None:
                say(section, name, f"unknown key{_meant(section, name, known)}")
            elif type(value) is not key.form:  # a bool is an int, but none here
                say(section, name, _FORMS[key.form])
            else:
                try:
                    parsed[section, name] = key.kind.convert(value, None, None)
                except click.BadParameter as error:
                    say(section, name, error.message.rstrip("."))

    take("", {name: each for name, each in values.items() if name not in SECTIONS}, KEYS)
    for section, keys in SECTIONS.items():
        table = values.get(section, {})
        if isinstance(table, dict):
            take(section, table, keys)
        else:
            say("", section, _FORMS[dict])
    if "uri" in values and "embedded" in values:
        say("", "embedded", "there is a `uri` too: one of them says where the lake is")
    order = {message: _line_of(message, path) for message in problems}
    return Config(path, values, parsed, lines, tuple(sorted(problems, key=order.__getitem__)))


def _line_of(message: str, path: Path) -> int:
    match = re.match(rf"{re.escape(str(path))}:(\d+):", message)
    return int(match[1]) if match else 0


def _no_toml(path: Path, text: str, what: str) -> str:
    match = _POSITION.search(what)
    line = int(match[1]) if match else len(text.splitlines())
    what = _POSITION.sub("", what).removesuffix(" (at end of document)")
    return f"{path}:{line}: no TOML: {what[:1].lower()}{what[1:]}"


def _meant(section: str, name: str, known: Collection[str]) -> str:
    elsewhere = [f"[{each}]" for each, keys in SECTIONS.items() if name in keys]
    if elsewhere:
        return f"; it goes below {' or '.join(elsewhere)}"
    if name in KEYS:
        return "; it goes above all tables"
    names = [*known] if section else [*known, *SECTIONS]
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"
