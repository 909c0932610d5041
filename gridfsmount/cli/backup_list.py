"""`gridfsmount backup list`: the snapshots of vaults."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.lakes import config_option, says_errors
from gridfsmount.cli.vaults import choose_vaults, opened, vault_option
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.errors import LakeError

if TYPE_CHECKING:
    from gridfsmount.vaults.stock import Stocked


@dataclass(frozen=True, slots=True)
class _Row:
    vault: str
    stocked: "Stocked"


@click.command("list")
@vault_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@says_errors()
def list_snapshots(vaults: tuple[str, ...], config: Path | None, as_json: bool) -> None:
    """Tell which snapshots there are, the newest first, and how they are.

    Times of the last verification are local; those of --json are UTC. The exit code is 1 when a
    vault cannot be read, or a snapshot is known to be damaged.
    """
    from gridfsmount.vaults.stock import stock

    rows: list[_Row] = []
    errors: list[dict[str, str]] = []
    for choice in choose_vaults(config, vaults):
        try:
            with opened(choice) as vault:
                rows += [_Row(choice.name, each) for each in stock(vault)]
        except LakeError as error:
            text = printable(redact(str(error)))
            errors.append({"vault": choice.name, "error": text})
            click.echo(f"gridfsmount: {printable(choice.name)}: {text}", err=True)
    rows.sort(key=lambda row: (row.stocked.snapshot, row.vault), reverse=True)
    if as_json:
        document = {"snapshots": list(map(_as_json, rows)), "errors": errors}
        click.echo(json.dumps(document, indent=2))
    elif rows:
        _print_table(rows)
    elif not errors:
        click.echo("no snapshots yet")
    if errors or any(row.stocked.is_damaged for row in rows):
        sys.exit(1)


def _as_json(row: _Row) -> dict[str, Any]:
    summary, verified = row.stocked.summary, row.stocked.verification
    return {
        "snapshot": row.stocked.snapshot,
        "vault": row.vault,
        "taken": None if summary is None else _utc(summary.taken_ns),
        "files": None if summary is None else summary.files,
        "bytes": None if summary is None else summary.bytes,
        "new_blobs": None if summary is None else summary.new_blobs,
        "new_bytes": None if summary is None else summary.new_bytes,
        "consistent": None if summary is None else summary.consistent,
        "skipped": None if summary is None else len(summary.skipped),
        "damaged": row.stocked.is_damaged,
        "verified": None if verified is None else _utc(verified.at_ns),
        "verified_good": None if verified is None else verified.good,
        "damaged_blobs": None if verified is None else verified.damaged,
        "pinned": row.stocked.pinned,
    }


def _print_table(rows: list[_Row]) -> None:
    from rich.text import Text

    from gridfsmount.cli.tables import print_table

    print_table(
        ("snapshot", "files", "bytes", "new", "consistent", "verified", "pinned", "vault"),
        (
            (
                Text(row.stocked.snapshot),
                *map(Text, _counts(row.stocked)),
                Text(_verified(row.stocked), "red" if row.stocked.is_damaged else ""),
                Text(printable(row.stocked.pinned or "")),
                Text(printable(row.vault)),
            )
            for row in rows
        ),
        numbers=3,
    )


def _counts(stocked: "Stocked") -> list[str]:
    if stocked.summary is None:
        return ["?"] * 4
    return [
        f"{stocked.summary.files:,}",
        sized(stocked.summary.bytes),
        sized(stocked.summary.new_bytes),
        "yes" if stocked.summary.consistent else "no",
    ]


def _verified(stocked: "Stocked") -> str:
    if stocked.summary is None:
        return "damaged: no summary"
    if stocked.verification is None:
        return "never"
    when = f"{datetime.fromtimestamp(stocked.verification.at_ns / 1e9).astimezone():%Y-%m-%d %H:%M}"
    if stocked.verification.good:
        return when
    return f"damaged ({counted(stocked.verification.damaged, 'blob')}), {when}"


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="seconds")
