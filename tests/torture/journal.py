"""What a worker was about to do and what came of it, on a local disk, outside the mount.

One line of JSON an event, written by one write(2) in append mode: a line that is there is whole,
whoever is killed.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from tests.torture.belief import FOLDER, Belief, State, Step
from tests.torture.contents import Extent

Outcome = Literal["done", "failed"]

UNFINISHED: Final = float("inf")


@dataclass(slots=True)
class Operation:
    """A call, or several with one acknowledgement at their end.

    Attributes:
        worker: Whose it is.
        number: Counts the worker's operations.
        name: For people.
        steps: What it does, in this order.
        begun: When, on the machine's monotonic clock.
        ended: Likewise; UNFINISHED if it never returned.
        outcome: None as well then.
        error: Name of the errno it failed with.
    """

    worker: int
    number: int
    name: str
    steps: tuple[Step, ...]
    begun: float
    ended: float = UNFINISHED
    outcome: Outcome | None = None
    error: str = ""

    def apply(self, belief: Belief) -> None:
        if self.outcome == "done":
            belief.done(self.steps)
        else:
            belief.failed(self.steps)

    @property
    def paths(self) -> set[str]:
        return {path for step in self.steps for path in step.sets}


class Journal:
    """Written by all workers of a process. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def intend(self, worker: int, number: int, name: str, steps: Sequence[Step]) -> None:
        """Note that an operation begins."""
        self._write(
            worker,
            number,
            event="intend",
            name=name,
            steps=[{"sets": dict(each.sets), "if_missing": each.if_missing} for each in steps],
        )

    def done(self, worker: int, number: int) -> None:
        """Note that it was acknowledged."""
        self._write(worker, number, event="done")

    def failed(self, worker: int, number: int, error: str) -> None:
        """Note that it failed."""
        self._write(worker, number, event="failed", error=error)

    def wrong(self, worker: int, number: int, text: str) -> None:
        """Note that the worker itself saw what must not be."""
        self._write(worker, number, event="wrong", text=text)

    def _write(self, worker: int, number: int, **event: Any) -> None:
        line = {"at": time.monotonic(), "worker": worker, "number": number, **event}
        data = json.dumps(line, default=_extent).encode() + b"\n"
        assert os.write(self._file, data) == len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)


@dataclass(slots=True)
class Record:
    """A journal, as far as it was read.

    Attributes:
        operations: In the order in which they began.
        wrong: What workers saw that must not be.
    """

    operations: list[Operation] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _open: dict[tuple[int, int], Operation] = field(default_factory=dict)

    def take(self, lines: Iterable[str]) -> None:
        """Read on."""
        for line in lines:
            event = json.loads(line)
            key = (event["worker"], event["number"])
            if event["event"] == "intend":
                operation = Operation(*key, event["name"], _steps(event["steps"]), event["at"])
                self._open[key] = operation
                self.operations.append(operation)
            elif event["event"] == "wrong":
                self.wrong.append(event["text"])
            else:
                operation = self._open.pop(key)
                operation.ended = event["at"]
                operation.outcome = event["event"]
                operation.error = event.get("error", "")

    def of_worker(self, worker: int) -> Iterator[Operation]:
        return (each for each in self.operations if each.worker == worker)

    @property
    def workers(self) -> list[int]:
        return sorted({each.worker for each in self.operations})

    def belief(self, worker: int) -> Belief:
        """What the worker's folder may show after all that."""
        belief = Belief()
        for each in self.of_worker(worker):
            each.apply(belief)
        return belief


class Follower:
    """Reads a journal while it is written. A context manager."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open(encoding="utf-8")
        self._rest = ""
        self.record = Record()

    def read(self) -> Record:
        """Everything up to now."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        self.record.take(lines)
        return self.record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def _extent(value: object) -> list[int]:
    assert isinstance(value, Extent)
    return [value.generation, value.start, value.stop]


def _steps(plain: list[dict[str, Any]]) -> tuple[Step, ...]:
    return tuple(
        Step({path: _state(state) for path, state in each["sets"].items()}, each["if_missing"])
        for each in plain
    )


def _state(plain: Any) -> State:
    if plain is None:
        return None
    return FOLDER if plain == FOLDER else tuple(Extent(*each) for each in plain)
