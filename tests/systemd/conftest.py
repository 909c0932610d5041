"""The package as a user installs it: a wheel, in a virtual environment of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systemd.namespaces import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a built wheel."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    # To copy pip into it would take longer than all else.
    create = [sys.executable, "-m", "venv", "--without-pip", environment]
    subprocess.run(create, check=True, timeout=120)
    programs = environment / "bin"
    install = ["-m", "pip", "--python", programs / "python", "install", "--quiet", wheel]
    subprocess.run([sys.executable, *install], check=True, capture_output=True, timeout=300)
    return programs
