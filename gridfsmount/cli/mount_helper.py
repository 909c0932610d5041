"""The program that mount(8) runs for file systems of the type `gridfsmount`.

It puts what stands in a line of /etc/fstab into the words of `gridfsmount mount`, and ends with
the exit codes of mount(8): 1 for a line that makes no sense, 32 for a mount that failed.
"""

import getopt
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.secrets import scrub_process_title
from gridfsmount.errors import ConfigError

NAME: Final = "mount.gridfsmount"

CONFIGS: Final = Path("/etc/gridfsmount")
"""Where a SPEC that is a plain name has its config file."""

EX_USAGE: Final = 1
EX_FAIL: Final = 32

USAGE: Final = f"usage: {NAME} SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]"

# mount(8) and systemd.mount(5) act on these, or they are so anyway: a lake has no access times, no
# devices and no set-user-ID programs. mount(8) adds `rw` where nobody says `ro`.
_IGNORED: Final = re.compile(
    r"defaults|rw|(no)?auto|nofail|_netdev|(no)?users?|(no)?owner|(no)?group|exec|nodev|nosuid"
    r"|(no)?(a|dira|rela|stricta|lazy)time|async|silent|loud|u?helper|comment|[xX]-.*"
)
_WORDS: Final = {"ro": "--read-only", "noexec": "--noexec"}

# Of the command line alone: SPEC says which lake, and mount(8) waits for the background.
_NOT_IN_FSTAB: Final = frozenset({"foreground", "verbose", "help", "source", "user"})

_OPTION: Final = re.compile(r'(?:[^,"]|"[^"]*")+')
_USER: Final = re.compile(r"(://)[^:@/\s]+@")


@dataclass(frozen=True, slots=True)
class Line:
    """What mount(8) passes on of a line of /etc/fstab."""

    spec: str
    folder: str
    options: list[str] = field(default_factory=list)
    sloppy: bool = False
    """Unknown options are left out."""
    fake: bool = False
    verbose: bool = False


def mount_helper() -> None:
    """Entry point of the console script."""
    scrub_process_title()
    try:
        line = _parse(sys.argv[1:])
        command = _command(line)
    except ConfigError as error:
        _say(str(error))
        sys.exit(EX_USAGE)
    if not line.fake:
        _mount(command)


def _mount(command: list[str]) -> None:
    from gridfsmount.cli.main import commands

    try:
        commands.main(command, prog_name="gridfsmount", standalone_mode=False)
    except click.ClickException as error:
        _say(redact(error.format_message()))
        sys.exit(EX_USAGE)
    except SystemExit as end:
        sys.exit(EX_FAIL if end.code else 0)


def _say(text: str) -> None:
    click.echo(f"{NAME}: {text}", err=True)


def _parse(arguments: Sequence[str]) -> Line:
    try:
        given, rest = getopt.gnu_getopt(arguments, "sfnvN:o:t:")
    except getopt.GetoptError as error:
        raise ConfigError(f"{error}; {USAGE}") from error
    if len(rest) != 2:
        raise ConfigError(USAGE)
    names = {name for name, _ in given}
    if "-N" in names:
        raise ConfigError("-N is not supported: use nsenter --mount=NAMESPACE mount ...")
    options = ",".join(value for name, value in given if name == "-o")
    return Line(
        spec=rest[0],
        folder=rest[1],
        options=_OPTION.findall(options),
        sloppy="-s" in names,
        fake="-f" in names,
        verbose="-v" in names,
    )


def _command(line: Line) -> list[str]:
    """The arguments of `gridfsmount` that do what a line says.

    Raises:
        ConfigError: an option that nobody knows, or a SPEC that leads to nothing.
    """
    command = ["mount", *(["--verbose"] if line.verbose else []), f"--source={line.spec}"]
    command += _options(line)
    if "://" in line.spec:
        _refuse_password(line.spec)
        # No option, whatever it begins with.
        return [*command, "--", line.spec, line.folder]
    config = Path(line.spec) if line.spec.startswith("/") else CONFIGS / f"{line.spec}.toml"
    if not config.is_file():
        raise ConfigError(
            f"{line.spec}: there is no config file {config}; give its path, its name in {CONFIGS}, "
            "or mongodb://..."
        )
    if any(each.startswith("--config=") for each in command):
        raise ConfigError(f"{line.spec} is a config file: leave the option config= out")
    return [*command, f"--config={config}", "--", line.folder]


def _options(line: Line) -> Iterator[str]:
    known = _known()
    for option in line.options:
        name, given, value = option.replace('"', "").partition("=")
        if _IGNORED.fullmatch(name):
            continue
        if name in _WORDS:
            yield _WORDS[name]
            continue
        takes_value, flag = known.get(name, (None, ""))
        if takes_value is None:
            if not line.sloppy:
                raise ConfigError(f"unknown option {name!r}; see `gridfsmount mount --help`")
        elif takes_value == bool(given):
            yield f"{flag}={value}" if given else flag
        else:
            form = "=VALUE" if takes_value else " alone"
            raise ConfigError(f"the option {name} is written {name}{form}")


def _known() -> dict[str, tuple[bool, str]]:
    """Options of `gridfsmount mount` by their names in /etc/fstab: do they take a value?"""
    from gridfsmount.cli.main import mount

    return {
        flag.removeprefix("--").replace("-", "_"): (not option.is_flag, flag)
        for option in mount.params
        if isinstance(option, click.Option) and option.name not in _NOT_IN_FSTAB
        for flag in (*option.opts, *option.secondary_opts)
        if flag.startswith("--")
    }


def _refuse_password(uri: str) -> None:
    without_user = _USER.sub(r"\1", uri)
    if redact(without_user) != without_user:
        raise ConfigError(
            "an address with a password is for everybody to read in /etc/fstab and /proc/mounts: "
            f"put it into {CONFIGS}/NAME.toml with mode 0640, and write NAME instead"
        )
