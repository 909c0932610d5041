"""Metrics for Prometheus, and the dashboard that shows them."""

import json
import re
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.mongod import Mongod
from tests.mounting import Mounted, run_command
from tests.telemetry.conftest import metrics_address, read_from_the_mount, stats

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


def scrape(mount: Mounted) -> dict[str, Metric]:
    with urllib.request.urlopen(metrics_address(mount), timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the one sample with that name and labels."""
    found = [
        sample.value
        for family in metrics.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_metrics_say_what_stats_say(watched: Mounted, version: Path) -> None:
    (version / "file").write_bytes(bytes(3 << 20))
    read_from_the_mount(version / "file")

    report, metrics = stats(watched), scrape(watched)

    operations, reading = report["operations"], report["reading"]
    assert value(metrics, "gridfsmount_read_bytes_total") == operations["read"]["bytes"]
    assert value(metrics, "gridfsmount_written_bytes_total") == operations["write"]["bytes"]
    assert (
        value(metrics, "gridfsmount_operation_duration_seconds_count", operation="mkdir")
        == operations["mkdir"]["count"]
    )
    for layer in ("disk", "server"):
        assert (
            value(metrics, "gridfsmount_loaded_bytes_total", layer=layer) == reading[layer]["bytes"]
        )
    hits = value(metrics, "gridfsmount_memory_cache_lookups_total", result="hit")
    assert hits == reading["memory"]["hits"]
    assert value(metrics, "gridfsmount_commits_total") == report["writing"]["commits"]
    inserts = report["database"]["commands"]["insert"]["count"]
    assert value(metrics, "gridfsmount_database_commands_total", command="insert") == inserts
    assert (
        value(metrics, "gridfsmount_info", mountpoint=str(watched.path), lake=report["lake"]) == 1
    )


def test_a_duration_counts_in_every_bucket_that_is_wide_enough(watched: Mounted) -> None:
    watched.version()

    samples = scrape(watched)["gridfsmount_operation_duration_seconds"].samples

    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in samples
        if sample.name.endswith("_bucket") and sample.labels["operation"] == "lookup"
    ]
    counts = [count for _, count in sorted(buckets)]
    total = next(
        sample.value
        for sample in samples
        if sample.name.endswith("_count") and sample.labels["operation"] == "lookup"
    )
    assert counts == sorted(counts)
    assert counts[-1] == total > 0
    assert any(count > 0 for count in counts[:-1])


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus for."""

    def walk(part: Any) -> list[str]:
        if isinstance(part, list):
            return [each for item in part for each in walk(item)]
        if isinstance(part, dict):
            own = [part["expr"]] if "expr" in part else []
            return own + [each for item in part.values() for each in walk(item)]
        return []

    return walk(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def test_the_dashboard_asks_for_what_there_is_and_for_all_of_it(watched: Mounted) -> None:
    there = {sample.name for family in scrape(watched).values() for sample in family.samples}

    asked = {
        name
        for expression in expressions()
        for name in re.findall(r"\b(?:gridfsmount|process)_[a-z_]+", expression)
    }

    assert asked - there == set()
    ours = {name for name in there if name.startswith("gridfsmount_")}
    assert ours - asked == {"gridfsmount_operation_duration_seconds_sum"}


def test_the_document_names_every_metric(watched: Mounted) -> None:
    text = (DASHBOARD.parent / "monitoring.md").read_text(encoding="utf-8")

    there = {
        re.sub(r"_(bucket|count|sum)$", "", sample.name)
        for family in scrape(watched).values()
        for sample in family.samples
        if sample.name.startswith("gridfsmount_")
    }

    assert there == set(re.findall(r"`(gridfsmount_[a-z_]+)`", text))


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))

    assert dashboard["uid"] == "gridfsmount"
    assert "id" not in dashboard, "Grafana gives the number"
    source, instance = dashboard["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert instance["query"]["query"] == "label_values(gridfsmount_info, instance)"
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert all(x + width <= 24 for _, width, x, _ in places)


def test_only_this_machine_is_answered_unless_told_otherwise(watched: Mounted) -> None:
    assert metrics_address(watched).startswith("http://127.0.0.1:")
    assert "everybody who reaches" not in watched.log_text()


def test_an_address_that_is_taken_is_named(mongod: Mongod, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = run_command(
            "mount", "--metrics", str(port), mongod.uri_for("taken"), _folder(tmp_path)
        )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"metrics cannot be served on 127.0.0.1:{port}: Address already in use" in done.stderr


def test_without_its_package_the_error_names_it(tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys; sys.modules['prometheus_client'] = None; "
        "from gridfsmount.cli import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "mount", "--metrics", "0", "mongodb://x/", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        "gridfsmount: --metrics needs the package prometheus-client: "
        "pip install 'gridfsmount[metrics]'\n"
    )


def _folder(path: Path) -> Path:
    (path / "mnt").mkdir()
    return path / "mnt"


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:", "1.2.3.4:99999", "-1"])
def test_what_is_no_address_is_refused_as_usage(tmp_path: Path, text: str) -> None:
    from click.testing import CliRunner

    from gridfsmount.cli.main import commands

    done = CliRunner().invoke(
        commands, ["mount", f"--metrics={text}", "mongodb://x/", str(tmp_path)]
    )

    assert done.exit_code == 2
    assert "is no address and port like 127.0.0.1:9464" in done.output
