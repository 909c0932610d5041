"""What a check of `gridfsmount doctor` says."""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias


class Verdict(enum.Enum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    """Works, and may not always, or not for everybody."""
    PROBLEM = "problem"


NEXT: Final = "next"
"""The fact what a check looks at next, for the case that it does not answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question."""

    check: str
    """What was looked at, in a word or two."""
    verdict: Verdict
    text: str
    """How it is, without secrets."""
    mend: str = ""
    """What to do about it; empty where all is well, or where the text says so."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For other checks."""


Look: TypeAlias = Callable[[], Iterator[Finding]]
"""Gives findings as they are made; may block."""


def ok(check: str, text: str, **facts: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, text, facts=facts)


def warning(check: str, text: str, mend: str = "", **facts: str) -> Finding:
    """It works for now."""
    return Finding(check, Verdict.WARNING, text, mend, facts)


def problem(check: str, text: str, mend: str = "") -> Finding:
    """It does not work."""
    return Finding(check, Verdict.PROBLEM, text, mend)
