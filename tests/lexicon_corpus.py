"""Text folders and lexicons for tests, of real bundled text or of sentences written by hand."""

import gzip
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.counting.exact_counts import scan_shard
from ccx_ray.frequency.counting.lexicon import Lexicon, build_lexicon
from ccx_ray.frequency.judges.lexical import LexicalJudge, question_terms
from ccx_ray.frequency.text.documents import DOCUMENTS
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.tasks import run_here

Pair = tuple[str, str]
GROUP = 16


def write_text(
    folder: Path,
    documents: Sequence[str],
    pairs: Sequence[Pair] | None = None,
    *,
    row_group_size: int = GROUP,
) -> Path:
    """A text folder of two files a kind, in row groups so small that there can be many shards."""
    _write(folder / "documents", {"text": list(documents)}, row_group_size)
    if pairs is not None:
        halves = {"english": [p[0] for p in pairs], "target": [p[1] for p in pairs]}
        _write(folder / "pairs", halves, row_group_size)
    return folder


def _write(folder: Path, columns: dict[str, list[str]], row_group_size: int) -> None:
    folder.mkdir(parents=True)
    size = len(next(iter(columns.values())))
    ids = {"id": pa.array([f"{folder.name}-{row}" for row in range(size)], pa.string())}
    texts = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    table = pa.table({**ids, **texts, "source": pa.array([""] * size, pa.string())})
    for number, first in enumerate(range(0, size, size // 2 + 1) if size else [0]):
        part = table.slice(first, size // 2 + 1)
        path = folder / f"part-{number:05d}.parquet"
        pq.write_table(part, path, row_group_size=row_group_size, use_dictionary=["source"])


def lexicon_of(text_folder: Path, folder: Path, *, shard_bytes: int = 1) -> Lexicon:
    """A lexicon with a shard a row group, where nothing else is said."""
    folder.mkdir(parents=True)
    build_lexicon(text_folder, folder, run_tasks=run_here, shard_bytes=shard_bytes)
    return Lexicon(folder)


def bundled_documents(project: Path, code: str, number: int) -> list[str]:
    """The first documents of a bundled language."""
    with gzip.open(project / f"data/mono/{code}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in islice(lines, number)]


def bundled_pairs(project: Path, code: str, number: int) -> list[Pair]:
    """The first pairs of a bundled language."""
    path = project / f"data/parallel/en-{code}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, number)]
    return [(row["en"], row[code]) for row in rows]


def bundled_questions(project: Path, culture: str, side: str) -> list[Cloze]:
    """The questions of a culture in one of its two languages."""
    path = project / f"data/probes/{culture}-culture-cloze_{side}.json"
    items = json.loads(path.read_text("utf-8"))
    return [Cloze(question=item["question"], answer=item["answer"]) for item in items]


def judge_of(lexicon: Lexicon, clozes: Sequence[Cloze]) -> LexicalJudge:
    """The lexical judge of a corpus."""
    frequencies = lexicon.document_frequencies(
        term for cloze in clozes for term in question_terms(cloze)
    )
    return LexicalJudge(frequencies, documents=lexicon.documents, salient_share=0.5)


def exhaustive_scan(
    lexicon: Lexicon,
    text_folder: Path,
    judge: LexicalJudge,
    clozes: Sequence[Cloze],
    *,
    part: str = DOCUMENTS,
) -> Iterator[dict[str, Any]]:
    """``scan_shard`` of every shard of a part."""
    for shard in lexicon.shards(part):
        yield from scan_shard(shard, text_folder, judge, clozes, part=part)
