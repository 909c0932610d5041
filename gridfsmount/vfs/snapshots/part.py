"""All that answers for snapshots, put together."""

from gridfsmount.vfs.parts import Part
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.snapshots.annotations import SnapshotAnnotations
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.directories import SnapshotDirectories
from gridfsmount.vfs.snapshots.files import SnapshotFiles
from gridfsmount.vfs.snapshots.tree import SnapshotTree


def snapshots_part(catalogue: Catalogue, presentation: Presentation) -> Part:
    """The part of a mount that shows `catalogue`."""
    tree = SnapshotTree(catalogue, presentation)
    return Part(
        tree=tree,
        renaming=tree,
        files=SnapshotFiles(catalogue),
        directories=SnapshotDirectories(catalogue, tree),
        annotations=SnapshotAnnotations(catalogue),
        forget=lambda inodes: None,
    )
