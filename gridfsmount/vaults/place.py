"""The directory of a vault: its header, and whether it still is there.

It is looked up anew by every call, so that its disk may be unmounted at any time. What is not found
makes sure first that the vault is still there; so does whatever changes something.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from gridfsmount.core.vault import VAULT_FORMAT, Header
from gridfsmount.errors import ConfigError, LakeFormatError, NotFound, StoreUnavailable
from gridfsmount.vaults.disk import opened, read_all, sync, sync_folder
from gridfsmount.vaults.seam import refused

HEADER: Final = "vault.json"

FOLDERS: Final = (
    *("blobs", "damaged", "snapshots", "notes", "tmp"),
    *(f"blobs/{each:02x}" for each in range(256)),
)
"""Outer ones first."""


class Place:
    """A directory that is a vault."""

    def __init__(self, path: Path) -> None:
        """Look at the vault at `path`.

        Raises:
            ConfigError: there is none: perhaps its disk is not mounted.
            LakeFormatError: it has a newer format, or is none.
        """
        self.path = path
        self.header, self._seen = self._read_header()

    def _read_header(self) -> tuple[Header, tuple[int, ...]]:
        """The header, and what tells its file from any other."""
        try:
            with opened(self.path / HEADER) as descriptor:
                seen = _identity(os.fstat(descriptor))
                document: dict[str, Any] = json.loads(read_all(descriptor, 0, 1 << 20))
            header = Header(
                id=str(document["id"]),
                lake=str(document["lake"]),
                created_ns=int(document["created_ns"]),
                format=int(document["format"]),
            )
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.path} is no vault: it has no {HEADER}. If its disk is not mounted, mount "
                f"it; `gridfsmount backup init --vault {self.path}` makes a new vault"
            ) from error
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LakeFormatError(
                f"{self.path / HEADER} is no header of a vault: {error!r}"
            ) from error
        if header.format > VAULT_FORMAT:
            raise LakeFormatError(
                f"{self.path} has format {header.format}; this version knows up to "
                f"{VAULT_FORMAT}: upgrade gridfsmount"
            )
        return header, seen

    def check_there(self) -> None:
        """Make sure that the vault is still the one that was opened.

        Raises:
            StoreUnavailable: its disk was unmounted, or another was mounted there.
        """
        with suppress(OSError):
            if _identity((self.path / HEADER).stat()) == self._seen:
                return
        try:
            header, seen = self._read_header()
        except (ConfigError, LakeFormatError) as error:
            raise StoreUnavailable(f"the vault is gone: {error}") from error
        if header.id != self.header.id:
            raise StoreUnavailable(f"{self.path} is another vault than a moment ago")
        self._seen = seen

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Translate errors of the system; what is not found may be the whole vault."""
        try:
            with refused(str(self.path), what):
                yield
        except NotFound:
            self.check_there()
            raise

    @contextmanager
    def temporary(self, beginning: str = "") -> Iterator[Path]:
        """A place for what is not whole yet; what is there after the block goes."""
        place = self.path / "tmp" / f"{beginning}{uuid.uuid4().hex}"
        try:
            yield place
        finally:
            # What cannot go now goes when somebody takes the lease.
            with suppress(OSError):
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink(missing_ok=True)


def make_place(path: Path, lake: str) -> None:
    """Make a vault in a new or an empty directory.

    Raises:
        ConfigError: there is something in it, or it cannot be made.
    """
    try:
        if not path.parent.is_dir():
            raise ConfigError(
                f"{path} cannot be a vault: there is no folder {path.parent}. If its disk is not "
                "mounted, mount it"
            )
        path.mkdir(exist_ok=True)
        found = sorted(each.name for each in path.iterdir() if each.name != "lost+found")
        if found:
            what = "a vault" if HEADER in found else f"something ({found[0]})"
            raise ConfigError(f"there is {what} in {path}: a new vault needs an empty directory")
        for name in FOLDERS:
            (path / name).mkdir()
        sync_folder(path / "blobs")
        header = {
            "format": VAULT_FORMAT,
            "id": uuid.uuid4().hex,
            "lake": lake,
            "created_ns": time.time_ns(),
        }
        temporary = path / "tmp" / HEADER
        temporary.write_text(json.dumps(header, indent=2) + "\n")
        sync(temporary)
        temporary.rename(path / HEADER)
        sync_folder(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be a vault: {error.strerror}") from error


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What two files do not have in common, though their disks look the same."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
