"""The options of caches and of members to read from, mistyped: one message, and nothing mounted."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.mounting import run_command

FOLDER = "FOLDER"
"""Stands for the folder of the disk cache on a command line."""

SIZE = "is not a size like"
RANGE = "is not between"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def refusal(uri: str, cache: Path, *options: str) -> str:
    """What is said when the options are refused, which they must be."""
    mountpoint = cache.parent / "mnt"
    mountpoint.mkdir()
    arguments = [option.replace(FOLDER, str(cache)) for option in options]

    done = run_command(
        "mount", "--log-file", cache.parent / "mount.log", *arguments, uri, mountpoint
    )

    assert done.returncode in {1, 2}, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not os.path.ismount(mountpoint)
    lines = done.stderr.splitlines()
    messages = [line for line in lines if line.startswith(("Error: ", "gridfsmount: "))]
    assert len(messages) == 1, done.stderr
    assert lines[-1] == messages[0], done.stderr
    assert len(messages[0]) < 400 + len(str(cache))
    return messages[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--disk-cache=FOLDER", "--disk-cache-size=0"], RANGE),
        (["--disk-cache=FOLDER", "--disk-cache-size=-1"], SIZE),
        (["--disk-cache=FOLDER", "--disk-cache-size=5XB"], SIZE),
        (["--disk-cache=FOLDER", "--disk-cache-size=1000PiB"], SIZE),
        (["--disk-cache=FOLDER", "--disk-cache-size=2000TiB"], RANGE),
        (["--disk-cache=FOLDER", "--disk-cache-size="], SIZE),
        (["--disk-cache-size=1GiB"], "give both"),
        (["--cache-size=0"], RANGE),
        (["--cache-size=much"], SIZE),
        (["--read-preference=nonsense"], "'nonsense' is not one of 'primary'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    lake_uri: str, cache: Path, options: list[str], message: str
) -> None:
    assert message in refusal(lake_uri, cache, *options)
    assert not cache.exists()


def test_more_than_the_disk_has_is_refused(lake_uri: str, cache: Path) -> None:
    total = shutil.disk_usage(cache.parent).total
    said = refusal(lake_uri, cache, "--disk-cache=FOLDER", f"--disk-cache-size={total + (1 << 20)}")
    assert f"the disk of {cache} has {total >> 20} MiB" in said
    assert not cache.exists()


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_is_no_folder_for_a_cache(lake_uri: str, cache: Path, below: str) -> None:
    cache.write_bytes(b"mine")
    said = refusal(lake_uri, cache, f"--disk-cache=FOLDER{below}")
    assert re.search(r"is a file|Not a directory|is no folder", said), said
    assert cache.read_bytes() == b"mine"


def test_a_folder_with_other_files_is_refused_and_left_alone(lake_uri: str, cache: Path) -> None:
    (cache / "v1").mkdir(parents=True)
    (cache / "v1" / "photo").write_bytes(b"mine")
    (cache / "letter").write_bytes(b"mine, too")
    assert "holds files and is not a cache" in refusal(lake_uri, cache, "--disk-cache=FOLDER")
    assert (cache / "v1" / "photo").read_bytes() == b"mine"
    assert (cache / "letter").read_bytes() == b"mine, too"
    assert len(list(cache.rglob("*"))) == 3


@pytest.mark.parametrize("marker", ['{"format": 2}\n', "[]", "no JSON", '{"format": null}'])
def test_a_cache_of_another_format_is_refused_and_left_alone(
    lake_uri: str, cache: Path, marker: str
) -> None:
    (cache / "v2").mkdir(parents=True)
    (cache / "v2" / "segment").write_bytes(b"kept")
    (cache / "gridfsmount-cache.json").write_text(marker)
    said = refusal(lake_uri, cache, "--disk-cache=FOLDER")
    assert "has a format that this version does not know" in said
    assert (cache / "gridfsmount-cache.json").read_text() == marker
    assert (cache / "v2" / "segment").read_bytes() == b"kept"
    assert len(list(cache.rglob("*"))) == 3


def test_a_folder_that_may_not_be_made_is_refused(lake_uri: str, tmp_path: Path) -> None:
    said = refusal(lake_uri, tmp_path / "cache", "--disk-cache=/proc/cache")
    assert "the cache folder /proc/cache cannot be used: No such file" in said
