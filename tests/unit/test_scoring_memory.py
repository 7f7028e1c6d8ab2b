"""When memory runs out, smaller batches give the same scores, and nothing gets slow unsaid."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.evaluation.forward import ModelMemoryError, find_passes
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.perplexity import held_out_rows
from ccx_ray.evaluation.probes import Probe, load_probe
from ccx_ray.evaluation.results import SCORE_TYPES
from tests.probe_models import PROBES, score_probe, write_random_model

KOREAN = next(path for path in PROBES if path.stem == "ko-culture-cloze_ko")


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


def on_the_cpu() -> None:
    torch.empty(2**60, dtype=torch.uint8)  # torch's own error: more than there is anywhere


def on_the_cpu_in_other_words() -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")


def in_numpy() -> None:
    np.empty(2**60, np.uint8)


FAILURES = [on_a_gpu, on_the_cpu, on_the_cpu_in_other_words, in_numpy]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


def failing(folder: Path, fail: Callable[[], None], when: Callable[[Any], bool]) -> CausalModel:
    """A model whose forward pass fails for some of its inputs."""
    model = load_causal_model(folder, "cpu")

    def hook(module: Any, arguments: Any, inputs: dict[str, Any]) -> None:
        if when(inputs):
            fail()

    model.network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    return model


def some(count: int) -> Probe:
    return Probe(name="ko-ko", items=load_probe(KOREAN, "ko-ko").items[:count])


@pytest.mark.parametrize("fail", FAILURES)
def test_a_batch_beyond_memory_is_halved_and_said_once(
    folder: Path, fail: Callable[[], None], caplog: pytest.LogCaptureFixture
):
    expected = score_probe(load_causal_model(folder, "cpu"), some(20), tokens_per_batch=2048)
    sizes = []

    def too_large(inputs: dict[str, Any]) -> bool:
        sizes.append(inputs["input_ids"].numel())
        return sizes[-1] > 600

    model = failing(folder, fail, too_large)
    for _ in range(2):  # what has been learnt holds for the next probe
        found = score_probe(model, some(20), tokens_per_batch=2048)
        for one, two in zip(expected, found, strict=True):
            for kind in SCORE_TYPES:
                assert one.ranked(kind).ranking == two.ranked(kind).ranking
            assert two.scores("reference") == pytest.approx(one.scores("reference"), abs=1e-5)
    assert find_passes(model) == find_passes(load_causal_model(folder, "cpu"))
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == sum(size > 600 for size in sizes) <= 2
    assert all("runtime.evaluation.tokens_per_batch" in one for one in warnings)


def test_perplexity_is_the_same_in_smaller_batches(folder: Path, tmp_path: Path):
    file = tmp_path / "heldout.parquet"
    texts = [item.question for item in some(40).items]
    pq.write_table(pa.table({"id": list(map(str, range(40))), "text": texts}), file)
    whole, small = (
        held_out_rows(model, "base", 1, "ko", file, tokens_per_batch=2048, sequence_length=32)
        for model in (
            load_causal_model(folder, "cpu"),
            failing(folder, on_a_gpu, lambda inputs: inputs["input_ids"].numel() > 300),
        )
    )
    assert small["nats"].to_pylist() == pytest.approx(whole["nats"].to_pylist(), rel=1e-5)


@pytest.mark.parametrize("fail", FAILURES)
def test_memory_that_suffices_for_no_row_is_one_line(folder: Path, fail: Callable[[], None]):
    model = failing(folder, fail, lambda inputs: inputs["input_ids"].numel() > 20)
    with pytest.raises(
        ModelMemoryError, match=r"not enough memory on cpu .*tokens_per_batch"
    ) as no:
        score_probe(model, some(5), tokens_per_batch=2048)
    assert isinstance(no.value, UserError)
    assert "\n" not in str(no.value)
    # Where memory fails first is the search for the fastest way: it must not end at the plain one.
    model = failing(folder, fail, lambda inputs: inputs.get("attention_mask") is not None)
    with pytest.raises(ModelMemoryError):
        find_passes(model)


def test_what_a_model_cannot_do_is_logged_once_with_the_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    def refuse() -> None:
        raise TypeError("forward() got an unexpected keyword argument 'position_ids'")

    model = failing(folder, refuse, lambda inputs: inputs.get("position_ids") is not None)
    for _ in range(2):
        assert not find_passes(model).trees
    (warning,) = [one.getMessage() for one in caplog.records]
    assert str(folder) in warning
    assert "TypeError: forward() got an unexpected keyword argument 'position_ids'" in warning
