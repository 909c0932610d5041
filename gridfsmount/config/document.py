"""A config file as it was read. Knows no keys, so that who has no such file pays for none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Config:
    """A config file that was read; without one, nothing is in it."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As TOML has them; they may hold passwords."""
    parsed: Mapping[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    """By table (empty outside of all) and key, as their kinds make them."""
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """Each one line, with file and line; the file is of use only when there are none."""

    def table(self, name: str) -> dict[str, Any]:
        """The parsed values of one table; those outside of all for an empty name."""
        return {key: value for (table, key), value in self.parsed.items() if table == name}

    def place(self, section: str, name: str = "") -> str:
        """File and line of a key, or else of its table; for messages."""
        return place(self.path, self.lines, section, name)


def place(
    path: Path | None, lines: Mapping[tuple[str, ...], int], section: str, name: str = ""
) -> str:
    """File and line of a key, or else of its table; for messages."""
    whole = tuple(each for each in (section, name) if each)
    line = lines.get(whole) or lines.get(whole[:1])
    return f"{path}:{line}" if line else str(path)
