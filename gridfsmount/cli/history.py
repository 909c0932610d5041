"""`gridfsmount log` and `show`: what is known of versions, for people and for programs."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.paths import is_inside, locate
from gridfsmount.cli.versions import json_option
from gridfsmount.core.wording import counted, printable, sized

if TYPE_CHECKING:
    from gridfsmount.core.model import Origin
    from gridfsmount.versions.history import Relative, VersionInfo

FOLDER_DEPTH: Final = 2
"""Parts of the path of a dataset or model."""

SHORT: Final = 12
"""Digits of a digest that tell versions apart well enough for people."""


@click.command()
@click.argument("folder", required=False)
@uri_option
@lake_options
@json_option
@says_errors()
def log(folder: str | None, uri: str | None, choice: LakeChoice, as_json: bool) -> None:
    """Tell the versions of a dataset or model, or of the whole lake, the newest first.

    FOLDER is one such as datasets/mnist, or a folder in a mount: by default the one that you are
    in. Each version is told with its state, when and by whom it was made and sealed, files, bytes,
    digest, message, tags, what it was forked and made from, and what was made from it. Times are
    local; those of --json are UTC.
    """
    from gridfsmount.places import LakePath, parse
    from gridfsmount.versions.history import history

    if folder is None and is_inside("."):
        folder = "."
    place = locate([folder] if folder else [], uri, choice)
    path = LakePath(parse("".join(place.paths)).parts[:FOLDER_DEPTH])
    with open_lake_for_command(place.choice, place.uri, place=PLACE, read_only=True) as lake:
        infos = history(lake, path)
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in infos], indent=2))
    elif not infos:
        click.echo("no versions yet")
    else:
        _print_table(infos, whole=len(path.parts) < 2)


@click.command()
@click.argument("path", metavar="VERSION")
@uri_option
@lake_options
@json_option
@says_errors()
def show(path: str, uri: str | None, choice: LakeChoice, as_json: bool) -> None:
    """Tell all that is known of one version.

    VERSION is one such as datasets/mnist/v1 or datasets/mnist/latest, or its folder in a mount.
    """
    from gridfsmount.places import parse, version_at
    from gridfsmount.versions.history import describe

    place = locate([path], uri, choice)
    target = parse(place.paths[0])
    with open_lake_for_command(place.choice, place.uri, place=PLACE, read_only=True) as lake:
        version, _ = version_at(lake, target)
        info = describe(lake, version)
    if as_json:
        click.echo(json.dumps(_as_json(info), indent=2))
        return
    for name, text in _facts(info):
        click.echo(f"{name:<10} {printable(text)}")


def _facts(info: "VersionInfo") -> list[tuple[str, str]]:
    record = info.node.record
    seal = None if record is None else record.seal
    facts = [("version", info.path), ("state", info.state)]
    made_by = "" if record is None or not record.by else f" by {record.by}"
    facts.append(("made", _local(info.node.created_ns) + made_by))
    if seal is not None:
        facts += [
            ("sealed", f"{_local(seal.at_ns)} by {seal.by}"),
            ("message", seal.message),
            ("digest", f"sha256 {seal.digest}"),
        ]
    if record is not None and record.sealing is not None:
        facts.append(("sealing", f"by {record.sealing.by}"))
    facts.append(("files", f"{counted(info.files, 'file')}, {sized(info.bytes)}"))
    facts += [("tag", each) for each in _tags(info)]
    if info.parent is not None:
        facts.append(("forked of", _relative(info.parent)))
    for each in info.sources:
        note = f": {each.source.note}" if each.source is not None and each.source.note else ""
        facts.append(("made from", _relative(each) + note))
    facts += [("fork", each) for each in info.forks]
    for heir in info.used_by:
        note = f": {heir.source.note}" if heir.source.note else ""
        facts.append(("used by", heir.path + note))
    return [(name, text) for name, text in facts if text]


def _print_table(infos: "list[VersionInfo]", *, whole: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("version", "state", "when, by", "files", "what"):
        table.add_column(title, overflow="fold", no_wrap=title == "when, by")
    for info in infos:
        cells = (
            [info.path if whole else info.node.names[0].name, *_tags(info)],
            [info.state, _short(info)],
            [_local(info.at_ns), _by(info)],
            [f"{info.files:,}", sized(info.bytes)],
            _notes(info),
        )
        table.add_row(*(Text("\n".join(map(printable, filter(None, cell)))) for cell in cells))
    Console(highlight=False).print(table)


def _notes(info: "VersionInfo") -> list[str]:
    seal = None if info.node.record is None else info.node.record.seal
    notes = ["" if seal is None else seal.message]
    if info.parent is not None:
        # Most are beside what they were forked from.
        folder = f"{info.path.rpartition('/')[0]}/"
        notes.append(f"fork of {_relative(info.parent).replace(folder, '')}")
    notes += [f"made from {_relative(each)}" for each in info.sources]
    notes += [f"used by {each.path}" for each in info.used_by]
    return notes


def _tags(info: "VersionInfo") -> list[str]:
    return [*info.tags, *(["latest"] if info.latest else [])]


def _short(info: "VersionInfo") -> str:
    seal = None if info.node.record is None else info.node.record.seal
    return "" if seal is None else seal.digest[:SHORT]


def _by(info: "VersionInfo") -> str:
    record = info.node.record
    if record is None:
        return ""
    return record.by if record.seal is None else record.seal.by


def _relative(relative: "Relative") -> str:
    path = relative.origin.path
    if relative.now is None:
        return f"{path} (deleted)"
    return path if relative.now == path else f"{path} (now {relative.now})"


def _local(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9).astimezone():%Y-%m-%d %H:%M %Z}"


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _as_json(info: "VersionInfo") -> dict[str, Any]:
    record = info.node.record
    seal = None if record is None else record.seal
    return {
        "version": info.path,
        "state": info.state,
        "made": _utc(info.node.created_ns),
        "made_by": record.by if record is not None and record.by else None,
        "sealed": None if seal is None else _utc(seal.at_ns),
        "sealed_by": None if seal is None else seal.by,
        "message": None if seal is None else seal.message,
        "digest": None if seal is None else seal.digest,
        "files": info.files,
        "bytes": info.bytes,
        "tags": list(info.tags),
        "latest": info.latest,
        "parent": None if info.parent is None else _origin(info.parent.origin, info.parent.now),
        "made_from": [
            _origin(each.origin, each.now)
            | ({} if each.source is None else _noted(each.source.note, each.source.by))
            | ({} if each.source is None else {"at": _utc(each.source.at_ns)})
            for each in info.sources
        ],
        "forks": list(info.forks),
        "used_by": [
            {"version": each.path, "at": _utc(each.source.at_ns)}
            | _noted(each.source.note, each.source.by)
            for each in info.used_by
        ],
    }


def _origin(origin: "Origin", now: str | None) -> dict[str, Any]:
    return {"version": origin.path, "now": now, "digest": origin.digest or None}


def _noted(note: str, by: str) -> dict[str, Any]:
    return {"note": note, "by": by}
