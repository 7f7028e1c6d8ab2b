"""Bridge and no-bridge of real Korean and Mongolian text, checked from segments and texts alone."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.conditions import ConditionsDifferError, check_conditions
from ccx_ray.corpus.packing.mixing import plan_base
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import finish_stream, write_rows
from ccx_ray.corpus.tokenizing.tokenizer import Encoder, Vocabulary
from ccx_ray.corpus.tokenizing.tokens import DOCUMENTS, TokenCorpus, tokenize_text
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.spec import MixtureSpec
from tests.small_corpus import (
    SmallCorpus,
    bundled_language,
    folders_of,
    rows_of,
    segments_of,
    small_corpus,
    text_folder,
    texts_of,
)


@pytest.fixture(scope="module", params=["ko", "mn"])
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, project: Path
) -> SmallCorpus:
    """Of Mongolian so few pairs that the parallel rows hold several passes over them."""
    size = {"ko": (80, 500), "mn": (40, 150)}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return small_corpus(project, folder, request.param, documents=size[0], pairs=size[1])


@pytest.fixture(scope="module")
def streams(corpus: SmallCorpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stream]:
    return corpus.streams(tmp_path_factory.mktemp("streams"), rows=400)


def test_both_hold_the_same_bytes_of_the_same_sentences(streams: dict[str, Stream]) -> None:
    consumed = []
    for stream in streams.values():
        counter: Counter[tuple[str, str]] = Counter()
        for row in rows_of(stream):
            for part, name, _, length in row:
                counter[part, name] += length
        consumed.append(counter)
    assert consumed[0] == consumed[1]
    assert {part for part, _ in consumed[0]} == {"monolingual", "english", "target"}


def test_monolingual_rows_are_the_same_at_the_same_positions(streams: dict[str, Stream]) -> None:
    everything = np.arange(400)
    bridge, nobridge = (stream.read(everything) for stream in streams.values())
    kinds = [
        [{part != "monolingual" for part, *_ in row} for row in rows_of(stream)]
        for stream in streams.values()
    ]
    assert kinds[0] == kinds[1]
    assert all(len(kind) == 1 for kind in kinds[0]), "no row mixes the two"
    monolingual = np.array([kind == {False} for kind in kinds[0]])
    assert monolingual.sum() == streams["bridge"].counts["monolingual_rows"]
    assert np.array_equal(bridge[monolingual], nobridge[monolingual])
    different = (bridge != nobridge).any(axis=1)[~monolingual]
    assert different.mean() > 0.9, "a long sentence may stand at the same place by chance"
    positions = np.flatnonzero(monolingual)
    assert np.abs(np.diff(positions)).max() < 20, "parallel rows are spread over the stream"


def test_no_row_of_nobridge_holds_both_halves_of_a_pair(
    corpus: SmallCorpus, streams: dict[str, Stream]
) -> None:
    """Nor a half and another translation of its counterpart: compared by text."""
    texts = texts_of(corpus)
    names = {name for part, name in texts if part == "english"}
    together = {(texts["english", name], texts["target", name]) for name in names}
    found = {"bridge": 0, "nobridge": 0}
    for condition, stream in streams.items():
        for row in rows_of(stream):
            english, target = (
                {texts[part, name] for part, name, *_ in row if part == side}
                for side in ("english", "target")
            )
            found[condition] += any((e, t) in together for e in english for t in target)
    assert found["nobridge"] == 0
    assert found["bridge"] > 50


def test_every_bridge_document_is_one_pair(corpus: SmallCorpus, streams: dict[str, Stream]) -> None:
    vocabulary = Vocabulary(corpus.tokenizer)
    stream = streams["bridge"]
    ids = stream.read(np.arange(stream.rows))
    separators = 0
    for row, segments in enumerate(rows_of(stream)):
        if segments and segments[0][0] != "monolingual":
            for (part, name, *_), (next_part, next_name, *_) in pairwise(segments):
                separators += name == next_name
                if name == next_name:
                    assert part != next_part
            assert vocabulary.eos_id in ids[row] or len(segments) < 3
    assert separators > 50
    assert stream.counts["tokens"]["separator"] == stream.counts["pairs"]


def test_segments_spell_the_rows_exactly(corpus: SmallCorpus, streams: dict[str, Stream]) -> None:
    """Encoding is redone from the text; a row's ids are those of its segments and closings."""
    texts, encoder = texts_of(corpus), Encoder(corpus.tokenizer)
    vocabulary = Vocabulary(corpus.tokenizer)
    closings = {vocabulary.eos_id, vocabulary.pad_id}
    for condition, stream in streams.items():
        rows, ids = rows_of(stream), stream.read(np.arange(stream.rows))
        for number in np.random.default_rng(1).permutation(stream.rows)[:60]:
            expected: list[int] = []
            for part, name, start, length in rows[number]:
                text = texts[part, name]
                (tokens,) = encoder.encode(pa.array([text])).ids.to_pylist()
                ends = np.cumsum(vocabulary.byte_lengths[tokens])
                begins = ends - vocabulary.byte_lengths[tokens]
                inside = (begins >= start) & (ends <= start + length)
                assert vocabulary.byte_lengths[tokens][inside].sum() == length
                expected += np.array(tokens)[inside].tolist()
            row = ids[number].tolist()
            if condition == "bridge":
                # Separators are newlines, which texts hold as well: count them out by length.
                found = [i for i in row if i not in closings]
                extra = len(found) - len(expected)
                assert Counter(found) - Counter(expected) == Counter(
                    {vocabulary.separator_id: extra} if extra else {}
                )
            else:
                assert [i for i in row if i not in closings] == expected


def test_segments_follow_the_order_of_the_epoch(streams: dict[str, Stream]) -> None:
    """What a step of a later epoch has shown, as the exposure ledger asks for it."""
    stream = streams["bridge"]
    first, last = stream.rows + 30, stream.rows + 90
    stored = pq.read_table(stream.folder / "rows-00000.parquet")["segments"].to_pylist()
    expected = [
        (first + i, *segment.values())
        for i, row in enumerate(stream.row_order(1)[30:90])
        for segment in stored[row]
    ]
    table = segments_of(stream, first, last)
    assert [tuple(row.values()) for row in table.to_pylist()] == expected


def test_counts_add_up(streams: dict[str, Stream]) -> None:
    for condition, stream in streams.items():
        ids = stream.read(np.arange(stream.rows))
        tokens = stream.counts["tokens"]
        assert sum(tokens.values()) == ids.size
        assert tokens["padding"] == (ids == stream.pad_id).sum()
        assert tokens["end_of_text"] == (ids == stream.eos_id).sum()
        assert (tokens["separator"] == 0) == (condition == "nobridge")
    bridge, nobridge = (stream.counts for stream in streams.values())
    assert bridge["parallel_tokens"] == nobridge["parallel_tokens"]
    assert bridge["distinct_pairs"] * bridge["passes_over_pairs"] == bridge["pairs"]


def test_the_seed_decides_every_byte(
    corpus: SmallCorpus, streams: dict[str, Stream], tmp_path: Path
) -> None:
    again = corpus.streams(tmp_path / "again", rows=400)
    other = corpus.streams(tmp_path / "other", rows=400, seed=1)
    for condition, stream in streams.items():
        files = sorted(path.name for path in stream.folder.iterdir())
        assert files == ["documents.parquet", "rows-00000.parquet", "stream.json"]
        for name in files:
            content = (stream.folder / name).read_bytes()
            assert (again[condition].folder / name).read_bytes() == content
        assert other[condition].fingerprint != stream.fingerprint
        everything = np.arange(400)
        assert not np.array_equal(other[condition].read(everything), stream.read(everything))


def test_english_first(corpus: SmallCorpus, tmp_path: Path) -> None:
    stream = corpus.streams(tmp_path, pair_order="english-first")["bridge"]
    for row in rows_of(stream):
        for (part, name, *_), (_, next_name, *_) in pairwise(row):
            if part == "target":
                assert name != next_name


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 25, 48), (1.0, 49, 96)])
def test_the_share_bounds_the_parallel_rows(
    corpus: SmallCorpus, tmp_path: Path, share: float, least: int, most: int
) -> None:
    counts = corpus.streams(tmp_path, mixture=MixtureSpec(parallel=share))["nobridge"].counts
    assert least <= counts["parallel_rows"] <= most
    assert counts["parallel_rows"] + counts["monolingual_rows"] == 96
    assert bool(counts["pairs"]) == bool(share)


def test_what_cannot_be_mixed_is_the_users_mistake(corpus: SmallCorpus, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^trials\.mixture\.parallel: 0\.01 of 96 .* too little for one"
    ):
        corpus.streams(tmp_path / "none", mixture=MixtureSpec(parallel=0.01), sequence_length=2)
    with pytest.raises(UserError, match=r"^trials\.mixture\.parallel: .* cannot be kept apart"):
        corpus.streams(tmp_path / "near", rows=2, sequence_length=2000)


def test_the_check_finds_what_it_is_for(
    corpus: SmallCorpus, streams: dict[str, Stream], tmp_path: Path
) -> None:
    tokens = TokenCorpus.open(corpus.tokens)
    bridge, nobridge = streams["bridge"].folder, streams["nobridge"].folder
    check_conditions({"bridge": bridge, "nobridge": nobridge}, tokens)
    with pytest.raises(ConditionsDifferError, match="no-bridge rows contain both halves"):
        check_conditions({"bridge": bridge, "nobridge": bridge}, tokens)
    other = corpus.streams(tmp_path, rows=400, seed=1)["nobridge"].folder
    with pytest.raises(ConditionsDifferError, match="other positions"):
        check_conditions({"bridge": bridge, "nobridge": other}, tokens)
    path = nobridge / "rows-00000.parquet"
    content = path.read_bytes()
    table = pq.read_table(path)
    ids = table["input_ids"].combine_chunks().flatten().to_numpy().copy()
    ids[:] = ids[::-1]
    changed = pa.FixedSizeListArray.from_arrays(pa.array(ids), 64)
    try:
        pq.write_table(
            table.set_column(0, table.schema.field(0), changed), path, row_group_size=256
        )
        with pytest.raises(ConditionsDifferError, match=r"\d+ of \d+ monolingual rows differ"):
            check_conditions({"bridge": bridge, "nobridge": nobridge}, tokens)
    finally:
        path.write_bytes(content)


def test_the_base_stream_shows_every_document_once(corpus: SmallCorpus, tmp_path: Path) -> None:
    tokens, vocabulary = TokenCorpus.open(corpus.tokens), Vocabulary(corpus.tokenizer)
    plan = plan_base(tokens, vocabulary, sequence_length=64, seed=3)
    finish_stream(
        plan, tokens, vocabulary, tmp_path, [write_rows(plan, tokens, vocabulary, tmp_path, 0)]
    )
    stream = Stream.open(tmp_path)
    shown: Counter[str] = Counter()
    for row in rows_of(stream):
        for part, name, _, length in row:
            assert part == "monolingual"
            shown[name] += length
    texts = texts_of(corpus)
    lengths = {name: len(text.encode()) for (part, name), text in texts.items() if part[0] == "m"}
    assert shown == lengths
    assert stream.counts["tokens"]["padding"] < 64
    assert (tmp_path / DOCUMENTS).is_file()


def test_both_conditions_have_the_same_tokens_in_every_row(streams: dict[str, Stream]) -> None:
    everything = np.arange(400)
    used = [(s.read(everything) != s.pad_id).sum(axis=1) for s in streams.values()]
    assert np.array_equal(*used)


def test_every_pair_of_a_bridge_meets_in_one_row_a_pass(streams: dict[str, Stream]) -> None:
    met: Counter[str] = Counter()
    for row in rows_of(streams["bridge"]):
        sides = [{name for part, name, *_ in row if part == side} for side in ("english", "target")]
        met.update(sides[0] & sides[1])
    counts = streams["bridge"].counts
    assert len(met) == counts["distinct_pairs"]
    # A row that holds the end of one pass and the beginning of the next may hold a pair twice.
    assert 0 <= counts["pairs"] - met.total() < counts["passes_over_pairs"]


def test_replayed_documents_are_of_the_base_language(
    corpus: SmallCorpus, tmp_path: Path, project: Path
) -> None:
    english = tmp_path / "english"
    raw, text, tokens = (english / name for name in ("raw", "text", "tokens"))
    text_folder(bundled_language(project, raw, "en", documents=20, pairs=0), raw, text)
    tokens.mkdir()
    tokenize_text(text, corpus.tokenizer, tokens, run_tasks=run_here)
    mixture = MixtureSpec(parallel=0.25, replay=0.25)
    streams = corpus.streams(tmp_path / "streams", rows=200, replay=tokens, mixture=mixture)
    together = TokenCorpus.open(corpus.tokens, replay=tokens)
    check_conditions(folders_of(streams), together)
    for stream in streams.values():
        counts = stream.counts
        assert counts["replay_rows"] == 50
        assert counts["tokens"]["replay"] > 49 * 60
        assert counts["monolingual_rows"] + counts["parallel_rows"] == 150
        replayed = [d for d in stream.documents().to_pylist() if d["part"] == "replay"]
        assert {document["language"] for document in replayed} == {"en"}
        assert len(replayed) == 20
    shown = {
        (name, start, length)
        for row in rows_of(streams["bridge"])
        for part, name, start, length in row
        if part == "replay"
    }
    texts = {row["id"]: row["text"] for row in pq.read_table(text / "documents").to_pylist()}
    assert all(start + length <= len(texts[name].encode()) for name, start, length in shown)
    assert len(shown) >= 50
