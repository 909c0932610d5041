"""`gridfsmount status`: how a lake is, in figures that cost nothing however large it is.

To tell of more, write a function that makes a section, and add it to `SECTIONS`.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

import click

from gridfsmount.cli.lakes import PLACE, LakeChoice, open_lake_for_command
from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings, read_settings
from gridfsmount.cli.status_backups import backups
from gridfsmount.cli.status_machines import clock, members_section, mounts
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import FileSystemError, StartupError
from gridfsmount.store.lake import Lake, missing_indexes

PROBLEMS: Final = 1
"""Exit code when something needs a person."""

FORGOTTEN_SECONDS: Final = 24 * 3600.0
"""A lease that has expired is swept within minutes by any mount that may write."""

LITTLE_SHARE: Final = 0.05
"""Of the server's disk: free space below that is a problem."""

LITTLE_BYTES: Final = 1 << 30
"""Free space below that is a problem, however small the disk."""


def run_status(choice: LakeChoice, uri: str | None, *, as_json: bool) -> None:
    """Tell how a lake is, problems first; ends with exit code 1 when there are any.

    Raises:
        StartupError: the lake cannot be opened, or asked.
    """
    settings = read_settings(choice.config)
    with open_lake_for_command(choice, uri, read_only=True, existing=True, place=PLACE) as lake:
        try:
            sections = [each for ask in SECTIONS if (each := ask(lake, settings)) is not None]
        except FileSystemError as error:
            raise StartupError(f"the lake does not tell how it is: {error}") from error
    problems = [problem for section in sections for problem in section.problems]
    if as_json:
        facts = {section.name: section.facts for section in sections}
        click.echo(json.dumps({"well": not problems, "problems": problems, **facts}, indent=2))
    else:
        _print(sections, problems)
    if problems:
        sys.exit(PROBLEMS)


def _print(sections: Sequence[Section], problems: Sequence[str]) -> None:
    for problem in problems:
        click.echo(f"{click.style('PROBLEM  ', fg='red')} {printable(problem)}")
    if not problems:
        click.echo(f"{click.style('well     ', fg='green')} nothing needs a person")
    for section in sections:
        title = section.name
        for line in section.text.split("\n"):
            click.echo(f"{click.style(f'{title:9}', bold=True)} {printable(line)}")
            title = ""


def lake_section(lake: Lake, _: Settings) -> Section:
    """Which lake it is, and whether it has its indexes."""
    deployment = lake.connection.deployment
    problems: list[str] = []
    missing = missing_indexes(lake)
    if missing:
        problems.append(
            f"an index is missing ({'; '.join(missing)}): mount the lake so that it may write, or "
            "run `gridfsmount check --repair`"
        )
    return Section(
        "lake",
        f"{deployment} (id {lake.id})",
        {
            "id": lake.id,
            "address": deployment.address,
            "database": deployment.database,
            "bucket": deployment.bucket,
        },
        problems,
    )


def _server(lake: Lake, _: Settings) -> Section:
    deployment = lake.connection.deployment
    problems: list[str] = []
    if not deployment.primary:
        problems.append(
            f"the server at {deployment.address} takes no writes: it is no primary, or read-only"
        )
    writes = "this user may write" if deployment.writable else "no writes from here"
    return Section(
        "server",
        f"{deployment.kind}, MongoDB {deployment.version}, {writes}",
        {
            "kind": deployment.kind,
            "version": deployment.version,
            "takes_writes": deployment.primary,
            "user_may_write": deployment.writable,
        },
        problems,
    )


def _volume(lake: Lake, _: Settings) -> Section:
    volume = lake.overview.volume()
    return Section(
        "volume",
        f"about {counted(volume.nodes, 'node')} and {counted(volume.contents, 'content')}, "
        f"{sized(volume.bytes)} ({sized(volume.stored)} on disk)",
        {
            "nodes": volume.nodes,
            "contents": volume.contents,
            "bytes": volume.bytes,
            "stored_bytes": volume.stored,
        },
    )


def _versions(lake: Lake, _: Settings) -> Section:
    catalog = lake.overview.catalog()
    return Section(
        "versions",
        f"{counted(catalog.datasets, 'dataset')}, {counted(catalog.models, 'model')}: "
        f"{counted(catalog.drafts, 'draft')}, {catalog.sealed:,} sealed",
        {
            "datasets": catalog.datasets,
            "models": catalog.models,
            "drafts": catalog.drafts,
            "sealed": catalog.sealed,
        },
    )


def uploads(lake: Lake, _: Settings) -> Section:
    """What is being written, and what nobody sweeps."""
    found = lake.overview.uploads(FORGOTTEN_SECONDS)
    problems: list[str] = []
    if found.forgotten:
        problems.append(
            f"{counted(found.forgotten, 'upload')} expired more than a day ago, and nothing has "
            "swept them: mount the lake so that it may write, or run `gridfsmount gc`"
        )
    return Section(
        "uploads",
        f"{counted(found.running, 'content')} being written",
        {"running": found.running, "forgotten": found.forgotten},
        problems,
    )


def _trash(lake: Lake, _: Settings) -> Section:
    count = lake.overview.trash()
    return Section(
        "trash", f"about {counted(count, 'content')} not erased yet", {"contents": count}
    )


def _foreign(lake: Lake, _: Settings) -> Section:
    left, turn = lake.backlog.count(), lake.backlog.turn()
    text = f"{counted(left, 'content')} of other clients to be adopted"
    if turn is not None:
        text += f"; {turn.mount} is at it, with {turn.done:,} done"
    return Section(
        "foreign",
        text,
        {
            "to_adopt": left,
            "adopting": None if turn is None else turn.mount,
            "adopted": None if turn is None else turn.done,
        },
    )


def disk(lake: Lake, _: Settings) -> Section:
    """Free space of the server."""
    space = lake.statistics.space()
    if not space.total:
        return Section("disk", "the server does not say", {"total": None, "free": None})
    text = f"{sized(space.free)} free of {sized(space.total)}"
    is_low = space.free < max(LITTLE_BYTES, LITTLE_SHARE * space.total)
    problems = [f"the server's disk is nearly full: {text}"] if is_low else []
    return Section("disk", text, {"total": space.total, "free": space.free}, problems)


SECTIONS: Final[tuple[Callable[[Lake, Settings], Section | None], ...]] = (
    lake_section,
    _server,
    members_section,
    clock,
    _volume,
    _versions,
    mounts,
    uploads,
    _trash,
    _foreign,
    disk,
    backups,
)
"""What is told, in order; None where there is nothing to tell."""
