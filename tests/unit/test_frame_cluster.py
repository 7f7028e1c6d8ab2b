"""``cluster.yaml`` is what Ray's launcher takes, and shows nobody's door open."""

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def cluster(project: Path) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((project / "cluster.yaml").read_text("utf-8")))
    validate_config(config)  # Ray's own schema and its rules about node types
    return config


def test_gpu_workers_are_spot_and_cost_nothing_while_idle(cluster: dict[str, Any]):
    worker = cluster["available_node_types"]["gpu_worker"]
    assert (worker["min_workers"], worker["max_workers"]) == (0, 8)
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_head_is_not_spot(cluster: dict[str, Any]):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert "InstanceMarketOptions" not in head["node_config"]


@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_asks_for_the_token(cluster: dict[str, Any], role: str):
    start = cluster[f"{role}_start_ray_commands"][-1]
    assert "RAY_AUTH_MODE=token" in start
    assert "~/.ray/auth_token" in cluster["file_mounts"]


def test_the_token_itself_is_not_in_the_file(project: Path):
    text = (project / "cluster.yaml").read_text("utf-8")
    assert "RAY_AUTH_TOKEN=" not in text


def test_the_dashboard_is_on_loopback(cluster: dict[str, Any]):
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][-1]


def test_every_node_mounts_the_shared_storage(cluster: dict[str, Any]):
    assert any("mount -t nfs4" in line for line in cluster["setup_commands"])
