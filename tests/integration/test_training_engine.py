"""The engine alone, with real DeepSpeed: every ZeRO stage, every option, several workers."""

import json
import math
import multiprocessing
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import OptimizerSpec, TrainingRuntime
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.model import build_model, load_model, save_model
from ccx_ray.training.sharded_state import start_state
from tests.training_runs import EOS, LENGTH, MODEL, PAD, VOCABULARY, join_process_group

ROWS, PER_DEVICE, RATE = 16, 2, 3e-3
STAGES = [0, 1, 2, 3]

Step = tuple[float, float, int]


@pytest.fixture(autouse=True)
def process_group() -> None:
    join_process_group()


def make_engine(
    *, workers: int = 1, seed: int = 0, document_masks: bool = False, **runtime: Any
) -> TrainingEngine:
    settings = {"sequences_per_device": PER_DEVICE, **runtime}
    return TrainingEngine(
        build_model(MODEL, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=seed),
        pad_id=PAD,
        eos_id=EOS,
        document_masks=document_masks,
        optimizer=OptimizerSpec(learning_rate=RATE),
        runtime=TrainingRuntime(**settings),
        accumulation=ROWS // (settings["sequences_per_device"] * workers),
        device=torch.device("cpu"),
    )


def batch(step: int) -> torch.Tensor:
    """[16, 32] a counting language in documents; every fifth row is half padding."""
    random = torch.Generator().manual_seed(step)
    tokens_BT = torch.randint(0, 97, (ROWS, 1), generator=random) + torch.arange(LENGTH)
    tokens_BT = tokens_BT % 97 + 2
    tokens_BT[:, 11] = EOS
    tokens_BT[::5, LENGTH // 2 :] = PAD
    return tokens_BT


def train(
    engine: TrainingEngine, first: int, last: int, *, rank: int = 0, workers: int = 1
) -> list[Step]:
    share = slice(rank * ROWS // workers, (rank + 1) * ROWS // workers)
    return [engine.step(batch(step)[share], RATE) for step in range(first, last)]


def assert_equal_states(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    different = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
    assert not different


def losses(steps: list[Step]) -> list[float]:
    return [loss for loss, _, _ in steps]


@pytest.fixture(scope="module")
def plain() -> list[Step]:
    """Nine steps of one worker at stage 0."""
    join_process_group()
    return train(make_engine(zero_stage=0), 0, 9)


@pytest.mark.parametrize(
    "option",
    [
        *({"zero_stage": stage} for stage in STAGES),
        *({"zero_stage": stage, "offload": "optimizer"} for stage in STAGES[1:]),
        {"zero_stage": 3, "offload": "parameters"},
        {"activation_checkpointing": True},
        pytest.param({"activation_checkpointing": True, "zero_stage": 3}, marks=pytest.mark.storm),
        {"attention": "eager"},
        {"sequences_per_device": 8},
        {"fused_loss": True},
        pytest.param({"fused_loss": True, "zero_stage": 3}, marks=pytest.mark.storm),
    ],
    ids=str,
)
def test_no_option_changes_the_losses(plain: list[Step], option: dict[str, Any]) -> None:
    steps = train(make_engine(**option), 0, 9)
    assert losses(steps) == pytest.approx(losses(plain), rel=2e-6)
    assert [norm for _, norm, _ in steps] == pytest.approx([n for _, n, _ in plain], rel=1e-4)
    assert losses(steps)[-1] < losses(steps)[0] - 0.3


@pytest.mark.parametrize(
    "option",
    [
        {},
        pytest.param({"activation_checkpointing": True}, marks=pytest.mark.storm),
        pytest.param({"zero_stage": 3}, marks=pytest.mark.storm),
        pytest.param({"document_masks": True}, marks=pytest.mark.storm),
    ],
    ids=str,
)
def test_compiled_layers_change_the_losses_by_rounding_alone(option: dict[str, Any]) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain = train(make_engine(**option), 0, 4)
    engine = make_engine(compile=True, **option)
    steps = train(engine, 0, 4)
    assert losses(steps) == pytest.approx(losses(plain), rel=1e-5)
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled, "nothing was compiled"


def test_masks_train_another_model_over_as_many_predictions(plain: list[Step]) -> None:
    steps = train(make_engine(document_masks=True), 0, 3)
    assert [n for _, _, n in steps] == [n for _, _, n in plain[:3]]
    assert losses(steps)[2] != pytest.approx(losses(plain)[2], rel=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_going_back_to_a_state_repeats_bit_for_bit(stage: int) -> None:
    """At any time, in this engine and in a fresh one, whatever was learnt meanwhile."""
    engine = make_engine(zero_stage=stage)
    train(engine, 0, 3)
    state = engine.state()
    kept = {name: value.clone() for name, value in state.items()}
    expected = train(engine, 3, 6)
    assert_equal_states(state, kept)
    after = engine.state()
    engine.load_state(state, 3)
    assert train(engine, 3, 6) == expected
    other = make_engine(zero_stage=stage, seed=7)
    other.load_state(state, 3)
    assert_equal_states(other.state(), state)
    assert train(other, 3, 6) == expected
    assert_equal_states(other.state(), after)


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_without_moments_is_a_start(stage: int) -> None:
    """As for a trial that starts from the base's parameters."""
    engine = make_engine(zero_stage=stage)
    start = engine.state()
    expected = train(engine, 0, 3)
    model = build_model(MODEL, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0)
    engine.load_state(start_state(model), 0)
    assert_equal_states(engine.state(), start)
    assert train(engine, 0, 3) == expected


def test_a_state_fits_every_stage(plain: list[Step]) -> None:
    steps: list[Step] = []
    state: dict[str, torch.Tensor] = {}
    for position, stage in enumerate((3, 0, 2, 1)):
        engine = make_engine(zero_stage=stage, seed=position)
        if state:
            engine.load_state(state, len(steps))
        steps += train(engine, len(steps), len(steps) + 2)
        state = engine.state()
    assert losses(steps) == pytest.approx(losses(plain[:8]), rel=2e-6)


@pytest.mark.parametrize(
    ("stage", "bad"),
    [
        *((stage, math.nan) for stage in STAGES),
        (1, math.inf),
        (1, 1e30),
        *(
            pytest.param(stage, bad, marks=pytest.mark.storm)
            for stage in (0, 2, 3)
            for bad in (math.inf, 1e30)
        ),
    ],
)
def test_a_gradient_that_is_no_number_changes_nothing(stage: int, bad: float) -> None:
    """It is returned, and the engine trains on from a good state as if it had not been."""
    engine = make_engine(zero_stage=stage)
    train(engine, 0, 2)
    good = engine.state()
    expected = train(engine, 2, 4)
    broken = {name: value.clone() for name, value in good.items()}
    broken["parameter/model.embed_tokens.weight"][5] = bad
    engine.load_state(broken, 2)
    loss, norm, predicted = engine.step(batch(2), RATE)
    assert not (math.isfinite(loss) and math.isfinite(norm))
    assert predicted == expected[0][2]
    ours = engine.state()
    for name, value in broken.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0, equal_nan=True)
    engine.load_state(good, 2)
    assert train(engine, 2, 4) == expected


@pytest.mark.parametrize("stage", STAGES)
def test_saved_model_is_the_trained_one(tmp_path: Path, stage: int) -> None:
    engine = make_engine(zero_stage=stage)
    train(engine, 0, 2)
    state = engine.state()
    train(engine, 2, 3)
    save_model(engine.model, state, tmp_path)
    loaded = load_model(tmp_path, vocabulary_size=VOCABULARY)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, state[f"parameter/{name}"])
    assert engine.parameters == sum(p.numel() for p in loaded.parameters())


def test_one_worker_agrees_with_itself() -> None:
    assert make_engine().agree([True, False, True]) == [True, False, True]


@pytest.mark.parametrize("masks", [False, True])
def test_preflight_leaves_no_trace_behind_the_start_state(masks: bool) -> None:
    engine = make_engine(document_masks=masks)
    start = engine.state()
    expected = train(engine, 0, 2)
    engine.preflight(LENGTH)
    engine.load_state(start, 0)
    assert train(engine, 0, 2) == expected


@pytest.fixture
def one_gigabyte_more() -> Iterator[None]:
    """This process may take one gigabyte of addresses more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_preflight_names_what_does_not_fit(one_gigabyte_more: None) -> None:
    engine = make_engine(sequences_per_device=16, attention="eager")
    engine.preflight(LENGTH)
    with pytest.raises(UserError, match=r"16 rows of 4096 tokens do not fit.*cpu.*lower") as caught:
        # Scores of attention alone: 16 rows x 4 heads x 4,096 x 4,096 x 4 bytes = 4.3 GB.
        engine.preflight(4096)
    assert "\n" not in str(caught.value)


def several_workers(
    folder: Path,
    stages: Sequence[int],
    *,
    workers: int,
    first: int,
    last: int,
    state: Path | None,
) -> None:
    """Train steps ``first`` to ``last`` at these stages in as many processes as workers.

    Leaves ``<stage>.safetensors`` and ``<stage>-<rank>.json`` in ``folder``.
    """
    folder.mkdir()
    # Forked from a server that has imported what takes long and done nothing else.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["deepspeed", "ccx_ray.training.engine", "ccx_ray.training.model"])
    processes = [
        forks.Process(target=_work, args=(rank, folder, stages, workers, first, last, state))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        for rank, process in enumerate(processes):
            process.join(300)
            errors = folder / f"stderr-{rank}"
            assert process.exitcode == 0, errors.read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("stages", [(1, 3), pytest.param((0, 2), marks=pytest.mark.storm)])
def test_a_training_goes_on_with_two_workers_four_and_one(
    tmp_path: Path, plain: list[Step], stages: Sequence[int]
) -> None:
    """2 -> 4 -> 1; the loss sequence is that of one worker."""
    two, four = tmp_path / "two", tmp_path / "four"
    several_workers(two, stages, workers=2, first=0, last=3, state=None)
    several_workers(four, stages, workers=4, first=3, last=6, state=two)
    worst = 0.0
    for stage in stages:
        steps: list[Step] = []
        for name, workers in (("two", 2), ("four", 4)):
            files = [tmp_path / name / f"{stage}-{rank}.json" for rank in range(workers)]
            (told,) = {file.read_text() for file in files}
            steps += [tuple(step) for step in json.loads(told)]
        engine = make_engine(zero_stage=stage, seed=3)
        engine.load_state(load_file(tmp_path / "four" / f"{stage}.safetensors"), 6)
        steps += train(engine, 6, 9)
        assert losses(steps) == pytest.approx(losses(plain), rel=2e-6)
        assert [n for _, _, n in steps] == [n for _, _, n in plain]
        worst = max(
            worst, *(abs(a / b - 1) for a, b in zip(losses(steps), losses(plain), strict=True))
        )
    print(f"largest relative difference of a loss: {worst:.1e}")


def _work(
    rank: int,
    folder: Path,
    stages: Sequence[int],
    workers: int,
    first: int,
    last: int,
    start: Path | None,
) -> None:
    import torch.distributed as dist

    os.dup2(os.open(folder / f"stderr-{rank}", os.O_CREAT | os.O_WRONLY), sys.stderr.fileno())

    os.environ["LOCAL_RANK"] = "0"
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), workers)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    for stage in stages:
        engine = make_engine(workers=workers, zero_stage=stage, seed=11 if start else 0)
        if start:
            engine.load_state(load_file(start / f"{stage}.safetensors"), first)
        steps = train(engine, first, last, rank=rank, workers=workers)
        assert engine.agree([rank == workers - 1, False]) == [True, False]
        state = engine.state()
        assert bool(state) == (rank == 0)
        if state:
            save_file(state, folder / f"{stage}.safetensors")
        (folder / f"{stage}-{rank}.json").write_text(json.dumps(steps))
    dist.destroy_process_group()
