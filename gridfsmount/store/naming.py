"""Names in documents of the tree, some of which others have written and may be malformed. Pure."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from gridfsmount.core.model import ROOT, Inode, Name, Node
from gridfsmount.errors import Damaged
from gridfsmount.store.encoding import Document, decode_node
from gridfsmount.store.undecoded import is_utf8

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of one directory, in the order of the names' code points."""

    entries: tuple[tuple[str, Node], ...]
    last: str | None
    """Name to go on after; None at the end of the directory."""


def page_of(documents: Sequence[Document], parent: Inode, after: str, limit: int) -> Page:
    """The page that up to `limit` documents are, in the order of the index after `after`."""
    # The index yields each document at its first name in the range. A document with several
    # names here gives those up to the page's end now, the others on a later page.
    firsts = [_first_name(each, parent, after) for each in documents]
    # A hostile name that no query can hold is no place to go on from.
    usable = [name for name in firsts if name > after and is_utf8(name)]
    last = usable[-1] if len(documents) == limit and usable else None
    entries: list[tuple[str, Node]] = []
    for first, document in zip(firsts, documents, strict=True):
        node = decode_leniently(document)
        if node is None or first == after:
            continue
        if len(node.names) == 1:
            entries.append((first, node))
            continue
        entries.extend(
            (each.name, node)
            for each in node.names
            if each.parent == parent and each.name > after and (last is None or each.name <= last)
        )
    entries.sort(key=itemgetter(0))  # a node with several names here has them out of order
    return Page(tuple(entries), last)


def first_pages(
    documents: Sequence[Document], parents: Iterable[Inode], limit: int
) -> dict[Inode, Page]:
    """First pages of those directories that up to `limit` documents of the index tell all of.

    The index yields the directories by their numbers. At the limit, those before the last one are
    complete, that one goes on after its last name, and nothing is known of those that follow.
    """
    wanted = set(parents)
    found = [_places_in(each, wanted) for each in documents]
    firsts = [min(places) for places in found if places]
    cut = firsts[-1] if len(documents) == limit and firsts else None
    if cut is None and len(documents) == limit:
        return {}
    entries: dict[Inode, list[tuple[str, Node]]] = {
        each: [] for each in wanted if cut is None or each <= cut[0]
    }
    for document, places in zip(documents, found, strict=True):
        node = decode_leniently(document)
        for parent, name in places if node is not None else ():
            if node is not None and (cut is None or (parent, name) <= cut):
                entries[parent].append((name, node))
    for each in entries.values():
        each.sort(key=itemgetter(0))
    return {
        parent: Page(tuple(each), cut[1] if cut is not None and parent == cut[0] else None)
        for parent, each in entries.items()
    }


def first_name(document: Mapping[str, Any]) -> Name | None:
    """The first name of a node, which may be malformed."""
    names = document.get("names")
    return _name(names[0]) if isinstance(names, list) and names else None


def names_of(document: Mapping[str, Any], field: str = "names") -> list[Name]:
    """Those names of a document, which may be malformed, that are such."""
    names = document.get(field)
    found = map(_name, names if isinstance(names, list) else ())
    return [name for name in found if name is not None]


def _name(value: object) -> Name | None:
    if not isinstance(value, Mapping):
        return None
    parent, name = value.get("parent"), value.get("name")
    if not isinstance(parent, int) or not isinstance(name, str) or not is_utf8(name):
        return None
    return Name(Inode(parent), name)


def _places_in(document: Mapping[str, Any], parents: set[Inode]) -> list[tuple[Inode, str]]:
    """The names that a document, which may be malformed, has in some directories."""
    names = document.get("names")
    return [
        (each["parent"], each["name"])
        for each in (names if isinstance(names, list) else ())
        if isinstance(each, Mapping)
        and isinstance(each.get("parent"), int | float)
        and each["parent"] in parents
        and isinstance(each.get("name"), str)
        and is_utf8(each["name"])
    ]


def _first_name(document: Mapping[str, Any], parent: Inode, after: str) -> str:
    """The name at which the index yields a document; `after` for one that is malformed."""
    return min(_names_in(document, parent, after), default=after)


def _names_in(document: Mapping[str, Any], parent: Inode, after: str) -> list[str]:
    names = document.get("names", [])
    if len(names) == 1 and names[0].__class__ is dict:  # a loop for each entry would be felt
        name = names[0].get("name")
        if not isinstance(name, str) or names[0].get("parent") != parent or name <= after:
            return []
        return [name]
    return [
        each["name"]
        for each in names
        if isinstance(each, Mapping)
        and each.get("parent") == parent
        and isinstance(each.get("name"), str)
        and each["name"] > after
    ]


def decode_leniently(document: Mapping[str, Any]) -> Node | None:
    """One malformed document must not make its whole directory unreadable."""
    try:
        return decode_node(document)
    except Damaged as error:
        log.error("left out: %s", error)
        return None


def path_of(document: Mapping[str, Any]) -> str | None:
    """Path below the root of a node, given with all that is `above` it; None without one."""
    # Whole numbers alone: others cannot be looked up, and may not even be hashable.
    above = {
        each["_id"]: first_name(each)
        for each in document["above"]
        if isinstance(each["_id"], int | float)
    }
    parts: list[str] = []
    name = first_name(document)
    while name is not None:
        parts.append(name.name)
        if name.parent == ROOT:
            return "/".join(reversed(parts))
        name = above.pop(name.parent, None)  # each once: a loop in the tree ends here
    return None
