"""What is noted beside the snapshots of a vault: why one is pinned, and how it was found to be."""

import json
from dataclasses import dataclass
from typing import Any, Final

from gridfsmount.core.vault import Vault

PINS: Final = "pins/"
VERIFIED: Final = "verified/"


@dataclass(frozen=True, slots=True)
class Verification:
    """What the last verification said of a snapshot."""

    at_ns: int
    good: bool
    of: int
    """Blobs that it names."""
    damaged: int
    """Those that are damaged or missing."""


def pins(vault: Vault) -> dict[str, str]:
    """Why snapshots are pinned, by their names."""
    found = {name.removeprefix(PINS): vault.note(name) for name in vault.notes(PINS)}
    return {name: why.decode("utf-8", "replace") for name, why in found.items() if why is not None}


def verification(vault: Vault, snapshot: str) -> Verification | None:
    """How a snapshot was found to be; None if it never was, or if that cannot be read."""
    data = vault.note(VERIFIED + snapshot)
    if data is None:
        return None
    try:
        note: dict[str, Any] = json.loads(data)
        return Verification(
            int(note["at_ns"]), note["good"] is True, int(note["of"]), int(note["damaged"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def forget(vault: Vault, snapshots: set[str]) -> None:
    """Remove the notes about snapshots that are not among `snapshots`, which are all there are."""
    for prefix in (PINS, VERIFIED):
        for name in vault.notes(prefix):
            if name.removeprefix(prefix) not in snapshots:
                vault.set_note(name, None)
