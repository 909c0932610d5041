"""Which version of a dataset or model is its newest: what `latest` leads to."""

from collections.abc import Iterable
from dataclasses import replace

from gridfsmount.core.model import LATEST_FLAG, Inode, Kind, Name, Node, State
from gridfsmount.core.names import LATEST


def newest(nodes: Iterable[Node]) -> Node | None:
    """The newest of the sealed versions, or of the drafts if none is sealed; None without any.

    Args:
        nodes: what lies in the folder of a dataset or a model, its versions among it.
    """
    return max((node for node in nodes if node.version == node.inode), key=_age, default=None)


def latest_link(folder: Node, nodes: Iterable[Node]) -> Node | None:
    """The link `latest` of a folder in which `nodes` lie; None if it has nothing to lead to."""
    version = newest(nodes)
    if version is None:
        return None
    return replace(
        version,
        inode=Inode(folder.inode | LATEST_FLAG),
        kind=Kind.SYMLINK,
        names=(Name(folder.inode, LATEST),),
        target=version.names[0].name,
        xattrs={},
        version=None,
        state=None,
    )


def _age(node: Node) -> tuple[bool, int, int]:
    # The inode number decides between two of one instant, everywhere alike.
    seal = None if node.record is None else node.record.seal
    return node.state is State.SEALED, node.created_ns if seal is None else seal.at_ns, node.inode
