"""Draws docs/status.svg and docs/doctor.svg: what the two commands print about a real lake.

    .venv/bin/python -m scripts.pictures

Starts a replica set of three members, mounts a lake with a few versions, backs it up, and takes the
commands' output from a terminal, with its colours. The doctor gets something to find.
"""

import os
import pty
import re
import sys
import tempfile
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from tests.mounting import COMMAND, Mounted, eventually, run_command
from tests.replica_set import ReplicaSet

DOCS: Final = Path(__file__).parents[1] / "docs"
WIDTH: Final = 118

# Fonts from somebody else's server: the picture does without.
_FONTS: Final = re.compile(r"@font-face \{.*?\}\s*", re.S)


def main() -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory(prefix="lake-") as name, ReplicaSet() as replicas:
        folder = Path(name)
        uri, vault = replicas.uri_for("lake"), folder / "vault"
        config = folder / "lake.toml"
        config.write_text(f'uri = "{uri}"\n[vaults]\nnas = "{vault}"\n')
        with Mounted(uri, folder) as mount:
            for version in ("datasets/mnist/v1", "datasets/mnist/v2", "models/digits/v1"):
                (mount.version(version) / "data.bin").write_bytes(os.urandom(3 << 20))
            for command in (
                ("seal", "datasets/mnist/v1", "--uri", uri, "-m", "as published"),
                ("backup", "init", "--config", config),
                ("backup", "create", "--config", config),
                ("backup", "verify", "--config", config),
            ):
                done = run_command(*command)
                assert done.returncode == 0, done.stdout + done.stderr
            eventually(lambda: "1 mount" in _printed("status", "--config", config), "announced")
            _draw("status", "--config", config)
            replicas.secondaries[0].kill()  # something to find
            _draw("doctor", "--config", config, mount.path, "--disk-cache", folder)


def _draw(command: str, *arguments: str | Path) -> None:
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.from_ansi(_printed(command, *arguments)))
    picture = console.export_svg(title=f"gridfsmount {command}", unique_id=command)
    text = _FONTS.sub("", picture)
    (DOCS / f"{command}.svg").write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n")


def _printed(*arguments: str | Path) -> str:
    """What a command prints on a terminal."""
    reading, writing = pty.openpty()
    pid = os.fork()
    if pid == 0:
        os.login_tty(writing)
        os.execvp(sys.executable, [*COMMAND, *map(str, arguments)])
    os.close(writing)
    pieces = []
    with suppress(OSError):  # EIO: the other side was closed
        while piece := os.read(reading, 1 << 16):
            pieces.append(piece)
    os.close(reading)
    os.waitpid(pid, 0)
    return b"".join(pieces).decode().replace("\r\n", "\n")


if __name__ == "__main__":
    main()
