"""How people name a snapshot."""

import pytest

from gridfsmount.errors import ConfigError, NotFound
from gridfsmount.vaults.choosing import choose_snapshot
from gridfsmount.vaults.directory import DirectoryVault
from tests.backup.prune.conftest import Publish

NAMES = ["2026-11-21T03-00-00Z", "2026-11-22T03-00-00Z", "2026-11-22T09-00-00Z"]


@pytest.fixture
def filled(vault: DirectoryVault, publish: Publish) -> DirectoryVault:
    for name in NAMES:
        publish(name, {})
    return vault


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (NAMES[0], NAMES[0]),
        ("latest", NAMES[2]),
        ("2026-11-21", NAMES[0]),
        ("2026-11-22T09", NAMES[2]),
    ],
)
def test_a_snapshot_is_named_by_its_name_its_beginning_or_latest(
    filled: DirectoryVault, wanted: str, found: str
) -> None:
    assert choose_snapshot(filled, wanted) == found


def test_a_beginning_of_several_is_refused_with_their_names(filled: DirectoryVault) -> None:
    with pytest.raises(ConfigError, match=f"{NAMES[1]}, {NAMES[2]}"):
        choose_snapshot(filled, "2026-11-22")


@pytest.mark.parametrize("wanted", ["", "yesterday", "2025", "Latest", "../x", "26-11"])
def test_what_names_none_is_told_with_the_form_of_names(
    filled: DirectoryVault, wanted: str
) -> None:
    with pytest.raises(NotFound, match="names are times like"):
        choose_snapshot(filled, wanted)


def test_an_empty_vault_has_no_latest(vault: DirectoryVault) -> None:
    with pytest.raises(NotFound, match="no snapshot yet"):
        choose_snapshot(vault, "latest")
