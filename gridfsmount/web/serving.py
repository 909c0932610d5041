"""A port for the page, and an end by signal as for any command that stays."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from gridfsmount.errors import ConfigError

CONNECTIONS: Final = 100
"""At once; more get an error at once, and not an answer at last."""

END_SECONDS: Final = 1
"""What is under way at the end may take that long; whoever waits for more gets no answer."""


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens, for as long as a block runs; port 0 takes any that is free.

    Raises:
        ConfigError: there is no such address here, or somebody else has the port.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--listen {where}: {error.strerror or error}") from error
    with server:
        try:
            # A server that was stopped a moment ago is no reason to refuse.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(CONNECTIONS)
        except OSError as error:
            raise ConfigError(
                f"--listen {where}: {error.strerror}; give another address or port"
            ) from error
        yield server


def url_of(server: socket.socket) -> str:
    """The address to give a browser on this machine."""
    host, port = server.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: ASGIApp, server: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until SIGINT or SIGTERM comes, which is a good end; `ready` is called before.

    The socket listens already: whoever asks before the first answer is given waits for it.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    running = uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=END_SECONDS,
        )
    )

    def end(*_: object) -> None:
        running.should_exit = True

    # uvicorn takes signals while it runs, and raises them again at its end for whoever was there
    # before; what comes earlier ends it as soon as it runs.
    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        running.run(sockets=[server])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line is of use: that requests are cut short at the end is not."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is not asyncio.CancelledError and "graceful shutdown" not in record.getMessage()
