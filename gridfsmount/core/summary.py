"""What is said of a snapshot as a whole, as the JSON file beside its manifest."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from gridfsmount.errors import Damaged


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and facts of a snapshot, and of the backup that made it."""

    lake: str
    """Id of the lake."""
    taken_ns: int
    """The moment that it shows, by the server's clock, in nanoseconds since 1970."""
    consistent: bool
    """It shows one moment; else, of a standalone server, what was there while it was read."""
    manifest_sha256: str
    """In hex."""
    files: int
    """Names of files: a hard link is one more."""
    folders: int
    bytes: int
    """Of all files."""
    blobs: int
    """Different contents."""
    blob_bytes: int
    new_blobs: int
    """Those that the vault did not have."""
    new_bytes: int
    seconds: float
    """How long it took."""
    by: str
    """Who ran it, as in "root@server"."""
    program: str
    """Version of gridfsmount."""
    skipped: tuple[str, ...] = ()
    """Sentences about what could not be read; each begins with its path."""
    format: int = 1


_KINDS: Final = {
    "consistent": bool,
    **dict.fromkeys(("taken_ns", "files", "folders", "bytes", "blobs", "blob_bytes"), int),
    **dict.fromkeys(("new_blobs", "new_bytes", "format"), int),
}
"""Of the fields that are no text."""


def encode_summary(summary: Summary) -> bytes:
    """The file of a summary."""
    return json.dumps(asdict(summary), indent=2, ensure_ascii=False).encode() + b"\n"


def decode_summary(data: bytes, where: str) -> Summary:
    """A summary from its file; fields of later versions are left out.

    Raises:
        Damaged: it is none; the text begins with `where`.
    """
    try:
        document: dict[str, Any] = json.loads(data)
        known = {each.name: document[each.name] for each in fields(Summary)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{where} is no summary of a snapshot: {error!r}") from error
    if not isinstance(known["skipped"], list):
        raise Damaged(f"{where}: skipped is {known['skipped']!r}")
    known["skipped"] = tuple(str(each) for each in known["skipped"])
    for each in fields(Summary):
        value = known[each.name]
        wanted = (int, float) if each.name == "seconds" else _KINDS.get(each.name, str)
        if each.name != "skipped" and not isinstance(value, wanted):
            raise Damaged(f"{where}: {each.name} is {value!r}")
    return Summary(**known)
