"""`gridfsmount diff`: in what two versions differ, or a version and a folder of this machine."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.cli.bars import Advance, file_count
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.paths import is_local, locate
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, FileSystemError, StartupError

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake
    from gridfsmount.versions.comparing import Comparison, Summary, Tally
    from gridfsmount.versions.ledger import Change
    from gridfsmount.versions.sides import Item, Side

DIFFERENT: Final = 1
"""Exit code when there is a difference, as that of diff(1)."""

TROUBLE: Final = 2
"""Exit code when that cannot be told."""


@click.command()
@click.argument("old")
@click.argument("new")
@uri_option
@lake_options
@click.option("--summary", "--stat", "only_summary", is_flag=True, help="Print numbers only.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, a change on each line.")
@jobs_option("Queries and local files at once, for what must be read.")
@says_errors(code=TROUBLE)
def diff(
    old: str,
    new: str,
    uri: str | None,
    choice: LakeChoice,
    only_summary: bool,
    as_json: bool,
    jobs: int,
) -> None:
    """Tell in what two versions differ, or a version and a folder of this machine.

    OLD and NEW are versions such as datasets/mnist/v1, folders in them, or their places in a
    mount. One may be a local folder: anything that begins with none of datasets/, models/ and
    unsorted/, so ./datasets is local as well.

    Each line has a letter and a path: A added, D removed, M other bytes or another link target,
    R renamed with the same bytes (old path, new path), T of another kind now; "mode" and the
    permissions before and after. Times, owners and extended attributes are not compared. The exit
    code is 0 when there is no difference, 1 when there is one, 2 when that cannot be told.
    """
    from gridfsmount.versions.comparing import Comparison

    local = [is_local(each) for each in (old, new)]
    if all(local):
        raise ConfigError("both are local folders: one of the two must be in a lake")
    inside = [each for each, outside in zip((old, new), local, strict=True) if not outside]
    place = locate(inside, uri, choice)
    paths = iter(place.paths)
    texts = [
        text if outside else next(paths) for text, outside in zip((old, new), local, strict=True)
    ]
    try:
        with (
            open_lake_for_command(place.choice, place.uri, place=PLACE, read_only=True) as lake,
            ExitStack() as resources,
        ):
            with file_count("diff") as progress:
                sides = [
                    _local_side(text, jobs, progress)
                    if outside
                    else _lake_side(lake, text, jobs, progress)
                    for text, outside in zip(texts, local, strict=True)
                ]
                comparison = resources.enter_context(closing(Comparison(sides[0], sides[1])))
                comparison.find()
            _print(comparison, (old, new), only_summary=only_summary, as_json=as_json)
    except FileSystemError as error:
        raise StartupError(f"they cannot be compared: {printable(str(error))}") from error
    sys.exit(DIFFERENT if comparison.summary.differ else 0)


def _lake_side(lake: "Lake", text: str, jobs: int, progress: Advance) -> "Side":
    from gridfsmount.places import folder_at, parse
    from gridfsmount.versions.hashing import Hasher
    from gridfsmount.versions.sides import LakeSide

    folder, _ = folder_at(lake, parse(text))
    return LakeSide(lake, folder, Hasher(lake, jobs, progress))


def _local_side(text: str, jobs: int, progress: Advance) -> "Side":
    from gridfsmount.versions.local import LocalSide

    path = os.path.expanduser(text)  # noqa: PTH111 (names need not be UTF-8)
    if not os.path.isdir(path):  # noqa: PTH112
        raise ConfigError(f"{printable(text)} is no folder of this machine, and no path in a lake")
    return LocalSide(os.fsencode(path), jobs, progress)


def _print(
    comparison: "Comparison", names: tuple[str, str], *, only_summary: bool, as_json: bool
) -> None:
    changes = comparison.changes()
    if only_summary:
        for _ in changes:  # they are counted as they come
            pass
    if not as_json:
        for change in changes:
            for line in _lines(change):
                click.echo(line)
        click.echo(_sentence(comparison.summary))
        return
    click.echo(f'{{"old": {json.dumps(names[0])}, "new": {json.dumps(names[1])}, "changes": [')
    comma = ""
    for change in changes:
        click.echo(comma + json.dumps(_as_json(change)), nl=False)
        comma = ",\n"
    click.echo("\n" * bool(comma) + f'], "summary": {json.dumps(_numbers(comparison.summary))}}}')


def _lines(change: "Change") -> Iterator[str]:
    from gridfsmount.versions.ledger import Aspect

    old, new = change.old, change.new
    if new is None or old is None:
        lone = new or old
        assert lone is not None, "a change has one side at least"
        yield f"{'D' if new is None else 'A'}\t{_path(lone)}"
        return
    if change.renamed:
        yield f"R\t{_path(old)}\t{_path(new)}"
    elif Aspect.KIND in change.aspects:
        yield f"T\t{_path(new)}"
    elif change.aspects & {Aspect.CONTENT, Aspect.TARGET}:
        yield f"M\t{_path(new)}"
    if Aspect.MODE in change.aspects:
        yield f"mode {_mode(old)} {_mode(new)}\t{_path(new)}"


def _path(item: "Item") -> str:
    return printable(item.path) + "/" * item.is_folder


def _mode(item: "Item") -> str | None:
    return None if item.mode is None else f"{item.mode:04o}"


def _sentence(summary: "Summary") -> str:
    same = f"{_size(summary.same)} {'is' if summary.same.files == 1 else 'are'} the same"
    if not summary.differ:
        return f"no difference: {same}"
    parts = [
        f"{_size(tally)} {word}"
        for tally, word in (
            (summary.added, "added"),
            (summary.removed, "removed"),
            (summary.changed, f"changed from {sized(summary.changed_from)}"),
            (summary.renamed, "renamed"),
        )
        if tally.files
    ]
    if summary.modes:
        parts.append(f"{summary.modes:,} with other permissions")
    if summary.other:
        parts.append(f"{counted(summary.other, 'other thing')} added, removed or changed")
    return f"{', '.join(parts)}; {same}"


def _size(tally: "Tally") -> str:
    return f"{counted(tally.files, 'file')} ({sized(tally.bytes)})"


def _as_json(change: "Change") -> dict[str, Any]:
    old, new = change.old, change.new
    lone = new or old
    assert lone is not None, "a change has one side at least"
    word = "added" if old is None else "removed" if new is None else "changed"
    found: dict[str, Any] = {"change": "renamed" if change.renamed else word, "path": lone.path}
    if change.renamed and old is not None:
        found["from"] = old.path
    if change.aspects:
        found["aspects"] = sorted(each.value for each in change.aspects)
    return found | {"old": _looks(old), "new": _looks(new)}


def _looks(item: "Item | None") -> dict[str, Any] | None:
    if item is None:
        return None
    found: dict[str, Any] = {"kind": item.kind, "mode": _mode(item)}
    if item.is_file:
        found["size"] = item.size
    if item.target:
        found["target"] = item.target
    return found


def _numbers(summary: "Summary") -> dict[str, Any]:
    return asdict(summary) | {"differ": summary.differ}
