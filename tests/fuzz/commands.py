"""Every command, run in this process, as the console script runs it."""

import traceback
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from gridfsmount.cli.main import commands
from gridfsmount.core.wording import printable

Arguments = tuple[str | Path, ...]


def command_lines(folder: Path) -> Iterator[Arguments]:
    """All that can be asked of the lake of `template`, what changes nothing first."""
    vault = ("--vault", folder / "vault")
    for json in ((), ("--json",)):
        yield "status", *json
        yield "check", "--data", *json
        yield "gc", "--dry-run", *json
        yield "log", *json
        yield "show", "datasets/d/v1", *json
        yield "show", "models/m/v1", *json
        yield "tag", "datasets/d", *json
        yield "diff", "datasets/d/v1", "datasets/d/v2", *json
        yield "verify", "datasets/d/v1", "models/m/v1", *json
        yield "backup", "list", *vault, *json
    yield "manifest", "datasets/d/v1"
    yield "manifest", "datasets/d/v2"
    yield "get", "-q", "datasets", folder / "got"
    yield "get", "-q", "unsorted", folder / "got"
    yield "backup", "create", *vault
    yield "backup", "verify", *vault
    yield "backup", "restore", "latest", "datasets/d/v1", "--as", "datasets/d/r1", *vault
    yield "fork", "datasets/d/v1", "datasets/d/f1"
    yield "put", "-q", folder / "data", "datasets/d/v2"
    yield "put", "-q", folder / "data", "datasets/p/v1"
    yield "link", "datasets/d/v2", "--from", "models/m/v1"
    yield "tag", "datasets/d", "good", "v1"
    yield "seal", "datasets/d/v2"
    yield "check", "--repair"
    yield "gc", "--grace", "0s", "--stray-chunks", "--lease", "1"
    yield "delete", "--yes", "--with-tags", "datasets/d/v1"
    yield "delete", "--yes", "--with-tags", "models/m/v1"
    yield "backup", "prune", "--keep-last", "1", "--grace", "0s", *vault
    yield "check", "--repair", "--data", "--from", folder / "vault"


def fault_of(uri: str, arguments: Arguments) -> str | None:
    """Run a command; what is wrong with how it ended, if anything is."""
    texts = [str(each) for each in arguments]
    result = CliRunner().invoke(
        commands, texts, env={"GRIDFSMOUNT_URI": uri}, prog_name="gridfsmount"
    )
    line = f"gridfsmount {' '.join(texts)}: "
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert result.exc_info is not None
        return line + "".join(traceback.format_exception(*result.exc_info))
    if result.exit_code not in {0, 1, 2}:
        return f"{line}exit code {result.exit_code}: {result.output}"
    if result.exit_code != 0 and not result.output.strip():
        return f"{line}exit code {result.exit_code} without a word"
    if "Traceback" in result.output:
        return f"{line}{result.output}"
    # A manifest has names as sha256sum prints them.
    shown = [] if arguments[0] == "manifest" else result.output.replace("\t", " ").splitlines()
    odd = [each for each in shown if printable(each) != each]
    if odd:
        return f"{line}may do harm to a terminal: {odd[0]!r}"
    return None
