"""`gridfsmount backup pin` and `unpin`: snapshots that are kept whatever the policy says."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gridfsmount.cli.lakes import config_option, says_errors
from gridfsmount.cli.vaults import choose_vaults, opened, vault_option
from gridfsmount.core.wording import printable
from gridfsmount.errors import NotFound
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.core.vault import Vault

MAX_WHY = 1000
"""Characters of a reason: it is one line of a table."""


@click.command()
@click.argument("snapshot")
@click.option("--why", metavar="TEXT", help="The reason, as `backup list` and `prune` tell it.")
@vault_option
@config_option
@says_errors()
def pin(snapshot: str, why: str | None, vaults: tuple[str, ...], config: Path | None) -> None:
    """Keep a snapshot whatever `backup prune` is told, in each vault that has it.

    SNAPSHOT is a name such as 2026-11-22T03-00-00Z, the beginning of one, or `latest`.
    """
    from gridfsmount.backup.pruning import pin

    if why is not None and len(why) > MAX_WHY:
        raise click.BadParameter(f"more than {MAX_WHY:,} characters", param_hint="--why")
    reason = why or f"by {who()}"
    _each(snapshot, vaults, config, lambda vault, name: pin(vault, name, reason, who()), "pinned")


@click.command()
@click.argument("snapshot")
@vault_option
@config_option
@says_errors()
def unpin(snapshot: str, vaults: tuple[str, ...], config: Path | None) -> None:
    """Leave a snapshot to `backup prune` again, in each vault that has it.

    SNAPSHOT is a name such as 2026-11-22T03-00-00Z, the beginning of one, or `latest`.
    """
    from gridfsmount.backup.pruning import unpin

    _each(snapshot, vaults, config, unpin, "not pinned any more")


def _each(
    wanted: str,
    vaults: tuple[str, ...],
    config: Path | None,
    change: "Callable[[Vault, str], None]",
    done: str,
) -> None:
    """Change a snapshot in each vault that has it; one has it at least."""
    from gridfsmount.vaults.choosing import choose_snapshot

    missing = None
    found = False
    for choice in choose_vaults(config, vaults):
        with opened(choice) as vault:
            try:
                name = choose_snapshot(vault, wanted)
            except NotFound as error:
                missing = error
                continue
            change(vault, name)
            found = True
            click.echo(f"{printable(choice.name)}: {name} is {done}")
    if missing is not None and not found:
        raise missing
