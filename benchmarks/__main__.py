"""`python -m benchmarks`: compare a mount with pymongo's GridFSBucket on this machine."""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from benchmarks.cases import all_cases
from benchmarks.comparison import Case, Failure, compare
from benchmarks.material import FULL, QUICK, Material
from benchmarks.picture import check_matplotlib, draw
from benchmarks.report import as_json, failures, summary, table
from benchmarks.rig import Rig
from gridfsmount.store.embedded import EmbeddedServer

CACHE_GIB: Final = 1.5
"""The server's memory: what a case reads has to fit, so that no disk is measured."""

_WIDTH: Final = 150
"""Columns of what is printed when it goes to a file or a pipe."""

_PICTURES: Final = (".png", ".svg")


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: shows that it runs, not how fast.")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Runs of each side; medians count.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="TEXT[,TEXT...]",
    help="Only cases with one of the TEXTs in their name; may be given several times.",
)
@click.option(
    "--json", "output", type=click.Path(path_type=Path), help="Write all rounds to a file."
)
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw the ratios to a .png or .svg file."
)
def main(
    quick: bool,
    rounds: int,
    only: tuple[str, ...],
    output: Path | None,
    picture: Path | None,
) -> None:
    """Compare a mount with pymongo's GridFSBucket on the same server, case by case.

    Ends with 1 if a case failed; a ratio that is short of its target is no failure.
    """
    if picture is not None:
        if picture.suffix not in _PICTURES:
            raise click.UsageError(
                f"--picture needs a name that ends with {' or '.join(_PICTURES)}"
            )
        check_matplotlib()
    # As Ctrl-C does: a mount would outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with tempfile.TemporaryDirectory(prefix="gridfsmount-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "server", cache_gib=CACHE_GIB)
        rig = Rig(server, Path(folder))
        cases = _wanted(list(all_cases(rig, Material(rig, QUICK if quick else FULL))), only)
        cold = rig.cool()
        if not cold:
            console.print("Not root, so cold reads find the page cache warm.")
        results = []
        disk = rig.file_system
        with server:
            version = rig.server_version
            for case in cases:
                with console.status(case.name):
                    results.append(compare(case, rounds))
                console.print(summary(results[-1]), style="dim", highlight=False)
    console.print(table(results))
    for each in failures(results):
        console.print(each)
    if output is not None:
        figures = as_json(results, server_version=version, file_system=disk, cold=cold, quick=quick)
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        draw(results, picture)
    if any(isinstance(each, Failure) for each in results):
        sys.exit(1)


def _wanted(cases: list[Case], only: tuple[str, ...]) -> list[Case]:
    texts = [text.strip().lower() for each in only for text in each.split(",")]
    if not texts:
        return cases
    found = [case for case in cases if any(text in case.name.lower() for text in texts)]
    if not found:
        names = "\n  ".join(case.name for case in cases)
        raise click.UsageError(f"--only {','.join(only)} fits none of the cases:\n  {names}")
    return found


if __name__ == "__main__":
    main()
