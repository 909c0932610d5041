"""Commands on lakes with hostile documents: an answer, or one line that says why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.commands import command_lines, fault_of
from tests.fuzz.conftest import Ground
from tests.fuzz.hostile import Mutation, mutations
from tests.fuzz.profile import fuzz

pytestmark = pytest.mark.long


def test_no_command_ends_in_a_traceback_whatever_the_documents(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody works on the lake meanwhile: `check` need not look again after a while.
    monkeypatch.setattr("gridfsmount.checking.checker.AGAIN_SECONDS", 0.0)
    lines = list(command_lines(ground.folder))

    @fuzz(examples=4)
    @given(st.lists(mutations(ground.template), min_size=1, max_size=60))
    def keep_manners(hostile: list[Mutation]) -> None:
        ground.plant(hostile)
        faults = [fault for line in lines if (fault := fault_of(ground.lake.uri, line))]
        assert not faults, faults[0]

    keep_manners()
