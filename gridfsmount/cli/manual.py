"""Man pages, made from the commands themselves; and completion for shells, which is click's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from gridfsmount import __version__
from gridfsmount.cli.lakes import says_errors
from gridfsmount.errors import ConfigError

PROGRAM: Final = "gridfsmount"

SHELLS: Final = ("bash", "zsh", "fish")

_EXIT_STATUS: Final = """
.SH EXIT STATUS
0 when all is well, 1 when something is not, 2 when the command line makes no sense. Commands that
look for problems end with 1 when they found one, and with 2 when they could not look.
"""


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@says_errors()
def man(folder: Path) -> None:
    """Write a man page of each command to DIR, for packages; `install-units` does so too."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, page in pages():
            (folder / name).write_text(page)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands and options.

    For bash, put it into ~/.local/share/bash-completion/completions/gridfsmount; for zsh into a
    file _gridfsmount in a folder of $fpath; for fish into
    ~/.config/fish/completions/gridfsmount.fish. As root, `gridfsmount install-units` puts it where
    the shells of all users look.
    """
    click.echo(completion_of(shell), nl=False)


def completion_of(shell: str) -> str:
    """The script for one of SHELLS."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows them"
    variable = f"_{PROGRAM.upper()}_COMPLETE"
    program = kind(_root(), {}, PROGRAM, variable)
    # Not `source`, which runs the shell to look whether it is there.
    return program.source_template.lstrip() % program.source_vars()


_HELPER: Final = r"""
.SH NAME
mount.gridfsmount \- mount a lake by mount(8) or /etc/fstab
.SH SYNOPSIS
\fBmount \-t gridfsmount\fR [\fB\-o\fR OPTIONS] SPEC DIR
.SH DESCRIPTION
SPEC is the name of a config file in /etc/gridfsmount without its ending, the path of one, or an
address without a password: mongodb://host/database. mount(8) runs this program, for a line of
/etc/fstab too:
.PP
.nf
lake  /mnt/lake  gridfsmount  _netdev,nofail,x\-systemd.automount,allow_other  0  0
.fi
.SH OPTIONS
Those of \fBgridfsmount\-mount\fR(1), with an underscore for each dash and without those in front,
as in \fBcache_size=1GiB\fR. A value with a comma stands in double quotes. Of those that all file
systems have, \fBro\fR and \fBnoexec\fR mean what they mean elsewhere; \fBnosuid\fR and
\fBnodev\fR hold always.
.SH EXIT STATUS
0 when the lake is mounted, 1 when the line makes no sense, 32 when the lake cannot be mounted.
.SH SEE ALSO
\fBgridfsmount\fR(1), \fBmount\fR(8), \fBfstab\fR(5)
"""


def pages() -> Iterator[tuple[str, str]]:
    """Names and texts of all man pages, as man(7) wants them."""
    yield from _pages(_root(), PROGRAM, None)
    yield f"mount.{PROGRAM}.8", f"{_title(f'mount.{PROGRAM}', 8)}{_HELPER}"


def _root() -> click.Group:
    from gridfsmount.cli.main import commands  # which knows this module's commands

    return commands


def _pages(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield f"{name.replace(' ', '-')}.1", "\n".join(_page(command, name, context)) + "\n"
    if isinstance(command, click.Group):
        for each, below in _below(command, context):
            yield from _pages(below, f"{name} {each}", context)


def _below(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield name, command


def _page(command: click.Command, name: str, context: click.Context) -> Iterator[str]:
    dashed = name.replace(" ", "-")
    yield _title(dashed, 1)
    yield ".SH NAME"
    yield rf"{_plain(dashed)} \- {_plain(command.get_short_help_str(limit=200))}"
    yield ".SH SYNOPSIS"
    yield rf"\fB{_plain(name)}\fR {_plain(' '.join(command.collect_usage_pieces(context)))}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(command.help or "")
    yield ".SH OPTIONS"
    for each in command.get_params(context):
        record = each.get_help_record(context)
        if record and isinstance(each, click.Option):  # arguments are in the synopsis
            yield from _item(*record)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for word, below in _below(command, context):
            yield from _item(f"{dashed}-{word}(1)", below.get_short_help_str(limit=200))
    yield _EXIT_STATUS.strip()
    if context.parent is not None:
        yield ".SH SEE ALSO"
        yield rf"\fB{_plain(dashed.rpartition('-')[0])}\fR(1)"


def _title(name: str, section: int) -> str:
    # No date: the same version makes the same page.
    return f'.TH {_plain(name.upper())} {section} "" "{PROGRAM} {__version__}" "{PROGRAM}"'


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield rf"\fB{_plain(term)}\fR"
    yield _plain(text)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        as_it_is = paragraph.startswith("\b")  # click's sign for that
        yield ".PP"
        if as_it_is:
            yield ".nf"
            yield from map(_plain, paragraph.removeprefix("\b").strip("\n").splitlines())
            yield ".fi"
        else:
            yield _plain(" ".join(paragraph.split()))


def _plain(text: str) -> str:
    """Text that means nothing to roff: backslashes, dashes, quotes, and signs that begin a line."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    escaped = escaped.replace("`", r"\(ga").replace('"', r"\(dq")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
