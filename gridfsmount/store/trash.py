"""`fs.trash`: contents that no name refers to, kept for a grace period.

The files document moves in here, so drivers stop seeing a removed file at once, while handles
that are open on any machine still find its chunks.
"""

import logging

from gridfsmount.core.model import ContentId
from gridfsmount.errors import Damaged
from gridfsmount.store.connection import Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.encoding import content_id, content_key
from gridfsmount.store.tree import Tree

log = logging.getLogger(__name__)


class Trash:
    """Removal of contents in two steps."""

    def __init__(self, connection: Connection, contents: Contents, tree: Tree) -> None:
        """Serve the lake of `connection`."""
        self._seam = connection.seam
        self._trash = connection.acknowledged("trash")
        self._raw = connection.raw("trash")
        self._contents = contents
        self._tree = tree

    def announce(self, content: ContentId, name: str) -> None:
        """Note that a content is about to lose its name; harmless if it then does not."""
        with self._seam.operation(f"move {name} to the trash"):
            self._trash.update_one(
                {"_id": {"$eq": content_key(content)}},
                {"$set": {"name": name}, "$currentDate": {"since": True}},
                upsert=True,
            )

    def settle(self, content: ContentId) -> None:
        """The name is gone: hide the content from drivers, unless another node shows it."""
        if self._tree.shows(content):
            self._forget(content)
            return
        hidden = self._contents.hide(content)
        if hidden is not None:
            # As if it had not been announced: a crash of the server may have lost that.
            with self._seam.operation(f"keep the files document of {content}"):
                self._trash.update_one(
                    {"_id": {"$eq": content_key(content)}},
                    {
                        "$set": {"file": hidden},
                        "$setOnInsert": {"name": str(hidden.get("filename", ""))},
                        "$currentDate": {"since": True},
                    },
                    upsert=True,
                )

    def holds(self, content: ContentId) -> bool:
        """Whether a content is here, to stay until its time."""
        with self._seam.operation(f"look for content {content} in the trash"):
            found = self._trash.find_one({"_id": {"$eq": content_key(content)}}, {"_id": 1})
        return found is not None

    def sweep(self, grace: float) -> int:
        """Erase what has been in the trash for `grace` seconds and is shown by no node.

        Returns the number of contents erased.
        """
        with self._seam.operation("look through the trash"):
            documents = list(
                self._raw.find(
                    {"$expr": {"$lt": ["$since", {"$subtract": ["$$NOW", round(grace * 1000)]}]}}
                ).limit(1000)
            )
        erased = 0
        for document in documents:
            try:
                content = content_id(document["_id"])
            except Damaged as error:
                log.error("left in the trash: %s", error)
                continue
            if self._tree.shows(content):
                if document.get("file"):
                    self._contents.restore(document["file"])
            else:
                self._contents.erase(content)
                erased += 1
                log.info("erased %s (content %s)", document.get("name"), content)
            self._forget(content)
        return erased

    def _forget(self, content: ContentId) -> None:
        with self._seam.operation(f"take content {content} out of the trash"):
            self._trash.delete_one({"_id": {"$eq": content_key(content)}})
