"""Contents as values, compared with the bytes that they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from tests.torture import contents
from tests.torture.contents import BLOCK, EMPTY, Extent

OFFSETS = st.integers(0, 3 * BLOCK)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), OFFSETS, OFFSETS),
            st.tuples(st.just("truncate"), OFFSETS, OFFSETS),
        ),
        max_size=6,
    )
)
def test_a_content_stands_for_the_bytes_that_a_file_would_hold(
    changes: list[tuple[str, int, int]],
) -> None:
    content, model = EMPTY, bytearray()
    for generation, (kind, start, length) in enumerate(changes, 1):
        if kind == "write":
            content = contents.written(content, generation, start, start + length)
            if length:
                model.extend(bytes(max(0, start - len(model))))
                model[start : start + length] = contents.generated(
                    generation, start, start + length
                )
        else:
            content = contents.truncated(content, length)
            del model[length:]
            model.extend(bytes(length - len(model)))

        assert contents.rendered(content) == model
        assert contents.size(content) == len(model)


@given(st.integers(1, 2**63), OFFSETS, OFFSETS)
def test_a_range_of_a_generation_depends_on_its_place_alone(
    generation: int, one: int, other: int
) -> None:
    start, stop = sorted((one, other))

    whole = contents.generated(generation, 0, stop)

    assert contents.generated(generation, start, stop) == whole[start:]


def test_generations_differ_in_every_block() -> None:
    one, other = (contents.generated(each, 0, 8 * BLOCK) for each in (1, 2))

    for start in range(0, len(one), BLOCK):
        assert one[start : start + BLOCK] != other[start : start + BLOCK]
        assert one[start : start + BLOCK] != one[:BLOCK] or start == 0


def test_bytes_tell_their_generation() -> None:
    content = (Extent(7, 0, 2 * BLOCK), Extent(contents.HOLE, 2 * BLOCK, 3 * BLOCK))
    data = contents.rendered(content) + contents.generated(9, 3 * BLOCK, 4 * BLOCK - 5)

    assert contents.recognized(data) == (
        "0 to 8192 of 7, 8192 to 12288 of zeros, 12288 to 16379 of 9"
    )
    torn = contents.generated(7, 0, 100) + contents.generated(8, 100, BLOCK)
    assert contents.recognized(torn) == "0 to 4096 of a mixture with [7]"
    assert contents.recognized(b"") == "empty"
