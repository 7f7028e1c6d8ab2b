"""The published rule, written again from its description: plain, unbatched, one sentence a pass.

Nothing of the package takes part in the expected values.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.evaluation.scoring import score_probe
from tests.probe_models import PROBES, write_random_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


@torch.no_grad()
def plain_scores(path: Path, folder: Path) -> list[tuple[int, list[float], bool]]:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = []
    for item in json.loads(path.read_text("utf-8")):
        losses = []
        for option in item["options"]:
            text = re.sub("_+", option.replace("\\", "\\\\"), item["question"])
            ids = tokenizer("<|endoftext|>" + text, return_tensors="pt").input_ids
            losses.append(model(ids, labels=ids).loss.item())
        order = sorted(zip(losses, range(len(losses)), strict=True))
        choice = order[0][1]
        answers.append((choice, losses, item["options"][choice] == item["answer"]))
    return answers


def test_there_are_2940_questions():
    assert len(PROBES) == 8
    assert sum(len(load_probe(path, path.stem).items) for path in PROBES) == 2940


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_every_choice_is_the_published_scorers(path: Path, model_folder: Path):
    model = load_causal_model(model_folder, "cpu")
    ours = score_probe(model, load_probe(path, path.stem), tokens_per_batch=2048)
    expected = plain_scores(path, model_folder)
    ranked = [item.ranked() for item in ours]
    assert [item.choice for item in ranked] == [choice for choice, _, _ in expected]
    assert [item.correct for item in ranked] == [correct for _, _, correct in expected]
    largest = max(
        abs(a - b)
        for item, (_, losses, _) in zip(ranked, expected, strict=True)
        for a, b in zip(item.scores, losses, strict=True)
    )
    print(f"{path.stem}: largest difference of a score {largest:.2e}")
    assert largest < 1e-5
