"""A tokenizer, tokens and streams of real bundled text, made by the plain functions without Ray."""

import gzip
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.cleaning.text_folder import isolate_text
from ccx_ray.corpus.packing.mixing import plan_trial
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.packing.stream_preparation import file_numbers, finish_stream, write_rows
from ccx_ray.corpus.tokenizing.tokenizer import Vocabulary, train_tokenizer
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus, tokenize_text
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.spec import Condition, MixtureSpec
from ccx_ray.study.text_spec import (
    BaseLanguageSpec,
    CleaningSpec,
    LanguageSpec,
    ProbeFiles,
    SourceSpec,
    TokenizerSpec,
)

Row = list[tuple[str, str, int, int]]
"""(part, id, first byte, bytes) of every segment."""
EVERYTHING = CleaningSpec(minimum_characters=1, near_duplicates=None)
"""Only exact duplicates go."""


def base_language(*paths: str) -> BaseLanguageSpec:
    """English over files."""
    sources = tuple(SourceSpec(path=path) for path in paths)
    return BaseLanguageSpec(code="en", name="English", monolingual=sources)


def target_language(
    code: str, monolingual: tuple[str, ...], parallel: tuple[str, ...], **changes: Any
) -> LanguageSpec:
    """A target language over files."""
    return LanguageSpec(
        code=code,
        name=code,
        monolingual=tuple(SourceSpec(path=path) for path in monolingual),
        parallel=tuple(SourceSpec(path=path) for path in parallel),
        probes=ProbeFiles(english="", target=""),
        **changes,
    )


def text_folder(
    language: BaseLanguageSpec,
    root: Path,
    folder: Path,
    *,
    base: BaseLanguageSpec | None = None,
    cleaning: CleaningSpec = EVERYTHING,
) -> dict[str, Any]:
    """Make a text folder in this process; its counts."""
    folder.mkdir(parents=True, exist_ok=True)
    return isolate_text(
        language,
        root,
        folder,
        base=base or base_language("en.jsonl"),
        cleaning=cleaning,
        run_tasks=run_here,
    )


def bundled_language(
    project: Path, folder: Path, code: str, *, documents: int, pairs: int
) -> BaseLanguageSpec:
    """A language over the first records of its bundled files, copied into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"mono/{code}": documents}
    if code != "en":
        wanted[f"parallel/en-{code}"] = pairs
    for name, count in wanted.items():
        with gzip.open(project / f"data/{name}.jsonl.gz", "rb") as source:
            (folder / f"{Path(name).name}.jsonl").write_bytes(b"".join(islice(source, count)))
    if code == "en":
        return base_language("en.jsonl")
    return target_language(code, (f"{code}.jsonl",), (f"en-{code}.jsonl",))


@dataclass(frozen=True, kw_only=True)
class SmallCorpus:
    """The folders of one target language."""

    text: Path
    tokenizer: Path
    tokens: Path

    def streams(
        self, folder: Path, *, replay: Path | None = None, **changes: Any
    ) -> dict[Condition, Stream]:
        """The streams of all conditions, 96 rows of 64 tokens where ``changes`` do not say."""
        corpus = TokenCorpus.open(self.tokens, replay=replay)
        vocabulary = Vocabulary(self.tokenizer)
        default = {
            "language": "ko",
            "sequence_length": 64,
            "seed": 0,
            "rows": 96,
            "mixture": MixtureSpec(),
            "pair_order": "random",
        }
        plans = plan_trial(corpus, vocabulary, **{**default, **changes})
        for condition, plan in plans.items():
            (folder / condition).mkdir(parents=True)
            files = [
                write_rows(plan, corpus, vocabulary, folder / condition, number)
                for number in file_numbers(plan)
            ]
            finish_stream(plan, corpus, vocabulary, folder / condition, files)
        return {name: Stream.open(folder / name) for name in plans}


def small_corpus(
    project: Path, folder: Path, language: str, *, documents: int, pairs: int
) -> SmallCorpus:
    """The first documents and pairs of a bundled language."""
    small = SmallCorpus(
        text=folder / "text", tokenizer=folder / "tokenizer", tokens=folder / "tokens"
    )
    raw = folder / "raw"
    spec = bundled_language(project, raw, language, documents=documents, pairs=pairs)
    text_folder(spec, raw, small.text)
    for path in (small.tokenizer, small.tokens):
        path.mkdir(parents=True)
    tokenizer = TokenizerSpec(vocabulary_size=600, megabytes_per_language=0.2)
    train_tokenizer(tokenizer, {language: small.text}, small.tokenizer)
    tokenize_text(small.text, small.tokenizer, small.tokens, run_tasks=run_here)
    return small


def segments_of(stream: Stream, first_row: int, last_row: int) -> pa.Table:
    """What the global rows ``[first_row, last_row)`` hold, read row by row.

    Returns:
        one row a segment: row (global), document (see ``Stream.documents``), start, length (bytes).
    """
    table = stream.segments(stream.physical_rows(first_row, last_row))
    return table.set_column(0, "row", pc.add(table["row"], first_row))


def folders_of(streams: dict[Condition, Stream]) -> dict[Condition, Path]:
    """The folder of every condition."""
    return {condition: stream.folder for condition, stream in streams.items()}


def rows_of(stream: Stream) -> list[Row]:
    """What every row of a stream holds."""
    documents = stream.documents().to_pylist()
    assert [document["index"] for document in documents] == list(range(len(documents)))
    rows: list[Row] = [[] for _ in range(stream.rows)]
    for segment in segments_of(stream, 0, stream.rows).to_pylist():
        document = documents[segment["document"]]
        place = (document["part"], document["id"], segment["start"], segment["length"])
        rows[segment["row"]].append(place)
    return rows


def texts_of(corpus: SmallCorpus) -> dict[tuple[str, str], str]:
    """(part, id) -> text."""
    documents = pq.read_table(corpus.text / "documents").to_pylist()
    pairs = pq.read_table(corpus.text / "pairs").to_pylist()
    texts = {("monolingual", row["id"]): row["text"] for row in documents}
    return texts | {(side, row["id"]): row[side] for row in pairs for side in ("english", "target")}
