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

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.summary import Summary, decode_summary, encode_summary
from gridfsmount.core.vault import VAULT_FORMAT, Blob, Header, is_snapshot_name
from gridfsmount.errors import (
    AlreadyExists,
    ConfigError,
    Damaged,
    InUse,
    LakeFormatError,
    NotFound,
    StoreUnavailable,
)
from gridfsmount.vaults.seam import refused

HEADER: Final = "vault.json"
MANIFEST: Final = "manifest.sqlite"
SUMMARY: Final = "summary.json"

_FOLDERS: Final = ("blobs", "damaged", "snapshots", "notes", "tmp")

_libc: Final = ctypes.CDLL(None, use_errno=True)


class DirectoryVault:
    """A vault in a directory that exists; see `gridfsmount.core.vault.Vault`."""

    def __init__(self, path: Path) -> None:
        """Open the vault at `path`.

        Raises:
            ConfigError: there is none: perhaps its disk is not mounted.
            LakeFormatError: it has a newer format, or is none.
        """
        self._path = path
        self.header = self._read_header()

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self._path)

    def _read_header(self) -> Header:
        try:
            document: dict[str, Any] = json.loads((self._path / HEADER).read_bytes())
            header = Header(
                id=str(document["id"]),
                lake=str(document["lake"]),
                created_ns=int(document["created_ns"]),
                format=int(document["format"]),
            )
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self._path} is no vault: it has no {HEADER}. If its disk is not mounted, mount "
                f"it; `gridfsmount backup init --vault {self._path}` makes a new vault"
            ) from error
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LakeFormatError(
                f"{self._path / HEADER} is no header of a vault: {error!r}"
            ) from error
        if header.format > VAULT_FORMAT:
            raise LakeFormatError(
                f"{self._path} has format {header.format}; this version knows up to "
                f"{VAULT_FORMAT}: upgrade gridfsmount"
            )
        return header

    def check_there(self) -> None:
        """Make sure that the vault is still the one that was opened.

        Raises:
            StoreUnavailable: its disk was unmounted, or another was mounted there.
        """
        try:
            same = self._read_header().id == self.header.id
        except (ConfigError, LakeFormatError) as error:
            raise StoreUnavailable(f"the vault is gone: {error}") from error
        if not same:
            raise StoreUnavailable(f"{self._path} is another vault than a moment ago")

    @contextmanager
    def claim(self, what: str, by: str) -> Iterator["_Lock"]:
        """Hold the lease: a lock of the file system, which lets go of it when the process dies."""
        self.check_there()
        with refused(self.address, "take the lease"):
            descriptor = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                with refused(self.address, "take the lease"):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise
                raise InUse(f"{self.address} is in use: {_holder(descriptor)}") from error
            with refused(self.address, "take the lease"):
                note = {
                    "what": what,
                    "by": by,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "since": time.time(),
                }
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(note).encode(), 0)
                self._sweep()
            yield _Lock(self)
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what those who died left half done; the lease is held."""
        for each in (self._path / "tmp").iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()

    # --- blobs ---------------------------------------------------------------------------------

    def present(self, blobs: Sequence[bytes]) -> set[bytes]:
        """Those that are there; see the protocol, also for all below."""
        with refused(self.address, "look for blobs"):
            return {each for each in blobs if self._blob(each).exists()}

    def put(self, blob: bytes, length: int, pieces: Iterable[Bytes]) -> None:
        """Add a blob of any size."""
        temporary = self._temporary()
        digest, size = hashlib.sha256(), 0
        try:
            with refused(self.address, f"write blob {blob.hex()}"):
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            try:
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    with refused(self.address, f"write blob {blob.hex()}"):
                        _write(descriptor, piece)
                if digest.digest() != blob or size != length:
                    raise Damaged(
                        f"{size:,} bytes with the SHA-256 {digest.hexdigest()} came, where "
                        f"{length:,} with {blob.hex()} were to come"
                    )
                with refused(self.address, f"write blob {blob.hex()}"):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._take_in([(blob, temporary)])
        finally:
            temporary.unlink(missing_ok=True)

    def put_many(self, blobs: Sequence[tuple[bytes, Bytes]]) -> None:
        """Add many small blobs: one sync for all of them."""
        if not blobs:
            return
        written: list[tuple[bytes, Path]] = []
        try:
            with refused(self.address, f"write {len(blobs)} blobs"):
                for blob, data in blobs:
                    temporary = self._temporary()
                    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
                    written.append((blob, temporary))
                    try:
                        _write(descriptor, data)
                    finally:
                        os.close(descriptor)
                _sync_file_system(self._path)
            self._take_in(written)
        finally:
            for _, temporary in written:
                temporary.unlink(missing_ok=True)

    def _take_in(self, written: Sequence[tuple[bytes, Path]]) -> None:
        self.check_there()
        with refused(self.address, "put blobs in their places"):
            folders = set()
            for blob, temporary in written:
                place = self._blob(blob)
                if place.parent not in folders:
                    place.parent.mkdir(exist_ok=True)
                    folders.add(place.parent)
                temporary.rename(place)
                (self._path / "damaged" / blob.hex()).unlink(missing_ok=True)
            for folder in folders:
                _sync_folder(folder)
            _sync_folder(self._path / "blobs")

    def read(self, blob: bytes, offset: int, size: int) -> bytes:
        """Bytes of a blob."""
        descriptor = self._open(blob)
        try:
            with refused(self.address, f"read blob {blob.hex()}"):
                return _read(descriptor, offset, size)
        finally:
            os.close(descriptor)

    def _open(self, blob: bytes) -> int:
        for place in (self._blob(blob), self._path / "damaged" / blob.hex()):
            with suppress(NotFound), refused(self.address, f"read blob {blob.hex()}"):
                return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        self.check_there()
        raise Damaged(f"{self.address}: blob {blob.hex()} is missing")

    def blobs(self) -> Iterator[Blob]:
        """All blobs."""
        with refused(self.address, "list the blobs"):
            folders = sorted(each.path for each in os.scandir(self._path / "blobs"))
        for folder in folders:
            yield from self._in_folder(folder, damaged=False)
        yield from self._in_folder(str(self._path / "damaged"), damaged=True)

    def _in_folder(self, folder: str, *, damaged: bool) -> Iterator[Blob]:
        with refused(self.address, "list the blobs"):
            found = [(each.name, each.stat()) for each in os.scandir(folder)]
        for name, status in found:
            digest = _digest(name)
            if digest is not None and stat.S_ISREG(status.st_mode):
                yield Blob(digest, status.st_size, status.st_mtime_ns, damaged)

    def note_verified(self, results: Mapping[bytes, bool]) -> None:
        """Set the times of good blobs, and put damaged ones apart."""
        with refused(self.address, "note what was verified"):
            for blob, good in results.items():
                with suppress(FileNotFoundError):
                    if good:
                        os.utime(self._blob(blob))
                    else:
                        self._blob(blob).rename(self._path / "damaged" / blob.hex())

    def remove(self, blobs: Sequence[bytes]) -> None:
        """Remove blobs."""
        with refused(self.address, "remove blobs"):
            for each in blobs:
                self._blob(each).unlink(missing_ok=True)
                (self._path / "damaged" / each.hex()).unlink(missing_ok=True)

    # --- snapshots -----------------------------------------------------------------------------

    def snapshots(self) -> list[str]:
        """Names of all snapshots."""
        with refused(self.address, "list the snapshots"):
            names = [each.name for each in (self._path / "snapshots").iterdir()]
        return sorted(filter(is_snapshot_name, names))

    def summary(self, snapshot: str) -> Summary:
        """Summary of one."""
        place = self._snapshot(snapshot) / SUMMARY
        with refused(self.address, f"read the summary of {snapshot}"):
            data = place.read_bytes()
        return decode_summary(data, str(place))

    def manifest(self, snapshot: str, into: Path) -> Path:
        """The manifest itself; nothing is copied."""
        place = self._snapshot(snapshot) / MANIFEST
        with refused(self.address, f"find the manifest of {snapshot}"):
            place.stat()
        return place

    def publish(self, snapshot: str, manifest: Path, summary: Summary) -> None:
        """Make a snapshot appear."""
        self.check_there()
        place, temporary = self._snapshot(snapshot), self._temporary()
        if place.exists():
            raise AlreadyExists(f"{self.address} has a snapshot {snapshot} already")
        with refused(self.address, f"publish {snapshot}"):
            temporary.mkdir()
            try:
                shutil.copyfile(manifest, temporary / MANIFEST)
                (temporary / SUMMARY).write_bytes(encode_summary(summary))
                for name in (MANIFEST, SUMMARY):
                    (temporary / name).chmod(0o444)
                    _sync(temporary / name)
                _sync_folder(temporary)
                temporary.rename(place)
                _sync_folder(place.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def remove_snapshot(self, snapshot: str) -> None:
        """Make one disappear."""
        temporary = self._temporary()
        with refused(self.address, f"remove {snapshot}"), suppress(FileNotFoundError):
            self._snapshot(snapshot).rename(temporary)  # whole, before any of it goes
            _sync_folder(self._path / "snapshots")
            shutil.rmtree(temporary)

    # --- notes ---------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A note."""
        with refused(self.address, f"read the note {name}"), suppress(FileNotFoundError):
            return (self._path / "notes" / name).read_bytes()
        return None

    def set_note(self, name: str, value: bytes | None) -> None:
        """Write or remove a note."""
        self.check_there()
        place = self._path / "notes" / name
        with refused(self.address, f"write the note {name}"):
            if value is None:
                place.unlink(missing_ok=True)
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._temporary()
            try:
                temporary.write_bytes(value)
                _sync(temporary)
                temporary.rename(place)
                _sync_folder(place.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def notes(self, prefix: str) -> list[str]:
        """Names of notes."""
        top = self._path / "notes"
        with refused(self.address, "list the notes"):
            names = (
                Path(folder, name).relative_to(top).as_posix()
                for folder, _, files in os.walk(top)
                for name in files
            )
            return sorted(name for name in names if name.startswith(prefix))

    def close(self) -> None:
        """Nothing is open."""

    # --- places --------------------------------------------------------------------------------

    def _blob(self, blob: bytes) -> Path:
        digest = blob.hex()
        return self._path / "blobs" / digest[:2] / digest

    def _snapshot(self, name: str) -> Path:
        if not is_snapshot_name(name):
            raise NotFound(f"{name!r} is no snapshot's name, like 2026-11-22T03-00-00Z")
        return self._path / "snapshots" / name

    def _temporary(self) -> Path:
        return self._path / "tmp" / uuid.uuid4().hex


class _Lock:
    """The lease of a directory, while its lock is held."""

    def __init__(self, vault: DirectoryVault) -> None:
        self._vault = vault

    def renew(self) -> None:
        """The lock cannot be lost, but the disk can go."""
        self._vault.check_there()


def make_directory_vault(path: Path, lake: str) -> DirectoryVault:
    """Make a vault in a new or an empty directory.

    Raises:
        ConfigError: there is something in it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        found = sorted(each.name for each in path.iterdir() if each.name != "lost+found")
        if found:
            what = "a vault" if HEADER in found else f"something ({found[0]})"
            raise ConfigError(f"there is {what} in {path}: a new vault needs an empty directory")
        for name in _FOLDERS:
            (path / name).mkdir()
        header = {
            "format": VAULT_FORMAT,
            "id": uuid.uuid4().hex,
            "lake": lake,
            "created_ns": time.time_ns(),
        }
        temporary = path / "tmp" / HEADER
        temporary.write_text(json.dumps(header, indent=2) + "\n")
        _sync(temporary)
        temporary.rename(path / HEADER)
        _sync_folder(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be a vault: {error.strerror}") from error
    return DirectoryVault(path)


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 10_000, 0))
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(note["since"])))
        return f"`{note['what']}` of {note['by']}, process {note['pid']}, since {since}"
    except (ValueError, KeyError, TypeError, OSError):
        return "somebody else holds its lock"


def _digest(name: str) -> bytes | None:
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == hashlib.sha256().digest_size else None


def _write(descriptor: int, data: Bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int, offset: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync


def _sync_file_system(path: Path) -> None:
    """Write all of a file system to its disk: one wait for many files. See syncfs(2)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
