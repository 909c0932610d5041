"""The README's session: data, a model, a fork of the data, another model, and the proof."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.mounting import COMMAND, Mounted

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo_data.py"


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_session_of_the_readme(lake: Mounted) -> None:
    root = lake.path

    def gridfsmount(*arguments: str, folder: Path = root) -> str:
        return run(folder, *COMMAND, *arguments)

    run(root, sys.executable, SCRIPT, root)
    sealed = gridfsmount("seal", "datasets/digits/v1", "-m", "as scikit-learn ships them")
    digest = sealed.split("sha256 ")[1].strip()
    gridfsmount("link", "models/digits/v1", "--from", "datasets/digits/v1")
    gridfsmount("seal", "models/digits/v1")
    gridfsmount("fork", "datasets/digits/v1", "v2")
    fork = root / "datasets/digits/v2"
    run(root, "sed", "-i", "2,101d", fork / "train.csv")
    (fork / "images/train.npy").unlink()
    (fork / "README.md").rename(fork / "ABOUT.md")

    told = subprocess.run(
        [*COMMAND, "diff", "datasets/digits/v1", "datasets/digits/v2"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 1
    changes = told.stdout.splitlines()[:-1]
    assert changes == ["R\tREADME.md\tABOUT.md", "D\timages/train.npy", "M\ttrain.csv"]
    gridfsmount("seal", "datasets/digits/v2", "-m", "without the first hundred")
    run(root, sys.executable, SCRIPT, "train", "datasets/digits/v2", "models/digits/v2")
    os.setxattr(root / "models/digits/v2", "user.lake.from", b"datasets/digits/v2")
    gridfsmount("tag", "models/digits", "production", "v1")

    versions = json.loads(gridfsmount("log", "--json"))

    assert {each["version"]: each["state"] for each in versions} == {
        "datasets/digits/v1": "sealed",
        "datasets/digits/v2": "sealed",
        "models/digits/v1": "sealed",
        "models/digits/v2": "draft",
    }
    model = json.loads(gridfsmount("show", "models/digits/production", "--json"))
    assert [(each["version"], each["digest"]) for each in model["made_from"]] == [
        ("datasets/digits/v1", digest)
    ]
    gridfsmount("verify", "datasets/digits/v1", "datasets/digits/v2", "models/digits/v1")
    inside = root / "datasets/digits/v1"
    manifest = gridfsmount("manifest", ".", folder=inside)
    assert hashlib.sha256(manifest.encode()).hexdigest() == digest
    subprocess.run(["sha256sum", "-c", "--quiet"], cwd=inside, input=manifest.encode(), check=True)
