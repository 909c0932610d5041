"""Mount a MongoDB GridFS data lake as an ordinary directory tree."""

from typing import IO, Any

__version__ = "0.1.0"


def open(
    path: str,
    mode: str = "rb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> IO[Any]:
    """Open a file of a lake, without a mount: `gridfsmount.open("datasets/mnist/v1/train.bin")`.

    What is written appears whole when the file is closed, and not at all if its `with` block
    raises. Folders that are missing are made.

    Args:
        path: as in datasets/mnist/v1/train.bin, with or without `lake://`.
        mode: "rb" (the default), "wb", "xb", "ab"; without the "b" for text.
        encoding: as for the built-in `open`, and so are `errors` and `newline`.
        errors: see above.
        newline: see above.
        **options: which lake, as in docs/python.md: `uri`, `uri_file`, `embedded`, `bucket`,
            `deadline`, `chunk_size`, `cache_size`, `disk_cache`, `disk_cache_size`. Without an
            address it is taken from GRIDFSMOUNT_URI or a config file.

    Raises:
        OSError: FileNotFoundError, PermissionError and so on, as of the built-in `open`.
        gridfsmount.errors.StartupError: there is no address, no server, or no lake.
    """
    from gridfsmount.door.opening import open_file

    file: IO[Any] = open_file(path, mode, encoding, errors, newline, **options)
    return file
