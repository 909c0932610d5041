"""`gridfsmount fork`, `delete`, `tag` and `link`: versions as wholes, made, removed and named."""

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from gridfsmount.cli.bars import file_count
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.paths import locate
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, FileSystemError, StartupError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake
    from gridfsmount.versions.deleting import Doomed

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("source")
@click.argument("target")
@uri_option
@lake_options
@json_option
@says_errors()
def fork(source: str, target: str, uri: str | None, choice: LakeChoice, as_json: bool) -> None:
    """Make a draft that shares all contents of a version: no byte is copied.

    SOURCE is a version such as datasets/mnist/v1 or datasets/mnist/latest, or its folder in a
    mount. TARGET is the name of a version beside it, such as v2, or a whole path such as
    datasets/letters/v1. What is changed in one of the two never shows in the other. Interrupted,
    it leaves nothing.
    """
    from gridfsmount.places import parse
    from gridfsmount.store.lake import Founder
    from gridfsmount.versions import forking

    is_name = "/" not in target
    place = locate([source] if is_name else [source, target], uri, choice)
    origin = parse(place.paths[0])
    goal = forking.beside(origin, target) if is_name else parse(place.paths[1])
    with open_lake_for_command(place.choice, place.uri, place=PLACE, existing=True) as lake:
        try:
            with file_count("fork") as progress:
                done = forking.fork(
                    lake,
                    origin,
                    goal,
                    by=who(),
                    owner=Founder(os.geteuid(), os.getegid()),
                    moved=lambda count: progress(count, 0),
                )
        except FileSystemError as error:
            raise StartupError(f"{goal} is not made: {printable(str(error))}") from error
        except KeyboardInterrupt as error:
            raise StartupError(f"{goal} is not made: interrupted") from error
    record = done.node.record
    parent = "" if record is None or record.parent is None else record.parent.path
    if as_json:
        told = {"version": str(goal), "parent": parent, "files": done.files, "bytes": done.bytes}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"forked {parent} to {goal}: {counted(done.files, 'file')}, {sized(done.bytes)}")


@click.command()
@click.argument("path", metavar="VERSION")
@uri_option
@lake_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--with-tags", is_flag=True, help="Remove the tags that lead to it as well.")
@says_errors()
def delete(path: str, uri: str | None, choice: LakeChoice, yes: bool, with_tags: bool) -> None:
    """Remove a whole version, draft or sealed.

    VERSION is one such as datasets/mnist/v1, by its own name, or its folder in a mount. It is gone
    at once, everywhere. Its contents stay for 24 hours for programs that have files of it open, and
    for good where another version shows them.
    """
    from gridfsmount.places import parse
    from gridfsmount.versions import deleting

    place = locate([path], uri, choice)
    target = parse(place.paths[0])
    with open_lake_for_command(place.choice, place.uri, place=PLACE, existing=True) as lake:
        try:
            for _ in lake.removals.clear():  # what an earlier one left
                pass
            doomed = deleting.look_at(lake, target)
            if not with_tags:
                deleting.check_tags(doomed)
            if not yes:
                _ask(_loss(lake, doomed))
            attempt = deleting.take_out(lake, doomed, by=who(), with_tags=with_tags)
        except FileSystemError as error:
            raise StartupError(f"{target} is not deleted: {error}") from error
        try:
            with file_count("delete") as progress:
                deleting.remove(lake, doomed, attempt, lambda count: progress(count, 0))
        except (FileSystemError, KeyboardInterrupt) as error:
            reason = str(error) or "interrupted"
            raise StartupError(
                f"{target} is gone, but what was in it still takes space ({reason}): any mount, or "
                "`gridfsmount gc`, removes it in a minute"
            ) from error
    click.echo(f"deleted {target}")


def _loss(lake: "Lake", doomed: "Doomed") -> str:
    """What would be gone, for the person who is asked."""
    from gridfsmount.versions.history import describe

    info = describe(lake, doomed.node)
    lines = [f"{info.path} ({info.state}, {counted(info.files, 'file')}, {sized(info.bytes)})"]
    if doomed.tags:
        lines.append(f"  with its tags: {', '.join(doomed.tags)}")
    lines += [f"  {each.path} was made from it" for each in info.used_by]
    lines += [f"  {each} was forked from it, and keeps its files" for each in info.forks]
    return "\n".join(lines)


def _ask(loss: str) -> None:
    click.echo(loss, err=True)
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to be asked: give --yes to delete it")
    click.confirm("Delete it for good?", abort=True, err=True)


@click.command()
@click.argument("folder")
@click.argument("name", required=False)
@click.argument("version", required=False)
@uri_option
@lake_options
@click.option("--delete", "doomed", metavar="NAME", help="Remove the tag NAME.")
@json_option
@says_errors()
def tag(
    folder: str,
    name: str | None,
    version: str | None,
    uri: str | None,
    choice: LakeChoice,
    doomed: str | None,
    as_json: bool,
) -> None:
    """List, make, move or remove the tags of a dataset or model.

    FOLDER is one such as datasets/mnist. `tag FOLDER` lists its tags, `tag FOLDER NAME` prints the
    version that NAME leads to, `tag FOLDER NAME VERSION` makes or moves it, in one step. In a mount
    `ln -s v1 production`, `ln -sfn v2 production`, mv and rm do the same.
    """
    from gridfsmount.places import parse
    from gridfsmount.store.lake import Founder
    from gridfsmount.versions import tagging

    if doomed is not None and name is not None:
        raise click.UsageError("give --delete NAME alone")
    place = locate([folder], uri, choice)
    path = parse(place.paths[0])
    changes = doomed is not None or version is not None
    with open_lake_for_command(
        place.choice, place.uri, place=PLACE, existing=True, read_only=not changes
    ) as lake:
        shelf = tagging.shelf_at(lake, path)
        if doomed is not None:
            was = tagging.delete_tag(lake, shelf, doomed)
            click.echo(f"removed {path}/{doomed}, which led to {was}")
            return
        if name is not None and version is not None:
            owner = Founder(os.geteuid(), os.getegid())
            before = tagging.set_tag(lake, shelf, name, version, owner)
            moved = f", and no more to {before}" if before not in (None, version) else ""
            click.echo(f"{path}/{name} leads to {version}{moved}")
            return
        tags = tagging.tags_of(lake, shelf.inode)
    if name is not None and name not in tags:
        raise StartupError(f"{path} has no tag {printable(name)}")
    shown = tags if name is None else {name: tags[name]}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    elif name is not None:
        click.echo(printable(tags[name]))
    else:
        for each, to in shown.items():
            click.echo(f"{printable(each)} -> {printable(to)}")


@click.command()
@click.argument("path", metavar="VERSION")
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    metavar="VERSION",
    help="What it was made from; may be given several times.",
)
@click.option("--note", default="", help="What to remember of that.")
@click.option("--remove", is_flag=True, help="Forget it; of a draft only.")
@uri_option
@lake_options
@says_errors()
def link(
    path: str,
    sources: tuple[str, ...],
    note: str,
    remove: bool,
    uri: str | None,
    choice: LakeChoice,
) -> None:
    """Record what a version was made from: the data that a model was trained on.

    VERSION is one such as models/digits/v3, and so is each of --from; tags and `latest` stand for
    what they lead to now. `show` and `log` tell of it in both directions. A sealed version can
    be added to.
    """
    from gridfsmount.places import parse, version_at
    from gridfsmount.versions import lineage

    if remove and note:
        raise click.UsageError("--note is for what is recorded, and not for what is removed")
    place = locate([path, *sources], uri, choice)
    target, *origins = map(parse, place.paths)
    with open_lake_for_command(place.choice, place.uri, place=PLACE, existing=True) as lake:
        version, where = version_at(lake, target)
        for each in origins:
            if remove:
                gone = lineage.unlink(lake, version, each)
                click.echo(f"{where}: no longer recorded as made from {printable(gone.path)}")
            else:
                origin = lineage.link(lake, version, each, note=note, by=who())
                click.echo(f"{where}: made from {origin.path}{_digest(origin.digest)}")


def _digest(digest: str) -> str:
    return f" (sha256 {digest})" if digest else " (a draft)"
