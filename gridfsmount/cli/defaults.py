"""The config file and the environment, as defaults of the options of `mount`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from gridfsmount.addresses import redact, sound_config
from gridfsmount.cli.lakes import config_option_with
from gridfsmount.config.document import Config
from gridfsmount.config.keys import OPTIONS
from gridfsmount.errors import ConfigError

MOUNT: Final = {"auto_envvar_prefix": "GRIDFSMOUNT"}
"""Context of `mount`: GRIDFSMOUNT_CACHE_SIZE goes before the file, and --cache-size before that."""


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """--config, whose tables [mount] and [log] give the other options their defaults.

    The command gets what is in the file, which is read once: it may be a pipe.
    """
    return config_option_with(is_eager=True, callback=_take)(command)


def defaults_of(config: Config) -> dict[str, Any]:
    """Values for the options of `mount`, by their names."""
    others = {option: config.parsed[key] for key, option in OPTIONS.items() if key in config.parsed}
    return {**config.table("mount"), **others}


def named_by_source(error: click.UsageError) -> str:
    """What is wrong with a command line, with the variable's name if it came from there."""
    message = error.format_message()
    if not isinstance(error, click.BadParameter) or error.param is None or error.ctx is None:
        return message
    name = error.param.name or ""
    if error.ctx.get_parameter_source(name) is not ParameterSource.ENVIRONMENT:
        return message
    variable = error.param.envvar or f"{error.ctx.auto_envvar_prefix}_{name.upper()}"
    return f"Invalid value of {variable} in the environment: {error.message}"


def _take(ctx: click.Context, _: click.Parameter, path: Path | None) -> Config:
    if ctx.resilient_parsing:  # completion: whatever is in the file
        return Config()
    try:
        config = sound_config(path)
    except ConfigError as error:  # before the command runs, which would say it
        click.echo(f"gridfsmount: {redact(str(error))}", err=True)
        sys.exit(1)
    ctx.default_map = defaults_of(config)
    return config
