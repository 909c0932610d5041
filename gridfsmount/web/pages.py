"""From values to HTML: the templates, and how values look in them.

Whatever text goes into a page is made printable and escaped; names of files come from anybody.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gridfsmount import __version__
from gridfsmount.core.wording import counted, printable, sized
from gridfsmount.web.charts import moment

FLUSH: Final = "\0"
"""In a template: what follows may take a while. No text that is shown has such a character."""

_COMMAND: Final = re.compile("`([^`]+)`")

_AREAS: Final = {"datasets": "dataset", "models": "model"}


class Pages:
    """Renders pages."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        """Every page has `facts`."""
        self._environment = Environment(
            loader=PackageLoader("gridfsmount.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finalized,
        )
        self._environment.globals.update(
            facts,
            flush=Markup(FLUSH),
            program=__version__,
            shelf_url=shelf_url,
            version_url=version_url,
            diff_url=diff_url,
            now=lambda: _when(int(datetime.now(UTC).timestamp() * 1e9)),
        )
        self._environment.filters.update(
            size=sized,
            number=lambda number: f"{number:,}",
            counted=counted,
            when=_when,
            coded=_coded,
            singular=_AREAS.__getitem__,
        )

    def render(self, template: str, **values: Any) -> str:
        """A page as a whole."""
        return self._environment.get_template(template).render(values)

    def stream(self, template: str, **values: Any) -> Iterator[str]:
        """A page in pieces: what is before each `flush` of the template comes at once."""
        waiting: list[str] = []
        for piece in self._environment.get_template(template).generate(values):
            # Each piece that is passed on costs as much as a thousand that are joined.
            before, flush, after = piece.partition(FLUSH)
            waiting.append(before)
            if flush:
                yield "".join(waiting)
                waiting = [after]
        yield "".join(waiting)


def shelf_url(area: str, name: str) -> str:
    """Of a dataset or a model."""
    return f"/{_quoted(area)}/{_quoted(name)}"


def version_url(path: str) -> str:
    """Of a version, by its path in the lake."""
    area, _, rest = path.partition("/")
    name, _, version = rest.partition("/")
    return f"{shelf_url(area, name)}/versions/{_quoted(version)}"


def diff_url(area: str, name: str, old: str, new: str) -> str:
    """Of the differences between two versions."""
    return f"{shelf_url(area, name)}/diff?{urlencode({'a': old, 'b': new}, errors='replace')}"


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="replace")


def _finalized(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return printable(value) if isinstance(value, str) else value


def _coded(text: str) -> Markup:
    """A sentence in which commands are between backticks."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(printable(text)))))


def _when(at_ns: int) -> Markup:
    """A time, for people to the minute and for programs to the second."""
    if at_ns <= 0:
        return escape("–")
    at = moment(at_ns)
    return Markup('<time datetime="{}">{}</time>').format(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M}"
    )
