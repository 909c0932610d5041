"""Which snapshots a vault has, and how they are, as far as that is noted."""

from dataclasses import dataclass

from gridfsmount.core.summary import Summary
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged, NotFound
from gridfsmount.vaults.notes import Verification, pins, verification


@dataclass(frozen=True, slots=True)
class Stocked:
    """A snapshot in a vault."""

    snapshot: str
    summary: Summary | None
    """None if it cannot be read."""
    verification: Verification | None
    """How it was found to be last; None if it never was looked at."""
    pinned: str | None
    """Why it is kept whatever the rules say."""

    @property
    def is_damaged(self) -> bool:
        """Whether it is known that it cannot be restored as it was."""
        verified = self.verification
        return self.summary is None or (verified is not None and not verified.good)


def stock(vault: Vault) -> list[Stocked]:
    """The snapshots of a vault, in its order.

    Raises:
        FileSystemError: the vault cannot be read.
    """
    pinned = pins(vault)
    found = []
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
        found.append(Stocked(snapshot, summary, verified, pinned.get(snapshot)))
    return found
