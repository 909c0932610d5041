"""Where a path that somebody typed leads: a path in a lake, or one inside of a mount.

`datasets/mnist/v1` is a path in the lake that the options choose. `/mnt/lake/datasets/mnist/v1`,
or `v1` for somebody who stands in that folder, is one in the lake that is mounted there, which
tells its address.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gridfsmount.cli.lakes import LakeChoice
from gridfsmount.core.model import AREAS
from gridfsmount.errors import ConfigError, MountError
from gridfsmount.mount.mountpoint import FILE_SYSTEM, is_mounted, lake_of, mount_of


@dataclass(frozen=True, slots=True)
class Located:
    """Paths of one lake, and how to reach it."""

    uri: str | None
    choice: LakeChoice
    paths: tuple[str, ...]
    """Below the lake's root."""


def locate(texts: Sequence[str], uri: str | None, choice: LakeChoice) -> Located:
    """Find the lake that all of some paths lie in.

    A path in a lake lies in that of the others, if these are in a mount. An address that is given
    counts, whatever the mount says.

    Raises:
        ConfigError: they lie in several lakes, or in a mount and there is another login.
        MountError: a mount does not tell its address.
    """
    mounts: set[Path] = set()
    paths = []
    for text in texts:
        found = _inside(text)
        if found is None:
            paths.append(text)
        else:
            mounts.add(found[0])
            paths.append(found[1])
    given = bool(uri or choice.uri_file or choice.embedded)
    if not mounts or given:
        return Located(uri, choice, tuple(paths))
    lakes = {lake_of(each) for each in mounts}
    if len(lakes) > 1:
        raise ConfigError("the paths lie in several lakes; give the address of one with --uri")
    ((address, bucket),) = lakes
    if choice.login.is_given:
        raise ConfigError("a mount has a login already: give the lake's address with --uri, too")
    whole = replace(choice, bucket=choice.bucket or bucket, is_whole=True)
    return Located(address, whole, tuple(paths))


def _inside(text: str) -> tuple[Path, str] | None:
    """The mount that a path lies in, and what it is called there; None when it is in none.

    The last part is not followed if it is a link: a tag is one.
    """
    path = Path(os.path.abspath(text))  # noqa: PTH100 (resolve() would follow it)
    path = path.parent.resolve() / path.name
    try:
        mountpoint = mount_of(path if is_mounted(path, FILE_SYSTEM) else path.parent)
    except MountError:
        return None
    inner = str(path.relative_to(mountpoint))
    return mountpoint, f"{inner}/" if text.endswith("/") else inner


def is_inside(text: str) -> bool:
    """Whether a path lies in a mount."""
    return _inside(text) is not None


def is_local(text: str) -> bool:
    """Whether a path is neither in a lake nor in a mount: one of this machine's."""
    if is_inside(text):
        return False
    return text.startswith(("/", "./", "../", "~")) or text.split("/", maxsplit=1)[0] not in AREAS
