"""A page against a bytearray: what was written is what it holds."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.writing.pages import PIECE_BYTES, Page

PIECES = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "cut", "extend", "read", "whole"]),
        st.integers(0, 3 * PIECE_BYTES),
        st.integers(0, 2 * PIECE_BYTES),
    ),
    max_size=12,
)


@given(pieces=PIECES)
def test_a_page_holds_what_was_written(pieces: list[tuple[str, int, int]]) -> None:
    page, model = Page(), bytearray()
    for seed, (what, at, size) in enumerate(pieces):
        data = random.Random(seed).randbytes(size)
        match what:
            case "write" | "append":
                start = len(model) if what == "append" else at
                if data:
                    page.write(start, memoryview(data))
                    model.extend(bytes(max(0, start - len(model))))
                    model[start : start + size] = data
            case "cut":
                page.cut(at)
                del model[at:]
            case "extend":
                page.extend(size)
                model.extend(bytes(size))
            case "read":
                assert page.read(at, at + size) == model[at : at + size]
        assert len(page) == len(model)
        assert page.whole() == model
