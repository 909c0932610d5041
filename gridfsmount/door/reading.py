"""Many files at once: in three queries a thousand, not in three queries each."""

from collections.abc import Iterator, Mapping, Sequence

from gridfsmount.core.model import Content, ContentId, Kind, Name, Node
from gridfsmount.door.chunks import GROUP, SMALL_BYTES
from gridfsmount.door.files import LakeReader
from gridfsmount.door.lakes import Door
from gridfsmount.errors import FileSystemError, IsADirectory
from gridfsmount.places import LakePath, parse

Outcome = bytes | FileSystemError


def read_range(file: LakeReader, start: int | None, end: int | None) -> bytes:
    """A part of a file; negative numbers count from its end, as for slices."""
    first, past, _ = slice(start, end).indices(file.size)
    file.seek(first)
    return file.read(max(0, past - first))


def read_many(door: Door, paths: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    """The bytes of files, or why they cannot be had; in any order."""
    for at in range(0, len(paths), GROUP):
        yield from _read_group(door, paths[at : at + GROUP])


def _read_group(door: Door, paths: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    nodes: dict[str, Node] = {}
    for path, found in _nodes(door, paths).items():
        if isinstance(found, FileSystemError):
            yield path, found
        elif found.kind is not Kind.FILE:
            yield path, IsADirectory(f"{path} is no file")
        elif found.content is None:
            yield path, b""
        else:
            nodes[path] = found
    wanted = list({node.content for node in nodes.values() if node.content is not None})
    try:
        contents = {each.id: each for each in door.lake.contents.get_many(wanted)}
        small = [each for each in contents.values() if each.length <= SMALL_BYTES]
        whole = {content.id: data for content, data in door.chunks.read_whole(small)}
    except FileSystemError as error:
        yield from ((path, error) for path in nodes)
        return
    for path, node in nodes.items():
        assert node.content is not None
        yield path, whole.get(node.content) or _read_one(door, node.content, contents)


def _nodes(door: Door, paths: Sequence[str]) -> dict[str, Node | FileSystemError]:
    """What is at each path: those of one folder are looked up together."""
    found: dict[str, Node | FileSystemError] = {}
    folders: dict[LakePath, list[tuple[str, LakePath]]] = {}
    for path in paths:
        try:
            where = parse(path)
        except FileSystemError as error:
            found[path] = error
        else:
            folders.setdefault(where.parent, []).append((path, where))
    for parent, group in folders.items():
        try:
            found |= _named(door, parent, group)
        except FileSystemError as error:
            found |= {path: error for path, _ in group}
    return found


def _named(
    door: Door, parent: LakePath, group: Sequence[tuple[str, LakePath]]
) -> dict[str, Node | FileSystemError]:
    folder, _ = door.paths.folder(parent)
    named = door.lake.tree.find_many(
        folder.inode, [where.parts[-1] for _, where in group if where.parts]
    )
    found: dict[str, Node | FileSystemError] = {}
    for path, where in group:
        node = named.get(Name(folder.inode, where.parts[-1])) if where.parts else folder
        if node is None or node.kind is Kind.SYMLINK:
            try:
                node = door.paths.look(where)
            except FileSystemError as error:
                found[path] = error
                continue
        found[path] = node
    return found


def _read_one(door: Door, id_: ContentId, known: Mapping[ContentId, Content]) -> Outcome:
    try:
        content = known.get(id_) or door.lake.contents.get(id_)  # which says what is wrong
        data = bytearray(content.length)
        door.chunks.read_into(content, 0, memoryview(data))
    except FileSystemError as error:
        return error
    return bytes(data)
