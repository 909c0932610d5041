"""The package as a user installs it: a wheel, in a virtual environment of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systemd.namespaces import ROOT

BUILD = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
INSTALL = (sys.executable, "-m", "pip", "--quiet")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a built wheel."""
    folder = tmp_path_factory.mktemp("installed")
    build: list[str | Path] = [*BUILD, "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    # To copy pip into it would take longer than all else.
    create: list[str | Path] = [sys.executable, "-m", "venv", "--without-pip", environment]
    subprocess.run(create, check=True, timeout=120)
    programs = environment / "bin"
    install: list[str | Path] = [*INSTALL, "--python", programs / "python", "install", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    return programs
