"""Commands are told versions by paths in a lake or in a mount, which tells where its lake is."""

import subprocess
from pathlib import Path

import pytest

from tests.mounting import COMMAND, Mounted, run_command


@pytest.fixture
def here(lake: Mounted) -> Path:
    path = lake.version("datasets/mnist/v1")
    (path / "folder").mkdir()
    (path / "folder" / "file").write_bytes(b"bytes")
    (path.parent / "production").symlink_to("v1")
    return path


def shown(*arguments: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [*COMMAND, "show", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_version_is_found_by_every_way_to_write_its_path(
    lake: Mounted, here: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(here.parent)
    ways: list[tuple[str | Path, Path]] = [
        (here, tmp_path),
        (f"{here}/", tmp_path),
        (here / "folder" / "..", tmp_path),
        (here.parent / "latest", tmp_path),
        (here.parent / "production", tmp_path),
        (tmp_path / "link" / "v1", tmp_path),
        ("link/v1", tmp_path),
        (".", here),
        ("../v1", here),
        ("v1", here.parent),
        ("datasets/mnist/v1", lake.path),
    ]

    for way, folder in ways:
        assert shown(way, folder=folder).splitlines()[0].split() == [
            "version",
            "datasets/mnist/v1",
        ], way
    assert shown("datasets/mnist/v1", "--uri", lake.uri, folder=tmp_path)


def test_a_path_that_is_in_no_lake_is_told_so(here: Path, tmp_path: Path) -> None:
    done = run_command("show", tmp_path / "v1", "--uri", "mongodb://127.0.0.1:1/lake")

    assert done.returncode == 1
    assert "is no path in a lake" in done.stderr


def test_a_path_in_a_lake_beside_one_in_a_mount_is_in_the_same(
    lake: Mounted, here: Path, tmp_path: Path
) -> None:
    lake.version("models/digits/v1")

    done = run_command("link", lake.path / "models/digits/v1", "--from", "datasets/mnist/v1")

    assert done.returncode == 0, done.stderr
    assert "made from datasets/mnist/v1" in done.stdout


def test_versions_of_two_lakes_cannot_be_named_together(
    lake: Mounted, here: Path, standalone_uri: str, tmp_path: Path
) -> None:
    with Mounted(standalone_uri, tmp_path / "other") as other:
        elsewhere = other.version("datasets/mnist/v1")

        done = run_command("diff", here, elsewhere)

    assert done.returncode == 2
    assert "several lakes" in done.stderr
