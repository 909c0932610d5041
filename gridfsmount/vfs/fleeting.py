"""Files that lose their name between look-up and open.

An open of a file that is gone is answered with ESTALE, upon which the kernel looks the path up
again; once only. A file that is replaced all the time may be gone once more by then. So a name that
other mounts replaced a short while ago is *fleeting*: the kernel must not believe in it beyond the
call that looks it up. Whoever then comes with a number that is gone has looked its name up in the
same call, and what was found last under that number is an answer: it was there after the call had
begun.

It is no answer while the kernel may believe in a name that leads there: then the call may have
begun long after. A name that is taken away here is not believed any more once the call that does it
has returned.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gridfsmount.core.model import Content, Inode, Kind, Name, Node

FLEETING_SECONDS: Final = 30.0
"""For so long a name is looked up in each call after it was last replaced: a millisecond each."""

BELIEVED_SECONDS: Final = 2.0
"""For longer the kernel does not believe in a name, even if it was slow to hear the answer."""

_MOST: Final = 1000
"""Names and files in mind: a file is asked for within a moment, or never."""


@dataclass(frozen=True, slots=True)
class LastSeen:
    """A file as it was found last."""

    node: Node
    content: Content | None = None
    """None as well when that was not asked for."""
    removed: bool = False
    """Its last name was removed here: this is how it was for good."""


class FleetingFiles:
    """Which names are replaced again and again, and what they led to."""

    def __init__(self) -> None:
        """None yet."""
        self._fleeting: OrderedDict[Name, float] = OrderedDict()
        """When they were replaced last; the latest last."""
        self._believed: OrderedDict[Inode, tuple[float, tuple[Name, ...]]] = OrderedDict()
        """Names that the kernel may believe in, and since when; the latest last."""
        self._seen: OrderedDict[Inode, LastSeen] = OrderedDict()
        self._removing: dict[Inode, trio.Event] = {}

    def is_fleeting(self, name: Name, now: float) -> bool:
        """Whether the kernel must not believe in a name."""
        at = self._fleeting.get(name)
        return at is not None and now - at < FLEETING_SECONDS

    def told(self, node: Node, content: Content | None, now: float) -> bool:
        """The kernel is about to be told a file's name; whether that is fleeting."""
        if self._fleeting and any(self.is_fleeting(name, now) for name in node.names):
            seen = self._seen.get(node.inode)
            if seen is None or seen.node.rev < node.rev or content is not None:
                self._note(LastSeen(node, content))
            return True
        names = self._names(node.inode, now)
        if names not in ((), node.names):
            names = tuple({*names, *node.names})
        self._believed[node.inode] = now, names or node.names
        self._believed.move_to_end(node.inode)
        while next(iter(self._believed.values()))[0] < now - BELIEVED_SECONDS:
            self._believed.popitem(last=False)
        return False

    def content(self, node: Node) -> Content | None:
        """What is known of the content that a file was found with, and still has."""
        seen = self._seen.get(node.inode)
        return seen.content if seen is not None and seen.node.content == node.content else None

    def settled(self, inode: Inode) -> None:
        """The kernel is about to be told a file's name, to believe in it for good."""
        self._seen.pop(inode, None)

    def lost(self, inode: Inode, now: float) -> None:
        """A file lost a name elsewhere: those that it is known by are fleeting from here on."""
        seen = self._seen.get(inode)
        if seen is not None and seen.removed:
            return
        for name in (*self._names(inode, now), *(() if seen is None else seen.node.names)):
            self._fleeting[name] = now
            self._fleeting.move_to_end(name)
            if len(self._fleeting) > _MOST:
                self._fleeting.popitem(last=False)

    def renamed(self, inode: Inode, old: Name, new: Name) -> None:
        """A file was renamed here; the kernel does the same with what it believes."""
        known = self._believed.get(inode)
        if known is not None:
            kept = (each for each in known[1] if each not in (old, new))
            self._believed[inode] = known[0], (*kept, new)

    def removed(self, node: Node) -> None:
        """A node lost its last name here; call before the kernel is told."""
        if node.kind is not Kind.FILE:
            return
        known = self._believed.get(node.inode)
        if known is not None and set(known[1]) <= set(node.names):
            del self._believed[node.inode]
        self._note(LastSeen(node, removed=True))

    @contextmanager
    def removing(self, node: Node | None) -> Iterator[None]:
        """Here a node may lose its last name, which others do not know yet: `gone` waits."""
        if node is None:
            yield
            return
        event = self._removing[node.inode] = trio.Event()
        try:
            yield
        finally:
            self._removing.pop(node.inode, None)
            event.set()

    async def gone(self, inode: Inode) -> LastSeen | None:
        """A file that is gone, as it was, for who has just looked it up.

        None if that cannot be told from who believes in an old name; then the kernel must look it
        up again, and believe in it no longer.
        """
        event = self._removing.get(inode)
        if event is not None:
            await event.wait()
        now = time.monotonic()
        self.lost(inode, now)
        return None if self._names(inode, now) else self._seen.get(inode)

    def _names(self, inode: Inode, now: float) -> tuple[Name, ...]:
        known = self._believed.get(inode)
        return () if known is None or now - known[0] > BELIEVED_SECONDS else known[1]

    def _note(self, seen: LastSeen) -> None:
        self._seen[seen.node.inode] = seen
        self._seen.move_to_end(seen.node.inode)
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
