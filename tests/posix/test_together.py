"""Several users at random: one after the other against an ordinary directory, and all at once."""

import itertools
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.posix.acting import Actor
from tests.posix.conftest import GROUP, OTHER, OWNER, Sites
from tests.posix.users import needs_root

Call = tuple[object, ...]

FOLDERS: Final = ("a", "b", "a/c")
NAMES: Final = ("x", "y", "c")
MODES: Final = (0o755, 0o700, 0o777, 0o1777, 0o2775, 0o644, 0o666, 0o4755, 0o2755, 0o000, 0o1770)
IDS: Final = (-1, 0, OWNER, OTHER, GROUP)

WRITE: Final = os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
"""Opening a FIFO would wait for its other end."""


def random_call(chance: random.Random) -> Call:
    """A call, and its arguments; paths are relative."""

    def path() -> str:
        folder = chance.choice((*FOLDERS, "."))
        return f"{folder}/{chance.choice(NAMES)}"

    def anything() -> str:
        return chance.choice((path(), path(), chance.choice(FOLDERS)))

    ways: tuple[Callable[[], Call], ...] = (
        lambda: ("mkdir", path(), chance.choice(MODES)),
        lambda: ("mkfifo", path(), chance.choice(MODES)),
        lambda: ("mknod", path(), stat.S_IFREG | chance.choice(MODES)),
        lambda: ("symlink", chance.choice(NAMES), path()),
        lambda: ("link", path(), path()),
        lambda: ("unlink", path()),
        lambda: ("rmdir", anything()),
        lambda: ("rename", anything(), anything()),
        lambda: ("rename", path(), path()),
        lambda: ("renameat2", path(), path(), chance.choice((1, 2))),
        lambda: ("chmod", anything(), chance.choice(MODES)),
        lambda: ("chmod", anything(), chance.choice(MODES)),
        lambda: ("chown", anything(), chance.choice(IDS), chance.choice(IDS)),
        lambda: ("lchown", anything(), chance.choice(IDS), chance.choice(IDS)),
        lambda: ("truncate", path(), chance.choice((0, 1, 5000))),
        lambda: ("utime", anything()),
        lambda: ("listdir", anything()),
        lambda: ("access", anything(), chance.randrange(8)),
        lambda: ("write_file", path(), b"b" * chance.choice((0, 1, 5000)), WRITE),
        lambda: ("open", path(), os.O_RDONLY | os.O_NONBLOCK),
        lambda: ("open", path(), os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, chance.choice(MODES)),
        lambda: ("open", path(), os.O_RDWR | os.O_TRUNC | os.O_NONBLOCK),
    )
    return chance.choice(ways)()


def prepare(place: Path, root: Actor) -> None:
    for name in FOLDERS:
        root.mkdir(f"{place}/{name}", 0o777)
    root.chmod(str(place), 0o1777)
    root.chmod(f"{place}/b", 0o2777)


def everything(place: Path) -> dict[str, tuple[object, ...]]:
    """All that can be told of what is below a directory."""
    found: dict[str, tuple[object, ...]] = {}
    for path in place.rglob("*"):
        status = path.lstat()
        is_folder = stat.S_ISDIR(status.st_mode)
        found[str(path.relative_to(place))] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            None if is_folder else (status.st_nlink, status.st_size),
        )
    return found


@needs_root
@pytest.mark.parametrize("seed", range(3))
def test_users_in_turn_do_what_they_could_do_in_an_ordinary_directory(
    sites: Sites, root: Actor, owner: Actor, other: Actor, seed: int
) -> None:
    chance = random.Random(seed)
    draft, ordinary = sites.draft(), sites.directory()
    for place in (draft, ordinary):
        prepare(place, root)
    succeeded = 0
    for number in range(500):
        # Root may do all, and so would soon own all.
        actor = chance.choice((owner, owner, other, other, root))
        name, *arguments = call = random_call(chance)
        outcomes = []
        for place in (draft, ordinary):
            actor.chdir(str(place))
            outcomes.append(actor.attempt(name, *arguments))
        assert outcomes[0] == outcomes[1], f"step {number}: {actor.uid} {call}"
        succeeded += outcomes[0] is None
        if number % 25 == 0:
            assert everything(draft) == everything(ordinary), f"after step {number}"
    assert everything(draft) == everything(ordinary)
    assert succeeded > 50
    for actor in (root, owner, other):
        actor.chdir("/")


ORDINARY_REFUSALS: Final = {
    None, "EEXIST", "EINVAL", "EISDIR", "ELOOP", "ENOENT", "ENOTDIR", "ENOTEMPTY", "ENXIO", "EPERM",
}  # fmt: skip
"""What may come of calls that get in each other's way. Not EIO, ESTALE, EBUSY."""


@pytest.mark.parametrize("seed", range(2))
def test_processes_that_get_in_each_other_s_way_see_ordinary_refusals_only(
    place: Path, root: Actor, second: Actor, seed: int
) -> None:
    prepare(place, root)
    chance = random.Random(seed)
    outcomes: dict[object, Call] = {}
    for actor in (root, second):
        actor.chdir(str(place))
    for _ in range(300):
        calls = [random_call(chance) for _ in range(2)]
        finish = [
            actor.begin("attempt", *call) for actor, call in zip((root, second), calls, strict=True)
        ]
        outcomes |= {end(): call for end, call in zip(finish, calls, strict=True)}
    for actor in (root, second):
        actor.chdir("/")
    odd = {outcome: call for outcome, call in outcomes.items() if outcome not in ORDINARY_REFUSALS}
    assert odd == {}
    # What is listed is there, and nothing else is.
    listed = {str(path) for path in place.rglob("*")}
    for folder, name in itertools.product((*FOLDERS, "."), NAMES):
        there = place / folder / name
        if there.parent.resolve() != there.parent:
            continue  # a link took the folder's place
        assert os.path.lexists(there) == (str(there) in listed), there
    for path in map(Path, sorted(listed, reverse=True)):
        path.rmdir() if stat.S_ISDIR(path.lstat().st_mode) else path.unlink()
    assert list(place.iterdir()) == []
