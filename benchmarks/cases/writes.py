"""Files into a new lake, durable when it is done."""

import subprocess
from collections.abc import Iterator
from typing import Final

from benchmarks.comparison import Case, CaseBase
from benchmarks.material import MIB, Material
from benchmarks.rig import Driver, Measurement, Rig, Stopwatch

_LAKE: Final = "bench_write"
_VERSION: Final = "datasets/bench/v1"


class WriteBase(CaseBase):
    """Copies something in with a program, against uploads."""

    def prepare(self) -> None:
        """Remove what an earlier attempt left."""
        self._rig.drop(_LAKE)

    def upload(self, driver: Driver) -> None:
        """Write it with the driver."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What copies it; the target comes last."""
        raise NotImplementedError

    def reference(self) -> Measurement:
        """Upload it, acknowledged by the majority and journaled."""
        with self._rig.driver(_LAKE) as driver:
            driver.bucket.upload_from_stream("first", b"")  # makes the indexes
            with Stopwatch() as watch:
                self.upload(driver)
        self._clear()
        return watch.result

    def mount(self) -> Measurement:
        """Copy it."""
        with self._rig.mount(_LAKE) as mount:
            target = mount.version(_VERSION)
            with Stopwatch(mount.pid) as watch:
                subprocess.run([*self.command(), target], check=True)
        self._clear()
        return watch.result

    def _clear(self) -> None:
        self._rig.drop(_LAKE)
        self._rig.settle()


class WriteLarge(WriteBase):
    """The large file."""

    name = "large file in"
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of it."""
        return self._sizes.large / MIB

    def upload(self, driver: Driver) -> None:
        """Write it with the driver."""
        with self._material.large.open("rb") as source:
            driver.bucket.upload_from_stream(f"{_VERSION}/large.bin", source)

    def command(self) -> list[str]:
        """What copies it."""
        return ["cp", str(self._material.large)]


class WriteSmall(WriteBase):
    """Many small files."""

    name = "small files in"
    unit = "files"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.written

    def upload(self, driver: Driver) -> None:
        """Write them one by one."""
        for path in sorted(self._material.small.iterdir()):
            driver.bucket.upload_from_stream(f"{_VERSION}/{path.name}", path.read_bytes())

    def command(self) -> list[str]:
        """What copies them."""
        return ["cp", "-r", str(self._material.small)]


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (WriteLarge, WriteSmall):
        yield case(rig, material)
