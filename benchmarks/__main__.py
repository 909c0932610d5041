"""`python -m benchmarks`: compare a mount with pymongo's GridFSBucket on this machine."""

import json
import tempfile
from pathlib import Path

import click
from rich.console import Console

from benchmarks.cases import FULL, QUICK, Material, all_cases
from benchmarks.report import as_json, measure, table
from benchmarks.rig import Rig
from gridfsmount.store.embedded import EmbeddedServer

CACHE_GIB = 1.0


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: shows that it runs, not how fast.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each side; medians count.")
@click.option("--only", default="", metavar="TEXT", help="Only cases with TEXT in their name.")
@click.option(
    "--json", "output", type=click.Path(path_type=Path), help="Write all rounds to a file."
)
def main(quick: bool, rounds: int, only: str, output: Path | None) -> None:
    """Compare a mount with pymongo's GridFSBucket on the same server, case by case."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="gridfsmount-bench-") as folder,
        EmbeddedServer(Path(folder) / "server", cache_gib=CACHE_GIB) as server,
    ):
        rig = Rig(server, Path(folder))
        cold = rig.cool()
        if not cold:
            console.print("Not root, so cold reads find the page cache warm.")
        with console.status("filling a lake"):
            cases = list(all_cases(rig, Material(rig, QUICK if quick else FULL)))
        results = []
        for case in cases:
            if only in case.name:
                with console.status(case.name):
                    results.append(measure(case, rounds))
        console.print(table(results))
        if output is not None:
            figures = as_json(results, server_version=rig.server_version, cold=cold)
            output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
