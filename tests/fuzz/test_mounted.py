"""A mount whose lake has hostile documents: it lives, answers, and harms nothing healthy."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import Ground
from tests.fuzz.hostile import Mutation, mutations
from tests.fuzz.profile import fuzz
from tests.fuzz.template import HEALTHY, WITNESSES
from tests.mounting import Mounted

pytestmark = pytest.mark.long

ANSWER_SECONDS = 90.0
"""For each program, on a machine that is busy: three times the deadline of one operation."""

LOOKS = (
    ("find", ".", "-ls"),
    ("ls", "-lRa", "."),
    ("find", ".", "-type", "f", "-exec", "head", "-c", "65536", "--", "{}", "+"),
    ("getfattr", "-Rhd", "-m", "-", "."),
    ("df", "."),
)
CHANGES = (
    ("find", "datasets/d/v2", "-type", "f", "-exec", "touch", "--", "{}", "+"),
    ("cp", "-r", "datasets/d/v2", "datasets/d/copy"),
    ("mv", "datasets/d/v2/file", "datasets/d/v2/folder", "datasets/d/v3"),
    ("find", "datasets/d/v2", "datasets/d/v3", "datasets/d/copy", "unsorted", "-delete"),
    ("rm", "-rf", "datasets/d", "models/m"),
)


def test_a_mount_survives_hostile_documents_and_healthy_files_stay(
    ground: Ground, tmp_path: Path
) -> None:
    with Mounted(ground.lake.uri, tmp_path, "--lease", "1") as mount:

        @fuzz(examples=4)
        @given(
            hostile=st.lists(mutations(ground.template), min_size=1, max_size=60),
            remounted=st.booleans(),
        )
        def survive(hostile: list[Mutation], remounted: bool) -> None:
            ground.plant(hostile)
            if remounted:
                mount.restart()  # chores begin with what they find
            for program in (*LOOKS, *CHANGES):
                use(mount, program)
            assert_unharmed(mount)

        survive()


def use(mount: Mounted, program: tuple[str, ...]) -> None:
    """Run a program in the mount; it may fail, but it must come to an end, and stay inside."""
    done = subprocess.run(
        program,
        cwd=mount.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    assert b"root:" not in done.stdout, program  # nobody reads /etc/passwd through a mount
    assert mount.process is not None
    assert mount.process.poll() is None, f"{program} ended the mount:\n{mount.log_text()[-3000:]}"


def assert_unharmed(mount: Mounted) -> None:
    healthy = mount.path / HEALTHY
    assert {each.name: each.read_bytes() for each in healthy.iterdir()} == WITNESSES
    (healthy / "new").write_bytes(b"new")
    assert (healthy / "new").read_bytes() == b"new"
    (healthy / "new").unlink()
    log = mount.log_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert "please report" not in log
