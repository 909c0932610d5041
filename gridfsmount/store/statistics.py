"""Figures of the deployment, for `statfs`."""

from gridfsmount.core.model import Space
from gridfsmount.store.connection import Connection
from gridfsmount.store.tree import Tree


class Statistics:
    """What the server says about its disk."""

    def __init__(self, connection: Connection, tree: Tree) -> None:
        """Ask the server of `connection`."""
        self._seam = connection.seam
        self._database = connection.database
        self._tree = tree

    def space(self) -> Space:
        """Size and free bytes of the disk that holds the data; zeros when the server is silent."""
        with self._seam.operation("ask for the server's disk space"):
            figures = self._database.command("dbStats")
        total = int(figures.get("fsTotalSize", 0))
        used = int(figures.get("fsUsedSize", 0))
        return Space(total, max(0, total - used), self._tree.count())
