"""Where in a TOML file a key is: `tomllib` does not tell.

For text that `tomllib` has read already: what makes no sense is not looked for here.
"""

import re
import tomllib
from typing import Final

# A comment, a string of any kind (the long ones first), a bracket, or any other character.
_TOKEN: Final = re.compile(
    r"""
    (?P<comment> \# [^\n]* )
  | (?P<string> \"{3} (?: \\. | [^\\] )*? \"{3,5} | '{3} .*? '{3,5}
              | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* ' )
  | (?P<open> [\[{] )
  | (?P<close> [\]}] )
  | .
    """,
    re.VERBOSE | re.DOTALL,
)

_HEADER: Final = re.compile(r"\[\[?(.*?)\]\]?\s*(?:\#.*)?", re.DOTALL)

Path = tuple[str, ...]
"""Keys from the outermost table to the innermost: ("mount", "cache_size")."""


def find_lines(text: str) -> dict[Path, int]:
    """The number of the line of each table and of each key, from 1 on.

    What is in an inline table is on the line where that begins, and not told.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        if statement.startswith("["):
            header = _HEADER.fullmatch(statement)
            table = _parts(header[1]) if header else ()
            found.setdefault(table, number)
        else:
            path = (*table, *_parts(_before_equals(statement)))
            for length in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:length], number)
    return found


def _statements(text: str) -> list[tuple[int, str]]:
    """Headers and assignments, each whole however many lines it takes, without comments."""
    found: list[tuple[int, str]] = []
    depth = 0
    line = begin = 1
    parts: list[str] = []
    for match in _TOKEN.finditer(text.replace("\r\n", "\n") + "\n"):
        token = match[0]
        if token == "\n" and depth == 0:
            statement = "".join(parts).strip()
            if statement:
                found.append((begin, statement))
            parts = []
        elif match.lastgroup != "comment":
            if not "".join(parts).strip():
                begin = line
            parts.append(token)
            depth += {"open": 1, "close": -1}.get(match.lastgroup or "", 0)
        line += token.count("\n")
    return found


def _before_equals(statement: str) -> str:
    end = 0
    for match in _TOKEN.finditer(statement):
        if match[0] == "=":
            break
        end = match.end()
    return statement[:end]


def _parts(key: str) -> Path:
    """A dotted key's parts, whose quotes and escapes TOML itself takes away."""
    try:
        value: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(value, dict):
        [(part, value)] = value.items()
        parts.append(part)
    return tuple(parts)
