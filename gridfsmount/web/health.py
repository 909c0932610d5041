"""Whether a lake is well, as `gridfsmount status` tells it; the command hands the questions in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gridfsmount.errors import LakeError
from gridfsmount.store.lake import Lake


class Answer(Protocol):
    """What the lake says to one question."""

    @property
    def name(self) -> str:
        """What was asked."""

    @property
    def text(self) -> str:
        """For people."""

    @property
    def problems(self) -> Sequence[str]:
        """What a person should do something about."""


Asking = Callable[[Lake], Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Health:
    """How a lake is."""

    answers: Sequence[Answer]
    problems: Sequence[str]
    reachable: bool = True
    """Whether it could be asked at all."""

    @property
    def well(self) -> bool:
        """Whether nothing needs a person."""
        return not self.problems


def examine(lake: Lake, ask: Asking) -> Health:
    """Ask a lake how it is; one that cannot be asked is not well."""
    try:
        answers = ask(lake)
    except LakeError as error:
        return Health((), (f"the lake does not tell how it is: {error}",), reachable=False)
    return Health(answers, [problem for each in answers for problem in each.problems])
