"""A vault in a directory: another disk, or an NFS mount.

    vault.json                                     header
    lock                                           the lease: locked while somebody holds it
    blobs/ab/abcdef...                             a content, named by its SHA-256
    damaged/abcdef...                              a blob that was found to be wrong
    snapshots/2026-11-22T03-00-00Z/manifest.sqlite
                                   summary.json
    notes/...
    tmp/...                                        what is not whole yet

What has its name is whole: it is written below `tmp`, synced, and renamed, and so is there after a
crash or is not. The modification time of a blob says when it was last known to be right.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.summary import Summary, decode_summary, encode_summary
from gridfsmount.core.vault import (
    Blob,
    Header,
    check_note_name,
    is_note_name,
    is_snapshot_name,
)
from gridfsmount.errors import (
    AlreadyExists,
    Damaged,
    NotFound,
)
from gridfsmount.vaults.disk import (
    NEW,
    Appending,
    copy,
    opened,
    read_all,
    sync,
    sync_file_system,
    sync_folder,
    write_all,
)
from gridfsmount.vaults.lock import UNLEASED, Lock, locked
from gridfsmount.vaults.place import Place, make_place

MANIFEST: Final = "manifest.sqlite"
SUMMARY: Final = "summary.json"

_FEW: Final = 4
"""So many folders are synced one by one; beyond that, all of the file system at once."""

_SCAN: Final = 16
"""Blobs of one folder that are worth a listing, and entries that are read for each: on NFS a
listing of 1,000 takes as long as a look at 3."""


class DirectoryVault:
    """A vault in a directory that exists; see `gridfsmount.core.vault.Vault`."""

    def __init__(self, path: Path) -> None:
        """Open the vault at `path`; raises as `Place`."""
        self._place = Place(path)

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self._place.path)

    @property
    def header(self) -> Header:
        """What it says of itself."""
        return self._place.header

    def claim(self, what: str, by: str) -> AbstractContextManager[Lock]:
        """Hold the lease."""
        return locked(self._place, what, by)

    # --- blobs ---------------------------------------------------------------------------------

    def present(self, blobs: Sequence[bytes]) -> set[bytes]:
        """Those that are there; see the protocol, also for all below."""
        folders: dict[str, dict[str, bytes]] = {}
        for each in blobs:
            name = each.hex()
            folders.setdefault(name[:2], {})[name] = each
        found: set[bytes] = set()
        with self._place.doing("look for blobs"):
            for folder, wanted in folders.items():
                with suppress(FileNotFoundError):
                    found.update(_present(f"{self._place.path}/blobs/{folder}", wanted))
        if len(found) < len(blobs):
            self._place.check_there()
        return found

    def put(self, blob: bytes, length: int, pieces: Iterable[Bytes]) -> None:
        """Add a blob of any size."""
        what = f"write blob {blob.hex()}"
        digest, size = hashlib.sha256(), 0
        with self._place.temporary() as temporary:
            with self._place.doing(what):
                descriptor = os.open(temporary, NEW, 0o444)
            try:
                file = Appending(descriptor)
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    with self._place.doing(what):
                        file.write(piece)
                if digest.digest() != blob or size != length:
                    raise Damaged(
                        f"{size:,} bytes with the SHA-256 {digest.hexdigest()} came, where "
                        f"{length:,} with {blob.hex()} were to come"
                    )
                with self._place.doing(what):
                    file.finish()
            finally:
                with suppress(OSError):  # it is synced, or given up
                    os.close(descriptor)
            self._take_in({blob: temporary})

    def put_many(self, blobs: Sequence[tuple[bytes, Bytes]]) -> None:
        """Add many small blobs: two syncs for all of them, of the bytes and then of the names."""
        if not blobs:
            return
        with self._place.temporary() as temporary, self._place.doing(f"write {len(blobs)} blobs"):
            temporary.mkdir()
            written: dict[bytes, Path | str] = {}
            with opened(
                self._place.path
            ) as top:  # before all else: a sync tells of errors since then
                for blob, data in blobs:
                    place = written[blob] = f"{temporary}/{blob.hex()}"
                    descriptor = os.open(place, NEW & ~os.O_EXCL, 0o444)
                    try:
                        write_all(descriptor, data)
                    finally:
                        os.close(descriptor)
                sync_file_system(top)
            self._take_in(written)

    def _take_in(self, written: Mapping[bytes, Path | str]) -> None:
        self._place.check_there()
        with self._place.doing("put blobs in their places"), opened(self._place.path) as top:
            damaged = set(os.listdir(self._place.path / "damaged"))
            folders = set()
            for blob, temporary in written.items():
                name = blob.hex()
                folder = self._place.path / "blobs" / name[:2]
                try:
                    os.rename(temporary, f"{folder}/{name}")
                except FileNotFoundError:  # whoever took the lease made it
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
                    os.rename(temporary, folder / name)
                folders.add(folder)
                if name in damaged:
                    (self._place.path / "damaged" / name).unlink(missing_ok=True)
            if len(folders) > _FEW:
                sync_file_system(top)
                return
            for folder in folders:
                sync_folder(folder)

    def read(self, blob: bytes, offset: int, size: int) -> bytes:
        """Bytes of a blob."""
        for place in (self._blob(blob), self._damaged(blob)):
            try:
                with opened(place) as descriptor:
                    return read_all(descriptor, offset, size)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EIO:  # of the disk: a sector that cannot be read
                    raise Damaged(f"{self.address}: blob {blob.hex()} cannot be read") from error
                with self._place.doing(f"read blob {blob.hex()}"):
                    raise
        self._place.check_there()
        raise Damaged(f"{self.address}: blob {blob.hex()} is missing")

    def blobs(self) -> Iterator[Blob]:
        """All blobs."""
        self._place.check_there()
        with self._place.doing("list the blobs"):
            folders = sorted(os.listdir(self._place.path / "blobs"))
        for folder in folders:
            yield from self._in_folder(self._place.path / "blobs" / folder, folder, damaged=False)
        yield from self._in_folder(self._place.path / "damaged", "", damaged=True)

    def _in_folder(self, folder: Path, beginning: str, *, damaged: bool) -> Iterator[Blob]:
        found = []
        with self._place.doing("list the blobs"):
            try:
                entries = os.scandir(folder)
            except NotADirectoryError:
                return  # somebody's file
            with entries:
                for each in entries:
                    digest = _digest(each.name)
                    if digest is None or not each.name.startswith(beginning):
                        continue
                    with suppress(FileNotFoundError):  # removed since
                        status = each.stat()
                        if stat.S_ISREG(status.st_mode):
                            found.append(Blob(digest, status.st_size, status.st_mtime_ns, damaged))
        if damaged and found:  # a crash may have come between a new one and the end of this one
            replaced = self.present([each.sha256 for each in found])
            found = [each for each in found if each.sha256 not in replaced]
        yield from found

    def note_verified(self, results: Mapping[bytes, bool]) -> None:
        """Set the times of good blobs, and put damaged ones apart."""
        self._place.check_there()
        moved = set()
        with self._place.doing("note what was verified"):
            for blob, good in results.items():
                place, apart = self._blob(blob), self._damaged(blob)
                try:
                    if good:
                        os.utime(place)
                    else:
                        place.rename(apart)
                        moved |= {place.parent, apart.parent}
                except FileNotFoundError:
                    if good and apart.exists():  # it was the reading that went wrong
                        apart.rename(place)
                        os.utime(place)
                        moved |= {place.parent, apart.parent}
            for folder in moved:
                sync_folder(folder)

    def remove(self, blobs: Sequence[bytes]) -> None:
        """Remove blobs."""
        self._place.check_there()
        with self._place.doing("remove blobs"):
            for each in blobs:
                self._blob(each).unlink(missing_ok=True)
                self._damaged(each).unlink(missing_ok=True)

    # --- snapshots -----------------------------------------------------------------------------

    def snapshots(self) -> list[str]:
        """Names of all snapshots."""
        self._place.check_there()
        with (
            self._place.doing("list the snapshots"),
            os.scandir(self._place.path / "snapshots") as entries,
        ):
            return sorted(
                each.name for each in entries if is_snapshot_name(each.name) and each.is_dir()
            )

    def summary(self, snapshot: str) -> Summary:
        """Summary of one."""
        place = self._part(snapshot, SUMMARY)
        with self._place.doing(f"read the summary of {snapshot}"):
            data = place.read_bytes()
        return decode_summary(data, str(place))

    def manifest(self, snapshot: str, into: Path) -> Path:
        """The manifest itself; nothing is copied."""
        return self._part(snapshot, MANIFEST)

    def _part(self, snapshot: str, name: str) -> Path:
        self._place.check_there()
        place = self._snapshot(snapshot)
        with self._place.doing(f"look for {snapshot}"):
            if (place / name).is_file():
                return place / name
            if not place.is_dir():
                raise NotFound(f"{self.address} has no snapshot {snapshot}")
            raise Damaged(f"{place / name} is missing")

    def publish(self, snapshot: str, manifest: Path, summary: Summary) -> None:
        """Make a snapshot appear."""
        self._place.check_there()
        place = self._snapshot(snapshot)
        taken = AlreadyExists(f"{self.address} has a snapshot {snapshot} already")
        with self._place.temporary() as temporary, self._place.doing(f"publish {snapshot}"):
            if place.exists():
                raise taken
            temporary.mkdir()
            copied = copy(manifest, temporary / MANIFEST)
            if copied != summary.manifest_sha256:
                raise Damaged(
                    f"the manifest of {snapshot} has the SHA-256 {copied}, and not "
                    f"{summary.manifest_sha256} as its summary says"
                )
            (temporary / SUMMARY).write_bytes(encode_summary(summary))
            for name in (MANIFEST, SUMMARY):
                (temporary / name).chmod(0o444)
                sync(temporary / name)
            sync_folder(temporary)
            try:
                temporary.rename(place)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise taken from error
                raise
            sync_folder(place.parent)

    def remove_snapshot(self, snapshot: str) -> None:
        """Make one disappear."""
        self._place.check_there()
        with self._place.temporary() as temporary, self._place.doing(f"remove {snapshot}"):
            with suppress(FileNotFoundError):
                self._snapshot(snapshot).rename(temporary)  # whole, before any of it goes
            sync_folder(self._place.path / "snapshots")

    # --- notes ---------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A note."""
        check_note_name(name)
        self._place.check_there()
        with self._place.doing(f"read the note {name}"), suppress(FileNotFoundError):
            return (self._place.path / "notes" / name).read_bytes()
        return None

    def set_note(self, name: str, value: bytes | None) -> None:
        """Write or remove a note."""
        check_note_name(name)
        self._place.check_there()
        place = self._place.path / "notes" / name
        with (
            self._place.temporary(UNLEASED) as temporary,
            self._place.doing(f"write the note {name}"),
        ):
            if value is None:
                with suppress(FileNotFoundError):
                    place.unlink()
                    sync_folder(place.parent)
                return
            if not place.parent.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                for folder in place.parent.relative_to(self._place.path).parents:
                    sync_folder(self._place.path / folder)
            temporary.write_bytes(value)
            sync(temporary)
            temporary.rename(place)
            sync_folder(place.parent)

    def notes(self, prefix: str) -> list[str]:
        """Names of notes."""
        self._place.check_there()
        top = self._place.path / "notes"

        def stop(error: OSError) -> None:
            raise error

        with self._place.doing("list the notes"):
            names = [
                Path(folder, name).relative_to(top).as_posix()
                for folder, _, files in os.walk(top, onerror=stop)
                for name in files
            ]
        return sorted(name for name in names if name.startswith(prefix) and is_note_name(name))

    def close(self) -> None:
        """Nothing is open."""

    # --- places --------------------------------------------------------------------------------

    def _blob(self, blob: bytes) -> Path:
        digest = blob.hex()
        return self._place.path / "blobs" / digest[:2] / digest

    def _damaged(self, blob: bytes) -> Path:
        return self._place.path / "damaged" / blob.hex()

    def _snapshot(self, name: str) -> Path:
        if not is_snapshot_name(name):
            raise NotFound(f"{name!r} is no snapshot's name, like 2026-11-22T03-00-00Z")
        return self._place.path / "snapshots" / name


def make_directory_vault(path: Path, lake: str) -> DirectoryVault:
    """Make a vault in a new or an empty directory.

    Raises:
        ConfigError: there is something in it, or it cannot be made.
    """
    make_place(path, lake)
    return DirectoryVault(path)


def _present(folder: str, wanted: Mapping[str, bytes]) -> Iterator[bytes]:
    """Those of some blobs that a folder has; by its listing, if that is the shorter way."""
    if len(wanted) >= _SCAN:
        with os.scandir(folder) as entries:
            names = {each.name for each in islice(entries, _SCAN * len(wanted))}
            whole = next(entries, None) is None
        yield from (wanted[each] for each in wanted.keys() & names)
        if whole:
            return
        wanted = {name: blob for name, blob in wanted.items() if name not in names}
    for name, blob in wanted.items():
        try:
            os.stat(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        yield blob


def _digest(name: str) -> bytes | None:
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    size = hashlib.sha256().digest_size
    return digest if len(digest) == size and digest.hex() == name else None
