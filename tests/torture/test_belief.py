"""What may be seen after operations of which some failed: worked out, and compared with a model."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.torture import contents
from tests.torture.belief import FOLDER, Belief, State, Step
from tests.torture.checker import Fault, Seen, check_tree
from tests.torture.contents import EMPTY, Content

A, B, C = "a", "b", "c"


def content(generation: int, size: int = 5000) -> Content:
    return contents.written(EMPTY, generation, 0, size)


OLD, NEW, THIRD = content(1), content(2), content(3)


def faults(belief: Belief, **seen: Seen) -> list[Fault]:
    return [each.fault for each in check_tree(belief, seen.get)]


def data(state: Content) -> bytes:
    return contents.rendered(state)


def with_file(state: State = OLD) -> Belief:
    belief = Belief()
    belief.done([Step({A: state})])
    return belief


def test_what_was_acknowledged_must_be_there() -> None:
    belief = with_file()

    assert faults(belief, a=data(OLD)) == []
    assert faults(belief) == [Fault.LOST]
    assert faults(belief, a=b"") == [Fault.TORN]
    assert faults(belief, a=FOLDER) == [Fault.TORN]
    assert faults(belief, a="unreadable") == [Fault.TORN]


def test_an_older_state_is_a_loss() -> None:
    belief = with_file()
    belief.done([Step({A: NEW})])

    assert faults(belief, a=data(NEW)) == []
    assert faults(belief, a=data(OLD)) == [Fault.LOST]


def test_a_file_in_part_or_mixed_is_torn_whether_acknowledged_or_not() -> None:
    for end in (Belief.done, Belief.failed):
        belief = with_file()
        end(belief, [Step({A: NEW})])

        assert faults(belief, a=data(NEW)[:-1]) == [Fault.TORN]
        assert faults(belief, a=data(NEW)[:2500] + data(OLD)[2500:]) == [Fault.TORN]


def test_an_operation_that_failed_has_happened_or_not() -> None:
    belief = with_file()
    belief.failed([Step({A: NEW})])

    assert faults(belief, a=data(OLD)) == faults(belief, a=data(NEW)) == []
    assert faults(belief) == [Fault.LOST]


def test_a_new_file_may_be_empty_and_one_that_was_there_may_not() -> None:
    creation = [Step({A: EMPTY}, if_missing=A), Step({A: NEW})]
    new, existing = Belief(), with_file()
    new.failed(creation)
    existing.failed(creation)

    assert faults(new) == faults(new, a=b"") == faults(new, a=data(NEW)) == []
    assert faults(existing, a=b"") == [Fault.TORN]


def test_what_was_removed_must_be_gone() -> None:
    belief = with_file()
    belief.done([Step({A: None})])

    assert faults(belief) == []
    assert faults(belief, a=data(OLD)) == [Fault.LOST]


def test_a_rename_that_failed_leaves_one_of_its_two_names() -> None:
    belief = with_file()
    belief.done([Step({B: NEW})])
    belief.failed([Step({A: None, B: OLD})])

    assert faults(belief, a=data(OLD), b=data(NEW)) == faults(belief, b=data(OLD)) == []
    assert faults(belief, b=data(NEW)) == [Fault.LOST]
    assert faults(belief, a=data(OLD), b=data(OLD)) == [Fault.LOST]
    assert faults(belief, a=data(OLD)) == [Fault.LOST]


def test_a_later_acknowledgement_ends_a_doubt() -> None:
    belief = with_file()
    belief.failed([Step({A: NEW})])
    belief.done([Step({A: THIRD})])

    assert belief.is_certain(A)
    assert faults(belief, a=data(THIRD)) == []
    assert faults(belief, a=data(NEW)) == [Fault.LOST]


def test_doubts_that_nothing_binds_stay_apart() -> None:
    belief = Belief()
    belief.failed([Step({A: OLD})])
    belief.failed([Step({B: NEW})])

    assert (belief.uncertainty(A), belief.uncertainty(B)) == (2, 2)
    belief.failed([Step({A: None, B: THIRD})])
    assert belief.uncertainty(A) == belief.uncertainty(B) == 5


@dataclass(frozen=True)
class Tried:
    """An operation, and how it ended."""

    steps: tuple[Step, ...]
    acknowledged: bool
    happened: int
    """So many of its steps, if it was not acknowledged."""


def steps_of(path: str, other: str, state: State, kind: str) -> tuple[Step, ...]:
    if kind == "create":
        return (Step({path: EMPTY}, if_missing=path), Step({path: state}))
    if kind == "rename" and path != other:
        return (Step({path: None, other: state}),)
    return (Step({path: state}),)


PATHS = st.sampled_from([A, B, C])
STATES = st.sampled_from([None, FOLDER, EMPTY, OLD, NEW, THIRD])
TRIED = st.builds(
    Tried,
    st.builds(steps_of, PATHS, PATHS, STATES, st.sampled_from(["create", "rename", "set"])),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(TRIED, max_size=8))
def test_what_really_happened_is_always_among_the_possible(operations: list[Tried]) -> None:
    belief = Belief()
    world: dict[str, State] = {}
    for each in operations:
        count = len(each.steps) if each.acknowledged else each.happened
        for step in each.steps[:count]:
            if step.if_missing is None or world.get(step.if_missing) is None:
                world.update(step.sets)
        (belief.done if each.acknowledged else belief.failed)(each.steps)

    def look(path: str) -> Seen:
        state = world.get(path)
        return contents.rendered(state) if isinstance(state, tuple) else state

    assert list(check_tree(belief, look)) == []


@given(st.lists(TRIED, max_size=8), PATHS)
def test_what_was_acknowledged_last_is_certain(operations: list[Tried], path: str) -> None:
    belief = Belief()
    for each in operations:
        (belief.done if each.acknowledged else belief.failed)(each.steps)
    belief.done([Step({path: NEW})])

    assert belief.is_certain(path)
    assert belief.certain[path] == NEW
