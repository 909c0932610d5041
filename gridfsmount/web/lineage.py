"""What came from what, as boxes and lines for a drawing. Pure: templates turn them into SVG."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gridfsmount.versions.history import Relative, VersionInfo

MOST: Final = 60
"""Versions in a drawing: one of more is no picture any more."""

BOX_WIDTH: Final = 164
BOX_HEIGHT: Final = 38
_COLUMN: Final = BOX_WIDTH + 56
_ROW: Final = BOX_HEIGHT + 14
_EDGE: Final = 4
"""Room around it, for outlines."""
_LONGEST: Final = 24
"""Characters of a name that a box has room for."""


@dataclass(frozen=True, slots=True)
class Box:
    """A version."""

    path: str
    label: str
    note: str
    """Below the label: its state, or where it is."""
    kind: str
    """sealed, draft, elsewhere or gone."""
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Line:
    """From a version to one that came from it."""

    path: str
    """Of SVG."""
    kind: str
    """fork or made."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The versions of a folder that come from others, or that others come from."""

    boxes: Sequence[Box]
    lines: Sequence[Line]
    width: int
    height: int
    left_out: int
    """Versions for which there was no room."""
    sentences: Sequence[str]
    """The same in words."""


@dataclass(frozen=True, slots=True)
class _Link:
    old: str
    new: str
    kind: str


def drawing(infos: Sequence[VersionInfo]) -> Drawing | None:
    """A drawing of the versions of one folder, the newest first; None if none has any relation."""
    links: list[_Link] = []
    gone: set[str] = set()
    drawn: set[str] = set()
    left_out = 0
    for info in infos:
        found = list(_links(info, gone))
        ends = {end for link in found for end in (link.old, link.new)}
        if len(drawn | ends) > MOST:
            left_out += 1
            continue
        drawn |= ends
        links += found
    links = list(dict.fromkeys(links))
    if not links:
        return None
    own = {info.path: info for info in infos}
    places = _places(sorted(drawn), links)
    boxes = [_box(path, own.get(path), path in gone, *places[path]) for path in sorted(drawn)]
    boxes.sort(key=lambda box: (box.x, box.y))
    return Drawing(
        boxes=boxes,
        lines=[Line(_curve(places[each.old], places[each.new]), each.kind) for each in links],
        width=max(box.x for box in boxes) + BOX_WIDTH + _EDGE,
        height=max(box.y for box in boxes) + BOX_HEIGHT + _EDGE,
        left_out=left_out,
        sentences=[
            f"{each.new} was {'forked' if each.kind == 'fork' else 'made'} from {each.old}"
            for each in links
        ],
    )


def _links(info: VersionInfo, gone: set[str]) -> Iterable[_Link]:
    def path(relative: Relative) -> str:
        if relative.now is None:
            gone.add(f"{relative.origin.path} (deleted)")
            return f"{relative.origin.path} (deleted)"
        return relative.now

    if info.parent is not None:
        yield _Link(path(info.parent), info.path, "fork")
    for source in info.sources:
        yield _Link(path(source), info.path, "made")
    for fork in info.forks:
        yield _Link(info.path, fork, "fork")
    for heir in info.used_by:
        yield _Link(info.path, heir.path, "made")


def _places(paths: Sequence[str], links: Sequence[_Link]) -> dict[str, tuple[int, int]]:
    """Left to right by generation; in a column, near what each came from."""
    older: dict[str, list[str]] = defaultdict(list)
    for link in links:
        older[link.new].append(link.old)
    generations = _generations(paths, older)
    columns: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        columns[generations[path]].append(path)
    rows: dict[str, float] = {}
    for generation in sorted(columns):

        def weight(path: str) -> tuple[float, str]:
            above = [rows[each] for each in older[path] if each in rows]
            return (sum(above) / len(above) if above else 0.0, path)

        for row, path in enumerate(sorted(columns[generation], key=weight)):
            rows[path] = row
    tallest = max(len(column) for column in columns.values())
    return {
        path: (
            _EDGE + generations[path] * _COLUMN,
            _EDGE + round((rows[path] + (tallest - len(columns[generations[path]])) / 2) * _ROW),
        )
        for path in paths
    }


def _generations(paths: Sequence[str], older: dict[str, list[str]]) -> dict[str, int]:
    """How many versions are above each, along the longest way; a circle is cut somewhere."""
    found: dict[str, int] = {}
    under_way: set[str] = set()

    def generation(path: str) -> int:
        if path in found:
            return found[path]
        if path in under_way:
            return -1
        under_way.add(path)
        number = 1 + max((generation(each) for each in older.get(path, ())), default=-1)
        under_way.discard(path)
        found[path] = number
        return number

    for path in paths:
        generation(path)
    return found


def _box(path: str, info: VersionInfo | None, is_gone: bool, x: int, y: int) -> Box:
    folder, _, name = path.rpartition("/")
    if info is not None:
        sealed = info.state == "sealed"
        return Box(path, _shortened(name), info.state, "sealed" if sealed else "draft", x, y)
    if is_gone:
        name = name.removesuffix(" (deleted)")
        return Box(path, _shortened(name), _shortened(f"{folder}, deleted"), "gone", x, y)
    return Box(path, _shortened(name), _shortened(folder), "elsewhere", x, y)


def _curve(old: tuple[int, int], new: tuple[int, int]) -> str:
    left, right = old[0] + BOX_WIDTH, new[0]
    start, end = old[1] + BOX_HEIGHT // 2, new[1] + BOX_HEIGHT // 2
    if right <= left:  # back, where a circle was cut
        return f"M{left},{start} C{left + 40},{start + 60} {right - 40},{end + 60} {right},{end}"
    half = (left + right) // 2
    return f"M{left},{start} C{half},{start} {half},{end} {right},{end}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
