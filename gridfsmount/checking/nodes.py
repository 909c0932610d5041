"""Whether nodes are as they should be: where they hang, what they show, how large they are."""

from collections.abc import Iterator, Mapping, Sequence, Set

from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.places import Place, Places
from gridfsmount.core.model import NO_FOLDER, ROOT, UNSORTED, ContentId, Inode, Kind, Node
from gridfsmount.store.audit import FileState, NodeState
from gridfsmount.store.lake import Lake


class NodeExamination:
    """Looks at nodes, a batch at a time."""

    def __init__(self, lake: Lake) -> None:
        """Look at the nodes of `lake`."""
        self._lake = lake
        self._places = Places(lake.audit)

    def afresh(self) -> None:
        """Believe nothing that was seen before."""
        self._places.forget()

    def examine(self, inodes: Sequence[Inode]) -> list[Finding]:
        """What is wrong with those of some nodes that there are."""
        states = self._lake.audit.nodes(inodes)
        above: set[Inode] = set()
        for state in states:
            if state.node is not None:
                above.update(name.parent for name in state.node.names)
                if state.node.version is not None:
                    above.add(state.node.version)
        self._places.load(above - {NO_FOLDER})
        twins = self._lake.filenames.of(self._elsewhere(states))
        return [finding for state in states for finding in self._faults(state, twins)]

    def _elsewhere(self, states: Sequence[NodeState]) -> list[ContentId]:
        """Contents that drivers know by other paths: of other files that show them, perhaps."""
        return [
            state.file.id
            for state in states
            if state.node is not None
            and state.file is not None
            and self._places.of(state.node.names[0]).path != state.file.filename
        ]

    def _faults(self, state: NodeState, twins: Mapping[ContentId, Set[str]]) -> Iterator[Finding]:
        node = state.node
        if node is None:
            name = f"inode {state.inode}"
            yield Finding(Fault.MALFORMED_NODE, name, state.problem, state.inode)
            return
        if node.inode == ROOT:
            return
        place = self._places.of(node.names[0])
        path = place.path or f"(inode {node.inode}) {node.names[0].name}"
        yield from self._faults_above(node, place, path)
        if node.kind is Kind.FILE:
            yield from self._faults_below(node, state.file, path)
            yield from self._faults_in_filename(node, state.file, place.path, twins)

    def _faults_above(self, node: Node, place: Place, path: str) -> Iterator[Finding]:
        parents = [name.parent for name in node.names]
        if NO_FOLDER in parents:
            if node.record is not None and node.record.detached:
                return
            yield Finding(
                Fault.INTERRUPTED, path, "set aside by a rename that did not end", node.inode
            )
            return
        lost = [name for name in node.names if not self._places.holds(name.parent)]
        if len(lost) == len(node.names):
            where = f"its folder, inode {parents[0]}, is not there"
            yield Finding(Fault.UNREACHABLE_NODE, path, where, node.inode, node.content)
        elif lost:
            names = ", ".join(repr(name.name) for name in lost)
            yield Finding(Fault.LOST_NAME, path, f"the folder of {names} is not there", node.inode)
        elif node.inode in place.cycle and node.inode == min(place.cycle):
            count = len(place.cycle)
            detail = f"{count} folder{'s' if count > 1 else ''} below each other, without a root"
            yield Finding(Fault.CYCLE, path, detail, node.inode)

    def _faults_below(self, node: Node, file: FileState | None, path: str) -> Iterator[Finding]:
        if node.content is None:
            if node.size != 0:
                detail = f"{node.size:,} bytes, but no content"
                yield Finding(Fault.WRONG_SIZE, path, detail, node.inode)
            return
        if file is None:
            detail = "its files document is missing"
            yield Finding(Fault.DANGLING, path, detail, node.inode, node.content)
            return
        if file.content is not None and file.content.length != node.size:
            detail = f"{node.size:,} bytes in the tree, {file.content.length:,} in the content"
            yield Finding(Fault.WRONG_SIZE, path, detail, node.inode, node.content)

    def _faults_in_filename(
        self,
        node: Node,
        file: FileState | None,
        path: str | None,
        twins: Mapping[ContentId, Set[str]],
    ) -> Iterator[Finding]:
        if file is None or path is None or not file.marked or node.version == UNSORTED:
            return
        if file.filename == path:
            return
        detail = f"drivers see it as {file.filename!r}"
        if file.filename != file.known_filename and not self._places.is_sealed(node.version):
            yield Finding(Fault.RENAMED, path, detail, node.inode, node.content)
            return
        if file.filename not in twins.get(file.id, ()):
            yield Finding(Fault.WRONG_FILENAME, path, detail, node.inode, node.content)
