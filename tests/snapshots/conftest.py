"""A vault with a few snapshots, and mounts of vaults alone."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gridfsmount.core.vault import Vault
from gridfsmount.vaults.opening import make_vault
from tests.mounting import Mounted

LAKE = "5ab1e0000000000000000001"


class MountedAlone(Mounted):
    """Vaults without a lake, mounted."""

    def __init__(self, folder: Path, *options: str | Path) -> None:
        super().__init__("--no-lake", folder, *options)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the mount ended:\n{self._tail()}"
        return os.path.ismount(self.path) and (self.path / "snapshots").is_dir()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """An empty vault."""
    made = make_vault(str(tmp_path / "vault"), LAKE)
    yield made
    made.close()


@pytest.fixture
def mount_alone(tmp_path: Path) -> Iterator[Callable[..., MountedAlone]]:
    """Mounts vaults alone; what is mounted ends with the test."""
    with ExitStack() as stack:

        def mount(*vaults: str | Path, options: tuple[str | Path, ...] = ()) -> MountedAlone:
            given = [part for each in vaults for part in ("--vault", each)]
            return stack.enter_context(MountedAlone(tmp_path, *given, *options))

        yield mount
