"""The dashboard asks only for metrics that something exports, and every gauge is asked for."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccx_ray.study_gauges import DRIVER_GAUGES
from ccx_ray.training.metrics import GAUGES
from tests.prometheus import prometheus_program

# Seen on the metrics endpoints of a live cluster of Ray 2.60.0.
EXPORTED_BY_RAY = {
    "autoscaler_pending_nodes",
    "ray_actors",
    "ray_cluster_active_nodes",
    "ray_node_cpu_utilization",
    "ray_node_disk_free",
    "ray_node_disk_usage",
    "ray_node_mem_total",
    "ray_node_mem_used",
    "ray_object_store_memory",
    "ray_resources",
    "ray_tasks",
}
OURS = {f"ray_ccx_train_{name}": ("study", "run") for name in GAUGES} | {
    f"ray_ccx_{gauge.name}": ("study", *gauge.tags) for gauge in DRIVER_GAUGES
}
METRIC = re.compile(r"\b(?:ray|autoscaler)_[a-z_]+\b")


@pytest.fixture(scope="module")
def dashboard(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """As it is written for Grafana, and read back by the classes of Grafana's schemas."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    folder = tmp_path_factory.mktemp("dashboards") / "new"
    program = project / "dashboards" / "build.py"
    subprocess.run([sys.executable, str(program), str(folder)], check=True, timeout=60)
    (file,) = folder.iterdir()
    written: dict[str, Any] = json.loads(file.read_text("utf-8"))
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert again == written
    return written


@pytest.fixture(scope="module")
def rules(project: Path) -> list[dict[str, Any]]:
    alerts = yaml.safe_load((project / "dashboards" / "alerts.yml").read_text("utf-8"))
    return [rule for group in alerts["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def expressions(dashboard: dict[str, Any], rules: list[dict[str, Any]]) -> list[str]:
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [choice["query"] for choice in dashboard["templating"]["list"]]
    return [*asked, *(rule["expr"] for rule in rules)]


def test_only_what_is_exported_is_asked_for_and_all_of_ours(expressions: list[str]) -> None:
    asked = {name for expression in expressions for name in METRIC.findall(expression)}
    assert asked - EXPORTED_BY_RAY == set(OURS)


def test_tags_are_those_of_the_gauge(expressions: list[str]) -> None:
    for expression in expressions:
        for name, tags in re.findall(r"(ray_ccx_\w+)(?:\{([^}]*)\})?", expression):
            assert set(re.findall(r"(\w+)=", tags)) <= set(OURS[name]), expression


def test_readme_lists_what_is_asked_for(project: Path, expressions: list[str]) -> None:
    text = (project / "dashboards" / "README.md").read_text("utf-8")
    assert set(METRIC.findall("\n".join(expressions))) <= set(METRIC.findall(text))


def test_panels_do_not_overlap_and_have_ids_of_their_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_prometheus_reads_rays_discovery_file_and_the_alerts(project: Path) -> None:
    folder = project / "dashboards"
    config = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
    check = [prometheus_program("promtool"), "check", "config", str(folder / "prometheus.yml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "5 rules found" in done.stdout


def test_alerts_fire_when_they_should(project: Path, rules: list[dict[str, Any]]) -> None:
    cases = project / "tests" / "alerts_test.yml"
    test = [prometheus_program("promtool"), "test", "rules", str(cases)]
    done = subprocess.run(test, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = {
        case["alertname"]
        for one in yaml.safe_load(cases.read_text("utf-8"))["tests"]
        for case in one["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tested == {rule["alert"] for rule in rules}


def test_ray_gives_grafana_our_dashboard(
    dashboard: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``MetricsHead`` is what every head node runs; here without the process around it."""
    from ray.dashboard.modules.metrics.metrics_head import MetricsHead

    ours = tmp_path / "dashboards" / "ccx-ray.json"
    ours.parent.mkdir()
    ours.write_text(json.dumps(dashboard))
    head = object.__new__(MetricsHead)
    settings = {
        "_metrics_root": tmp_path / "metrics",
        "_metrics_root_session_latest": tmp_path / "metrics",
        "_grafana_config_output_path": tmp_path / "grafana",
        "_grafana_session_latest_config_output_path": tmp_path / "grafana",
        "_grafana_dashboard_output_dir": ours.parent,
    }
    for name, folder in settings.items():
        monkeypatch.setattr(head, name, str(folder), raising=False)
    head._prometheus_name, head._dashboard_uids = "Prometheus", {}
    head._create_default_grafana_configs()
    provisioned = yaml.safe_load(
        (tmp_path / "grafana/provisioning/dashboards/default.yml").read_text("utf-8")
    )
    assert [each["options"]["path"] for each in provisioned["providers"]] == [str(ours.parent)]
    assert json.loads(ours.read_text("utf-8")) == dashboard, "Ray writes its own beside it"


def test_a_cluster_shows_the_dashboard(project: Path) -> None:
    cluster = yaml.safe_load((project / "cluster.yaml").read_text("utf-8"))
    build, start = cluster["head_start_ray_commands"][-2:]
    folder = "~/dashboards"
    assert build.endswith(f"dashboards/build.py {folder}")
    assert f"RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR={folder} " in start
