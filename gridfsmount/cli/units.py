"""What connects an installed gridfsmount with the system: units, a user, the helper of mount(8).

And man pages, and completion for shells. All comes with the package, or is made from it. It goes
where systemd looks for what is neither the distribution's nor the administrator's own, so that
drop-ins and replacements in /etc go before it.
"""

import os
import stat
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from gridfsmount.addresses import sound_config
from gridfsmount.cli.lakes import config_option, says_errors
from gridfsmount.cli.manual import completion_of, pages
from gridfsmount.core.wording import counted
from gridfsmount.errors import ConfigError, MountError
from gridfsmount.mount.mountpoint import FILE_SYSTEM, is_mounted

MARK: Final = "Installed by `gridfsmount install-units`"
"""In the first lines of each file that may be replaced and removed."""

MARK_WITHIN: Final = 100
"""Bytes from the beginning of such a file."""

PROGRAM: Final = "gridfsmount"
HELPER: Final = "mount.gridfsmount"

UNITS: Final = Path("usr/local/lib/systemd/system")
PLACES: Final = {
    ".service": UNITS,
    ".timer": UNITS,
    ".sysusers": Path("usr/local/lib/sysusers.d"),
    ".tmpfiles": Path("usr/local/lib/tmpfiles.d"),
}
"""Where what goes, by its ending."""

MANUAL: Final = Path("usr/local/share/man")
COMPLETIONS: Final = {
    "bash": Path("usr/local/share/bash-completion/completions", PROGRAM),
    "zsh": Path("usr/local/share/zsh/site-functions", f"_{PROGRAM}"),
    "fish": Path("usr/local/share/fish/vendor_completions.d", f"{PROGRAM}.fish"),
}

LINK: Final = Path("sbin", HELPER)
"""mount(8) looks nowhere else for helpers."""

NEXT: Final = """
Next, as root:
    systemd-sysusers gridfsmount.conf
    systemd-tmpfiles --create gridfsmount.conf
    systemctl daemon-reload
A lake is mounted at every start with /etc/gridfsmount/lake.toml, `mountpoint` below [mount] there,
and
    systemctl enable --now gridfsmount@lake
or else with a line in /etc/fstab:
    lake  /mnt/lake  gridfsmount  _netdev,nofail,x-systemd.automount,allow_other  0  0
"""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file, or the link if there is no text."""

    path: Path
    text: str
    target: Path

    def __str__(self) -> str:
        return str(self.path) if self.text else f"{self.path} -> {self.target}"


@click.command("install-units")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    metavar="DIR",
    help="Put them below DIR, as for a package.  [default: /]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--remove", is_flag=True, help="Take them away again.")
@says_errors()
def install_units(root: Path, dry_run: bool, remove: bool) -> None:
    """Connect this installation with systemd and mount(8).

    Writes the units that mount, back up, verify and prune, entries for the user gridfsmount and
    its folders (sysusers.d, tmpfiles.d), a link in /sbin for mount(8), man pages, and completion
    for shells. Starts and enables nothing. Run it again after an update; what others put in its
    place is never touched.
    """
    pieces = list(_pieces(root))
    try:
        foreign = [piece.path for piece in pieces if _is_foreign(piece)]
        if foreign and not remove:
            raise ConfigError(f"{foreign[0]} was not installed by this command: move it away first")
        deal = _remove if remove else _install
        _report(((piece, deal(piece, dry_run=dry_run)) for piece in pieces), root / MANUAL)
    except OSError as error:
        hint = "; run it as root" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{error.filename}: {error.strerror}{hint}") from error
    if remove:
        return
    for path in _out_of_reach(pieces[-1].target):
        click.echo(
            f"Warning: {path} is not for everybody, so the user gridfsmount cannot run what is "
            "in it: install gridfsmount elsewhere, as in /opt/gridfsmount.",
            err=True,
        )
    if not dry_run:
        click.echo(NEXT, nl=False)


@click.command(hidden=True)
@config_option
@says_errors()
def tune(config: Path | None) -> None:
    """Make the kernel read further ahead on the mount of a config file; needs root.

    A mount by root does it itself, one by another user may not.
    """
    mountpoint = sound_config(config).table("mount").get("mountpoint")
    if mountpoint is None:
        raise ConfigError("there is no `mountpoint` below [mount] in the config file")
    path = Path(mountpoint)
    if not is_mounted(path, FILE_SYSTEM):
        raise MountError(f"no lake is mounted on {path}")
    from gridfsmount.fuse import kernel  # pyfuse3 takes a while to import

    kernel.tune(path.stat().st_dev)


def _report(done: Iterable[tuple[_Piece, str]], manual: Path) -> None:
    """Say what was done with each piece; of man pages, how many there are."""
    pages_by_fate: Counter[str] = Counter()
    for piece, what in done:
        if manual in piece.path.parents:
            pages_by_fate[what] += 1
        elif what:
            click.echo(f"{what}: {piece}")
    for what, number in pages_by_fate.items():
        if what:
            click.echo(f"{what}: {counted(number, 'man page')} in {manual}")


def _pieces(root: Path) -> Iterator[_Piece]:
    """All files, then the link."""
    program, helper = _programs()
    for source in sorted(_sources().iterdir()):
        place = PLACES.get(source.suffix)
        if place is None:
            continue
        is_unit = place == UNITS
        name = source.name if is_unit else f"{source.stem}.conf"
        text = source.read_text().replace(f"/usr/bin/env {PROGRAM}", _quoted(program))
        hint = "; `systemctl edit` makes changes that last." if is_unit else "."
        yield _Piece(root / place / name, f"# {MARK}{hint}\n{text}", program)
    for name, page in pages():
        yield _Piece(root / MANUAL / f"man{name[-1]}" / name, f'.\\" {MARK}.\n{page}', program)
    for shell, path in COMPLETIONS.items():
        # zsh looks at the first line; all three take comments below it.
        first, _, rest = completion_of(shell).partition("\n")
        yield _Piece(root / path, f"{first}\n# {MARK}.\n{rest}", program)
    yield _Piece(root / LINK, "", helper)


def _sources() -> Path:
    packaged = Path(str(files("gridfsmount"))) / "systemd"
    # In a checkout they lie beside the package.
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "systemd"


def _programs() -> tuple[Path, Path]:
    folder = Path(sysconfig.get_path("scripts"))
    program, helper = folder / PROGRAM, folder / HELPER
    for each in (program, helper):
        if not each.is_file():
            raise ConfigError(f"there is no {each}: install the package with pip or pipx first")
    return program, helper


def _quoted(program: Path) -> str:
    """As systemd.service(5) wants it."""
    text = str(program).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _is_foreign(piece: _Piece) -> bool:
    """Whether something else is in its place."""
    if not os.path.lexists(piece.path):
        return False
    if piece.path.is_symlink():
        return bool(piece.text) or piece.path.readlink().name != HELPER
    if not piece.text or not piece.path.is_file():
        return True
    return MARK.encode() not in piece.path.read_bytes()[:MARK_WITHIN]


def _install(piece: _Piece, *, dry_run: bool) -> str:
    """Put it in its place; what was done, in a word."""
    there = os.path.lexists(piece.path)
    if piece.text:
        done = there and piece.path.read_text() == piece.text
    else:
        done = there and piece.path.readlink() == piece.target
    if done or dry_run:
        return "unchanged" if done else "would write"
    piece.path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: systemd may read at any moment.
    new = piece.path.with_name(f".{piece.path.name}.new")
    new.unlink(missing_ok=True)
    if piece.text:
        new.write_text(piece.text)
        new.chmod(0o644)
    else:
        new.symlink_to(piece.target)
    new.replace(piece.path)
    return "written"


def _remove(piece: _Piece, *, dry_run: bool) -> str:
    """Take it away; what was done, in a word, or nothing if it was not there."""
    if not os.path.lexists(piece.path):
        return ""
    if _is_foreign(piece):
        return "left alone, it is not of this command"
    if not dry_run:
        piece.path.unlink()
    return "would remove" if dry_run else "removed"


def _out_of_reach(program: Path) -> list[Path]:
    """Folders that keep others from running a program."""
    needed = {*program.absolute().parents, *Path(sys.executable).resolve().parents}
    return sorted(each for each in needed if not each.stat().st_mode & stat.S_IXOTH)[:1]
