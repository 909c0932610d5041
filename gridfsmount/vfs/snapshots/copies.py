"""Local copies of manifests, of vaults that are no folders: which stay, and where. Blocking.

A folder for each vault, and in it one for each snapshot. Several mounts may share them.
"""

import contextlib
import os
import shutil
from collections.abc import Container
from pathlib import Path
from typing import Final

from gridfsmount.vaults.seam import refused

KEPT: Final = 8
"""Copies that stay for the next look: of a million files each has some 300 MB."""


class ManifestCopies:
    """The copies of one vault's manifests."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when it is needed."""
        self._folder = folder

    def place(self, snapshot: str) -> Path:
        """A folder for the copy of one; it counts as used now.

        Raises:
            FileSystemError: it cannot be made.
        """
        place = self._folder / snapshot
        with refused(str(self._folder), "keep the copy of a manifest"):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.utime(place)
        return place

    def drop_unused(self, there: Container[str]) -> None:
        """Remove those of snapshots that are not `there`, empty ones, and all but the last used."""
        try:
            with os.scandir(self._folder) as entries:
                found = sorted(entries, key=lambda each: -each.stat().st_mtime_ns)
        except OSError:  # there are none, or somebody else is at it
            return
        kept = 0
        for each in found:
            with contextlib.suppress(OSError):
                Path(each.path).rmdir()
                continue
            kept += each.name in there
            if each.name not in there or kept > KEPT:
                shutil.rmtree(each.path, ignore_errors=True)
