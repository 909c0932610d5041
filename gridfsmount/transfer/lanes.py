"""Threads for a transfer: few, with a short queue, so that memory stays bounded."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Final, ParamSpec, Self

from gridfsmount.transfer.report import Report

P = ParamSpec("P")

QUEUED: Final = 2
"""Tasks for each thread, under way or waiting: the walk need not run far ahead."""


class Lanes:
    """Runs tasks; the one who submits waits when there are too many. Not to be shared."""

    def __init__(self, threads: int, report: Report) -> None:
        """Start with no task; a transfer that is halted begins no more of them."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer")
        self._most = QUEUED * threads
        self._report = report
        self._pending: set[Future[None]] = set()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for what is under way; what has not begun is dropped if there was an error."""
        self._pool.shutdown(wait=True, cancel_futures=error is not None)

    def submit(self, task: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a task soon.

        Raises:
            Halted: the transfer has ended.
        """
        while len(self._pending) >= self._most:
            self._reap(FIRST_COMPLETED)
        self._report.check()
        self._pending.add(self._pool.submit(self._run, lambda: task(*args, **kwargs)))

    def drain(self) -> None:
        """Wait until all that was submitted is done.

        Raises:
            Halted: the transfer has ended.
        """
        while self._pending:
            self._reap(FIRST_COMPLETED)
        self._report.check()

    def settle(self) -> None:
        """Wait until none is under way, whatever becomes of them."""
        wait(self._pending)
        self._pending.clear()

    def _run(self, task: Callable[[], None]) -> None:
        if not self._report.halted:
            task()

    def _reap(self, when: str) -> None:
        done, self._pending = wait(self._pending, return_when=when)
        for each in done:
            each.result()  # what nobody foresaw ends it here
