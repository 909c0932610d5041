"""What a mount without a lake tells: its vaults are all that it reads."""

from pathlib import Path

from gridfsmount.vaults.opening import make_vault
from tests.mounting import assert_healthy_log, run_command
from tests.snapshots.conftest import LAKE, MountedAlone
from tests.snapshots.planting import Planted
from tests.telemetry.conftest import read_from_the_mount, stats


def test_a_mount_of_vaults_alone_counts_what_comes_from_them(tmp_path: Path) -> None:
    vault = make_vault(str(tmp_path / "vault"), LAKE)
    tree = Planted()
    tree.file("datasets/d/v1/file", bytes(3000))
    tree.publish(vault, "2026-11-22T03-00-00Z")
    vault.close()
    with MountedAlone(tmp_path, "--vault", vault.address) as mount:
        read_from_the_mount(mount.path / "snapshots/latest/datasets/d/v1/file")

        report, page = stats(mount), run_command("top", mount.path)

    assert report["read_only"]
    assert (report["lake"], report["reading"]["server"]["bytes"]) == (LAKE, 3000)
    assert report["operations"]["read"]["bytes"] == 3000
    assert (page.returncode, page.stderr) == (0, "")
    assert "none since it was mounted" in page.stdout
    assert_healthy_log(mount)
