"""The fsspec file system `lake://`, for pandas, pyarrow, zarr, Dask and whoever knows fsspec.

An instance holds no connection, only an `Access`: it may be pickled, and used after a fork.
"""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from glob import has_magic
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from gridfsmount.core.model import Kind
from gridfsmount.core.names import LATEST
from gridfsmount.door.files import Compressing, TextWriter
from gridfsmount.door.lakes import Door, door_to
from gridfsmount.door.listing import Info, entries, look
from gridfsmount.door.opening import (
    PROTOCOL,
    access_from,
    kind_of_mode,
    open_for_reading,
    open_for_writing,
    parsed,
    stripped,
)
from gridfsmount.door.reading import read_many, read_range
from gridfsmount.door.refusals import os_error, translated
from gridfsmount.errors import CrossVersion, FileSystemError, IsADirectory, NotADirectory
from gridfsmount.places import VERSION_DEPTH, LakePath
from gridfsmount.transfer.uploading import INSERT_BYTES


class LakeFileSystem(AbstractFileSystem):
    """Files of a lake: `fsspec.open("lake://datasets/mnist/v1/train.bin")`."""

    protocol = PROTOCOL
    root_marker = ""

    def __init__(
        self,
        uri: str | None = None,
        uri_file: str | os.PathLike[str] | None = None,
        embedded: str | os.PathLike[str] | None = None,
        bucket: str | None = None,
        deadline: float | None = None,
        chunk_size: int | None = None,
        cache_size: int | None = None,
        disk_cache: str | os.PathLike[str] | None = None,
        disk_cache_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Choose a lake; nothing is connected before it is needed.

        Without `uri`, `uri_file` or `embedded` the address is that of GRIDFSMOUNT_URI or of a
        config file. docs/python.md tells what the rest means.
        """
        super().__init__(**kwargs)
        self._access = access_from(
            uri=uri,
            uri_file=uri_file if uri_file is None else os.fspath(uri_file),
            embedded=embedded if embedded is None else os.fspath(embedded),
            bucket=bucket,
            deadline=deadline,
            chunk_size=chunk_size,
            cache_size=cache_size,
            disk_cache=disk_cache if disk_cache is None else os.fspath(disk_cache),
            disk_cache_size=disk_cache_size,
        )

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return stripped(stringify_path(path))

    @property
    def fsid(self) -> str:
        """The same for everything that reaches this lake, by whatever address."""
        return f"lake_{self._door().lake.id}"

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """A description; without passwords it has no address either."""
        found: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            found.pop("uri", None)
        return found

    # --- looking -------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What is in a folder; of a file, that file."""
        name = self._strip_protocol(path)
        found: list[Info]
        with translated(name):
            try:
                found = list(entries(self._door(), parsed(name), name))
            except NotADirectory:
                found = [look(self._door(), parsed(name), name)]
        return found if detail else [each["name"] for each in found]

    def info(self, path: str, **kwargs: Any) -> Info:
        """Size, type, times, mode, inode number; of files the SHA-256, if it is known."""
        name = self._strip_protocol(path)
        with translated(name):
            return look(self._door(), parsed(name), name)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is anything; a server that does not answer is an error."""
        return self._kind(path) is not None

    def isfile(self, path: str) -> bool:
        """Whether there is a file, or a link to one."""
        return self._kind(path) is Kind.FILE

    def isdir(self, path: str) -> bool:
        """Whether there is a folder, or a link to one."""
        return self._kind(path) is Kind.DIRECTORY

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] = "omit",
        **kwargs: Any,
    ) -> Iterator[Any]:
        """As for all file systems; "omit" leaves out what is gone, not what cannot be read."""
        if on_error == "omit":
            on_error = _unless_missing
        yield from super().walk(path, maxdepth, topdown, on_error, **kwargs)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        links: bool = False,
        **kwargs: Any,
    ) -> Any:
        """All files below a folder; links to folders, such as `latest`, only if `links`."""
        found = super().find(path, maxdepth, withdirs, detail=True, **kwargs)
        for name, info in found.items():
            if not info:  # as it says of a path that is a file
                found[name] = self.info(name)
        if not links:
            found = {name: info for name, info in found.items() if info["type"] != "link"}
        return found if detail else list(found)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """As for all file systems; tags and `latest` match too."""
        return super().glob(path, maxdepth, **{"links": True, **kwargs})

    def checksum(self, path: str) -> int:
        """A number that is another when the bytes are: of the SHA-256, if that is known."""
        info = self.info(path)
        return int(info.get("sha256") or self.ukey(path), 16)

    def ukey(self, path: str) -> str:
        """Names the content that a file has: another one after every change."""
        name = self._strip_protocol(path)
        with translated(name):
            node = self._door().paths.look(parsed(name))
        content = b"" if node.content is None else node.content.bson
        return sha256(b"%d %d %d " % (node.inode, node.size, node.mtime_ns) + content).hexdigest()

    def created(self, path: str) -> datetime:
        """When a version was made; of the rest, when it last changed in any way."""
        return datetime.fromtimestamp(self.info(path)["created"], UTC)

    def modified(self, path: str) -> datetime:
        """When a file was last written to."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    # --- reading -------------------------------------------------------------------------------

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """The bytes of a file, or a part of them."""
        with open_for_reading(self._access, self._strip_protocol(path)) as file:
            return read_range(file, start, end)

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """The bytes of one file, or of many: those of small files come a thousand at a time."""
        paths = self.expand_path(path, recursive=recursive, **kwargs)
        if (
            len(paths) == 1
            and not isinstance(path, list)
            and paths[0] == self._strip_protocol(path)
        ):
            return self.cat_file(paths[0])
        out: dict[str, Any] = {}
        for name, found in read_many(self._door(), paths):
            if recursive and isinstance(found, IsADirectory):
                continue
            if not isinstance(found, FileSystemError):
                out[name] = found
            elif on_error == "raise":
                raise os_error(found, name) from found
            elif on_error == "return":
                out[name] = os_error(found, name)
        return {name: out[name] for name in paths if name in out}

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Parts of files; each file is opened once."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if not len(paths) == len(starts) == len(ends):
            raise ValueError("paths, starts and ends must be of one length")
        files: dict[str, Any] = {}
        for path in paths:
            if path not in files:
                try:
                    files[path] = open_for_reading(self._access, self._strip_protocol(path))
                except OSError as error:
                    files[path] = error
        out: list[Any] = []
        for path, start, end in zip(paths, starts, ends, strict=True):
            try:
                if isinstance(files[path], OSError):
                    raise files[path]
                out.append(read_range(files[path], start, end))
            except OSError as error:
                if on_error != "return":
                    raise
                out.append(error)
        return out

    def get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        """Copy one file to the local disk."""
        super().get_file(self._strip_protocol(rpath), lpath, callback, outfile)

    # --- writing -------------------------------------------------------------------------------

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file; a `with` block that raises publishes nothing of what it wrote."""
        kind, is_text = kind_of_mode(mode)
        text = {name: kwargs.pop(name) for name in _TEXT if name in kwargs}
        if kind == "r":
            return super().open(
                path, mode, block_size, cache_options, compression, **text, **kwargs
            )
        name = self._strip_protocol(path)
        file: Any = open_for_writing(self._access, name, kind, defer=self._intrans)
        if self._intrans:
            self.transaction.files.append(file)
        compression = get_compression(name, compression)
        if compression is not None:
            file = Compressing(file, compr[compression](file, mode="w"))
        return TextWriter(file, **text) if is_text else file

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        kind, _ = kind_of_mode(mode)
        if kind == "r":
            return open_for_reading(self._access, path)
        return open_for_writing(self._access, path, kind, defer=not kwargs.get("autocommit", True))

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file."""
        with memoryview(value).cast("B") as data:
            if len(data) <= INSERT_BYTES:
                self._put_small(path, bytes(data), mode)
                return
            with self.open(path, "xb" if mode == "create" else "wb") as file:
                file.write(data)

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Write a whole file, or many: new small ones a thousand at a time."""
        if not isinstance(path, dict) or kwargs or self._intrans:
            super().pipe(path, value, **kwargs)
            return
        small: dict[LakePath, bytes] = {}
        for name, each in path.items():
            if memoryview(each).nbytes <= INSERT_BYTES:
                small[parsed(self._strip_protocol(name))] = bytes(each)
            else:
                self.pipe_file(name, each)
        with translated(None):
            self._writing().publisher.publish_many(small)

    def put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Copy one file from the local disk, or make a folder as there is one."""
        local = Path(lpath)
        if local.is_dir():
            self.makedirs(rpath, exist_ok=True)
            return
        with local.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            callback.set_size(size)
            if size <= INSERT_BYTES:
                callback.relative_update(self._put_small(rpath, source.read(), mode))
                return
            with self.open(rpath, "xb" if mode == "create" else "wb") as target:
                while data := source.read(self.blocksize):
                    callback.relative_update(target.write(data))

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file; without `truncate` only give one that is there the time of now."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"")
            return
        name = self._strip_protocol(path)
        with translated(name):
            self._writing().changes.set_mtime(parsed(name), time.time_ns())

    # --- changing names ------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Make a folder."""
        name = self._strip_protocol(path)
        with translated(name):
            self._writing().changes.make_folder(
                parsed(name), parents=create_parents, exist_ok=False
            )

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder, and those above it."""
        name = self._strip_protocol(path)
        with translated(name):
            self._writing().changes.make_folder(parsed(name), parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self._remove(path, folder=True)

    def rm_file(self, path: str) -> None:
        """Remove a file, or a link."""
        self._remove(path, folder=False)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files; with `recursive` folders and all that is in them."""
        paths = [path] if isinstance(path, str | os.PathLike) else path
        found = self.expand_path(paths, recursive=recursive, maxdepth=maxdepth, links=True)
        for name in reversed(found):
            parts = name.split("/")
            if recursive and len(parts) == VERSION_DEPTH and parts[-1] == LATEST:
                continue  # it goes with the last version
            self._remove(name, folder=None if recursive else False)

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Rename a file or a folder, into `path2` if that is a folder; no bytes are copied.

        Several at once, and folders that move to another version, are copied (which copies no bytes
        either) and removed.
        """
        if not isinstance(path1, str) or not isinstance(path2, str) or has_magic(path1):
            super().mv(path1, path2, recursive, maxdepth, **kwargs)
            return
        old, new = self._strip_protocol(path1), self._strip_protocol(path2)
        if old == new:
            return
        if path2.endswith("/") or self.isdir(new):
            new = f"{new}/{old.rsplit('/', 1)[-1]}"
        with translated(old):
            try:
                self._writing().changes.rename(parsed(old), parsed(new))
                return
            except CrossVersion:
                if not recursive:
                    raise
        super().mv(old, new, recursive=True)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Make a second file that shows the same content; no bytes are copied."""
        old, new = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(old):
            self.makedirs(new, exist_ok=True)
            return
        with translated(old):
            self._writing().changes.copy(parsed(old), parsed(new))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Believe no folder to be where it was a moment ago."""
        super().invalidate_cache(path)
        self._door().paths.forget()

    def _door(self) -> Door:
        return door_to(self._access)

    def _writing(self) -> Door:
        return door_to(self._access, writing=True)

    def _kind(self, path: str) -> Kind | None:
        name = self._strip_protocol(path)
        try:
            with translated(name):
                return self._door().paths.kind(parsed(name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _put_small(self, path: str, data: bytes, mode: str) -> int:
        """Write a file at once, or with the transaction that is under way."""
        name, exclusive = self._strip_protocol(path), mode == "create"
        if self._intrans:
            with self.open(name, "xb" if exclusive else "wb") as file:
                file.write(data)
        else:
            with translated(name):
                self._writing().publisher.publish(parsed(name), data, exclusive=exclusive)
        return len(data)

    def _remove(self, path: str, *, folder: bool | None) -> None:
        name = self._strip_protocol(path)
        with translated(name):
            self._writing().changes.remove(parsed(name), folder=folder)


_TEXT: Final = ("encoding", "errors", "newline")


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
