"""A vault in another MongoDB: GridFS files with names, and a collection for the rest.

    vault.files, vault.chunks      blobs/<sha256>, damaged/<sha256>,
                                   snapshots/2026-11-22T03-00-00Z/manifest.sqlite and summary.json
    vault.vault                    header, lease, notes, what is begun

It has a database for itself. A blob that was found to be damaged has another name, so that no
question counts it; a snapshot is there when its summary is, which comes last and goes first.
"""

import contextlib
import errno
import hashlib
import re
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import bson

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.summary import Summary, decode_summary, encode_summary
from gridfsmount.core.vault import VAULT_FORMAT, Blob, Header, check_note_name, is_snapshot_name
from gridfsmount.errors import (
    AlreadyExists,
    ConfigError,
    Damaged,
    FileSystemError,
    LakeFormatError,
    NoSpace,
    NotFound,
    StoreFailed,
    StoreUnavailable,
)
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.vault_files import File, VaultFiles
from gridfsmount.store.vault_lease import DEAD_SECONDS, VaultLease

BUCKET: Final = "vault"

MANIFEST: Final = "manifest.sqlite"
SUMMARY: Final = "summary.json"

HEADER: Final = "vault"
_NOTE: Final = "note "

_INLINE_BYTES: Final = 8 << 20
"""Of a note; a longer one is a GridFS file, since a document may have 16 MiB."""

_KNOWN: Final = 10_000
"""Files whose documents are remembered for reading: some 5 MB."""


class GridFSVault:
    """A vault in MongoDB; see `gridfsmount.core.vault.Vault`."""

    def __init__(self, connection: Connection, dead_seconds: float = DEAD_SECONDS) -> None:
        """Open the vault that `connection` leads to, which is closed with it.

        Raises:
            ConfigError: there is none.
            LakeFormatError: it has a newer format, or is none.
            FileSystemError: the server fails meanwhile.
        """
        self._connection = connection
        self._seam = connection.seam
        self._vault = connection.collection("vault")
        self._files = VaultFiles(connection)
        self._dead_seconds = dead_seconds
        self._lease: VaultLease | None = None
        self._lock = threading.Lock()
        self._known: dict[bytes, File] = {}
        self._copies: dict[Path, tuple[int, ...]] = {}
        """Local manifests that were verified, and what tells their files from any other."""
        self.address = address_of(connection)
        self.header = self._read_header()

    def _read_header(self) -> Header:
        with self._seam.operation(f"{self.address}: read the header"):
            document = self._vault.find_one({"_id": HEADER})
        if document is None:
            raise ConfigError(
                f"{self.address} is no vault: it has no header in vault.vault. "
                f"`gridfsmount backup init --vault {self.address}` makes a new vault"
            )
        try:
            header = Header(
                id=str(document["id"]),
                lake=str(document["lake"]),
                created_ns=int(document["created_ns"]),
                format=int(document["format"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LakeFormatError(f"{self.address} has no header of a vault: {error!r}") from error
        if header.format > VAULT_FORMAT:
            raise LakeFormatError(
                f"{self.address} has format {header.format}; this version knows up to "
                f"{VAULT_FORMAT}: upgrade gridfsmount"
            )
        return header

    def check_there(self) -> None:
        """Make sure that the vault is still the one that was opened.

        Raises:
            StoreUnavailable: its database was dropped, or has another vault.
        """
        try:
            same = self._read_header().id == self.header.id
        except (ConfigError, LakeFormatError) as error:
            raise StoreUnavailable(f"the vault is gone: {error}") from error
        if not same:
            raise StoreUnavailable(f"{self.address} is another vault than a moment ago")

    def shows(self, database: str, bucket: str, lake: str) -> bool:
        """Whether a lake is on the same deployment, as far as this user may see."""
        lakes = self._connection.client[database][f"{bucket}.lake"]
        with contextlib.suppress(FileSystemError), self._seam.operation("look for the lake"):
            return (lakes.find_one({"_id": "lake"}) or {}).get("id") == lake
        return False

    @contextmanager
    def claim(self, what: str, by: str) -> Iterator[VaultLease]:
        """The lease."""
        self.check_there()
        lease = VaultLease(self._connection, self.address, self._dead_seconds)
        with lease.held(what, by):
            self._lease = lease
            try:
                with self._naming():
                    self._files.sweep()
                    self._remove_unpublished()
                yield lease
            finally:
                self._lease = None

    def _fence(self) -> None:
        """Before a change: the vault is there, and the lease is still held, if it ever was."""
        if self._lease is not None:
            self._lease.renew()
        self.check_there()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say in errors which vault it was."""
        try:
            yield
        except FileSystemError as error:
            if self.address in str(error):
                raise
            raise type(error)(f"{self.address}: {error}") from error

    # --- blobs ---------------------------------------------------------------------------------

    def present(self, blobs: Sequence[bytes]) -> set[bytes]:
        """Those that are there; see the protocol, also for all below."""
        wanted = {_blob(each): each for each in blobs}
        with self._naming():
            found = {wanted[each] for each in self._files.present(list(wanted))}
        if len(found) < len(wanted):
            self.check_there()
        return found

    def put(self, blob: bytes, length: int, pieces: Iterable[Bytes]) -> None:
        """Add a blob of any size."""

        def check(sha256: str, size: int) -> None:
            if sha256 != blob.hex() or size != length:
                raise Damaged(
                    f"{size:,} bytes with the SHA-256 {sha256} came, where {length:,} with "
                    f"{blob.hex()} were to come"
                )

        self._fence()
        with self._naming():
            self._files.put(_blob(blob), pieces, check)
            self._files.remove([_damaged(blob)])

    def put_many(self, blobs: Sequence[tuple[bytes, Bytes]]) -> None:
        """Add many small blobs."""
        self._fence()
        with self._naming():
            self._files.put_many([(_blob(blob), data) for blob, data in blobs])
            damaged = self._files.present([_damaged(blob) for blob, _ in blobs])
            self._files.remove(sorted(damaged))

    def read(self, blob: bytes, offset: int, size: int) -> bytes:
        """Bytes of a blob."""
        known = self._known.get(blob)
        with self._naming():
            if known is not None:
                with contextlib.suppress(Damaged):  # it may have been replaced since
                    return self._files.read(known, offset, size)
            return self._files.read(self._find(blob), offset, size)

    def _find(self, blob: bytes) -> File:
        found = {each.name: each for each in self._files.find([_blob(blob), _damaged(blob)])}
        file = found.get(_blob(blob)) or found.get(_damaged(blob))
        if file is None:
            self.check_there()
            raise Damaged(f"{self.address}: blob {blob.hex()} is missing")
        with self._lock:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[blob] = file
        return file

    def blobs(self) -> Iterator[Blob]:
        """All blobs."""
        self.check_there()
        for folder in ("blobs", "damaged"):
            for batch in self._listed(folder):
                found = [each for file in batch if (each := _decode_blob(file)) is not None]
                if folder == "damaged":  # a crash may have come between a new one and its end
                    replaced = self.present([each.sha256 for each in found])
                    found = [each for each in found if each.sha256 not in replaced]
                yield from found

    def _listed(self, folder: str) -> Iterator[list[File]]:
        with self._naming():
            yield from self._files.below(folder)

    def note_verified(self, results: Mapping[bytes, bool]) -> None:
        """Set the times of good blobs, and put damaged ones apart."""
        self._fence()
        good = [blob for blob, right in results.items() if right]
        with self._naming():
            for name in self._files.present([_damaged(each) for each in good]):
                self._files.rename(name, name.replace("damaged/", "blobs/"))
            self._files.touch([_blob(each) for each in good])
            for blob, right in results.items():
                if not right:
                    self._files.rename(_blob(blob), _damaged(blob))

    def remove(self, blobs: Sequence[bytes]) -> None:
        """Remove blobs."""
        self._fence()
        with self._naming():
            self._files.remove([place(each) for each in blobs for place in (_blob, _damaged)])

    # --- snapshots -----------------------------------------------------------------------------

    def snapshots(self) -> list[str]:
        """Names of all snapshots."""
        self.check_there()
        with self._naming():
            return self._of_snapshots(SUMMARY)

    def _of_snapshots(self, name: str) -> list[str]:
        paths = [each.split("/") for each in self._files.names_below("snapshots")]
        return [path[1] for path in paths if path[2:] == [name] and is_snapshot_name(path[1])]

    def _remove_unpublished(self) -> None:
        unpublished = set(self._of_snapshots(MANIFEST)) - set(self._of_snapshots(SUMMARY))
        self._files.remove([_part(each, MANIFEST) for each in unpublished])

    def summary(self, snapshot: str) -> Summary:
        """Summary of one."""
        with self._naming():
            found = self._files.find([_part(snapshot, SUMMARY)])
            if not found:
                self.check_there()
                raise NotFound(f"{self.address} has no snapshot {snapshot}")
            data = b"".join(self._files.pieces(found[0]))
        return decode_summary(data, f"{self.address}/{found[0].name}")

    def manifest(self, snapshot: str, into: Path) -> Path:
        """A copy in `into`."""
        summary = self.summary(snapshot)
        copy = into / f"{self.header.id}-{snapshot}.sqlite"
        try:
            if copy.exists() and self._is_right(copy, summary.manifest_sha256):
                return copy
        except OSError:
            copy.unlink(missing_ok=True)
        with self._naming():
            found = self._files.find([_part(snapshot, MANIFEST)])
            if not found:
                raise Damaged(f"the manifest of {snapshot} is missing")
            temporary = into / f".{copy.name}.{uuid.uuid4().hex}"
            try:
                self._download(found[0], temporary, summary.manifest_sha256)
                temporary.replace(copy)
                self._copies[copy] = _identity(copy)
            except OSError as error:
                kind = NoSpace if error.errno == errno.ENOSPC else StoreFailed
                raise kind(f"{into}: cannot write a manifest: {error.strerror}") from error
            finally:
                temporary.unlink(missing_ok=True)
        return copy

    def _is_right(self, copy: Path, sha256: str) -> bool:
        identity = _identity(copy)
        if self._copies.get(copy) == identity:
            return True
        with copy.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if right:
            self._copies[copy] = identity
        return right

    def _download(self, file: File, target: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        with target.open("xb") as writing:
            for piece in self._files.pieces(file):
                digest.update(piece)
                writing.write(piece)
        if digest.hexdigest() != sha256:
            raise Damaged(
                f"{self.address}/{file.name} has the SHA-256 {digest.hexdigest()}, not {sha256}"
            )

    def publish(self, snapshot: str, manifest: Path, summary: Summary) -> None:
        """Make a snapshot appear."""

        def check(sha256: str, size: int) -> None:
            if sha256 != summary.manifest_sha256:
                raise Damaged(
                    f"the manifest of {snapshot} has the SHA-256 {sha256}, and not "
                    f"{summary.manifest_sha256} as its summary says"
                )

        self._fence()
        taken = f"{self.address} has a snapshot {snapshot} already"
        name = _part(snapshot, SUMMARY)
        with self._naming():
            if self._files.present([name]):
                raise AlreadyExists(taken)
            self._files.remove([_part(snapshot, MANIFEST)])  # of an attempt that failed
            self._files.put(_part(snapshot, MANIFEST), _pieces(manifest), check)
            try:
                self._files.put(
                    name, [encode_summary(summary)], lambda _sha256, _size: None, self._fence_now
                )
            except AlreadyExists as error:
                raise AlreadyExists(taken) from error

    def _fence_now(self) -> None:
        # No transaction with the lease in it: one of a process that died holds the lease for a
        # minute. It cannot be taken over sooner than that either, and what follows is over by then.
        if self._lease is not None:
            self._lease.renew_now()

    def remove_snapshot(self, snapshot: str) -> None:
        """Make one disappear."""
        self._fence()
        with self._naming():
            self._files.remove([_part(snapshot, SUMMARY)])
            self._files.remove([_part(snapshot, MANIFEST)])

    # --- notes ---------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A note."""
        check_note_name(name)
        with self._naming():
            for _ in range(3):
                with self._seam.operation(f"read the note {name}"):
                    document = self._vault.find_one({"_id": _NOTE + name})
                if document is None:
                    self.check_there()
                    return None
                if document.get("file") is None:
                    return bytes(document.get("value") or b"")
                found = self._files.find([str(document["file"])])
                if found:  # else it was replaced just now
                    return b"".join(self._files.pieces(found[0]))
            raise Damaged(f"the note {name} is missing")

    def set_note(self, name: str, value: bytes | None) -> None:
        """Write or remove a note."""
        check_note_name(name)
        self._fence()
        with self._naming():
            document: Document = {"value": value}
            if value is not None and len(value) > _INLINE_BYTES:
                document = {"file": f"notes/{name}/{bson.ObjectId()}"}
                self._files.put(
                    document["file"], [value], lambda _sha256, _size: None, leased=False
                )
            with self._seam.operation(f"write the note {name}"):
                query = {"_id": _NOTE + name}
                if value is None:
                    old = self._vault.find_one_and_delete(query)
                else:
                    old = self._vault.find_one_and_replace(query, document, upsert=True)
            if old is not None and old.get("file") is not None:
                self._files.remove([str(old["file"])])

    def notes(self, prefix: str) -> list[str]:
        """Names of notes."""
        query = {"_id": {"$regex": f"^{_NOTE}{re.escape(prefix)}"}}
        self.check_there()
        with self._naming(), self._seam.operation("list the notes"):
            return sorted(each["_id"][len(_NOTE) :] for each in self._vault.find(query, {"_id": 1}))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def address_of(connection: Connection) -> str:
    """Where a vault is, for people: without secrets."""
    return f"mongodb://{connection.deployment.address}/{connection.deployment.database}"


def _blob(blob: bytes) -> str:
    return f"blobs/{blob.hex()}"


def _damaged(blob: bytes) -> str:
    return f"damaged/{blob.hex()}"


def _part(snapshot: str, name: str) -> str:
    if not is_snapshot_name(snapshot):
        raise NotFound(f"{snapshot!r} is no snapshot's name, like 2026-11-22T03-00-00Z")
    return f"snapshots/{snapshot}/{name}"


def _decode_blob(file: File) -> Blob | None:
    folder, _, name = file.name.partition("/")
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    if digest.hex() != name or len(digest) != hashlib.sha256().digest_size:
        return None  # somebody's file
    verified_ns = 0 if file.verified is None else round(file.verified.timestamp() * 1000) * 10**6
    return Blob(digest, file.content.length, verified_ns, folder == "damaged")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
