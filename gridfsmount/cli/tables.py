"""Tables for people: as wide as the terminal, and as they need to be in files and logs."""

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE: Final = 200
"""Characters of a line where there is no terminal."""


def print_table(titles: Iterable[str], rows: Iterable[Iterable[Text]], *, numbers: int = 0) -> None:
    """Print rows of cells; the first column is never broken, nor the `numbers` that follow it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, title in enumerate(titles):
        is_number = 1 <= place <= numbers
        table.add_column(
            title,
            overflow="fold",
            justify="right" if is_number else "left",
            no_wrap=place == 0 or is_number,
        )
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
