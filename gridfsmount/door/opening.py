"""`gridfsmount.open`: one file of a lake, as the built-in `open` opens one of a disk."""

import io
from pathlib import Path
from typing import Any, Final

from gridfsmount.core.model import Kind
from gridfsmount.door.files import LakeReader, LakeWriter, TextWriter
from gridfsmount.door.lakes import Access, door_to
from gridfsmount.door.refusals import translated
from gridfsmount.errors import InvalidArgument, IsADirectory
from gridfsmount.places import LakePath, parse
from gridfsmount.store.openings import WHOLE_BYTES

PROTOCOL: Final = "lake"

_MODES: Final = {"r", "w", "x", "a"}


def stripped(path: str) -> str:
    """A path without `lake://`, and without slashes at its ends."""
    return path.removeprefix(f"{PROTOCOL}://").removeprefix(f"{PROTOCOL}::").strip("/")


def parsed(path: str) -> LakePath:
    """A path as it is given to a program.

    Raises:
        OSError: it can be none.
    """
    with translated(path):
        return LakePath(parse(stripped(path)).parts)


def open_for_reading(access: Access, path: str) -> LakeReader:
    """A file, with the content that it has now."""
    where = parsed(path)
    door = door_to(access)
    with translated(path):
        opening = door.paths.open(where, whole=True)
        node, content = opening.node, opening.content
        if node.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{where} is a folder")
        if node.kind is not Kind.FILE:
            raise InvalidArgument(f"{where} is no file")
        if node.content is not None and content is None:
            content = door.lake.contents.get(node.content)  # which says what is wrong
        if content is not None and opening.chunks and content.length <= WHOLE_BYTES:
            door.chunks.remember(content, opening.chunks)
    return LakeReader(access, content, path)


def open_for_writing(access: Access, path: str, kind: str, *, defer: bool = False) -> LakeWriter:
    """A file that is written anew ("w"), made ("x") or written on ("a")."""
    where = parsed(path)
    door = door_to(access, writing=True)
    writer = LakeWriter(door, where, exclusive=kind == "x", defer=defer)
    if kind == "a":
        writer.append()
    return writer


def kind_of_mode(mode: str) -> tuple[str, bool]:
    """Of a mode such as "rb": one of r, w, x and a; and whether it is for text.

    Raises:
        ValueError: there is no such mode here.
    """
    rest = mode.replace("b", "", 1).replace("t", "", 1)
    if "+" in mode:
        raise ValueError(
            f"mode {mode!r}: a file is either read, or written from its start to its end; "
            "a mount can change it in place"
        )
    if rest not in _MODES or ("b" in mode and "t" in mode):
        raise ValueError(f"invalid mode: {mode!r}")
    return rest, "b" not in mode


def open_file(
    path: str,
    mode: str,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    **options: Any,
) -> Any:
    """See `gridfsmount.open`."""
    kind, is_text = kind_of_mode(mode)
    text: dict[str, Any] = {"encoding": encoding, "errors": errors, "newline": newline}
    if not is_text and any(each is not None for each in text.values()):
        raise ValueError("a file that is opened for bytes has no encoding, errors or newline")
    access = access_from(**options)
    if kind == "r":
        reader = open_for_reading(access, path)
        return io.TextIOWrapper(reader, **text) if is_text else reader
    writer = open_for_writing(access, path, kind)
    return TextWriter(writer, **text) if is_text else writer


def access_from(**options: Any) -> Access:
    """An `Access`, from what a program gives: paths as text or as such; None chooses nothing."""
    given: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None
    }
    return Access(**given)
