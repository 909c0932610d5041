"""`gridfsmount seal`: a draft becomes immutable, and gets its digest."""

import json
from functools import partial
from typing import TYPE_CHECKING

import click

from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.interrupting import interruptible
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.paths import locate
from gridfsmount.core.wording import counted, sized
from gridfsmount.errors import FileSystemError, StartupError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.core.model import Node
    from gridfsmount.store.lake import Lake


@click.command()
@click.argument("path")
@uri_option
@lake_options
@click.option("-m", "--message", default="", help="What to remember of this version.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def seal(path: str, uri: str | None, choice: LakeChoice, message: str, as_json: bool) -> None:
    """Make a version immutable, and compute its digest.

    PATH is a version such as datasets/mnist/v1, or its folder in a mount. From then on nothing in
    it can change, on any machine and for any user; `fork` makes a draft of it that can. While a
    file of it is open for writing anywhere, it is refused. Interrupted, it stays a draft.
    """
    from gridfsmount.places import parse, version_at
    from gridfsmount.versions.hashing import Hasher
    from gridfsmount.versions.sealing import Sealer

    place = locate([path], uri, choice)
    target = parse(place.paths[0])
    with (
        open_lake_for_command(place.choice, place.uri, place=PLACE, existing=True) as lake,
        interruptible(),
    ):
        version, where = version_at(lake, target)
        try:
            with file_bar(partial(_measure, lake, str(where)), "seal") as advance:
                sealer = Sealer(lake, Hasher(lake, progress=advance))
                node = sealer.seal(version, message, who())
        except FileSystemError as error:
            raise StartupError(f"{where} is not sealed: {error}") from error
        except KeyboardInterrupt as error:
            raise StartupError(f"{where} is not sealed: interrupted") from error
    _tell(str(where), node, as_json=as_json)


def _measure(lake: "Lake", path: str) -> tuple[int, int]:
    count, size = lake.bulk.measure(path)
    passes = 2 if lake.contents.lacks_hashes(path) else 1
    return count * passes, size * passes


def _tell(path: str, node: "Node", *, as_json: bool) -> None:
    seal = None if node.record is None else node.record.seal
    assert seal is not None, "it was sealed just now"
    if as_json:
        told = {"version": path, "files": seal.files, "bytes": seal.bytes, "digest": seal.digest}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"sealed {path}: {counted(seal.files, 'file')}, {sized(seal.bytes)}")
    click.echo(f"sha256 {seal.digest}")
