"""What the stage asks of each checkpoint, in which order, and what it tells MLflow."""

from pathlib import Path

from ccx_ray.evaluation.checkpoint_log import metrics
from ccx_ray.evaluation.evaluator import WaitingEvaluations
from ccx_ray.evaluation.following import FollowedRun
from ccx_ray.study.spec import EvaluationRuntime


def followed(name: str, kind: str, *, steps: tuple[int, ...], held_out: bool = True) -> FollowedRun:
    return FollowedRun(
        name=name,
        kind=kind,
        fingerprint="0" * 12,
        folder=Path(name),
        steps=steps,
        probes=(("ko-en", Path("en.json")), ("ko-ko", Path("ko.json"))),
        held_out=(("ko", Path("heldout.parquet")),) if held_out else (),
        sequence_length=128,
    )


def test_the_base_is_scored_before_every_trial_and_ends_before_middles():
    base = followed("base", "base", steps=(100, 200, 300))
    trials = [
        followed(f"ko-{condition}-s0", "trial", steps=(20, 40, 60))
        for condition in ("bridge", "nobridge")
    ]
    waiting = WaitingEvaluations(EvaluationRuntime())
    for run in (*trials, base):
        for evaluation in run.evaluations(Path("results") / run.name).values():
            waiting.put(evaluation)
    order = []
    while (taken := waiting.take()) is not None:
        order.append((taken.run.removeprefix("ko-").removesuffix("-s0"), taken.step))
        waiting.resolve(taken, None)
    assert order == [
        ("base", 300),
        ("base", 200),
        ("base", 100),
        ("bridge", 60),
        ("nobridge", 60),
        ("bridge", 40),
        ("nobridge", 40),
        ("bridge", 20),
        ("nobridge", 20),
    ]


def test_an_evaluation_has_its_files_beside_each_other_or_no_perplexity():
    (evaluation,) = followed("base", "base", steps=(300,)).evaluations(Path("out")).values()
    assert evaluation.result == Path("out/step-000300.parquet")
    assert evaluation.perplexity == Path("out/perplexity-000300.parquet")
    assert evaluation.model_folder == Path("base/checkpoints/step-000300")
    (without,) = (
        followed("base", "base", steps=(300,), held_out=False).evaluations(Path("out")).values()
    )
    assert without.perplexity is None


def test_the_metrics_have_the_names_that_others_rely_on():
    summary = {
        "accuracy": {
            "ko-en": {
                "accuracy": 0.5,
                "accuracy_ties_wrong": 0.25,
                "scores": {"reference": {"accuracy": 0.5}, "option_sum": {"accuracy": 0.75}},
            }
        },
        "perplexity": {"ko": {"perplexity": 90.0, "bits_per_byte": 1.5, "documents": 3}},
    }
    assert metrics(summary) == {
        "eval/ko-en/accuracy": 0.5,
        "eval/ko-en/accuracy_ties_wrong": 0.25,
        "eval_scores/ko-en/option_sum": 0.75,
        "perplexity/ko/perplexity": 90.0,
        "perplexity/ko/bits_per_byte": 1.5,
    }
