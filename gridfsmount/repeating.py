"""Something that is done again and again, in a thread, while something else is going on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(call: Callable[[], object], seconds: float, name: str) -> Iterator[None]:
    """Call `call` every so often while a block runs, and not any more when it has ended.

    Args:
        call: raises nothing.
        seconds: before the first call, and between two.
        name: of the thread.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
