"""`gridfsmount backup create`: a snapshot of a lake in its vaults."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.bars import file_bar, file_count
from gridfsmount.cli.interrupting import interruptible
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import DEFAULT_JOBS, jobs_option
from gridfsmount.cli.runs import noted
from gridfsmount.cli.settings import read_settings
from gridfsmount.cli.vaults import VaultChoice, choose_vaults, opened, vault_option
from gridfsmount.config.kinds import Rate
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import LakeError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.backup.creating import Created, Options
    from gridfsmount.core.vault import Vault
    from gridfsmount.store.lake import Lake

SHOWN: Final = 100
"""Lines about what was skipped; the rest is counted, and in the summary of the snapshot."""

AGAIN: Final = "what was copied so far stays: run the same command again to go on from there"


@click.command()
@uri_option
@vault_option
@lake_options
@click.option("--limit", type=Rate(), help="Bytes a second at most, as in 100MiB/s.")
@jobs_option("Batches and large contents at once.", default=None)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def create(
    uri: str | None,
    vaults: tuple[str, ...],
    choice: LakeChoice,
    limit: int | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Make a snapshot of a lake in its vaults, one vault after the other.

    It shows the lake at one moment, whatever is written meanwhile; of a standalone server, which
    has no such moments, it shows what was there while it was read. Only what a vault does not have
    is copied, and all of that is verified on the way. Interrupted, the next one goes on where it
    stopped. Options may be in the config file instead, below [backup]. The exit code is 0 when all
    is well, 1 when something was skipped or a vault failed.
    """
    from gridfsmount.backup.creating import Options
    from gridfsmount.mount.runtime import tune_runtime

    settings = read_settings(choice.config).backup
    chosen = choose_vaults(choice.config, vaults)
    outcomes: list[dict[str, Any]] = []
    with (
        open_lake_for_command(choice, uri, place=PLACE, read_only=True) as lake,
        interruptible(),
    ):
        tune_runtime()
        options = Options(
            by=who(),
            jobs=jobs or settings.jobs or DEFAULT_JOBS,
            limit=limit or settings.limit,
        )
        for each in chosen:
            try:
                outcomes.append(_create(lake, each, options, as_json=as_json))
            except KeyboardInterrupt as error:
                click.echo(f"gridfsmount: {each.name}: stopped; {AGAIN}", err=True)
                sys.exit(128 + (error.args[0] if error.args else 2))
    if as_json:
        click.echo(json.dumps({"vaults": outcomes}, indent=2))
    if not all(each["good"] for each in outcomes):
        sys.exit(1)


def _create(
    lake: "Lake", choice: VaultChoice, options: "Options", *, as_json: bool
) -> dict[str, Any]:
    """Make a snapshot in one vault; a failure is said, and told."""
    from gridfsmount.store.runs import CREATE

    begun = False
    try:
        with noted(lake, CREATE, choice) as outcome, opened(choice) as vault:
            outcome.vault_id = vault.header.id
            begun = True
            done = _run(lake, vault, options)
            outcome.good, outcome.text = _is_good(done), _sentence(done)
    except LakeError as error:
        reason = redact(printable(str(error)))
        click.echo(f"gridfsmount: {choice.name}: no snapshot was made: {reason}", err=True)
        if begun:
            click.echo(f"gridfsmount: {choice.name}: {AGAIN}", err=True)
        return {"vault": choice.name, "good": False, "error": reason}
    if not as_json:
        _tell(choice.name, done)
    return {
        "vault": choice.name,
        "good": _is_good(done),
        "snapshot": done.snapshot,
        **asdict(done.summary),
        "remarks": done.remarks,
    }


def _run(lake: "Lake", vault: "Vault", options: "Options") -> "Created":
    from gridfsmount.backup.creating import creating

    with creating(lake, vault, options) as creation:
        with file_count("reading the tree") as advance:
            creation.read_tree(advance)
        with file_bar(creation.measure, "backup") as advance:
            creation.copy(advance)
        return creation.publish()


def _is_good(done: "Created") -> bool:
    return not done.summary.skipped and not done.lost


def _sentence(done: "Created") -> str:
    told = done.summary
    parts = [
        f"snapshot {done.snapshot}: {counted(told.files, 'file')}, {sized(told.bytes)}",
        f"{counted(told.new_blobs, 'content')} of {sized(told.new_bytes)} new",
        f"{told.seconds:.1f} s",
    ]
    if told.skipped:
        parts.append(f"{len(told.skipped):,} skipped")
    return "; ".join(parts)


def _tell(name: str, done: "Created") -> None:
    told = done.summary
    click.echo(f"{name}: {_sentence(done)}")
    for each in done.remarks[:SHOWN]:
        click.echo(f"  {redact(printable(each))}", err=True)
    for each in told.skipped[:SHOWN]:
        click.echo(f"  {redact(printable(each))}", err=True)
    if told.skipped:
        more = "the first of them " if len(told.skipped) > SHOWN else ""
        click.echo(
            f"gridfsmount: {name}: skipped: {len(told.skipped):,}, {more}named above; "
            "see `gridfsmount check`",
            err=True,
        )
