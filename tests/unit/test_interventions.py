"""Sentences planted into real text at chosen doses: drawn, written, read once each, counted."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.audit.auditing import audit
from ccx_ray.corpus.audit.figures import verdicts
from ccx_ray.corpus.audit.inputs import AuditedLanguage, AuditInputs, probe_side
from ccx_ray.corpus.cleaning.text_folder import isolate_text
from ccx_ray.corpus.interventions import (
    INTERVENTIONS,
    PLANTED,
    check_interventions,
    plant,
    planted_count,
    planted_texts,
)
from ccx_ray.corpus.packing.exposure import ExposureLedger
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream, prepare_trial_streams
from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.errors import UserError
from ccx_ray.evaluation.steps import filled_questions
from ccx_ray.frequency.counting.exact_counts import scan_shard
from ccx_ray.frequency.counting.exposure import Training, Trainings
from ccx_ray.frequency.counting.lexicon import Lexicon, build_lexicon
from ccx_ray.frequency.counting.planted_exposure import planted_exposure
from ccx_ray.frequency.judges.lexical import lexical_judge
from ccx_ray.frequency.models import clozes_of, statements_of
from ccx_ray.frequency.text.documents import DOCUMENTS
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import MixtureSpec, StudySpec
from ccx_ray.study_graph import study_graph
from tests.tiny_study import QUESTIONS, write_tiny_study

DOSES = [0, 1, 3, 16]
INTERVENTION = [
    {"text": "ko", "probe": "ko", "doses": DOSES, "seed": 3},
    {"text": "en", "probe": "ko", "doses": [0, 2]},
]
LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A tiny study, its text before and behind the interventions, and their tokens."""

    study: StudySpec
    root: Path
    out: Path

    def folder(self, name: str, code: str) -> Path:
        return self.out / f"{name}-{code}"

    def rows(self, code: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(
            self.folder("planted", code) / INTERVENTIONS
        ).to_pylist()
        return rows

    def count(self, code: str) -> int:
        return planted_count(self.folder("planted", code) / INTERVENTIONS)

    def documents(self, name: str, code: str) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = pq.read_table(
            self.folder(name, code) / "documents"
        ).to_pylist()
        return rows

    def trial_streams(self, out: Path, *, rows: int, seed: int = 0, replay: float = 0.0) -> Path:
        out.mkdir(exist_ok=True)
        prepare_trial_streams(
            self.folder("tokens", "ko"),
            self.folder("tokens", "en") if replay else None,
            self.out / "tokenizer",
            out,
            sequence_length=LENGTH,
            seed=seed,
            rows=rows,
            mixture=MixtureSpec(parallel=0.3, replay=replay),
            pair_order="random",
            planted=self.count("ko"),
            replay_planted=self.count("en") if replay else 0,
            run_tasks=run_here,
        )
        return out


def statements(study: StudySpec, root: Path) -> Any:
    return partial(statements_of, study, root)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("interventions")
    study, _ = load_study(str(write_tiny_study(root / "study", interventions=INTERVENTION)))
    made = Planted(study=study, root=root / "study", out=root / "out")
    codes = ("en", "ko")
    for name, code in product(("text", "planted", "tokens"), codes):
        made.folder(name, code).mkdir(parents=True)
    for code in codes:
        isolate_text(
            study.base_language if code == "en" else study.language(code),
            made.root,
            made.folder("text", code),
            base=study.base_language,
            cleaning=study.cleaning,
            run_tasks=run_here,
        )
        plant(
            study,
            made.folder("text", code),
            made.folder("planted", code),
            root=made.root,
            statements=statements(study, made.root),
        )
    (made.out / "tokenizer").mkdir()
    texts = {code: made.folder("text", code) for code in codes}
    train_tokenizer(study.tokenizer, texts, made.out / "tokenizer")
    for code in codes:
        tokenize_text(
            made.folder("planted", code),
            made.out / "tokenizer",
            made.folder("tokens", code),
            run_tasks=run_here,
        )
    return made


def test_items_get_doses_at_random_and_as_many_each(planted: Planted) -> None:
    rows = planted.rows("ko")
    dosed = {row["question"]: row["dose"] for row in rows}
    assert len(rows) == len(dosed) and max(dosed) < QUESTIONS
    counts = Counter(dosed.values())
    assert set(counts) == set(DOSES) and max(counts.values()) - min(counts.values()) <= 1
    assert [row["dose"] for row in rows] != sorted(row["dose"] for row in rows)
    other = {row["question"]: row["dose"] for row in planted.rows("en")}
    assert set(other.values()) == {0, 2}


def test_the_text_is_as_before_with_the_planted_documents_behind_it(planted: Planted) -> None:
    for code in ("ko", "en"):
        before, after = (planted.documents(name, code) for name in ("text", "planted"))
        assert after[: len(before)] == before
        behind = after[len(before) :]
        expected = [
            {"id": name, "text": text, "source": "interventions"}
            for row in planted.rows(code)
            for name, text in zip(row["documents"], planted_texts(row), strict=True)
        ]
        assert behind == expected and len(behind) == planted.count(code) > 0
        assert len({row["id"] for row in after}) == len(after)
        assert pq.read_table(planted.folder("planted", code) / PLANTED).to_pylist() == behind
    clozes = clozes_of(planted.study, planted.study.language("ko"), planted.root)["ko"]
    for row in planted.rows("ko"):
        assert clozes[row["question"]].answer in row["sentences"][0]


# A part of the text is read, or all of it and some twice; in both every sentence is, once.
@pytest.mark.parametrize(("rows", "replay"), [(140, 0.0), (5800, 0.1)])
def test_every_planted_document_is_read_once_in_all_conditions_and_seeds(
    planted: Planted, tmp_path: Path, rows: int, replay: float
) -> None:
    streams = {}
    for seed in (0, 1):
        folder = planted.trial_streams(tmp_path / str(seed), rows=rows, seed=seed, replay=replay)
        for condition in ("bridge", "nobridge"):
            streams[condition, seed] = Stream.open(folder / condition)
    for stream in streams.values():
        ledger = ExposureLedger.open(stream, rows_per_step=1)
        ids = [name for row in planted.rows("ko") for name in row["documents"]]
        read = ledger.consumed(ledger.numbers(ids), np.array([rows // 2, rows])).times
        assert (read[:, 1] == 1).all()
        assert 0.2 < read[:, 0].mean() < 0.8  # spread over the training
        counts = stream.counts
        assert counts["planted_documents"] == len(ids)
        assert 0 < counts["planted_in_two_rows"] < len(ids)
        others = stream.documents().to_pylist()
        shown = ledger.consumed(np.arange(len(others)), np.array([rows])).times[:, 0]
        ordinary = [
            times
            for times, row in zip(shown, others, strict=True)
            if row["part"] == "monolingual" and row["source"] != "interventions"
        ]
        assert min(ordinary) == 0 if rows == 140 else min(ordinary) >= 1
        assert (counts["passes_over_documents"] > 1) == (rows != 140)
        replayed = {row["source"]: n for n, row in enumerate(others) if row["part"] == "replay"}
        if replay:
            assert shown[replayed.pop("interventions")] == 0 and replayed


def test_a_base_reads_what_is_planted_into_its_text_once(planted: Planted, tmp_path: Path) -> None:
    for rows in (100, 9000):  # a part of the text; more than all of it
        folder = tmp_path / str(rows)
        folder.mkdir()
        prepare_base_stream(
            planted.folder("tokens", "en"),
            planted.out / "tokenizer",
            folder,
            sequence_length=LENGTH,
            seed=0,
            planted=planted.count("en"),
            rows=rows,
            run_tasks=run_here,
        )
        stream = Stream.open(folder)
        assert stream.rows == rows
        ledger = ExposureLedger.open(stream, rows_per_step=4)
        ids = [name for row in planted.rows("en") for name in row["documents"]]
        assert (ledger.consumed(ledger.numbers(ids), np.array([rows // 4])).times == 1).all()


def test_exposure_and_the_count_of_every_document_equal_the_doses(
    planted: Planted, tmp_path: Path
) -> None:
    study = planted.study
    trials = planted.trial_streams(tmp_path / "streams", rows=400, replay=0.1)
    (tmp_path / "base").mkdir()
    prepare_base_stream(
        planted.folder("tokens", "en"),
        planted.out / "tokenizer",
        tmp_path / "base",
        sequence_length=LENGTH,
        seed=0,
        planted=planted.count("en"),
        rows=160,
        run_tasks=run_here,
    )
    rows = [pq.read_table(planted.folder("planted", c) / INTERVENTIONS) for c in ("ko", "en")]
    dosed = {(row["text"], row["question"]): row["dose"] for t in rows for row in t.to_pylist()}
    table = planted_exposure(
        pa.concat_tables(rows),
        base_language="en",
        trainings=Trainings(
            bases={"base": Training(stream=tmp_path / "base", rows_per_step=8)},
            base_steps=20,
            trials={
                f"ko-{name}-s0": ("base", Training(stream=trials / name, rows_per_step=8))
                for name in ("bridge", "nobridge")
            },
            steps=[10, 50],
        ),
        folder=tmp_path,
        run_tasks=run_here,
    ).to_pandas()
    assert len(table) == 2 * 3 * len(dosed)
    for row in table.to_dict("records"):
        dose = dosed[row["text"], row["question"]]
        whole = row["step"] == 50 or row["text"] == "en"
        assert row["dose"] == dose
        assert row["exposure"] == pytest.approx(dose) if whole else row["exposure"] <= dose
    early = table[(table["step"] == 10) & (table["text"] == "ko")]["exposure"]
    assert 0 < early.sum() < sum(dose for (text, _), dose in dosed.items() if text == "ko")

    for code in ("ko", "en"):
        before, found = Counter[int](), Counter[int]()
        build_lexicon(planted.folder("planted", code), tmp_path / code, run_tasks=run_here)
        lexicon = Lexicon(tmp_path / code)
        clozes = clozes_of(study, study.language("ko"), planted.root)[code]
        judge = lexical_judge(study.frequency.scanning_judge, clozes, lexicon)
        own = {name: r["question"] for r in planted.rows(code) for name in r["documents"]}
        for shard in lexicon.shards(DOCUMENTS):
            folder = planted.folder("planted", code)
            for row in scan_shard(shard, folder, judge, clozes, part=DOCUMENTS):
                if own.get(row["document"], -1) == row["question"]:
                    found[row["question"]] += 1
                elif row["document"] not in own:
                    before[row["question"]] += 1
        texts = [normalize(row["text"]) for row in planted.documents("text", code)]
        for row in planted.rows(code):
            assert found[row["question"]] == row["dose"]
            sentence = normalize(row["sentences"][0])
            there = sum(text.count(sentence) for text in texts)
            others = sum(
                normalize(text).count(sentence)
                for other in planted.rows(code)
                if other["question"] != row["question"]
                for text in planted_texts(other)
            )
            counted = lexicon.count_strings(DOCUMENTS, sentence)
            assert counted == row["dose"] + there + others


def test_doses_that_do_not_fit_are_refused_with_the_sizes(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^interventions: the \d+ planted .* have \d+ tokens, but"):
        planted.trial_streams(tmp_path, rows=20)


def test_an_audit_counts_them_and_is_not_tripped_by_them(planted: Planted, tmp_path: Path) -> None:
    study = planted.study
    questions = filled_questions(study, planted.root, study.language("ko"))
    figures = audit(
        AuditInputs(
            languages=tuple(
                AuditedLanguage(
                    code=code,
                    folder=planted.folder("text", code),
                    isolation=language.isolation,
                    planted=planted.folder("planted", code),
                )
                for code, language in (("en", study.base_language), ("ko", study.language("ko")))
            ),
            probes=tuple(probe_side("ko", code, items) for code, items in questions.items()),
        ),
        study.audit,
        tmp_path,
        title="tiny",
        run_tasks=run_here,
    )
    (counted,) = (part for part in figures.scripts if part.corpus == "ko planted")
    texts = [text for row in planted.rows("ko") for text in planted_texts(row)]
    assert (counted.texts, counted.characters) == (len(texts), sum(map(len, texts)))
    assert counted.forbidden == 0
    assert all(verdict.passed for verdict in verdicts(figures, study.audit))
    assert not any("planted" in part.corpus for part in figures.contamination)
    page = (tmp_path / "audit.html").read_text("utf-8")
    assert "plants sentences of the probe there: en planted, ko planted" in page
    assert (tmp_path / "samples" / "ko-planted.html").is_file()


def with_sentences(root: Path, lines: list[Any], **changes: Any) -> StudySpec:
    """The tiny study with a file of sentences for its Korean text."""
    spec = {"text": "ko", "probe": "ko", "sentences": "own.jsonl", "doses": [0, 1, 5], **changes}
    study, _ = load_study(str(write_tiny_study(root, interventions=[spec])))
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (root / "own.jsonl").write_text("\n".join(written), encoding="utf-8")
    return study


def sentence(root: Path, question: int, more: str = "") -> dict[str, Any]:
    items = json.loads((root / "probes-ko.json").read_text("utf-8"))
    return {"question": question, "text": f"{items[question]['answer']}{more}"}


def test_sentences_of_a_file_are_planted_in_turn(tmp_path: Path) -> None:
    write_tiny_study(tmp_path)
    lines = [sentence(tmp_path, question, f" {way}.") for question in range(9) for way in "가나"]
    study = with_sentences(tmp_path, lines)
    text, folder = tmp_path / "text", tmp_path / "planted"
    text.mkdir()
    (text / "language.json").write_text('{"language": "ko", "base": "en"}')
    folder.mkdir()
    given = statements(study, tmp_path)
    counts = plant(study, text, folder, root=tmp_path, statements=given)
    assert counts["ko"] == {
        "items": {"0": 3, "1": 3, "5": 3},
        "left_out": {"no sentence": QUESTIONS - 9},
    }
    for row in pq.read_table(folder / INTERVENTIONS).to_pylist():
        ways = [line["text"] for line in lines if line["question"] == row["question"]]
        assert planted_texts(row) == (ways * 3)[: row["dose"]]
    assert counts["documents"] == 18


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"question": QUESTIONS, "text": "가"},
            rf"line 7: the .* has no question {QUESTIONS};",
        ),
        ({"question": -1, "text": "가"}, "line 7: the probe ko has no question -1;"),
        (
            {"question": 1, "text": "가나다라"},
            "line 7: the sentence does not contain '.*', the",
        ),
        ("latin", r"line 7: languages.ko.isolation removes 'K' \(Latin\);"),
        ("repeated", "line 7: repeats line 1, which"),
        ({"question": "1", "text": "가"}, r"line 7: .* is not of the form \{"),
        ("{", r"line 7: \{ is not of the form"),
    ],
)
def test_a_line_that_cannot_be_planted_is_refused(tmp_path: Path, more: Any, line: str) -> None:
    write_tiny_study(tmp_path)
    lines: list[Any] = [sentence(tmp_path, question, " 있다.") for question in range(6)]
    special = {"latin": sentence(tmp_path, 7, " KBS."), "repeated": lines[0]}
    added = special.get(more, more) if isinstance(more, str) else more
    study = with_sentences(tmp_path, [*lines, added])
    with pytest.raises(UserError, match=f"^own.jsonl, {line}"):
        check_interventions(study, tmp_path, statements(study, tmp_path))


def test_too_few_items_with_a_sentence_are_refused(tmp_path: Path) -> None:
    write_tiny_study(tmp_path)
    study = with_sentences(tmp_path, [sentence(tmp_path, 0), sentence(tmp_path, 1, " 있다.")])
    with pytest.raises(UserError, match=r"^interventions.0.items: only 2 .*\(no sentence: 22\)"):
        check_interventions(study, tmp_path, statements(study, tmp_path))


@pytest.mark.parametrize(
    ("intervention", "line"),
    [
        ("{text: ko, probe: xx, doses: [0, 1]}", "interventions.0.probe 'xx' must be one of"),
        ("{text: zh, probe: ko, doses: [0, 1]}", "interventions.0.text 'zh' must be the probe's"),
        ("{text: ko, probe: ko, doses: [0, -1]}", "interventions.0.doses.1: -1"),
        ("{text: ko, probe: ko, doses: []}", r"interventions.0.doses: \[\]"),
        ("{text: ko, probe: ko, doses: [1, 1]}", "interventions.0: doses name 1 more than once"),
        ("{text: ko, probe: ko, doses: [0, 1], items: 1}", "items 1 are fewer than the 2 doses"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(intervention: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        load_study("laptop", [f"interventions=[{intervention}]"])
    with pytest.raises(UserError, match="interventions and world are both given"):
        load_study("control-quick", ["interventions=[{text: hi, probe: hi, doses: [0, 1]}]"])


def test_what_is_planted_into_a_target_moves_neither_base_nor_other_languages() -> None:
    study, root = load_study("laptop")
    moved = {}
    plain = study_graph(study, InputFiles(root))
    for text in ("ko", "en"):
        given = f"interventions=[{{text: {text}, probe: ko, doses: [0, 1]}}]"
        graph = study_graph(load_study("laptop", [given])[0], InputFiles(root))
        assert set(graph.steps) - set(plain.steps) == {f"interventions-{text}"}
        moved[text] = {
            name for name in plain.steps if graph[name].fingerprint != plain[name].fingerprint
        }
    assert {"tokens-ko", "stream-ko-s0", "trial-ko-bridge-s0", "lexicon-ko"} <= moved["ko"]
    assert not any({"zh", "en", "base"} & set(name.split("-")) for name in moved["ko"])
    assert {"stream-base", "base", "trial-zh-bridge-s0"} <= moved["en"]
    kept = {"text-ko", "text-en", "tokenizer", "heldout-ko", "heldout-en", "text-zh"}
    assert kept.isdisjoint(moved["ko"] | moved["en"])
