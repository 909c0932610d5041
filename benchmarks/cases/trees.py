"""Listing: large folders, and a tree of many."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.comparison import Case, CaseBase
from benchmarks.material import Material
from benchmarks.planting import Tree
from benchmarks.reading import PATIENCE
from benchmarks.rig import Document, Measurement, Rig, Stopwatch

_TIMES: Final = 10
"""The larger folder has so many times the files of the smaller one."""


class TreeBase(CaseBase):
    """Lists a tree with a program, against the one query that brings its documents."""

    against = "query"
    unit = "files"

    @property
    def tree(self) -> Tree:
        """What is listed."""
        raise NotImplementedError

    @property
    def amount(self) -> float:
        """All its files."""
        return len(self.tree.folders) * self.tree.files

    @property
    def query(self) -> Document:
        """What brings the documents."""
        raise NotImplementedError

    def place(self, tree: Tree) -> str:
        """What is listed of a tree."""
        return tree.path

    def command(self, path: Path) -> Sequence[str | Path]:
        """What lists it."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Plant it if need be, and have it in the server's memory."""
        TreeBase.reference(self)

    def reference(self) -> Measurement:
        """Query."""
        self._rig.cool()
        with self._rig.driver(self.tree.lake) as driver, Stopwatch() as watch:
            found = len(list(driver.tree.find(self.query)))
        if found < self.amount:
            raise LookupError(f"the query finds {found} of {self.amount} files")
        return watch.result

    def mount(self) -> Measurement:
        """List."""
        return self.listing(self.tree)

    def listing(self, tree: Tree) -> Measurement:
        """List a tree in a new mount."""
        self._rig.cool()
        with self._rig.mount(tree.lake) as mount:
            run_quietly(self.command(self._rig.empty))  # the program has to be read from disk
            with Stopwatch(mount.pid) as watch:
                run_quietly(self.command(mount.path / self.place(tree)))
        return watch.result


class LongListing(TreeBase):
    """`ls -l` of one large folder."""

    target: float | None = 0.25

    @property
    def name(self) -> str:
        """For the table."""
        return f"ls -l of {self._sizes.listed:,} files cold"

    @property
    def tree(self) -> Tree:
        """One folder."""
        return self._material.tree(1, self._sizes.listed)

    @property
    def query(self) -> Document:
        """All that is in the folder."""
        return {"names.parent": self.tree.folders[0]}

    def place(self, tree: Tree) -> str:
        """Its one folder."""
        return tree.first_folder

    def command(self, path: Path) -> Sequence[str | Path]:
        """What lists it."""
        return "ls", "-l", path


class LongerListing(LongListing):
    """`ls -l` of a folder ten times as large: it may take ten times as long, and no longer."""

    target = 1.0

    @property
    def name(self) -> str:
        """For the table."""
        return f"ls -l of {self._sizes.listed * _TIMES:,} files cold"

    @property
    def against(self) -> str:  # type: ignore[override]
        """Itself, smaller."""
        return f"{_TIMES} × {self._sizes.listed:,}"

    @property
    def tree(self) -> Tree:
        """One folder."""
        return self._material.tree(1, self._sizes.listed * _TIMES)

    def reference(self) -> Measurement:
        """List the smaller one."""
        once = self.listing(self._material.tree(1, self._sizes.listed))
        return replace(once, seconds=once.seconds * _TIMES)


class Find(TreeBase):
    """`find -size +0`, which needs the attributes of each file."""

    @property
    def name(self) -> str:
        """For the table."""
        return f"find -size +0 over {self._sizes.listed * _TIMES:,} files cold"

    @property
    def tree(self) -> Tree:
        """Many folders."""
        files = self._sizes.listed // 10
        return self._material.tree(self._sizes.listed * _TIMES // files, files)

    @property
    def query(self) -> Document:
        """All that there is."""
        return {}

    def command(self, path: Path) -> Sequence[str | Path]:
        """What lists it."""
        return find_command(path)


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (LongListing, LongerListing, Find):
        yield case(rig, material)


def find_command(path: Path) -> Sequence[str | Path]:
    """A command that asks for the attributes of everything below `path`, and prints nothing."""
    return "find", path, "-type", "f", "-size", "+0"


def run_quietly(command: Sequence[str | Path]) -> None:
    """Run a command to its end, and throw away what it prints."""
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        env={**os.environ, "LC_ALL": "C"},
    )
