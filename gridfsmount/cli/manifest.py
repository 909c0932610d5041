"""`gridfsmount manifest`: a version as sha256sum lists it."""

import sys

import click

from gridfsmount.cli.bars import file_bar
from gridfsmount.cli.lakes import (
    PLACE,
    LakeChoice,
    lake_options,
    open_lake_for_command,
    says_errors,
    uri_option,
)
from gridfsmount.cli.parameters import jobs_option
from gridfsmount.cli.paths import locate
from gridfsmount.core.wording import printable
from gridfsmount.errors import FileSystemError, StartupError


@click.command()
@click.argument("path")
@uri_option
@lake_options
@jobs_option("Queries at once, for contents that must be read.")
@says_errors()
def manifest(path: str, uri: str | None, choice: LakeChoice, jobs: int) -> None:
    """Print what `sha256sum` would for the files of a version, in the order of their paths.

    PATH is a version such as datasets/mnist/v1 or a folder in one, or its place in a mount. In a
    mounted version, `sha256sum -c` checks the files against it; its own SHA-256 is the digest that
    a sealed version has. Hashes that are not known yet are computed.
    """
    from gridfsmount.places import folder_at, parse
    from gridfsmount.versions.hashing import Hasher
    from gridfsmount.versions.manifest import manifest as lines

    place = locate([path], uri, choice)
    target = parse(place.paths[0])
    out = sys.stdout.buffer
    with open_lake_for_command(place.choice, place.uri, place=PLACE, read_only=True) as lake:
        try:
            folder, where = folder_at(lake, target)
            bar = file_bar(
                lambda: lake.bulk.measure(str(where)), "manifest", quiet=sys.stdout.isatty()
            )
            with bar as progress:
                for line, _, _ in lines(lake, folder, Hasher(lake, jobs, progress)):
                    out.write(line)
            out.flush()
        except FileSystemError as error:
            raise StartupError(f"the manifest is not complete: {printable(str(error))}") from error
