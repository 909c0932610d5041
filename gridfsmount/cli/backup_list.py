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
from gridfsmount.cli.wording import counted, printable, sized
from gridfsmount.errors import Damaged, LakeError, NotFound

if TYPE_CHECKING:
    from gridfsmount.core.summary import Summary
    from gridfsmount.core.vault import Vault
    from gridfsmount.vaults.notes import Verification


@dataclass(frozen=True, slots=True)
class _Row:
    vault: str
    snapshot: str
    summary: "Summary | None"
    """None if it cannot be read."""
    verification: "Verification | None"
    pinned: str | None


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
    rows: list[_Row] = []
    errors: list[dict[str, str]] = []
    for choice in choose_vaults(config, vaults):
        try:
            with opened(choice) as vault:
                rows += _rows(choice.name, vault)
        except LakeError as error:
            text = printable(redact(str(error)))
            errors.append({"vault": choice.name, "error": text})
            click.echo(f"gridfsmount: {printable(choice.name)}: {text}", err=True)
    rows.sort(key=lambda row: (row.snapshot, row.vault), reverse=True)
    if as_json:
        document = {"snapshots": list(map(_as_json, rows)), "errors": errors}
        click.echo(json.dumps(document, indent=2))
    elif rows:
        _print_table(rows)
    elif not errors:
        click.echo("no snapshots yet")
    if errors or any(_is_damaged(row) for row in rows):
        sys.exit(1)


def _rows(name: str, vault: "Vault") -> list[_Row]:
    from gridfsmount.vaults.notes import pins, verification

    pinned = pins(vault)
    rows = []
    for snapshot in vault.snapshots():
        try:
            summary = vault.summary(snapshot)
        except Damaged:
            summary = None
        except NotFound:  # it was pruned just now, or lacks its summary
            if snapshot not in vault.snapshots():
                continue
            summary = None
        verified = verification(vault, snapshot)
        rows.append(_Row(name, snapshot, summary, verified, pinned.get(snapshot)))
    return rows


def _is_damaged(row: _Row) -> bool:
    return row.summary is None or (row.verification is not None and not row.verification.good)


def _as_json(row: _Row) -> dict[str, Any]:
    summary, verified = row.summary, row.verification
    return {
        "snapshot": row.snapshot,
        "vault": row.vault,
        "taken": None if summary is None else _utc(summary.taken_ns),
        "files": None if summary is None else summary.files,
        "bytes": None if summary is None else summary.bytes,
        "new_blobs": None if summary is None else summary.new_blobs,
        "new_bytes": None if summary is None else summary.new_bytes,
        "consistent": None if summary is None else summary.consistent,
        "skipped": None if summary is None else len(summary.skipped),
        "damaged": _is_damaged(row),
        "verified": None if verified is None else _utc(verified.at_ns),
        "verified_good": None if verified is None else verified.good,
        "damaged_blobs": None if verified is None else verified.damaged,
        "pinned": row.pinned,
    }


def _print_table(rows: list[_Row]) -> None:
    from rich.text import Text

    from gridfsmount.cli.tables import print_table

    print_table(
        ("snapshot", "files", "bytes", "new", "consistent", "verified", "pinned", "vault"),
        (
            (
                Text(row.snapshot),
                *map(Text, _counts(row)),
                Text(_verified(row), "red" if _is_damaged(row) else ""),
                Text("" if row.pinned is None else printable(row.pinned)),
                Text(printable(row.vault)),
            )
            for row in rows
        ),
        numbers=3,
    )


def _counts(row: _Row) -> list[str]:
    if row.summary is None:
        return ["?"] * 4
    return [
        f"{row.summary.files:,}",
        sized(row.summary.bytes),
        sized(row.summary.new_bytes),
        "yes" if row.summary.consistent else "no",
    ]


def _verified(row: _Row) -> str:
    if row.summary is None:
        return "damaged: no summary"
    if row.verification is None:
        return "never"
    when = f"{datetime.fromtimestamp(row.verification.at_ns / 1e9).astimezone():%Y-%m-%d %H:%M}"
    if row.verification.good:
        return when
    return f"damaged ({counted(row.verification.damaged, 'blob')}), {when}"


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="seconds")
