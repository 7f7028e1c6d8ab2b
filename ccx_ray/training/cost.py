"""What trainings cost, in device hours and dollars: planned from FLOPs, measured from wall time.

The plan takes the device and the share of its peak that ``runtime.cost`` names. Measured is the
time from a worker's first step on, once a device; the price is of the named device, so trainings on
CPUs have none. Evaluations are not counted.
"""

from dataclasses import dataclass
from pathlib import Path

from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec
from ccx_ray.training.metrics import device_seconds


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Of one training."""

    tokens: int = 0
    flops: float = 0.0
    device_hours: float = 0.0
    dollars: float = 0.0


def planned_cost(study: StudySpec, step: str, flops_per_token: float) -> TrainingCost:
    """Of the training with this step name.

    Args:
        flops_per_token: of the study's model, which ``size.py`` knows.
    """
    cost = study.runtime.cost
    training = study.trials if step.startswith("trial-") else study.base
    tokens = training.steps * training.sequences_per_step * study.sequence_length
    flops = tokens * flops_per_token
    hours = flops / (cost.peak_tflops * 1e12 * cost.model_flops_utilization * 3600)
    return TrainingCost(
        tokens=tokens, flops=flops, device_hours=hours, dollars=hours * cost.dollars_per_device_hour
    )


def measured_hours(training_folder: Path) -> float:
    """Device hours of all attempts at a training so far."""
    return device_seconds(training_folder) / 3600


def measured_dollars(study: StudySpec, step: str, hours: float) -> float | None:
    """What measured device hours of a training cost; None on CPUs, which have no price."""
    runtime = study.runtime.trials if step.startswith("trial-") else study.runtime.base
    return hours * study.runtime.cost.dollars_per_device_hour if runtime.gpus_per_worker else None


def log_cost(study: StudySpec, work: StepWork) -> None:
    """Log what the finished trainings of a study cost, to MLflow's run of the study: device hours,
    and dollars on GPUs; the step of the metric is the number of trainings."""
    done = {name for name, marker in work.markers().items() if marker["kind"] == work.step.kind}
    trained = [work.runner.graph[name] for name in {*done, work.step.name}]
    hours = {step.name: measured_hours(work.folder_of(step)) for step in trained}
    dollars = [measured_dollars(study, name, spent) for name, spent in hours.items()]
    cost = {"cost/device_hours": sum(hours.values())}
    if None not in dollars:
        cost["cost/dollars"] = sum(filter(None, dollars))
    log = work.tracking.metrics(work.tracking.parent)
    log.log(len(hours), cost, revised=True)
    log.close()
