"""Rankings do not depend on batching, ties are real ties, and every score is what it says."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.evaluation import forward, scoring
from ccx_ray.evaluation.forward import Passes, find_passes
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.probes import Probe, ProbeItem, load_probe
from ccx_ray.evaluation.results import (
    SCORE_TYPES,
    probe_results,
    publish_results,
    read_results,
    summarize,
)
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from tests.fixed_batches import SIZES, fixed_batches
from tests.probe_models import PROBES, score_probe, write_random_model

KOREAN = next(path for path in PROBES if path.stem == "ko-culture-cloze_ko")
TIBETAN = next(path for path in PROBES if path.stem == "bo-culture-cloze_bo")
WAYS = [
    Passes(trees=trees, sliced_head=sliced) for trees, sliced in product((True, False), repeat=2)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    return load_causal_model(write_random_model(tmp_path_factory.mktemp("model")), "cpu")


def some(path: Path, count: int) -> Probe:
    whole = load_probe(path, path.stem)
    return Probe(name=whole.name, items=whole.items[:count])


def test_the_model_may_be_called_in_the_fastest_way(model: CausalModel):
    assert find_passes(model) == WAYS[0]


@pytest.mark.parametrize("path", [KOREAN, TIBETAN], ids=lambda path: path.stem)
def test_rankings_depend_on_no_batch_and_no_way_of_calling(
    model: CausalModel, path: Path, monkeypatch: pytest.MonkeyPatch
):
    probe = some(path, 60)
    runs = [score_probe(model, probe, tokens_per_batch=size) for size in (1, 300, 20_000)]
    for way in WAYS[1:]:
        monkeypatch.setattr(scoring, "find_passes", lambda _, way=way: way)
        runs.append(score_probe(model, probe, tokens_per_batch=700))
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            for kind in SCORE_TYPES:
                assert two.ranked(kind).ranking == one.ranked(kind).ranking
            assert two.scores("reference") == pytest.approx(one.scores("reference"), abs=1e-5)
            for here, there in zip(one.options, two.options, strict=True):
                assert np.abs(here.token_nats - there.token_nats).max() < 1e-4
                assert there.alone_nats == pytest.approx(here.alone_nats, abs=1e-4)


@pytest.mark.parametrize("path", [KOREAN, TIBETAN], ids=lambda path: path.stem)
def test_rankings_do_not_depend_on_size_and_order_of_batches(
    model: CausalModel, path: Path, monkeypatch: pytest.MonkeyPatch
):
    encoded = encode_probe(model, some(path, 40))
    expected = score_encoded(model, encoded, tokens_per_batch=2048)
    for size, by_length in product(SIZES, (True, False)):
        monkeypatch.setattr(forward, "batches", fixed_batches(size, by_length=by_length))
        found = score_encoded(model, encoded, tokens_per_batch=0)
        for one, two in zip(expected, found, strict=True):
            for kind in SCORE_TYPES:
                assert one.ranked(kind).ranking == two.ranked(kind).ranking
            assert two.scores("reference") == pytest.approx(one.scores("reference"), abs=1e-5)


def test_options_of_an_option_are_its_tokens(model: CausalModel):
    probe = some(KOREAN, 60)
    items = encode_probe(model, probe).items
    for item, encoded in zip(probe.items, items, strict=True):
        for option, ids, marks in zip(
            item.options, encoded.filled, encoded.option_tokens, strict=True
        ):
            tokens = [one for one, inside in zip(ids[1:], marks, strict=True) if inside]
            assert option in model.tokenizer.decode(tokens)
            # A token that the option shares with its neighbour counts, and no other does.
            assert len(model.tokenizer.decode(tokens)) <= len(option) + 8
    (two,) = encode_probe(
        model,
        Probe(
            name="p",
            items=(ProbeItem(question="_ and __!", options=("red", "sky"), answer="red"),),
        ),
    ).items
    texts = model.tokenizer.convert_ids_to_tokens(two.filled[0][1:])
    inside = [text for text, mark in zip(texts, two.option_tokens[0], strict=True) if mark]
    assert "".join(inside).replace("Ġ", "").startswith("redred")


def test_the_mutual_information_is_of_sentence_and_option_alone(model: CausalModel):
    item = ProbeItem(question="It is ___ today.", options=("red", "a cold sky"), answer="red")
    (scored,) = score_probe(model, Probe(name="p", items=(item,)), tokens_per_batch=64)

    @torch.no_grad()
    def nats(text: str) -> float:
        ids = torch.tensor([[model.end_of_text, *model.tokenizer(text)["input_ids"]]])
        return float(model.network(ids, labels=ids).loss) * (ids.shape[1] - 1)

    for option, score in zip(item.options, scored.scores("mutual_information"), strict=True):
        assert score == pytest.approx(nats(item.fill(option)) - nats(option), abs=1e-3)


def test_equal_sentences_tie_exactly_and_the_first_wins(model: CausalModel):
    items = (
        ProbeItem(question="No blank here.", options=("x", "y", "z"), answer="x"),
        ProbeItem(question="It is ___.", options=("red", "blue", "red"), answer="blue"),
        ProbeItem(question="It is ___.", options=("red", "blue"), answer="green"),
    )
    first, repeated, absent = score_probe(model, Probe(name="p", items=items), tokens_per_batch=64)
    for kind in SCORE_TYPES:
        ranked = first.ranked(kind)
        assert ranked.tied
        assert ranked.correct
        assert len(set(ranked.scores)) == 1
        assert ranked.ranking == (0, 1, 2)
        again = repeated.ranked(kind)
        assert again.scores[0] == again.scores[2]
        assert again.tied == (again.choice == 0)
        assert not absent.ranked(kind).correct


def test_close_options_are_scored_as_the_published_scorer_does(
    model: CausalModel, monkeypatch: pytest.MonkeyPatch
):
    probe = some(KOREAN, 8)
    monkeypatch.setitem(scoring.NEAR_TIE, torch.float32, 1e9)  # everything is close
    for scored, item in zip(
        score_probe(model, probe, tokens_per_batch=2048), probe.items, strict=True
    ):
        for option, score in zip(item.options, scored.scores("reference"), strict=True):
            with torch.no_grad():
                text = model.tokenizer("<|endoftext|>" + item.fill(option), return_tensors="pt")
                ids = text.input_ids
                assert score == model.network(ids, labels=ids).loss.item()  # to the last bit


def test_what_nobody_asks_for_is_not_scored(model: CausalModel):
    probe = some(KOREAN, 3)
    scored = score_probe(model, probe, tokens_per_batch=2048, kinds=("reference",))
    assert all(math.isnan(score) for score in scored[0].scores("mutual_information"))


def test_progress_adds_up_to_the_sentences(model: CausalModel, monkeypatch: pytest.MonkeyPatch):
    items = (
        ProbeItem(question="It is ___.", options=("red", "blue", "red"), answer="blue"),
        ProbeItem(question="No blank.", options=("red", "blue"), answer="blue"),
    )
    probe = Probe(name="p", items=items)
    for way in WAYS:
        monkeypatch.setattr(scoring, "find_passes", lambda _, way=way: way)
        seen: list[int] = []
        score_probe(model, probe, tokens_per_batch=8, on_scored=seen.append)
        assert sum(seen) == probe.sentences == 5


def test_a_sentence_beyond_the_context_is_named_or_left_out(model: CausalModel):
    items = (
        ProbeItem(question="It is ___.", options=("red", "blue"), answer="blue"),
        ProbeItem(question="word " * 3000 + "_", options=("a", "b"), answer="a"),
    )
    probe = Probe(name="long", items=items)
    with pytest.raises(UserError, match=r"long, item 1, option 1: 6002 tokens .* is 2048"):
        score_probe(model, probe, tokens_per_batch=64)
    encoded = encode_probe(model, probe, lenient=True)
    assert [one.index for one in encoded.probe.left_out] == [1]
    (scored,) = score_encoded(model, encoded, tokens_per_batch=64)
    assert scored.index == 0
    with pytest.raises(UserError, match="none of its items"):
        encode_probe(model, Probe(name="long", items=items[1:]), lenient=True)


def test_accuracies_follow_from_the_rows(model: CausalModel, tmp_path: Path):
    probe = Probe(name="ko-ko", items=load_probe(KOREAN, "ko-ko").items)
    scored = score_probe(model, probe, tokens_per_batch=8192)
    path = tmp_path / "step.parquet"
    publish_results(path, [probe_results("base", 3, "ko-ko", scored)])
    rows = read_results(path)
    assert rows.num_rows == 598
    summary = summarize(rows)["ko-ko"]
    for kind in SCORE_TYPES:
        ranked = [one.ranked(kind) for one in scored]
        assert summary["scores"][kind]["accuracy"] == sum(r.correct for r in ranked) / 598
        assert summary["scores"][kind]["tied"] == sum(r.tied for r in ranked) >= 1
    assert summary["accuracy_ties_wrong"] <= summary["accuracy"]
