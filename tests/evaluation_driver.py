"""A driver that scores one checkpoint many times, for tests that kill nodes under it.

``python -m tests.evaluation_driver MODEL PROBE FOLDER COUNT MAX_FAILURES``: attaches to the cluster
of ``RAY_ADDRESS`` and leaves ``<step>.parquet`` in FOLDER.
"""

import sys
import tempfile
from contextlib import closing
from pathlib import Path

import ray

from ccx_ray.evaluation.evaluator import Evaluation
from ccx_ray.evaluation.scheduler import EvaluationScheduler
from ccx_ray.orchestration.cluster import connected_cluster
from ccx_ray.study.spec import EvaluationRuntime


def main(model: str, probe: str, folder: str, count: str, max_failures: str) -> None:
    runtime = EvaluationRuntime(cpus_per_evaluator=1.0, max_failures=int(max_failures))
    with (
        tempfile.TemporaryDirectory() as scratch,
        connected_cluster(),
        closing(EvaluationScheduler(runtime, Path(scratch))) as scheduler,
    ):
        futures = [
            scheduler.submit(
                Evaluation(
                    run="base",
                    step=step,
                    model_folder=Path(model),
                    probes=(("ko-en", Path(probe)),),
                    result=Path(folder) / f"{step}.parquet",
                )
            )
            for step in range(int(count))
        ]
        for future in futures:
            future.result()
    assert not ray.is_initialized()


if __name__ == "__main__":
    main(*sys.argv[1:])
