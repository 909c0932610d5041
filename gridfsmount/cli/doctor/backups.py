"""Vaults: whether they are there, and what is in them."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gridfsmount.cli.doctor.findings import NEXT, Finding, Verdict, ok, problem, warning
from gridfsmount.cli.vaults import VaultChoice, opened
from gridfsmount.core.wording import age, counted, sized

if TYPE_CHECKING:
    from gridfsmount.core.vault import Vault

LITTLE_SHARE: Final = 0.05
"""Of a vault's disk: less that is free will not do for long."""


def vault(choice: VaultChoice) -> Iterator[Finding]:
    """Whether one vault can be used, and how its newest snapshot was found to be."""
    from gridfsmount.core.vault import snapshot_time
    from gridfsmount.vaults.notes import verification

    name = "vault"
    with opened(choice) as found:
        facts = {"vault": choice.name, "made_for": found.header.lake, NEXT: choice.name}
        snapshots = found.snapshots()
        if not snapshots:
            mend = "gridfsmount backup create"
            yield warning(name, f"{choice.name} has no snapshot yet", mend, **facts)
        else:
            newest = snapshots[-1]
            taken = datetime.now(UTC) - snapshot_time(newest)
            yield ok(
                name,
                f"{counted(len(snapshots), 'snapshot')} in {choice.name}, the newest "
                f"{age(round(taken.total_seconds()) * 10**9)} old",
                **facts,
            )
            last = verification(found, newest)
            if last is not None and not last.good:
                yield problem(
                    name,
                    f"{choice.name}: the newest snapshot, {newest}, was found damaged",
                    "gridfsmount backup verify --repair",
                )
        yield from _space(choice.name, found)


def _space(name: str, found: "Vault") -> Iterator[Finding]:
    if not found.address.startswith("/"):
        return
    disk = shutil.disk_usage(Path(found.address))
    if disk.free < LITTLE_SHARE * disk.total:
        mend = "gridfsmount backup prune, or a larger disk"
        yield warning("vault", f"{name}: its disk is nearly full: {sized(disk.free)} free", mend)


def strangers(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Vaults that are of another lake than the one that was looked at."""
    lake = next((each.facts["lake"] for each in findings if "lake" in each.facts), None)
    for each in findings:
        made_for = each.facts.get("made_for")
        if lake is not None and made_for not in (None, lake):
            mend = "nothing can be backed up there: gridfsmount backup init makes one for this lake"
            text = (
                f"{each.facts['vault']} is of another lake ({made_for}), not of this one ({lake})"
            )
            yield Finding(each.check, Verdict.PROBLEM, text, mend)
