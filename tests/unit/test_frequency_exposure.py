"""Exposure against walking through the consumed rows one by one, in plain Python."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.frequency.counting.exposure import (
    EVIDENCE,
    SCHEMA,
    Training,
    Trainings,
    consumed,
    exposure_table,
)
from ccx_ray.frequency.text.documents import COLUMNS
from ccx_ray.orchestration.tasks import RunTasks, WorkLog, run_here
from ccx_ray.study.spec import MixtureSpec
from tests.small_corpus import bundled_language, small_corpus, text_folder

QUESTIONS, STEPS, BATCH, BASE_BATCH = 20, [1, 7, 13], 7, 11
PLACES = [("en", "documents"), ("en", "english"), ("ko", "documents"), ("ko", "target")]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A base stream, the two of a trial that replays English, and evidence in their texts."""

    texts: dict[str, Path]
    base: Stream
    base_steps: int
    trials: dict[str, Stream]
    supports: list[Row]
    retrieved: list[Row]

    def table(self, folder: Path, *, run_tasks: RunTasks = run_here, **changes: Any) -> pa.Table:
        arguments: dict[str, Any] = {
            "culture": "ko",
            "base_language": "en",
            "questions": QUESTIONS,
            "supports": as_table(self.supports, part=pa.string()),
            "retrieved": as_table(self.retrieved, verdict=pa.bool_()),
            "base_text": self.texts["en"],
            "text": self.texts["ko"],
            "trainings": Trainings(
                bases={"base": Training(stream=self.base.folder, rows_per_step=BASE_BATCH)},
                base_steps=self.base_steps,
                trials={
                    name: ("base", Training(stream=stream.folder, rows_per_step=BATCH))
                    for name, stream in self.trials.items()
                },
                steps=STEPS,
            ),
            "folder": folder,
            "run_tasks": run_tasks,
        }
        return exposure_table(**{**arguments, **changes})

    def span(self, row: Row) -> tuple[int, int]:
        """First and last byte of a piece of evidence."""
        text = text_of(self.texts, row["corpus"], row["part"], row["row"])[1]
        start, length = row["evidence_start"], row["evidence_length"]
        if not length:
            start, length = 0, len(text)
        begin = len(text[:start].encode())
        return begin, begin + len(text[start : start + length].encode())


def as_table(rows: list[Row], **added: pa.DataType) -> pa.Table:
    fields = {
        "question": pa.int32(),
        "corpus": pa.string(),
        "row": pa.int64(),
        "document": pa.string(),
        "evidence_start": pa.int32(),
        "evidence_length": pa.int32(),
        **added,
    }
    schema = pa.schema(list(fields.items()))
    return pa.Table.from_pylist([{name: row[name] for name in fields} for row in rows], schema)


def text_of(texts: dict[str, Path], corpus: str, part: str, row: int) -> tuple[str, str]:
    kind, column = COLUMNS[part]
    of = "en" if (corpus, part) == ("en", "documents") else "ko"
    fields = pq.read_table(texts[of] / kind).slice(row, 1).to_pylist()[0]
    return fields["id"], fields[column]


@pytest.fixture(scope="module")
def prepared(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("exposure")
    korean = small_corpus(project, folder / "ko", "ko", documents=60, pairs=70)
    english = folder / "en"
    spec = bundled_language(project, english / "raw", "en", documents=2, pairs=0)
    text_folder(spec, english / "raw", english / "text")
    (english / "tokens").mkdir()
    tokenize_text(english / "text", korean.tokenizer, english / "tokens", run_tasks=run_here)
    (english / "stream").mkdir()
    prepare_base_stream(
        english / "tokens",
        korean.tokenizer,
        english / "stream",
        sequence_length=64,
        seed=0,
        run_tasks=run_here,
    )
    base = Stream.open(english / "stream")
    streams = korean.streams(
        folder / "streams",
        replay=english / "tokens",
        rows=90,
        mixture=MixtureSpec(parallel=0.3, replay=0.2),
    )
    texts = {"en": english / "text", "ko": korean.text}
    drawn = random.Random(0)
    rows = [evidence(texts, drawn, number % QUESTIONS) for number in range(240)]
    return Prepared(
        texts=texts,
        base=base,
        # In the middle of the third epoch.
        base_steps=int(2.4 * base.rows) // BASE_BATCH,
        trials={f"ko-{name}-s0": stream for name, stream in streams.items()},
        supports=rows[:160],
        retrieved=[
            {**row, "verdict": number % 3 > 0}
            for number, row in enumerate(rows[160:])
            if row["part"] == "documents"
        ],
    )


def evidence(texts: dict[str, Path], drawn: random.Random, question: int) -> Row:
    """A span of any length in any text; now and then none, which stands for the whole text."""
    corpus, part = drawn.choice(PLACES)
    kind, of = COLUMNS[part][0], "en" if (corpus, part) == ("en", "documents") else "ko"
    row = drawn.randrange(pq.read_table(texts[of] / kind).num_rows)
    name, text = text_of(texts, corpus, part, row)
    start = drawn.randrange(len(text))
    length = drawn.randint(1, min(400, len(text) - start)) if drawn.random() < 0.9 else 0
    place = {"evidence_start": start if length else -1, "evidence_length": length}
    return {
        "question": question,
        "corpus": corpus,
        "part": part,
        "row": row,
        "document": name,
        **place,
    }


def walked(stream: Stream, rows: int) -> Iterator[tuple[str, str, int, int]]:
    """Part, id, first and last byte of every segment of the first global rows."""
    documents = stream.documents().to_pylist()
    segments = [
        row
        for path in sorted(stream.folder.glob("rows-*.parquet"))
        for row in pq.read_table(path, columns=["segments"])["segments"].to_pylist()
    ]
    epochs = -(-rows // stream.rows)
    order = [row for epoch in range(epochs) for row in stream.row_order(epoch).tolist()]
    for row in order[:rows]:
        for segment in segments[row]:
            document = documents[segment["document"]]
            end = segment["start"] + segment["length"]
            yield document["part"], document["id"], segment["start"], end


def times_walked(
    prepared: Prepared, stream: Stream, rows: int, part: str, wanted: list[Row]
) -> list[float]:
    """[questions] evidence consumed with the first rows."""
    spans: dict[str, list[tuple[Row, int, int]]] = {}
    for row in wanted:
        spans.setdefault(row["document"], []).append((row, *prepared.span(row)))
    times = [0.0] * QUESTIONS
    for of, name, start, end in walked(stream, rows):
        for row, first, last in spans.get(name, []) if of == part else []:
            shared = max(0, min(last, end) - max(first, start))
            times[row["question"]] += shared / (last - first)
    return times


@pytest.mark.parametrize("trial", ["ko-bridge-s0", "ko-nobridge-s0"])
@pytest.mark.parametrize("step", [0, *STEPS])
def test_exposure_is_what_walking_through_the_rows_gives(
    prepared: Prepared, trial: str, step: int, tmp_path: Path
) -> None:
    judged = [{**row, "part": "documents"} for row in prepared.retrieved if row["verdict"]]

    def count(rows: list[Row], corpus: str, part: str, stream_part: str) -> list[float]:
        wanted = [row for row in rows if (row["corpus"], row["part"]) == (corpus, part)]
        if stream_part == "base":
            consumed_rows = prepared.base_steps * BASE_BATCH
            return times_walked(prepared, prepared.base, consumed_rows, "monolingual", wanted)
        stream = prepared.trials[trial]
        return times_walked(prepared, stream, step * BATCH, stream_part, wanted)

    nothing = [0.0] * QUESTIONS
    replayed = count(judged, "en", "documents", "replay")
    expected = {
        "en": {
            "judged": np.add(count(judged, "en", "documents", "base"), replayed),
            "base": count(prepared.supports, "en", "documents", "base"),
            "monolingual": nothing,
            "parallel": count(prepared.supports, "en", "english", "english"),
            "replay": count(prepared.supports, "en", "documents", "replay"),
        },
        "ko": {
            "judged": count(judged, "ko", "documents", "monolingual"),
            "base": nothing,
            "monolingual": count(prepared.supports, "ko", "documents", "monolingual"),
            "parallel": count(prepared.supports, "ko", "target", "target"),
            "replay": nothing,
        },
    }
    rows = prepared.table(tmp_path).to_pylist()
    for language, columns in expected.items():
        own = [r for r in rows if (r["trial"], r["step"], r["language"]) == (trial, step, language)]
        assert [row["question"] for row in own] == list(range(QUESTIONS))
        for name, values in columns.items():
            assert [row[name] for row in own] == pytest.approx(values), name
        total = np.sum([v for name, v in columns.items() if name != "judged"], axis=0)
        assert [row["exposure"] for row in own] == pytest.approx(total)


def test_every_stream_and_kind_of_evidence_is_a_task_that_is_done_once(
    prepared: Prepared, tmp_path: Path
) -> None:
    """And the table is the same, whichever tasks a killed driver has left to the next."""
    done: list[str] = []

    def run_until(stop: int) -> RunTasks:
        def run(log: WorkLog, tasks: int, function: Any, /) -> list[Row]:
            for task in log.begin(tasks):
                if len(done) == stop:
                    raise KeyboardInterrupt
                log.publish(task, function(task))
                done.append(f"{log._folder.name}-{task}")
            return [log.result(task) for task in range(tasks)]

        return run

    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            prepared.table(tmp_path / "killed", run_tasks=run_until(stop))
    table = prepared.table(tmp_path / "killed", run_tasks=run_until(99))
    assert table.equals(prepared.table(tmp_path / "whole"))
    assert done == [*(f"evidence-{n}" for n in range(6)), *(f"streams-{n}" for n in range(3))]


def test_everything_was_seen_by_the_last_step(prepared: Prepared, tmp_path: Path) -> None:
    """So that the comparison above compares something, in every column."""
    table = prepared.table(tmp_path)
    assert table.schema == SCHEMA
    assert table.num_rows == 2 * (1 + len(STEPS)) * QUESTIONS * 2
    last = [row for row in table.to_pylist() if row["step"] == STEPS[-1]]
    for name in ("judged", "base", "monolingual", "parallel", "replay"):
        values = [row[name] for row in last]
        assert sum(values) > 0
    assert any(row["exposure"] % 1 for row in last), "some evidence was consumed in part"
    started = [row for row in table.to_pylist() if row["step"] == 0]
    assert sum(row["base"] for row in started) == sum(row["exposure"] for row in started) > 0


def test_the_conditions_differ_in_their_parallel_rows_alone(
    prepared: Prepared, tmp_path: Path
) -> None:
    by_trial: dict[str, list[Row]] = {}
    for row in prepared.table(tmp_path).to_pylist():
        by_trial.setdefault(row.pop("trial"), []).append(row)
    bridge, nobridge = by_trial.values()
    for name in ("judged", "base", "monolingual", "replay"):
        assert [row[name] for row in bridge] == [row[name] for row in nobridge]
    assert [row["parallel"] for row in bridge] != [row["parallel"] for row in nobridge]


def test_documents_that_a_stream_does_not_show_count_nothing(prepared: Prepared) -> None:
    """One that is never drawn has a number and no rows; one of another language has no number."""
    stream = prepared.trials["ko-bridge-s0"]
    shown = {(part, name) for part, name, _, _ in walked(stream, stream.rows)}
    known = [(row["part"], row["id"]) for row in stream.documents().to_pylist()]
    never = next(
        name for part, name in known if part == "monolingual" and (part, name) not in shown
    )
    row = {"question": 3, "document": never, "start": 0, "length": 4}
    evidence = pa.Table.from_pylist([row], EVIDENCE)
    sought = {"never drawn": ("monolingual", evidence), "not there": ("replay", evidence)}
    training = Training(stream=stream.folder, rows_per_step=BATCH)
    found = consumed(training, sought, steps=np.array([0, 50]), questions=5)
    for name in sought:
        assert found[name].tolist() == [[0.0, 0.0]] * 5


def test_without_evidence_nothing_was_consumed(prepared: Prepared, tmp_path: Path) -> None:
    table = prepared.table(
        tmp_path / "none",
        supports=as_table([], part=pa.string()),
        retrieved=as_table([], verdict=pa.bool_()),
    )
    assert table.num_rows == prepared.table(tmp_path).num_rows
    assert sum(table["exposure"].to_pylist()) == sum(table["judged"].to_pylist()) == 0


def test_evidence_of_another_text_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    wrong = {**prepared.supports[0], "document": "another"}
    with pytest.raises(ValueError, match="and not 'another' as the evidence says"):
        prepared.table(tmp_path / "wrong", supports=as_table([wrong], part=pa.string()))
    beyond = {**prepared.supports[0], "row": 10**6}
    with pytest.raises(ValueError, match="has no row 1000000"):
        prepared.table(tmp_path / "beyond", supports=as_table([beyond], part=pa.string()))
