import pytest

from ccx_ray.study.training_spec import OptimizerSpec
from ccx_ray.training.schedule import learning_rate

OPTIMIZER = OptimizerSpec(learning_rate=2e-3, warmup_steps=10, final_learning_rate_share=0.1)


def rates(steps: int, optimizer: OptimizerSpec = OPTIMIZER) -> list[float]:
    return [learning_rate(s, steps=steps, optimizer=optimizer) for s in range(1, steps + 1)]


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    assert rates(100)[:10] == pytest.approx([2e-4 * s for s in range(1, 11)])


def test_cosine_falls_from_the_peak_to_the_final_share() -> None:
    decay = rates(100)[9:]
    assert decay == sorted(decay, reverse=True)
    assert decay[45] == pytest.approx(2e-3 * 0.55)
    assert decay[-1] == pytest.approx(2e-4)


def test_without_warm_up_the_first_step_is_already_on_the_cosine() -> None:
    flat = OptimizerSpec(learning_rate=1.0, warmup_steps=0, final_learning_rate_share=1.0)
    assert rates(5, flat) == pytest.approx([1.0] * 5)


def test_a_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    assert max(rates(5)) == pytest.approx(1e-3)
