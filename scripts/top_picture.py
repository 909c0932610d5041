"""Draws `docs/top.svg`: a page of `gridfsmount top`, of a real mount at real work.

    .venv/bin/python -m scripts.top_picture docs/top.svg

Starts a private server and a mount in a temporary folder, writes and reads there for some seconds,
and ends both. The figures are those of this machine at this moment.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI

from gridfsmount.cli.asking import read_report
from gridfsmount.cli.top_view import View
from gridfsmount.telemetry.rates import rates

COLUMNS: Final = 92

PAGES: Final = 20
"""Seconds of work before the picture: that many bars has the picture of what went before."""

BYTES: Final = 48 << 20

SHOWN: Final = {"mountpoint": "/mnt/lake", "deployment": "lake.lan:27017/lake.fs"}
"""In the picture, instead of the temporary folder's paths."""


@dataclass
class Work:
    """A program that reads large files, writes new ones, and looks at many small ones."""

    folder: Path
    done: bool = False

    def write(self) -> None:
        """Write until told to stop; pauses as a program that computes does."""
        number = 0
        while not self.done:
            (self.folder / f"checkpoint-{number % 3}").write_bytes(os.urandom(BYTES // 4))
            number += 1
            time.sleep(0.5)

    def read(self) -> None:
        """Read what was prepared, past the kernel's cache."""
        while not self.done:
            for path in sorted(self.folder.glob("train-*")):
                with path.open("rb", buffering=0) as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    while file.read(1 << 20) and not self.done:
                        time.sleep(0.004)

    def look(self) -> None:
        """Walk over the small files."""
        while not self.done:
            for path in self.folder.glob("label-*"):
                path.read_bytes()
            time.sleep(0.1)


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A lake with a server of its own, mounted for as long as a block runs."""
    mountpoint = folder / "lake"
    mountpoint.mkdir()
    program = [sys.executable, "-m", "gridfsmount"]
    options = ["--embedded", folder / "data", "--disk-cache", folder / "disk"]
    options += ["--log-file", folder / "log"]
    subprocess.run([*program, "mount", *map(str, options), str(mountpoint)], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run([*program, "umount", str(mountpoint)], check=True)


def main(output: Path) -> None:
    """Work, look, draw."""
    with tempfile.TemporaryDirectory() as folder, mounted(Path(folder)) as mountpoint:
        version = mountpoint / "datasets" / "digits" / "v1"
        version.mkdir(parents=True)
        for number in range(8):
            (version / f"train-{number}").write_bytes(os.urandom(BYTES))
        for number in range(200):
            (version / f"label-{number:03}").write_bytes(os.urandom(2000))
        work, view = Work(version), View()
        workers = [threading.Thread(target=each) for each in (work.write, work.read, work.look)]
        for worker in workers:
            worker.start()
        before = read_report(mountpoint)
        console = Console(record=True, width=COLUMNS, force_terminal=True, file=sys.stderr)
        for _ in range(PAGES):
            time.sleep(1)
            report = read_report(mountpoint)
            page = view.page({**report, **SHOWN}, rates(before, report))
            before = report
        work.done = True
        for worker in workers:
            worker.join()
    console.print(page)
    title = f"gridfsmount top {SHOWN['mountpoint']}"
    picture = console.export_svg(title=title, theme=MONOKAI)
    # Fonts of a server elsewhere: who looks at the picture must not be told to fetch them.
    output.write_text(re.sub(r"@font-face {.*?}\s*", "", picture, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
