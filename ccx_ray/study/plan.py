"""What a study will cost before it is run: steps, FLOPs, device hours and money."""

from dataclasses import dataclass

from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.study.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One line of ``--dry-run``; FLOPs and hours are zero where no model is trained."""

    step: Step
    done: bool
    tokens: int = 0
    flops: float = 0.0
    device_hours: float = 0.0
    dollars: float = 0.0


def plan_study(
    study: StudySpec, graph: Graph, folders: StepFolders, *, flops_per_token: float
) -> list[PlannedStep]:
    """Every step of the graph with what it will take.

    Args:
        flops_per_token: of the study's model, which ``training/size.py`` knows.
    """
    cost = study.runtime.cost
    per_hour = cost.peak_tflops * 1e12 * cost.model_flops_utilization * 3600
    plan = []
    for step in graph.steps.values():
        tokens = 0
        if step.kind == "training":
            training = study.base if step.name == "base" else study.trials
            tokens = training.steps * training.sequences_per_step * study.sequence_length
        flops = tokens * flops_per_token
        plan.append(
            PlannedStep(
                step=step,
                done=folders.is_done(step),
                tokens=tokens,
                flops=flops,
                device_hours=flops / per_hour,
                dollars=flops / per_hour * cost.dollars_per_device_hour,
            )
        )
    return plan
