"""Snapshots that a policy does not keep, removed, and then the blobs that only they named.

    claim the vault; judge its snapshots
    say which are going to be removed      and look once more whether somebody pins one
    remove them, the oldest first          each disappears whole
    read what the others name              every manifest proven to be what was published
    condemn, and remove what was condemned before the grace

A crash after any step leaves a whole vault, and the next run goes on. Blocking.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gridfsmount.backup.condemning import Swept, check_manifest, sweep
from gridfsmount.core.retention import Candidate, Policy, Verdict, judge
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged, InUse, NotFound
from gridfsmount.vaults.notes import PINS, forget, pins, verification

GOING: Final = "pruning"
"""The note that names the snapshots that are being removed, as a JSON list."""

PRUNE: Final = "backup prune"
PIN: Final = "backup pin"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done, or would be."""

    verdicts: Sequence[Verdict]
    swept: Swept | None
    """None if no blob was removed, since a manifest cannot be read."""
    stopped: str = ""
    """Why, then."""

    @property
    def removed(self) -> list[str]:
        """Names of the snapshots that went, or would go; the newest first."""
        return [each.name for each in self.verdicts if not each.kept]


def prune(
    vault: Vault,
    policy: Policy,
    *,
    grace: float,
    now_ns: int,
    by: str,
    dry_run: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Apply a policy to a vault.

    Args:
        vault: which.
        policy: what is kept.
        grace: seconds that a blob stays after it was found that no snapshot names it.
        now_ns: the time.
        by: who runs it.
        dry_run: change nothing, and take no lease.
        tell: told what is going on.

    Raises:
        InUse: somebody else holds the lease.
        FileSystemError: the vault fails meanwhile.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gridfsmount-")))
        claim = None if dry_run else stack.enter_context(vault.claim(PRUNE, by))
        verdicts = judge(_candidates(vault, folder), policy)
        if claim is not None:
            verdicts = _remove(vault, verdicts, tell)
        left = sorted(each.name for each in verdicts if each.kept)
        try:
            swept = sweep(vault, left, folder, grace=grace, now_ns=now_ns, claim=claim, tell=tell)
        except Damaged as error:
            return Pruned(verdicts, None, f"{error}; it may name any blob, so none was removed")
        return Pruned(verdicts, swept)


def _candidates(vault: Vault, folder: Path) -> list[Candidate]:
    """All snapshots. Of the newest that is said to be good, that is looked at."""
    pinned = pins(vault)
    found: list[Candidate] = []
    for name in reversed(vault.snapshots()):
        verified = verification(vault, name)
        damaged = verified is not None and not verified.good
        if not damaged and all(each.damaged for each in found):
            damaged = _is_altered(vault, name, folder)
        found.append(Candidate(name, damaged, pinned.get(name)))
    return found


def _is_altered(vault: Vault, snapshot: str, folder: Path) -> bool:
    try:
        check_manifest(vault, snapshot, folder)
    except Damaged:
        return True
    return False


def _remove(
    vault: Vault, verdicts: Sequence[Verdict], tell: Callable[[str], None]
) -> list[Verdict]:
    """Remove what is not kept; whatever was pinned meanwhile stays."""
    going = [each.name for each in reversed(verdicts) if not each.kept]
    pinned: dict[str, str] = {}
    if going:
        # Who pins one says so first, and looks at this note then: one of the two gives way.
        vault.set_note(GOING, json.dumps(going).encode())
        pinned = pins(vault)
        for number, name in enumerate(going, 1):
            tell(f"removing snapshots, {number:,} of {len(going):,}")
            if name not in pinned:
                vault.remove_snapshot(name)
    forget(vault, set(vault.snapshots()))
    vault.set_note(GOING, None)
    return [
        replace(each, kept=True, reasons=(f"pinned: {pinned[each.name]}",))
        if not each.kept and each.name in pinned
        else each
        for each in verdicts
    ]


def pin(vault: Vault, snapshot: str, why: str, by: str) -> None:
    """Keep a snapshot whatever a policy says; also while a backup is made.

    Raises:
        NotFound: it was removed just now.
        InUse: it is being removed.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(vault.claim(PIN, by))
        except InUse:
            _pin_beside(vault, snapshot, why)
        else:
            _set_pin(vault, snapshot, why)


def _pin_beside(vault: Vault, snapshot: str, why: str) -> None:
    """Pin while somebody else holds the lease, perhaps to remove it."""
    _set_pin(vault, snapshot, why)
    going = vault.note(GOING)
    if going is not None and snapshot.encode() in going:
        unpin(vault, snapshot)
        raise InUse(
            f"{snapshot} is being removed from {vault.address}, or was when that was interrupted: "
            "try again when nobody uses the vault"
        )


def _set_pin(vault: Vault, snapshot: str, why: str) -> None:
    vault.set_note(PINS + snapshot, why.encode())
    if snapshot not in vault.snapshots():
        unpin(vault, snapshot)
        raise NotFound(f"{vault.address} has no snapshot {snapshot} any more")


def unpin(vault: Vault, snapshot: str) -> None:
    """Leave a snapshot to the policy again; one that is not pinned does not matter."""
    vault.set_note(PINS + snapshot, None)
