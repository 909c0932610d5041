"""How commands on vaults note in the lake how they ended, for `gridfsmount status`.

A lake that cannot be reached or written is no reason to fail: a vault is there for just that case.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gridfsmount.addresses import redact
from gridfsmount.cli.lakes import PLACE, LakeChoice, has_address, open_lake_for_command
from gridfsmount.cli.vaults import VaultChoice
from gridfsmount.core.wording import printable
from gridfsmount.errors import LakeError
from gridfsmount.who import who

if TYPE_CHECKING:
    from gridfsmount.store.lake import Lake


@dataclass(slots=True)
class Outcome:
    """How a run ends, as far as is known; filled in while it goes on."""

    vault_id: str = ""
    good: bool = True
    text: str = ""


@contextmanager
def lake_for_notes(choice: LakeChoice, uri: str | None) -> "Iterator[Lake | None]":
    """The lake, for a command that can do without; None if none is named, or it cannot be used.

    Raises:
        ConfigError: options that contradict each other.
    """
    with ExitStack() as opened:
        lake = None
        if has_address(choice, uri):
            # Who may write nothing but notes of this kind, to fs.lake, is welcome.
            opening = open_lake_for_command(choice, uri, read_only=True, place=PLACE)
            try:
                lake = opened.enter_context(opening)
            except LakeError as error:
                _not_noted(error)
        yield lake


@contextmanager
def noted(lake: "Lake | None", what: str, vault: VaultChoice) -> Iterator[Outcome]:
    """Note in a lake how the block ended: by the outcome that it fills in, or by its error.

    Args:
        lake: None notes nothing.
        what: CREATE, VERIFY or PRUNE of `store.runs`.
        vault: the one that the block works on; it is opened in there, so that a vault that is not
            there is noted too.
    """
    outcome = Outcome()
    began_ns = _began(lake)
    try:
        yield outcome
    except BaseException as error:
        if not (isinstance(error, SystemExit) and not error.code):
            outcome.good = False
            outcome.text = _sentence(error) or outcome.text
        raise
    finally:
        if lake is not None and began_ns is not None:
            _note(lake, what, vault, outcome, began_ns)


def _began(lake: "Lake | None") -> int | None:
    try:
        return None if lake is None else lake.runs.now_ns()
    except LakeError as error:
        _not_noted(error)
        return None


def _note(lake: "Lake", what: str, vault: VaultChoice, outcome: Outcome, began_ns: int) -> None:
    try:
        lake.runs.note(
            what,
            vault.name,
            outcome.vault_id,
            began_ns=began_ns,
            good=outcome.good,
            text=redact(outcome.text),
            by=who(),
        )
    except LakeError as error:
        _not_noted(error)


def _not_noted(error: LakeError) -> None:
    text = printable(redact(str(error)))
    click.echo(f"gridfsmount: `status` will not know of this run: {text}", err=True)


def _sentence(error: BaseException) -> str:
    if isinstance(error, LakeError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "" if isinstance(error, SystemExit) else f"unforeseen: {error!r}"
