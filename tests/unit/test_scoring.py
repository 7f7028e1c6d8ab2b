"""Choices do not depend on batching, and ties are real ties."""

from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.probes import Probe, ProbeItem, load_probe
from ccx_ray.evaluation.results import probe_results, publish_results, read_results, summarize
from ccx_ray.evaluation.scoring import score_probe
from tests.probe_models import PROBES, write_random_model

KOREAN = next(path for path in PROBES if path.stem == "ko-culture-cloze_ko")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    return load_causal_model(write_random_model(tmp_path_factory.mktemp("model")), "cpu")


def test_choices_do_not_depend_on_the_batch(model: CausalModel):
    whole = load_probe(KOREAN, "ko-ko")
    probe = Probe(name="ko-ko", items=whole.items[:120])
    runs = [score_probe(model, probe, tokens_per_batch=size) for size in (1, 300, 20_000)]
    for other in runs[1:]:
        assert [s.ranking for s in other] == [s.ranking for s in runs[0]]
        for one, two in zip(runs[0], other, strict=True):
            assert two.scores == pytest.approx(one.scores, abs=1e-5)


def test_equal_sentences_tie_exactly_and_the_first_wins(model: CausalModel):
    items = (
        ProbeItem(question="No blank here.", options=("x", "y", "z"), answer="x"),
        ProbeItem(question="It is ___.", options=("red", "blue", "red"), answer="blue"),
        ProbeItem(question="It is ___.", options=("red", "blue"), answer="green"),
    )
    first, repeated, absent = score_probe(model, Probe(name="p", items=items), tokens_per_batch=64)
    assert first.tied
    assert first.correct
    assert len(set(first.scores)) == 1
    assert first.ranking == (0, 1, 2)
    assert repeated.scores[0] == repeated.scores[2]
    assert repeated.tied == (repeated.ranking[0] == 0)
    assert not absent.correct


def test_a_sentence_beyond_the_context_is_named(model: CausalModel):
    item = ProbeItem(question="word " * 3000 + "_", options=("a", "b"), answer="a")
    with pytest.raises(UserError, match=r"long, item 0, option 1: 6002 tokens .* is 2048"):
        score_probe(model, Probe(name="long", items=(item,)), tokens_per_batch=64)


def test_accuracies_follow_from_the_rows(model: CausalModel, tmp_path: Path):
    probe = Probe(name="ko-ko", items=load_probe(KOREAN, "ko-ko").items)
    scores = score_probe(model, probe, tokens_per_batch=8192)
    path = tmp_path / "step.parquet"
    publish_results(path, [probe_results("base", 3, "ko-ko", scores)])
    rows = read_results(path)
    assert rows.num_rows == 598
    summary = summarize(rows)["ko-ko"]
    assert summary["accuracy"] == sum(s.correct for s in scores) / 598
    assert summary["tied"] == sum(s.tied for s in scores) >= 1
    assert summary["accuracy_ties_wrong"] <= summary["accuracy"]
