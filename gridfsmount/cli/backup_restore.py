"""`gridfsmount backup restore`: what a snapshot shows, back in a lake."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, opened, vault_option
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import ConfigError, FileSystemError, NotFound, StartupError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.backup.restoring import Restored, Result
    from gridfsmount.places import LakePath


@click.command()
@click.argument("snapshot")
@click.argument("path", required=False)
@click.option("--as", "target", metavar="PATH", help="Restore it to here, and not where it was.")
@click.option("--all", "whole", is_flag=True, help="Restore all of it, as without PATH.")
@click.option("--overwrite", is_flag=True, help="Replace drafts, and files in drafts.")
@uri_option
@vault_option
@lake_options
@jobs_option("Batches and large files at once.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def restore(
    snapshot: str,
    path: str | None,
    target: str | None,
    whole: bool,
    overwrite: bool,
    uri: str | None,
    vaults: tuple[str, ...],
    choice: LakeChoice,
    jobs: int,
    as_json: bool,
) -> None:
    """Bring back what a snapshot shows.

    SNAPSHOT is a name such as 2026-11-22T03-00-00Z, the beginning of one, or `latest`. PATH is a
    version such as datasets/mnist/v1, a whole dataset, a folder or a file in a version, or
    something in `unsorted`; without it the whole lake is restored into an empty database. Contents
    that the lake has still are shown again without copying a byte. A version appears whole, a
    sealed one sealed, with the digest that it had. Nothing is replaced unless --overwrite says so,
    and nothing that is sealed ever.
    """
    from gridfsmount.backup.restoring import Options, restoring
    from gridfsmount.mount.runtime import tune_runtime
    from gridfsmount.places import parse
    from gridfsmount.store.lake import Founder

    if whole and path:
        raise click.UsageError("--all restores the whole lake: leave PATH out")
    if path is None and (target or overwrite):
        raise click.UsageError("--as and --overwrite are for a PATH")
    origin = None if path is None else _parsed(parse(path))
    goal = None if target is None else _parsed(parse(target))
    began = time.monotonic()
    vault_choice, name = _find(choose_vaults(choice.config, vaults), snapshot)
    lake_of = open_lake_for_command(choice, uri, place=PLACE, existing=origin is not None)
    with lake_of as lake, opened(vault_choice) as vault:
        tune_runtime()
        options = Options(who(), Founder(os.geteuid(), os.getegid()), overwrite, jobs)
        try:
            with (
                interruptible(),
                restoring(lake, vault, name, origin, goal, options) as work,
                file_bar(work.measure, "restore") as progress,
            ):
                done = work.run(progress)
        except FileSystemError as error:
            raise StartupError(f"not restored: {printable(str(error))}") from error
        except KeyboardInterrupt as error:
            again = "" if path else "; run the same command again to go on from there"
            click.echo(f"gridfsmount: stopped; what was half done is removed{again}", err=True)
            sys.exit(128 + (error.args[0] if error.args else signal.SIGINT))
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(_as_json(done, vault_choice.name, seconds), indent=2))
    else:
        _tell(done, seconds)


def _parsed(path: "LakePath") -> "LakePath":
    if not path.parts:
        raise ConfigError("give a path such as datasets/mnist/v1, or none for the whole lake")
    return path


def _find(vaults: list[VaultChoice], snapshot: str) -> tuple[VaultChoice, str]:
    """The vault that has a snapshot; of `latest`, the one with the newest."""
    from gridfsmount.vaults.choosing import choose_snapshot

    found: list[tuple[str, VaultChoice]] = []
    missing: NotFound | None = None
    for each in vaults:
        with opened(each) as vault:
            try:
                found.append((choose_snapshot(vault, snapshot), each))
            except NotFound as error:
                missing = error
    if not found:
        raise StartupError(str(missing))
    name = max(name for name, _ in found)
    return next(each for there, each in found if there == name), name


def _as_json(done: "Result", vault: str, seconds: float) -> dict[str, Any]:
    return {
        "vault": vault,
        "snapshot": done.snapshot,
        "seconds": round(seconds, 3),
        "there": done.there,
        "restored": [asdict(each) for each in done.restored],
    }


def _tell(done: "Result", seconds: float) -> None:
    for each in done.restored:
        click.echo(f"{printable(each.path)}: {_sentence(each)}")
    there = f", {done.there:,} were there already" if done.there else ""
    what = counted(len(done.restored), "path")
    click.echo(f"{what} restored from {done.snapshot} in {seconds:.1f} s{there}")


def _sentence(each: "Restored") -> str:
    counts = each.counts
    parts = [f"{counted(counts.files, 'file')}, {sized(counts.bytes)}"]
    if counts.relinked:
        parts.append(f"{counts.relinked:,} with contents that the lake had")
    if counts.uploaded_bytes:
        parts.append(f"{sized(counts.uploaded_bytes)} uploaded")
    if each.sealed:
        parts.append(f"sealed, sha256 {each.digest}")
    return "; ".join(parts)
