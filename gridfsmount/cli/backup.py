"""`gridfsmount backup`: what is done with vaults."""

import click

from gridfsmount.cli.backup_create import create
from gridfsmount.cli.backup_list import list_snapshots
from gridfsmount.cli.backup_pin import pin, unpin
from gridfsmount.cli.backup_prune import prune
from gridfsmount.cli.backup_restore import restore
from gridfsmount.cli.backup_verify import verify
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.vaults import choose_vaults, vault_option


@click.group()
def backup() -> None:
    """Back up a lake into vaults; verify, restore and thin out what is there."""


@backup.command()
@uri_option
@vault_option
@lake_options
@says_errors()
def init(uri: str | None, vaults: tuple[str, ...], choice: LakeChoice) -> None:
    """Make a new vault for a lake, in an empty directory or an empty database."""
    from gridfsmount.vaults.opening import is_beside, make_vault

    chosen = choose_vaults(choice.config, vaults)
    with open_lake_for_command(choice, uri, place=PLACE, read_only=True) as lake:
        for each in chosen:
            vault = make_vault(each.address, lake.id)
            try:
                click.echo(
                    f"made the vault {vault.address} (id {vault.header.id}) for lake {lake.id}"
                )
                if is_beside(vault, lake):
                    click.echo(
                        f"warning: {vault.address} is on the same MongoDB as the lake: what "
                        "destroys that takes both",
                        err=True,
                    )
            finally:
                vault.close()


backup.add_command(create)
backup.add_command(list_snapshots)
backup.add_command(pin)
backup.add_command(prune)
backup.add_command(restore)
backup.add_command(unpin)
backup.add_command(verify)
