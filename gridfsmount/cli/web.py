"""`gridfsmount web`: the catalogue page."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from gridfsmount.addresses import read_config
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.logs import set_up_logging
from gridfsmount.cli.sections import Section
from gridfsmount.cli.settings import Settings, read_settings
from gridfsmount.cli.vaults import choose_vaults, opened, vault_option
from gridfsmount.config.kinds import LOOPBACK, Endpoint
from gridfsmount.errors import ConfigError, FileSystemError, StoreUnavailable

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake

DEADLINE: Final = 8.0
"""Seconds for an operation where none are given: a person waits for the page."""


@click.command()
@click.argument("address", required=False, metavar="[URI]")
@uri_option
@click.option(
    "--listen",
    type=Endpoint(),
    default=f"{LOOPBACK}:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to answer; port 0 takes any that is free.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers may call this page, besides addresses and localhost. Can be "
    "given several times.",
)
@vault_option
@lake_options
@says_errors()
@click.pass_context
def web(
    context: click.Context,
    address: str | None,
    uri: str | None,
    listen: tuple[str, int],
    names: tuple[str, ...],
    vaults: tuple[str, ...],
    choice: LakeChoice,
) -> None:
    """Serve a page that shows a lake: its health, datasets, models, versions and backups.

    The page is read-only and has no scripts. Whoever reaches its port may read it, so by default
    only this machine can. Ctrl-C ends it.
    """
    try:
        from gridfsmount.web.application import application
        from gridfsmount.web.serving import listening, serve, url_of
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("gridfsmount"):
            raise
        raise ConfigError(f"the page needs {error.name}: pip install 'gridfsmount[web]'") from error
    from gridfsmount.web.backups import VaultReader

    if context.get_parameter_source("deadline") is ParameterSource.DEFAULT:
        choice = replace(choice, deadline=DEADLINE)
    settings = read_settings(choice.config)
    readers = [
        VaultReader(each.name, partial(opened, each))
        for each in (
            choose_vaults(choice.config, vaults)
            if vaults or read_config(choice.config).get("vaults")
            else ()
        )
    ]
    set_up_logging(None, 0)
    host, port = listen
    with (
        listening(host, port) as server,
        open_lake_for_command(choice, uri or address, read_only=True, place=PLACE) as lake,
    ):
        if not _is_loopback(server):
            click.echo(
                f"gridfsmount: warning: everybody who reaches port {server.getsockname()[1]} of "
                "this machine can read this page: it has no log-in",
                err=True,
            )
            names = (*names, socket.gethostname())
        app = application(lake, lambda each: sections(each, settings), readers, names)
        told = f"{url_of(server)} shows {lake.connection.deployment}; Ctrl-C ends it"
        serve(app, server, ready=lambda: click.echo(told))


def sections(lake: "Lake", settings: Settings) -> Sequence[Section]:
    """What `status` tells; a question that the lake refuses to answer is a problem of its own."""
    from gridfsmount.cli.status import SECTIONS

    found: list[Section] = []
    for ask in SECTIONS:
        try:
            section = ask(lake, settings)
        except StoreUnavailable:
            raise  # else each of the others waits as long
        except FileSystemError as error:
            name = ask.__name__.strip("_").removesuffix("_section")
            section = Section(name, "not known", {}, [f"{name}: {error}"])
        if section is not None:
            found.append(section)
    return found


def _is_loopback(server: socket.socket) -> bool:
    return ipaddress.ip_address(server.getsockname()[0].partition("%")[0]).is_loopback
