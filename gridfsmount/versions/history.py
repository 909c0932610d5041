"""What is known of versions as wholes, and how they come from each other.

A lake has few versions, compared with its files: all are read, and what is asked for is picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridfsmount.core.model import AREAS, SHELVES, Inode, Node, Origin, Source, State
from gridfsmount.core.versions import newest
from gridfsmount.errors import NotFound
from gridfsmount.places import LakePath
from gridfsmount.store.lake import Lake
from gridfsmount.versions.tagging import shelf_at, tags_of


@dataclass(frozen=True, slots=True)
class Relative:
    """A version that another comes from."""

    origin: Origin
    now: str | None
    """Its path now; None when it is gone."""
    source: Source | None = None
    """What was noted of that; None for the parent of a fork."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A version that was made from another."""

    path: str
    source: Source


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """All that is known of one version."""

    node: Node
    path: str
    files: int
    bytes: int
    tags: tuple[str, ...]
    latest: bool
    """Whether `latest` leads to it."""
    parent: Relative | None
    """What it was forked from."""
    sources: tuple[Relative, ...]
    forks: tuple[str, ...]
    """Paths of the versions that were forked from it."""
    used_by: tuple[Heir, ...]

    @property
    def state(self) -> str:
        """See `state_of`."""
        return state_of(self.node)

    @property
    def at_ns(self) -> int:
        """See `dated_ns`."""
        return dated_ns(self.node)


def state_of(version: Node) -> str:
    """For people and programs: "draft", "sealed", or "sealing" while somebody seals it."""
    if version.state is State.SEALED:
        return State.SEALED.value
    sealing = version.record is not None and version.record.sealing is not None
    return "sealing" if sealing else State.DRAFT.value


def dated_ns(version: Node) -> int:
    """When it was sealed; of a draft, when it was made."""
    seal = None if version.record is None else version.record.seal
    return version.created_ns if seal is None else seal.at_ns


def history(lake: Lake, path: LakePath) -> list[VersionInfo]:
    """The versions of a dataset or model, of all of them in an area, or in the lake; newest first.

    Files and bytes of drafts are counted now.

    Raises:
        NotFound, InvalidArgument: there is nothing of that kind at `path`.
    """
    chronicle = _Chronicle(lake)
    if not path.parts:
        wanted = chronicle.versions
    elif len(path.parts) == 1 and AREAS[path.parts[0]] in SHELVES:
        wanted = [each for each in chronicle.versions if chronicle.area(each) == path.parts[0]]
    else:
        folder = shelf_at(lake, path)
        wanted = [each for each in chronicle.versions if each.parent == folder.inode]
    infos = [chronicle.info(each) for each in wanted]
    return sorted(infos, key=lambda info: (info.at_ns, info.node.inode), reverse=True)


def describe(lake: Lake, version: Node) -> VersionInfo:
    """All that is known of one version.

    Raises:
        NotFound: it is gone.
    """
    chronicle = _Chronicle(lake)
    node = chronicle.find(version.inode)
    if node is None:
        raise NotFound(f"{version.names[0].name} is gone")
    return chronicle.info(node)


class _Chronicle:
    """All versions of a lake, at one moment."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        nodes = lake.versions.all()
        self._paths: Mapping[Inode, str] = lake.tree.paths([node.inode for node in nodes])
        self.versions = [node for node in nodes if node.inode in self._paths]
        self._tags: dict[Inode, dict[str, str]] = {}
        self._by_folder: dict[Inode, list[Node]] = {}
        for node in self.versions:
            self._by_folder.setdefault(node.parent, []).append(node)

    def find(self, inode: Inode) -> Node | None:
        return next((node for node in self.versions if node.inode == inode), None)

    def area(self, node: Node) -> str:
        return self._paths[node.inode].split("/", maxsplit=1)[0]

    def info(self, node: Node) -> VersionInfo:
        record = node.record
        seal = None if record is None else record.seal
        parent = None if record is None else record.parent
        files, size = (
            self._lake.versions.measure(node.inode) if seal is None else (seal.files, seal.bytes)
        )
        if node.parent not in self._tags:
            self._tags[node.parent] = tags_of(self._lake, node.parent)
        tags = self._tags[node.parent]
        latest = newest(self._by_folder[node.parent])
        return VersionInfo(
            node=node,
            path=self._paths[node.inode],
            files=files,
            bytes=size,
            tags=tuple(tag for tag, to in tags.items() if to == node.names[0].name),
            latest=latest is not None and latest.inode == node.inode,
            parent=None if parent is None else self._relative(parent),
            sources=tuple(self._relative(each.origin, each) for each in _sources(node)),
            forks=tuple(self._paths[each.inode] for each in self._forks(node.inode)),
            used_by=tuple(
                Heir(self._paths[each.inode], source)
                for each in self.versions
                for source in _sources(each)
                if source.origin.version == node.inode
            ),
        )

    def _relative(self, origin: Origin, source: Source | None = None) -> Relative:
        return Relative(origin, self._paths.get(origin.version), source)

    def _forks(self, inode: Inode) -> Sequence[Node]:
        return [
            node
            for node in self.versions
            if node.record is not None
            and node.record.parent is not None
            and node.record.parent.version == inode
        ]


def _sources(node: Node) -> tuple[Source, ...]:
    return () if node.record is None else node.record.sources
