"""The pages and their addresses. Handlers block, in threads; none of them writes anything."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gridfsmount.addresses import redact
from gridfsmount.core.model import Kind, Node
from gridfsmount.errors import InvalidArgument, LakeError, NotFound
from gridfsmount.places import LakePath, version_at
from gridfsmount.store.lake import Lake
from gridfsmount.versions.catalogue import Shelf, catalogue
from gridfsmount.versions.history import VersionInfo, dated_ns, describe, history, state_of
from gridfsmount.web import charts, lineage
from gridfsmount.web.backups import VaultReader
from gridfsmount.web.comparison import MOST, Difference, TakesTooLong, compare
from gridfsmount.web.guard import Guard
from gridfsmount.web.health import Asking, Health, examine
from gridfsmount.web.months import months
from gridfsmount.web.pages import Pages

SHOWN: Final = 500
"""Versions or snapshots of one table; the newest ones."""

COMPARISONS: Final = 2
"""Comparisons that run at once: each has a thread, a database on disk, and work for the server."""

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Row:
    """A dataset or model in the list of all."""

    shelf: Shelf
    latest: Node | None
    state: str
    at_ns: int
    files: int | None
    """None for a draft, whose files would have to be counted."""
    bytes: int | None
    message: str
    spark: str | None


def application(
    lake: Lake, ask: Asking, vaults: Sequence[VaultReader], names: Collection[str]
) -> Starlette:
    """The page of a lake.

    Args:
        lake: open for as long as the page is served.
        ask: how the lake is.
        vaults: where its backups are.
        names: by which this machine may be called.
    """
    site = _Site(lake, ask, vaults)
    return Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=_FOLDER / "static")),
            Route("/", site.index),
            Route("/snapshots", site.snapshots),
            Route("/healthz", site.healthz),
            Route("/{area}/{name}", site.shelf),
            Route("/{area}/{name}/diff", site.diff),
            Route("/{area}/{name}/versions/{version}", site.version),
        ],
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={
            HTTPException: site.refused,
            LakeError: site.failed,
            Exception: site.broken,
        },
    )


class _Site:
    """Answers requests."""

    def __init__(self, lake: Lake, ask: Asking, vaults: Sequence[VaultReader]) -> None:
        self._lake = lake
        self._ask = ask
        self._vaults = vaults
        self._pages = Pages({"lake": str(lake.connection.deployment)})
        self._comparing = threading.BoundedSemaphore(COMPARISONS)

    # --- pages ---------------------------------------------------------------------------------

    def index(self, _: Request) -> Response:
        """How the lake is, and what is in it."""
        health = self._examine()
        shelves: list[Shelf] = []
        if health.reachable:
            try:
                shelves = catalogue(self._lake)
            except LakeError as error:
                health = Health(health.answers, [redact(str(error))], reachable=False)
        areas = {
            area: [_row(each) for each in shelves if each.area == area]
            for area in ("datasets", "models")
        }
        return self._page(
            "index.html", 200 if health.reachable else 503, health=health, areas=areas
        )

    def healthz(self, _: Request) -> Response:
        """For programs: whether the lake is well."""
        health = self._examine()
        document = {"well": health.well, "problems": list(health.problems)}
        return JSONResponse(document, 200 if health.well else 503)

    def shelf(self, request: Request) -> Response:
        """A dataset or model: its versions, where they come from, how large they are."""
        area, name = _shelf_of(request)
        infos = history(self._lake, LakePath((area, name)))
        measured = [
            charts.Measured(_name(each), each.at_ns, each.bytes, each.state == "sealed")
            for each in infos[:SHOWN]
        ]
        return self._page(
            "shelf.html",
            area=area,
            name=name,
            infos=infos[:SHOWN],
            left_out=len(infos) - len(infos[:SHOWN]),
            previous=_previous(infos),
            chart=charts.chart(measured),
            lineage=lineage.drawing(infos),
        )

    def version(self, request: Request) -> Response:
        """All that is known of one version."""
        area, name = _shelf_of(request)
        path = LakePath((area, name, request.path_params["version"]))
        node, path = version_at(self._lake, path)
        info = describe(self._lake, node)
        return self._page("version.html", area=area, name=name, info=info)

    def diff(self, request: Request) -> Response:
        """In what two versions differ."""
        area, name = _shelf_of(request)
        folder = LakePath((area, name))
        texts = [request.query_params.get(each, "") for each in ("a", "b")]
        if not all(texts):
            raise InvalidArgument("a comparison needs two versions: ?a=v1&b=v2")
        nodes = [version_at(self._lake, folder.below(each))[0] for each in texts]
        if request.method == "HEAD":
            return HTMLResponse()
        others = [each.names[0].name for each in _versions(self._lake, nodes[0])[:SHOWN]]
        pieces = self._pages.stream(
            "diff.html",
            area=area,
            name=name,
            old=nodes[0].names[0].name,
            new=nodes[1].names[0].name,
            names=others,
            most=MOST,
            compare=partial(self._compare, *nodes),
        )
        return StreamingResponse(pieces, media_type="text/html")

    def snapshots(self, _: Request) -> Response:
        """The backups, and how they were found to be."""
        today = datetime.now(UTC).date()
        answers = [each.read() for each in self._vaults]  # all at once
        stocks = [answer() for answer in answers]
        return self._page(
            "snapshots.html",
            vaults=[
                {
                    "name": redact(each.name),
                    "error": redact(each.error),
                    "snapshots": each.snapshots[:SHOWN],
                    "left_out": len(each.snapshots) - len(each.snapshots[:SHOWN]),
                    "count": len(each.snapshots),
                    "damaged": sum(one.is_damaged for one in each.snapshots),
                    "months": months(each.snapshots, today),
                }
                for each in stocks
            ],
        )

    # --- when something is wrong ---------------------------------------------------------------

    def refused(self, _: Request, error: Exception) -> Response:
        """There is no such page."""
        assert isinstance(error, HTTPException)
        return self._page(
            "error.html",
            error.status_code,
            title="There is no such page" if error.status_code == 404 else error.detail,
            text="The address may be misspelt.",
        )

    def failed(self, _: Request, error: Exception) -> Response:
        """The lake has no such thing, or cannot be asked."""
        text = redact(str(error))
        if isinstance(error, NotFound | InvalidArgument):
            return self._page("error.html", 404, title="There is no such thing here", text=text)
        return self._page("error.html", 503, title="The lake cannot be read now", text=text)

    def broken(self, request: Request, _: Exception) -> Response:
        """Nobody has foreseen it; the server logs it with its traceback."""
        return self._page(
            "error.html",
            500,
            title="This page has a fault",
            text="The log of `gridfsmount web` tells more of it.",
        )

    # -------------------------------------------------------------------------------------------

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._pages.render(template, **values), status)

    def _examine(self) -> Health:
        health = examine(self._lake, self._ask)
        problems = [redact(each) for each in health.problems]
        return Health(health.answers, problems, health.reachable)

    def _compare(self, old: Node, new: Node) -> Difference | str:
        """The differences, or why they cannot be told: what is above them was sent already."""
        if not self._comparing.acquire(blocking=False):
            return "Others compare versions just now; try again in a moment."
        try:
            return compare(self._lake, old, new)
        except TakesTooLong as error:
            return f"{str(error).capitalize()}."
        except LakeError as error:
            return f"They cannot be compared: {redact(str(error))}"
        finally:
            self._comparing.release()


def _shelf_of(request: Request) -> tuple[str, str]:
    area: str = request.path_params["area"]
    name: str = request.path_params["name"]
    if area not in ("datasets", "models"):
        raise HTTPException(404)
    return area, name


def _row(shelf: Shelf) -> _Row:
    latest = shelf.latest
    seal = None if latest is None or latest.record is None else latest.record.seal
    sealed = [
        each.record.seal.bytes
        for each in reversed(shelf.versions)
        if each.record is not None and each.record.seal is not None
    ]
    return _Row(
        shelf=shelf,
        latest=latest,
        state="" if latest is None else state_of(latest),
        at_ns=0 if latest is None else dated_ns(latest),
        files=None if seal is None else seal.files,
        bytes=None if seal is None else seal.bytes,
        message="" if seal is None else seal.message,
        spark=charts.spark(sealed[-60:]),
    )


def _versions(lake: Lake, version: Node) -> list[Node]:
    """All versions beside one, and itself, the newest first."""
    nodes = lake.tree.children_of_kind(version.parent, Kind.DIRECTORY)
    found = [each for each in nodes if each.version == each.inode]
    return sorted(found, key=lambda node: (dated_ns(node), node.inode), reverse=True)


def _name(info: VersionInfo) -> str:
    return info.node.names[0].name


def _previous(infos: Sequence[VersionInfo]) -> dict[str, str]:
    """What each version is best compared with: what it was forked from, else the one before it."""
    names = {each.path: _name(each) for each in infos}
    found: dict[str, str] = {}
    for info, before in zip_longest(infos, infos[1:]):
        parent = None if info.parent is None else info.parent.now
        if parent in names:
            found[info.path] = names[parent]
        elif before is not None:
            found[info.path] = _name(before)
    return found
