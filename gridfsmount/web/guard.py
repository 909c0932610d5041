"""What holds for every answer, whatever the page: who may ask, and what browsers may do with it.

The page has no log-in: who reaches the port may read. What it is guarded against is a browser
that reaches it for somebody else, as when a site lets its own name point to 127.0.0.1.
"""

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES: Final = frozenset({"localhost"})

_HEADERS: Final = {
    # Nothing runs, and nothing comes from or goes elsewhere.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_METHODS: Final = ("GET", "HEAD")


class Guard:
    """Lets requests through that are meant for this page, and adds what every answer has."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        """Answer with `app` to whoever calls this machine by an address, or by one of `names`."""
        self._app = app
        self._names = LOCAL_NAMES | {each.lower() for each in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # A file is asked for again only if it has changed; a page is always of now.
                headers.setdefault("Cache-Control", "no-cache" if "ETag" in headers else "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        if scope["method"] not in _METHODS:
            return PlainTextResponse(
                "This page is read-only.\n", 405, {"Allow": ", ".join(_METHODS)}
            )
        host = Headers(scope=scope).get("host", "")
        if not self._is_known(host):
            return PlainTextResponse(
                "This name is not known to be that of this page: ask by an address, or start "
                "`gridfsmount web` with --allow-host NAME.\n",
                421,
            )
        return None

    def _is_known(self, host: str) -> bool:
        """Whether it is an address, which no other site can take for its own, or a known name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or is_address(name)


def is_address(host: str) -> bool:
    """Whether a host is given by its address, and not by a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
