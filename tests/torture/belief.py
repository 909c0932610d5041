"""What a file system may show, when some operations were acknowledged and others were not.

Pure. Each operation is a list of steps, each of which becomes visible as a whole or not at all. An
operation that was acknowledged has done all of them. Of one that failed, or never returned, any
number of them may have happened, from the first on: so there are several possible worlds. A later
operation that is acknowledged goes on from each of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tests.torture.contents import Content

State: TypeAlias = Content | Literal["folder"] | None
"""What a path leads to: a file of that content, a folder, or nothing."""

FOLDER: Final = "folder"

World: TypeAlias = Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one or several paths that happens at once."""

    sets: World
    if_missing: str | None = None
    """Happens only where this path leads to nothing: a new file is empty for a moment."""


@dataclass(slots=True)
class Belief:
    """What is known of the paths of one worker, whose operations never overlap.

    Attributes:
        certain: What a path must show.
        doubts: For the other paths the possible worlds, in groups that share no path. Of each
            group exactly one world is real.
        ever: All that a path may have shown at any time.
    """

    certain: dict[str, State] = field(default_factory=dict)
    doubts: list[list[World]] = field(default_factory=list)
    ever: dict[str, set[State]] = field(default_factory=dict)

    def done(self, steps: Sequence[Step]) -> None:
        """An operation was acknowledged."""
        self._replace(steps, lambda worlds: worlds[-1:])

    def failed(self, steps: Sequence[Step]) -> None:
        """An operation failed, or never returned."""
        self._replace(steps, lambda worlds: worlds)

    def uncertainty(self, path: str) -> int:
        """How many worlds are possible as far as this path is concerned."""
        return next((len(worlds) for worlds in self.doubts if path in worlds[0]), 1)

    def is_certain(self, path: str) -> bool:
        """Whether a path can show one thing only; so it is for those that were never used."""
        return self.uncertainty(path) == 1

    def paths(self) -> Iterator[str]:
        """All paths that an operation ever named."""
        yield from self.ever

    def _replace(self, steps: Sequence[Step], chosen: Callable[[list[World]], list[World]]) -> None:
        paths = {path for step in steps for path in step.sets}
        after = [
            world for before in self._taken(paths) for world in chosen(list(_worlds(before, steps)))
        ]
        self._put(after)

    def _taken(self, paths: set[str]) -> list[dict[str, State]]:
        """The possible worlds of these paths, and of those that are bound up with them."""
        worlds: list[dict[str, State]] = [{path: self.certain.pop(path, None) for path in paths}]
        for group in [each for each in self.doubts if paths & each[0].keys()]:
            self.doubts.remove(group)
            worlds = [{**world, **doubt} for world in worlds for doubt in group]
        return worlds

    def _put(self, worlds: list[World]) -> None:
        for world in worlds:
            for path, state in world.items():
                self.ever.setdefault(path, {None}).add(state)
        unsure = []
        for path in worlds[0]:
            if len({world[path] for world in worlds}) == 1:
                self.certain[path] = worlds[0][path]
            else:
                unsure.append(path)
        if unsure:
            kept = {tuple(world[path] for path in unsure): None for world in worlds}
            self.doubts.append([dict(zip(unsure, states, strict=True)) for states in kept])


def _worlds(before: World, steps: Iterable[Step]) -> Iterator[World]:
    """What can be seen while an operation goes on, from its beginning to its end."""
    yield before
    world = before
    for step in steps:
        if step.if_missing is None or world[step.if_missing] is None:
            world = {**world, **step.sets}
            yield world
