"""Every row of the conditions is counted right, and what must not be in one is found."""

import io
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ccx_ray.cli.tables import print_audit
from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import metrics, verdicts
from ccx_ray.corpus.audit.inputs import AuditedLanguage, AuditedStream, AuditInputs
from ccx_ray.corpus.packing.conditions import (
    ConditionFigures,
    StreamFigures,
    count_rows,
    describe_documents,
)
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus
from ccx_ray.study.spec import Condition, MixtureSpec
from ccx_ray.study.text_spec import AuditSpec
from tests.audited_text import NO_LATIN, run_audit
from tests.small_corpus import (
    SmallCorpus,
    bundled_language,
    run_here,
    small_corpus,
    text_folder,
    tokenize_text,
)

SPEC = AuditSpec(shared_documents_share=1.0)
BY_CONTENT = "rows without bridges with a sentence and its translation, by content, share"


@pytest.fixture(scope="module", params=["ko", "mn"])
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, project: Path
) -> tuple[str, SmallCorpus]:
    """Of Mongolian so few pairs that there are several passes over them."""
    size = {"ko": (60, 400), "mn": (40, 150)}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, small_corpus(
        project, folder, request.param, documents=size[0], pairs=size[1]
    )


@pytest.fixture(scope="module")
def streams(corpus: tuple[str, SmallCorpus], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    corpus[1].streams(folder, language=corpus[0], rows=300)
    return folder


def inputs_of(corpus: tuple[str, SmallCorpus], folder: Path) -> AuditInputs:
    code, small = corpus
    return AuditInputs(
        languages=(AuditedLanguage(code=code, folder=small.text, isolation=NO_LATIN),),
        streams=(AuditedStream(language=code, seed=0, folder=folder, tokens=small.tokens),),
    )


def audited(corpus: tuple[str, SmallCorpus], folder: Path, out: Path) -> StreamFigures:
    (stream,) = run_audit(out, inputs_of(corpus, folder)).streams
    return stream


def changed(streams: Path, folder: Path, condition: str) -> pa.Table:
    """The rows of one condition in a copy of the streams, to be changed."""
    shutil.copytree(streams, folder)
    return pq.read_table(folder / condition / "rows-00000.parquet")


def write_back(table: pa.Table, folder: Path, condition: str) -> None:
    pq.write_table(table, folder / condition / "rows-00000.parquet", row_group_size=256)


def crossed(stream: StreamFigures, corpus: tuple[str, SmallCorpus], out: Path) -> set[str]:
    assert read_figures(out).streams == [stream]
    return {verdict.name for verdict in verdicts(read_figures(out), SPEC) if not verdict.passed}


def tokens_by_hand(stream: Stream) -> Counter[str]:
    """Tokens of no-bridge rows, where every document is closed by an end-of-text, one by one."""
    parts = stream.documents()["part"].to_pylist()
    rows = np.arange(stream.rows)
    segments = stream.segments(rows).to_pylist()
    counts: Counter[str] = Counter()
    for row, ids in enumerate(stream.read(rows).tolist()):
        kinds = [parts[segment["document"]] for segment in segments if segment["row"] == row]
        inside, kind = False, ""
        for token in ids:
            if token == stream.eos_id:
                counts["end_of_text"] += 1
                inside = False
            elif token == stream.pad_id:
                counts["padding"] += 1
            else:
                kind = kind if inside else kinds.pop(0)
                counts[kind] += 1
                inside = True
        assert not kinds
    return counts


def together_by_hand(stream: Stream, text: Path) -> tuple[int, int]:
    """Pairs of which a row holds both halves, and those of them that it holds whole."""
    documents = stream.documents().to_pylist()
    sizes = {
        (pair["id"], side): len(pair[side].encode())
        for pair in pq.read_table(text / "pairs").to_pylist()
        for side in ("english", "target")
    }
    held: dict[int, dict[tuple[str, str], bool]] = {}
    for segment in stream.segments(np.arange(stream.rows)).to_pylist():
        half = tuple(documents[segment["document"]][name] for name in ("id", "part"))
        whole = segment["start"] == 0 and segment["length"] == sizes.get(half)
        row = held.setdefault(segment["row"], {})
        row[half] = row.get(half, False) or whole
    together = [
        whole and row[id_, "target"]
        for row in held.values()
        for (id_, part), whole in row.items()
        if part == "english" and (id_, "target") in row
    ]
    return len(together), sum(together)


def test_real_streams_are_counted_and_clean(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    found = audited(corpus, streams, tmp_path / "audit")
    bridge, nobridge = found.bridge, found.nobridge
    by_hand = tokens_by_hand(Stream.open(streams / "nobridge"))
    assert Counter({k: n for k, n in nobridge.tokens.items() if n}) == by_hand
    # A bridge puts a separator where the other condition ends a text.
    same = {kind: bridge.tokens[kind] for kind in ("monolingual", "english", "target", "padding")}
    assert same == {kind: nobridge.tokens[kind] for kind in same}
    assert bridge.tokens["separator"] == bridge.pairs == nobridge.pairs > 40
    assert nobridge.tokens["separator"] == 0
    assert sum(bridge.tokens.values()) == 300 * 64
    together = together_by_hand(Stream.open(streams / "bridge"), corpus[1].text)
    assert (bridge.together, bridge.together_whole) == together
    assert bridge.together_whole < bridge.together <= bridge.pairs
    assert bridge.together_whole > 0 or corpus[0] == "ko"  # whose sentences are longer than rows
    assert nobridge.together == nobridge.rows_with_both_sides_of_a_group == 0
    assert nobridge.rows_with_both_sides_by_content == 0
    assert found.rows_at_equal_positions == found.identical_rows == bridge.monolingual_rows > 100
    assert found.token_difference == found.differing_rows == 0
    assert found.same_halves
    assert crossed(found, corpus, tmp_path / "audit") == set()


def test_rows_can_be_counted_in_any_cut(corpus: tuple[str, SmallCorpus], streams: Path):
    tokens = TokenCorpus.open(corpus[1].tokens)
    bridge, nobridge = (Stream.open(streams / condition) for condition in ("bridge", "nobridge"))
    documents = describe_documents(bridge, tokens.lengths, *tokens.half_keys())
    both: dict[Condition, Stream] = {"bridge": bridge, "nobridge": nobridge}
    whole = count_rows(both, documents, 0, 300)
    pieces: Counter[str] = Counter()
    for first in reversed(range(0, 300, 37)):
        pieces.update(count_rows(both, documents, first, min(300, first + 37)))
    for counts in (whole, pieces):
        for condition in ("bridge", "nobridge"):
            counts[f"{condition}/halves_digest"] %= 2**64
    assert whole == pieces


def test_a_translation_planted_into_a_no_bridge_row_is_found(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    table = changed(streams, tmp_path / "streams", "nobridge")
    parts = Stream.open(streams / "nobridge").documents()["part"].to_pylist()
    rows = table["segments"].to_pylist()
    row = next(
        row
        for row in rows
        if {"english", "target"} <= {parts[segment["document"]] for segment in row}
    )
    english = next(s for s in row if parts[s["document"]] == "english")
    target = next(s for s in row if parts[s["document"]] == "target")
    target["document"] = english["document"] + 1
    segments = pa.array(rows, table.schema.field("segments").type)
    write_back(table.set_column(1, "segments", segments), tmp_path / "streams", "nobridge")
    found = audited(corpus, tmp_path / "streams", tmp_path / "audit")
    assert found.nobridge.together == found.nobridge.rows_with_both_sides_of_a_group == 1
    assert found.nobridge.rows_with_both_sides_by_content == 1
    assert found.bridge.together > 1
    assert not found.same_halves
    assert crossed(found, corpus, tmp_path / "audit") == {
        BY_CONTENT,
        "no-bridge rows with both halves of a pair",
        "streams whose conditions do not consume the same halves",
    }


@pytest.mark.parametrize("what", ["token", "segment"])
def test_a_monolingual_row_that_differs_is_found(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path, what: str
):
    table = changed(streams, tmp_path / "streams", "bridge")
    parts = Stream.open(streams / "bridge").documents()["part"].to_pylist()
    rows = table["segments"].to_pylist()
    place = next(
        i for i, row in enumerate(rows) if {parts[s["document"]] for s in row} == {"monolingual"}
    )
    ids = table["input_ids"].to_pylist()
    if what == "token":
        special = {Stream.open(streams / "bridge").eos_id, Stream.open(streams / "bridge").pad_id}
        at = next(i for i, token in enumerate(ids[place]) if token not in special)
        ids[place][at] += 1
    else:
        rows[place][0]["start"] += 1
    columns = {"input_ids": ids, "segments": rows}
    arrays = [pa.array(columns[field.name], field.type) for field in table.schema]
    write_back(pa.Table.from_arrays(arrays, schema=table.schema), tmp_path / "streams", "bridge")
    found = audited(corpus, tmp_path / "streams", tmp_path / "audit")
    assert found.differing_rows == 2
    assert found.identical_rows == found.rows_at_equal_positions - 1
    assert crossed(found, corpus, tmp_path / "audit") == {
        "monolingual rows that differ between the conditions"
    }


def test_tokens_without_a_segment_are_found(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    """An end-of-text in the middle of a document makes two runs of one segment."""
    table = changed(streams, tmp_path / "streams", "bridge")
    stream = Stream.open(streams / "bridge")
    parts = stream.documents()["part"].to_pylist()
    ids = table["input_ids"].to_pylist()
    place, at = next(
        (i, at)
        for i, row in enumerate(table["segments"].to_pylist())
        if {parts[segment["document"]] for segment in row} == {"monolingual"}
        for at in range(1, 63)
        if stream.eos_id not in ids[i][at - 1 : at + 2]
    )
    ids[place][at] = stream.eos_id
    column = pa.array(ids, table.schema.field("input_ids").type)
    write_back(table.set_column(0, "input_ids", column), tmp_path / "streams", "bridge")
    found = audited(corpus, tmp_path / "streams", tmp_path / "audit")
    assert 0 < found.bridge.tokens["undescribed"] < 64
    assert found.nobridge.tokens["undescribed"] == 0
    assert sum(found.bridge.tokens.values()) == 300 * 64
    assert "tokens outside all segments" in crossed(found, corpus, tmp_path / "audit")


def test_replayed_documents_of_the_base_language_are_counted_by_themselves(
    corpus: tuple[str, SmallCorpus], project: Path, tmp_path: Path
):
    code, small = corpus
    raw = tmp_path / "raw"
    text_folder(bundled_language(project, raw, "en", documents=20, pairs=0), raw, tmp_path / "en")
    (tmp_path / "tokens").mkdir()
    tokenize_text(tmp_path / "en", small.tokenizer, tmp_path / "tokens", run_tasks=run_here)
    mixture = MixtureSpec(parallel=0.4, replay=0.25)
    small.streams(
        tmp_path / "streams", replay=tmp_path / "tokens", language=code, rows=200, mixture=mixture
    )
    found = audited(corpus, tmp_path / "streams", tmp_path / "audit")
    for condition in (found.bridge, found.nobridge):
        assert 0.9 * 50 * 64 < condition.tokens["replay"] <= 50 * 64
        assert condition.tokens["undescribed"] == 0
        assert sum(condition.tokens.values()) == 200 * 64
    assert crossed(found, corpus, tmp_path / "audit") == set()


def test_conditions_of_unequal_length_are_told_apart(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    shutil.copytree(streams, tmp_path / "streams")
    shutil.rmtree(tmp_path / "streams/nobridge")
    corpus[1].streams(tmp_path / "other", language=corpus[0], rows=200)
    shutil.copytree(tmp_path / "other/nobridge", tmp_path / "streams/nobridge")
    found = audited(corpus, tmp_path / "streams", tmp_path / "audit")
    assert found.token_difference_share == pytest.approx(1 / 3, abs=0.01)
    assert "difference of the conditions' tokens, share" in crossed(
        found, corpus, tmp_path / "audit"
    )


def test_pairs_that_share_a_text_are_kept_apart_too(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    """A row with an English sentence and another translation of it is no no-bridge row."""
    table = changed(streams, tmp_path / "streams", "nobridge")
    text = tmp_path / "text"
    shutil.copytree(corpus[1].text, text)
    documents = Stream.open(streams / "nobridge").documents().to_pylist()
    halves = [document for document in documents if document["part"] == "english"]
    first = next(
        [documents[s["document"]] for s in row]
        for row in table["segments"].to_pylist()
        if {"english", "target"} <= {documents[s["document"]]["part"] for s in row}
    )
    english = next(d["id"] for d in first if d["part"] == "english")
    target = next(d["id"] for d in first if d["part"] == "target")
    part = next((text / "pairs").glob("*.parquet"))
    pairs = pq.read_table(part).to_pylist()
    assert [pair["id"] for pair in pairs] == [half["id"] for half in halves]
    by_id = {pair["id"]: pair for pair in pairs}
    by_id[target]["english"] = by_id[english]["english"]
    pq.write_table(pa.Table.from_pylist(pairs), part)
    other = (
        corpus[0],
        SmallCorpus(text=text, tokenizer=corpus[1].tokenizer, tokens=corpus[1].tokens),
    )
    found = audited(other, tmp_path / "streams", tmp_path / "audit")
    assert found.nobridge.together == 0
    assert found.nobridge.rows_with_both_sides_of_a_group >= 1


def without_bridges(
    corpus: tuple[str, SmallCorpus], streams: Path, text: Path
) -> tuple[pa.Table, list[dict[str, str]], dict[str, dict[str, str]], str, str]:
    """Rows and documents of no-bridge, the pairs of a copy of the text by id, and the ids of two
    pairs of which one row holds an English half and a target half, long enough to be told by
    content."""
    shutil.copytree(corpus[1].text, text)
    documents = Stream.open(streams / "nobridge").documents().to_pylist()
    pairs = {pair["id"]: pair for pair in pq.read_table(text / "pairs").to_pylist()}
    table = pq.read_table(streams / "nobridge/rows-00000.parquet")
    rows = (
        [documents[segment["document"]] for segment in row] for row in table["segments"].to_pylist()
    )
    english, target = next(
        (one["id"], other["id"])
        for row in rows
        for one in row
        for other in row
        if (one["part"], other["part"]) == ("english", "target")
        and len(pairs[one["id"]]["english"].split()) > 5
    )
    return table, documents, pairs, english, target


def rewritten(text: Path, kind: str, rows: list[dict[str, str]]) -> None:
    (part,) = (text / kind).glob("*.parquet")
    pq.write_table(pa.Table.from_pylist(rows), part)


def test_a_pair_that_is_repeated_with_other_punctuation_is_found(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path
):
    """The target half of a second pair that says the same, beside the English half of the first."""
    text = tmp_path / "text"
    _, _, pairs, english, target = without_bridges(corpus, streams, text)
    pairs[target]["english"] = "… " + "  ".join(pairs[english]["english"].split()) + " !"
    rewritten(text, "pairs", list(pairs.values()))
    other = (corpus[0], replace(corpus[1], text=text))
    found = audited(other, streams, tmp_path / "audit")
    assert found.nobridge.rows_with_both_sides_of_a_group == 0
    assert found.nobridge.rows_with_both_sides_by_content >= 1
    assert BY_CONTENT in crossed(found, other, tmp_path / "audit")


@pytest.mark.parametrize("held", ["its translation", "another sentence"])
def test_a_document_with_the_translation_beside_a_half_is_found(
    corpus: tuple[str, SmallCorpus], streams: Path, tmp_path: Path, held: str
):
    """A no-bridge row in which a monolingual document stands where another half stood."""
    text = tmp_path / "text"
    _, documents, pairs, english, target = without_bridges(corpus, streams, text)
    shutil.copytree(streams, tmp_path / "streams")
    monolingual = pq.read_table(text / "documents").to_pylist()
    sentence = "가나 다라 마바 사아 자차 카타 파하"
    pairs[english]["target"] = f"{sentence} {english}."
    shown = sentence if held == "its translation" else sentence[::-1]
    monolingual[0]["text"] = f"앞에, {shown} {english}; 뒤에"
    rewritten(text, "pairs", list(pairs.values()))
    rewritten(text, "documents", monolingual)
    table = pq.read_table(tmp_path / "streams/nobridge/rows-00000.parquet")
    rows = table["segments"].to_pylist()
    for row in rows:
        about = [(documents[s["document"]]["part"], documents[s["document"]]["id"]) for s in row]
        if ("english", english) in about and ("target", target) in about:
            row[about.index(("target", target))] |= {"document": 0, "start": 0, "length": 400}
    segments = pa.array(rows, table.schema.field("segments").type)
    write_back(table.set_column(1, "segments", segments), tmp_path / "streams", "nobridge")
    other = (corpus[0], replace(corpus[1], text=text))
    found = audited(other, tmp_path / "streams", tmp_path / "audit")
    assert found.nobridge.rows_with_both_sides_of_a_group == 0
    expected = held == "its translation"
    assert (found.nobridge.rows_with_both_sides_by_content > 0) == expected
    assert (BY_CONTENT in crossed(found, other, tmp_path / "audit")) == expected


def test_used_tokens_leave_padding_out():
    condition = ConditionFigures(
        rows=1, monolingual_rows=0, tokens={"english": 5, "end_of_text": 1, "padding": 10},
        pairs=1, target_halves=0, together=0, together_whole=0, rows_with_both_halves=0,
        rows_with_both_sides_of_a_group=0, rows_with_both_sides_by_content=0,
    )  # fmt: skip
    assert condition.used == 6


@pytest.fixture(scope="module")
def three(corpus: tuple[str, SmallCorpus], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    corpus[1].streams(folder, language=corpus[0], rows=300, deranged=True)
    return folder


def audit_three(corpus: tuple[str, SmallCorpus], folder: Path, out: Path) -> StreamFigures:
    inputs = inputs_of(corpus, folder)
    conditions: tuple[Condition, ...] = ("bridge", "nobridge", "deranged")
    streams = tuple(replace(stream, conditions=conditions) for stream in inputs.streams)
    (found,) = run_audit(out, replace(inputs, streams=streams)).streams
    return found


def test_a_third_condition_is_counted_and_clean(
    corpus: tuple[str, SmallCorpus], streams: Path, three: Path, tmp_path: Path
):
    found = audit_three(corpus, three, tmp_path / "audit")
    assert found.deranged is not None
    assert found.deranged.tokens == found.bridge.tokens
    assert (found.deranged.together, found.deranged.pairs) == (0, found.bridge.pairs)
    assert found.same_halves
    assert crossed(found, corpus, tmp_path / "audit") == set()
    two = audited(corpus, streams, tmp_path / "two")
    assert two.deranged is None
    assert found == two.model_copy(update={"deranged": found.deranged})
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    assert "16 limits" in page
    assert page.count(">deranged rows with both halves<") == 1
    assert "deranged" not in (tmp_path / "two/audit.html").read_text("utf-8")
    names = metrics(read_figures(tmp_path / "audit")).keys()
    added = names - metrics(read_figures(tmp_path / "two")).keys()
    assert added == {f"audit/{corpus[0]}-s0/deranged_rows_with_both"}


@pytest.mark.parametrize(
    ("other", "limit"),
    [
        ("bridge", "deranged rows with both halves of a pair"),
        ("nobridge", "deranged documents without two halves"),
    ],
)
def test_another_condition_in_place_of_the_third_is_found(
    corpus: tuple[str, SmallCorpus], three: Path, tmp_path: Path, other: str, limit: str
):
    shutil.copytree(three, tmp_path / "streams")
    shutil.rmtree(tmp_path / "streams/deranged")
    shutil.copytree(three / other, tmp_path / "streams/deranged")
    found = audit_three(corpus, tmp_path / "streams", tmp_path / "audit")
    limits = {limit, BY_CONTENT} if other == "bridge" else {limit}
    assert crossed(found, corpus, tmp_path / "audit") == limits
    out = io.StringIO()
    figures = read_figures(tmp_path / "audit")
    judged = verdicts(figures, SPEC)
    print_audit(figures, judged, tmp_path, console=Console(file=out, width=160))
    assert f"{len(limits)} of 16 limits exceeded" in out.getvalue()
    assert limit in out.getvalue()
    table = out.getvalue().partition("all rows of all conditions")[2]
    (numbers,) = re.findall(rf"^{found.stream} +(.*)$", table, re.MULTILINE)[:1]
    both = found.deranged.rows_with_both_sides_of_a_group if found.deranged else None
    assert numbers.split()[-1] == f"{both:,}"
