"""A panel asks only for metrics that something exports."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccx_ray.training.metrics import GAUGES

# Seen on the metrics endpoints of a live cluster of Ray 2.60.0.
EXPORTED_BY_RAY = {
    "autoscaler_pending_nodes",
    "ray_actors",
    "ray_cluster_active_nodes",
    "ray_node_cpu_utilization",
    "ray_node_disk_free",
    "ray_node_mem_total",
    "ray_node_mem_used",
    "ray_object_store_memory",
    "ray_resources",
    "ray_tasks",
}
METRIC = re.compile(r"\b(?:ray|autoscaler)_[a-z_]+\b")


def exported_by_training() -> set[str]:
    """The gauges of a training, under the names that Ray gives them."""
    return {f"ray_ccx_train_{name}" for name in GAUGES}


@pytest.fixture(scope="module")
def dashboard(project: Path) -> dict[str, Any]:
    text = (project / "dashboards" / "grafana" / "ccx-ray.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def metrics_asked_for(dashboard: dict[str, Any]) -> set[str]:
    expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    expressions += [v["definition"] for v in dashboard["templating"]["list"] if "definition" in v]
    return {name for expression in expressions for name in METRIC.findall(expression)}


def test_panels_ask_only_for_exported_metrics(dashboard: dict[str, Any]):
    assert metrics_asked_for(dashboard) <= EXPORTED_BY_RAY | exported_by_training()


def test_every_training_gauge_has_a_panel(dashboard: dict[str, Any]):
    assert exported_by_training() <= metrics_asked_for(dashboard)


def test_readme_lists_what_panels_ask_for(project: Path, dashboard: dict[str, Any]):
    text = (project / "dashboards" / "README.md").read_text("utf-8")
    assert metrics_asked_for(dashboard) <= set(METRIC.findall(text))


def test_panels_do_not_overlap_and_have_ids_of_their_own(dashboard: dict[str, Any]):
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


def test_prometheus_reads_rays_discovery_file(project: Path):
    config = yaml.safe_load((project / "dashboards" / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
