"""The third condition beside bridge and no-bridge, from segments and texts of real text alone."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.conditions import ConditionsDifferError, check_conditions
from ccx_ray.corpus.packing.mixing import StreamPlan, plan_trial
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import prepare_trial_streams
from ccx_ray.corpus.tokenizing.tokenizer import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.spec import Condition, MixtureSpec
from tests.small_corpus import SmallCorpus, folders_of, rows_of, small_corpus, texts_of

Streams = dict[Condition, Stream]
PARALLEL = ("english", "target")


@pytest.fixture(scope="module", params=["ko", "mn"])
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, project: Path
) -> SmallCorpus:
    """Of Mongolian so few pairs that the parallel rows hold several passes over them."""
    size = {"ko": (80, 500), "mn": (40, 150)}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return small_corpus(project, folder, request.param, documents=size[0], pairs=size[1])


@pytest.fixture(scope="module")
def streams(corpus: SmallCorpus, tmp_path_factory: pytest.TempPathFactory) -> Streams:
    return corpus.streams(tmp_path_factory.mktemp("streams"), rows=400, deranged=True)


def test_all_hold_the_same_bytes_of_the_same_sentences(streams: Streams) -> None:
    assert list(streams) == ["bridge", "nobridge", "deranged"]
    consumed = []
    for stream in streams.values():
        counter: Counter[tuple[str, str]] = Counter()
        for row in rows_of(stream):
            for part, name, _, length in row:
                counter[part, name] += length
        consumed.append(counter)
    assert consumed[0] == consumed[1] == consumed[2]


def test_rows_are_equal_or_hold_equally_many_tokens(streams: Streams) -> None:
    everything = np.arange(400)
    bridge, _, deranged = (stream.read(everything) for stream in streams.values())
    monolingual = [
        np.array([{part for part, *_ in row} == {"monolingual"} for row in rows_of(stream)])
        for stream in (streams["bridge"], streams["deranged"])
    ]
    assert np.array_equal(*monolingual)
    assert np.array_equal(bridge[monolingual[0]], deranged[monolingual[0]])
    assert (bridge != deranged).any(axis=1)[~monolingual[0]].mean() > 0.9
    pad = streams["bridge"].pad_id
    assert np.array_equal((bridge != pad).sum(axis=1), (deranged != pad).sum(axis=1))


def test_no_row_holds_both_halves_of_a_pair_and_as_many_hold_two_languages(
    corpus: SmallCorpus, streams: Streams
) -> None:
    """Nor a half and another translation of its counterpart: compared by text."""
    texts = texts_of(corpus)
    names = {name for part, name in texts if part == "english"}
    together = {(texts["english", name], texts["target", name]) for name in names}
    both: Counter[str] = Counter()
    for condition in ("bridge", "deranged"):
        for row in rows_of(streams[condition]):
            english, target = (
                {texts[part, name] for part, name, *_ in row if part == side} for side in PARALLEL
            )
            both[condition] += bool(english and target)
            if condition == "deranged":
                assert not any((e, t) in together for e in english for t in target)
    assert both["deranged"] > 0.9 * both["bridge"] > 20


def planned(corpus: SmallCorpus, **changes: object) -> dict[Condition, StreamPlan]:
    arguments: dict[str, Any] = {
        "language": "ko",
        "sequence_length": 64,
        "seed": 0,
        "rows": 400,
        "mixture": MixtureSpec(),
        "pair_order": "random",
        **changes,
    }
    return plan_trial(TokenCorpus.open(corpus.tokens), Vocabulary(corpus.tokenizer), **arguments)


@pytest.mark.parametrize("pair_order", ["random", "english-first"])
def test_english_halves_stand_as_in_bridge_and_targets_elsewhere_in_their_pass(
    corpus: SmallCorpus, pair_order: str
) -> None:
    plans = planned(corpus, deranged=True, pair_order=pair_order)
    bridge, deranged = plans["bridge"], plans["deranged"]
    assert np.array_equal(bridge.order, deranged.order)
    (*_, pairs), (*_, dealt) = bridge.tapes, deranged.tapes
    assert np.array_equal(pairs.bounds, dealt.bounds)
    assert np.array_equal(pairs.closings, dealt.closings)
    monolingual = TokenCorpus.open(corpus.tokens).monolingual
    own, other = ((tape.documents - monolingual).reshape(-1, 2) for tape in (pairs, dealt))
    assert np.array_equal(own % 2, other % 2), "the same side comes first"
    english = own % 2 == 0
    assert np.array_equal(own[english], other[english])
    assert (own[~english] != other[~english]).all()
    passes = bridge.counts["passes_over_pairs"]
    assert (passes > 1) == (bridge.counts["distinct_pairs"] < len(own))
    own_pass, other_pass = (a[~english].reshape(passes, -1) for a in (own, other))
    assert np.array_equal(np.sort(own_pass), np.sort(other_pass))


def test_naming_it_changes_nothing_in_the_others(
    corpus: SmallCorpus, streams: Streams, tmp_path: Path
) -> None:
    without = corpus.streams(tmp_path / "without", rows=400)
    again = corpus.streams(tmp_path / "again", rows=400, deranged=True)
    assert list(without) == ["bridge", "nobridge"]
    for condition, stream in streams.items():
        for path in sorted(stream.folder.iterdir()):
            content = path.read_bytes()
            assert (again[condition].folder / path.name).read_bytes() == content
            if condition in without:
                assert (without[condition].folder / path.name).read_bytes() == content
    other = corpus.streams(tmp_path / "other", rows=400, seed=1, deranged=True)
    assert other["deranged"].fingerprint != streams["deranged"].fingerprint


def test_counts_are_those_of_bridge(streams: Streams) -> None:
    assert streams["deranged"].counts == streams["bridge"].counts
    counts = streams["deranged"].counts
    assert counts["tokens"]["separator"] == counts["pairs"] > 50


def test_no_pairs_are_no_mistake(corpus: SmallCorpus) -> None:
    plans = planned(corpus, deranged=True, mixture=MixtureSpec(parallel=0.0))
    assert plans["deranged"].counts["pairs"] == 0


def test_too_few_pairs_are_the_users_mistake(corpus: SmallCorpus) -> None:
    with pytest.raises(UserError, match=r"^trials\.mixture\.parallel: .* cannot be kept apart"):
        planned(corpus, deranged=True, rows=2, sequence_length=2000)


def test_the_preparation_writes_and_checks_the_third(corpus: SmallCorpus, tmp_path: Path) -> None:
    counts = prepare_trial_streams(
        corpus.tokens,
        None,
        corpus.tokenizer,
        tmp_path,
        sequence_length=64,
        seed=0,
        rows=400,
        mixture=MixtureSpec(),
        pair_order="random",
        deranged=True,
        run_tasks=run_here,
    )
    assert set(counts) == {"bridge", "nobridge", "deranged", "difference"}
    assert counts["difference"] == 0
    assert Stream.open(tmp_path / "deranged").rows == counts["deranged"]["rows"] == 400


def test_the_check_finds_what_it_is_for(
    corpus: SmallCorpus, streams: Streams, tmp_path: Path
) -> None:
    tokens, folders = TokenCorpus.open(corpus.tokens), folders_of(streams)
    check_conditions(folders, tokens)
    with pytest.raises(ConditionsDifferError, match="deranged rows contain both halves"):
        check_conditions({**folders, "deranged": folders["bridge"]}, tokens)
    with pytest.raises(ConditionsDifferError, match=r"^0 of \d+ deranged documents"):
        check_conditions({**folders, "deranged": folders["nobridge"]}, tokens)
    seed = corpus.streams(tmp_path / "seed", rows=400, seed=1, deranged=True)["deranged"]
    with pytest.raises(ConditionsDifferError, match="other positions"):
        check_conditions({**folders, "deranged": seed.folder}, tokens)
    fewer = corpus.streams(tmp_path / "fewer", rows=300, deranged=True)["deranged"]
    with pytest.raises(ConditionsDifferError, match="different numbers of rows"):
        check_conditions({**folders, "deranged": fewer.folder}, tokens)
    changed = tmp_path / "changed"
    shutil.copytree(folders["deranged"], changed)
    table = pq.read_table(changed / "rows-00000.parquet")
    ids = table["input_ids"].to_pylist()
    place = next(
        i for i, row in enumerate(rows_of(streams["deranged"])) if row[0][0] != "monolingual"
    )
    ids[place][-1] = streams["deranged"].pad_id
    ids[place][-2] = streams["deranged"].pad_id
    ids[place][-3] = streams["deranged"].pad_id
    column = pa.array(ids, table.schema.field("input_ids").type)
    pq.write_table(
        table.set_column(0, "input_ids", column), changed / "rows-00000.parquet", row_group_size=256
    )
    with pytest.raises(ConditionsDifferError, match=r"^1 rows have different numbers of tokens"):
        check_conditions({**folders, "deranged": changed}, tokens)
