"""What a case is, how it is run, and what comes out."""

import enum
import statistics
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks.material import Material, Sizes
from benchmarks.rig import Measurement, Rig

MIB: Final = 1 << 20


class Figure(enum.Enum):
    """Which figure of a measurement counts; of each, less is better."""

    TIME = "seconds"
    MEMORY = "bytes"
    CPU = "CPU seconds"


class Case(Protocol):
    """One comparison."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def against(self) -> str:
        """What the mount is compared with: the driver, a query, a disk."""

    @property
    def target(self) -> float | None:
        """The ratio that the mount should reach; None if there is nothing to reach."""

    @property
    def figure(self) -> Figure:
        """What is compared."""

    @property
    def amount(self) -> float:
        """How much work one run is, in `unit`."""

    @property
    def unit(self) -> str:
        """What `amount` counts."""

    @property
    def most_rounds(self) -> int | None:
        """More rounds than these would tell nothing new; None for as many as are asked for."""

    def prepare(self) -> None:
        """Make what both sides read, and let the server have it in its memory."""

    def reference(self) -> Measurement:
        """Do the work without the mount."""

    def mount(self) -> Measurement:
        """Do the work through a mount."""


class CaseBase:
    """What most cases have in common: they are about time, and against the driver."""

    against = "driver"
    target: float | None = None
    figure = Figure.TIME
    most_rounds: int | None = None

    def __init__(self, rig: Rig, material: Material) -> None:
        """Run on `rig` with what is in `material`."""
        self._rig = rig
        self._material = material

    @property
    def _sizes(self) -> Sizes:
        return self._material.sizes


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one case."""

    name: str
    against: str
    target: float | None
    figure: Figure
    amount: float
    unit: str
    reference: Sequence[Measurement]
    mount: Sequence[Measurement]

    @property
    def reference_cost(self) -> float:
        """Median of what the reference took of the figure that counts."""
        return statistics.median(_cost(each, self.figure) for each in self.reference)

    @property
    def mount_cost(self) -> float:
        """Median of what the mount took of it."""
        return statistics.median(_cost(each, self.figure) for each in self.mount)

    @property
    def ratio(self) -> float:
        """How many times better the mount is: above 1, it is faster, or takes less."""
        return self.reference_cost / self.mount_cost

    @property
    def falls_short(self) -> bool:
        """Whether it misses its target."""
        return self.target is not None and self.ratio < self.target

    @property
    def peak(self) -> int:
        """Most memory of the mount's process in any run, in bytes."""
        return max(each.peak for each in self.mount)

    @property
    def cpu_seconds(self) -> float:
        """Median processor time of the mount's process."""
        return statistics.median(each.cpu_seconds for each in self.mount)


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that came to no result."""

    name: str
    against: str
    target: float | None
    reason: str
    details: str
    """The traceback."""


def compare(case: Case, rounds: int) -> Result | Failure:
    """Run both sides in turns, so that what else the machine does meets both.

    The side that begins changes with each round, so that neither profits from the other.
    """
    reference: list[Measurement] = []
    mount: list[Measurement] = []
    try:
        case.prepare()
        for turn in range(min(rounds, case.most_rounds or rounds)):
            if turn % 2 == 0:
                reference.append(case.reference())
                mount.append(case.mount())
            else:
                mount.append(case.mount())
                reference.append(case.reference())
        return Result(
            case.name,
            case.against,
            case.target,
            case.figure,
            case.amount,
            case.unit,
            reference,
            mount,
        )
    except Exception as error:  # whatever it is, the other cases still count
        return Failure(
            case.name,
            case.against,
            case.target,
            f"{type(error).__name__}: {error}".strip(),
            traceback.format_exc(),
        )


def _cost(measurement: Measurement, figure: Figure) -> float:
    match figure:
        case Figure.TIME:
            return measurement.seconds
        case Figure.MEMORY:
            return measurement.peak
        case Figure.CPU:
            return measurement.cpu_seconds
