"""The arithmetic of ``--dry-run`` against published numbers."""

from pathlib import Path

import pytest

from ccx_ray.cli.plan import plan_study, print_dry_run
from ccx_ray.errors import UserError
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.study_graph import study_graph
from ccx_ray.training.size import model_size

QWEN_HALF_BILLION = ModelSpec.model_validate("qwen2.5-0.5b")


@pytest.mark.parametrize(
    ("preset", "vocabulary_size", "published"),
    [
        ("qwen2.5-0.5b", 151_936, 494_032_768),
        ("qwen2.5-1.5b", 151_936, 1_543_714_304),
        ("qwen2.5-3b", 151_936, 3_085_938_688),
        ("qwen2.5-7b", 152_064, 7_615_616_512),
    ],
)
def test_parameters_equal_the_published_count(
    preset: str, vocabulary_size: int, published: int
) -> None:
    assert model_size(ModelSpec.model_validate(preset), vocabulary_size).parameters == published


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt2", "gpt_neox", "mamba"])
def test_parameters_equal_what_is_trained(architecture: str) -> None:
    from ccx_ray.training.model import build_model

    attends = architecture != "mamba"
    spec = ModelSpec(
        architecture=architecture,
        hidden_size=32,
        layers=2,
        attention_heads=4 if attends else None,
        key_value_heads=4 if attends else None,
        intermediate_size=64 if attends else None,
        tie_embeddings=architecture != "gpt_neox",
    )
    built = build_model(spec, vocabulary_size=320, eos_id=0, pad_id=1, seed=0)
    size = model_size(spec, 320)
    assert size.parameters == sum(p.numel() for p in built.parameters())
    table = 0 if spec.tie_embeddings else 320 * 32
    assert size.multiplied_parameters == size.parameters - table
    attention = 12 * 2 * 32 * 64 if attends else 0
    assert size.flops_per_token(64) == 6 * size.multiplied_parameters + attention


def test_flops_a_token() -> None:
    """6 x 494,032,768 + 12 x 24 layers x 896 x 2,048."""
    flops = model_size(QWEN_HALF_BILLION, 151_936).flops_per_token(2048)
    assert flops == 6 * 494_032_768 + 12 * 24 * 896 * 2048


def test_a_plan_counts_every_training_once(tmp_path: Path) -> None:
    study, root = load_study("laptop")
    graph = study_graph(study, InputFiles(root, allow_missing=True))
    plan = plan_study(study, graph, StepFolders(tmp_path), flops_per_token=4.2e6)
    trained = [item for item in plan if item.cost.tokens]
    assert len(trained) == 17
    assert not any(item.done for item in plan)
    trial_tokens = study.trials.steps * study.trials.sequences_per_step * study.sequence_length
    assert sum(item.cost.tokens == trial_tokens for item in trained) == 16
    assert all(item.cost.flops == pytest.approx(item.cost.tokens * 4.2e6) for item in trained)


def test_the_dry_run_prints_memory_and_refuses_what_cannot_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [
        "model=qwen2.5-7b",
        "runtime.base.workers=1",
        f"runtime.storage={tmp_path}",
    ]
    study, root = load_study("paper", changes)
    with pytest.raises(
        UserError, match=r"^runtime\.base: needs .* GiB on each GPU at zero_stage 1"
    ):
        print_dry_run(study, root)
    printed = capsys.readouterr().out
    assert "7,614,699,008 parameters" in printed.replace("\n", " ")
    _, row = (line for line in printed.splitlines() if line.startswith("base  "))
    assert row.split()[1] == "1"
    assert [cell.endswith("*") for cell in row.split()[2:6]] == [False, True, False, False]
