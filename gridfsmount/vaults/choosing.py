"""Which snapshot of a vault a person means."""

from typing import Final

from gridfsmount.core.vault import Vault, is_snapshot_name
from gridfsmount.errors import ConfigError, NotFound

LATEST: Final = "latest"

_SHOWN: Final = 3
"""Snapshots that are named when several are meant."""


def choose_snapshot(vault: Vault, wanted: str) -> str:
    """The snapshot that `wanted` names: in full, by a beginning that no other has, or `latest`.

    Raises:
        NotFound: there is none.
        ConfigError: there are several.
    """
    names = vault.snapshots()
    if wanted == LATEST:
        if not names:
            raise NotFound(f"{vault.address} has no snapshot yet")
        return names[-1]
    found = [name for name in names if wanted and name.startswith(wanted)]
    if not found:
        form = "" if is_snapshot_name(wanted) else "; names are times like 2026-11-22T03-00-00Z"
        raise NotFound(f"{vault.address} has no snapshot {wanted!r}{form}")
    if len(found) > 1:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConfigError(
            f"{wanted!r} may be {', '.join(found[:_SHOWN])}{more} in {vault.address}; write more"
            " of its name"
        )
    return found[0]
