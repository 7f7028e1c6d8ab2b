"""Evaluators on a cluster whose node dies under them."""

import json
from pathlib import Path

import pytest

from ccx_ray.evaluation.evaluator import count_attempts
from ccx_ray.evaluation.results import read_results
from tests.probe_models import PROBES, write_random_model
from tests.ray_nodes import kill, ray_nodes, start_driver, wait_until

pytestmark = pytest.mark.storm

COUNT, QUESTIONS = 12, 200


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


def test_a_lost_node_costs_one_attempt_and_nothing_of_the_budget(
    model_folder: Path, tmp_path: Path
):
    """Without a single failure to spare, what the node had begun is done on its successor."""
    english = next(path for path in PROBES if path.stem == "ko-culture-cloze_en")
    probe, log = tmp_path / "ko-en.json", tmp_path / "driver.log"
    probe.write_text(json.dumps(json.loads(english.read_text("utf-8"))[:QUESTIONS]), "utf-8")
    (tmp_path / "results").mkdir()
    results = [tmp_path / "results" / f"{step}.parquet" for step in range(COUNT)]
    arguments = (str(model_folder), str(probe), str(tmp_path / "results"), str(COUNT), "0")

    def scored() -> int:
        return sum(result.is_file() for result in results)

    def is_scoring() -> bool:
        """Whether the evaluator has begun what it has not ended; else a node costs nothing."""
        begun = sum(count["begun"] for count in count_attempts(tmp_path / "results").values())
        return 2 <= scored() < begun

    with ray_nodes({"num_cpus": 1}) as cluster:
        driver = start_driver(cluster, ("-m", "tests.evaluation_driver", *arguments), log)
        try:
            wait_until(is_scoring, seconds=120, what="the third evaluation begins")
            assert kill(cluster.raylet(cluster.nodes[-1]))
            before = scored()
            assert before < COUNT, "killed too late"
            cluster.replace(cluster.nodes[-1])
            assert driver.wait(timeout=180) == 0, log.read_text("utf-8")
        finally:
            driver.kill()
            driver.wait()
    assert [read_results(result).num_rows for result in results] == [QUESTIONS] * COUNT
    attempts = count_attempts(tmp_path / "results")
    assert sum(count["begun"] for count in attempts.values()) == COUNT + 1
    assert all(count["scored"] == 1 for count in attempts.values())
