"""`gridfsmount config`: what is wrong with the config file, and what holds in the end."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from gridfsmount.addresses import (
    default_configs,
    find_config,
    load_config,
    redact,
    sound_config,
)
from gridfsmount.cli.lakes import config_option, says_errors
from gridfsmount.config.certificates import unfit_authority, unfit_certificate
from gridfsmount.config.document import Config
from gridfsmount.config.keys import KEYS, SECTIONS, VAULTS, Key
from gridfsmount.config.logins import (
    PASSWORD_VARIABLE,
    credential,
    read_secret,
)
from gridfsmount.core.wording import printable
from gridfsmount.errors import ConfigError

HIDDEN: Final = "***"

WIDEST: Final = 48
"""Columns of a value; what is longer moves its source to the right."""


@click.group("config")
def config_commands() -> None:
    """Check the config file; show what holds, and where it comes from."""


@config_commands.command()
@config_option
@says_errors()
def check(config: Path | None) -> None:
    """Tell everything that is wrong with the config file, and with the files that it names.

    The exit code is 0 when nothing is, 1 when something is or when there is no file.
    """
    found = _found(config)
    problems = problems_of(found)
    for problem in problems:
        click.echo(printable(redact(problem)), err=True)
    if problems:
        sys.exit(1)
    click.echo(f"{printable(str(found))} is in order")


@config_commands.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def show(config: Path | None, as_json: bool) -> None:
    """Show what holds: of the environment, of the config file, or the default; secrets as ***.

    Options of a command go before all of it.
    """
    rows = list(effective(sound_config(config)))
    if as_json:
        objects = [
            {"table": row.table, "key": row.key, "value": row.value, "source": row.source}
            for row in rows
        ]
        click.echo(json.dumps(objects, indent=2))
        return
    width = max(len(row.value) for row in rows if len(row.value) <= WIDEST)
    table = ""
    for row in rows:
        if row.table != table:
            table = row.table
            click.echo(f"\n[{table}]")
        click.echo(printable(f"{row.key:24} {row.value:{width}}  {row.source}").rstrip())


@dataclass(frozen=True, slots=True)
class Row:
    """One key as it holds."""

    table: str
    """Empty outside of all tables."""
    key: str
    value: str
    source: str
    """FILE:LINE, the name of a variable, `credential`, or `default`."""


def effective(config: Config) -> Iterator[Row]:
    """Every key that has a value, and the defaults, in the order of the tables."""
    for section, keys in {"": KEYS, **SECTIONS}.items():
        if section == VAULTS:
            for name, address in config.table(VAULTS).items():
                yield Row(section, name, redact(address), config.place(section, name))
        for name, key in keys.items():
            row = _row(config, section, name, key)
            if row is not None:
                yield row
        if not section:
            yield from _password()


def _row(config: Config, section: str, name: str, key: Key) -> Row | None:
    if key.variable and os.environ.get(key.variable):
        return Row(section, name, redact(os.environ[key.variable]), key.variable)
    if (section, name) == ("", "uri") and credential("uri"):
        return Row(section, name, redact(credential("uri") or ""), "credential uri")
    if (section, name) in config.parsed:
        values: Any = config.values[section] if section else config.values
        value = values[name]
        text = str(value).lower() if isinstance(value, bool) else redact(str(value))
        return Row(section, name, text, config.place(section, name))
    return Row(section, name, key.default, "default") if key.default else None


def _password() -> Iterator[Row]:
    if os.environ.get(PASSWORD_VARIABLE):
        yield Row("", "password", HIDDEN, PASSWORD_VARIABLE)
    elif credential("password") is not None:
        yield Row("", "password", HIDDEN, "credential password")


def _found(config: Path | None) -> Path:
    found = find_config(config)
    if found is None:
        places = " and ".join(map(str, default_configs()))
        raise ConfigError(f"there is no config file: looked for {places}")
    return found


def problems_of(path: Path) -> list[str]:
    """Everything that is wrong with a config file and with what it names, a line for each.

    Raises:
        ConfigError: it cannot be read.
    """
    config = load_config(path)
    return [*config.problems, *_addresses(config), *_files(config)]


def _said(config: Config, section: str, name: str, what: str) -> str:
    table = f"[{section}] " if section else ""
    return f"{config.place(section, name)}: {table}{name}: {what}"


def _addresses(config: Config) -> Iterator[str]:
    """What is wrong with the spelling of addresses."""
    from gridfsmount.store.connection import complaint_about  # pymongo takes a while

    for (section, name), value in config.parsed.items():
        is_vault = section == VAULTS and str(value).startswith("mongodb://")
        if (section, name) == ("", "uri") or is_vault:
            what = complaint_about(value)
            if what:
                yield _said(config, section, name, what)


def _files(config: Config) -> Iterator[str]:
    """What is wrong with the files and folders that the file names."""
    mount = config.table("mount")
    if "disk_cache_size" in mount and "disk_cache" not in mount:
        yield _said(config, "mount", "disk_cache_size", "says how much, but no `disk_cache` where")
    from gridfsmount.store.tls import tls_of  # pymongo takes a while

    passphrase = tls_of(str(config.values.get("uri", ""))).password
    looks: dict[str, Callable[[Path], str]] = {
        "password_file": _unfit_for_password,
        "tls_ca_file": unfit_authority,
        "tls_certificate_key_file": partial(unfit_certificate, passphrase=passphrase),
    }
    for name, look in looks.items():
        if ("", name) in config.parsed:
            what = look(config.parsed["", name])
            if what:
                yield _said(config, "", name, what)
    for section, name, made in (
        ("", "embedded", True),
        ("mount", "mountpoint", False),
        ("mount", "disk_cache", True),
        ("log", "file", True),
    ):
        path: Path | None = config.parsed.get((section, name))
        if path is not None:
            what = _unfit(path if name != "file" else path.parent, made=made)
            if what:
                yield _said(config, section, name, what)


def _unfit_for_password(path: Path) -> str:
    """Why there is no password in a file; empty if there is."""
    try:
        read_secret(path)
    except ConfigError as error:
        return str(error)
    return ""


def _unfit(folder: Path, *, made: bool) -> str:
    """Why a folder cannot be used; empty if it can. With `made`, a mount makes what is missing."""
    try:
        if folder.is_dir():
            return ""
        if folder.exists():
            return f"{folder} is no folder"
        if made and folder.parent.is_dir():
            return ""
    except OSError as error:
        return f"{folder}: {error.strerror}"
    missing = folder.parent if made else folder
    return f"{missing} does not exist: make it with mkdir"
