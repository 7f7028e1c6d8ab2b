"""Every choice of the 2,940 questions is the plain scorer's (``tests/plain_scorer.py``)."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.probes import load_probe
from tests.plain_scorer import plain_answers, read_items
from tests.probe_models import PROBES, score_probe, write_random_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


def test_there_are_2940_questions():
    assert len(PROBES) == 8
    assert sum(len(load_probe(path, path.stem).items) for path in PROBES) == 2940


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_every_choice_is_the_published_scorers(path: Path, model_folder: Path):
    model = load_causal_model(model_folder, "cpu")
    ours = score_probe(model, load_probe(path, path.stem), tokens_per_batch=2048)
    plain = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    expected = list(plain_answers(read_items(path), plain, tokenizer))
    ranked = [item.ranked() for item in ours]
    assert [item.choice for item in ranked] == [one.choice for one in expected]
    assert [item.correct for item in ranked] == [one.correct for one in expected]
    largest = max(
        abs(a - b)
        for item, one in zip(ranked, expected, strict=True)
        for a, b in zip(item.scores, one.losses, strict=True)
    )
    print(f"{path.stem}: largest difference of a score {largest:.2e}")
    assert largest < 1e-5
