"""What `gridfsmount status` is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Fact = str | int | bool | None | Sequence[Mapping[str, str | int | bool | None]]


@dataclass(frozen=True, slots=True)
class Section:
    """The answer to one question."""

    name: str
    text: str
    """For people; may have several lines."""
    facts: Mapping[str, Fact]
    """For programs."""
    problems: Sequence[str] = ()
    """What a person should do something about."""
