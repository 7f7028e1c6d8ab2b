"""The same work in datatrove: script isolation, exact and near-duplicates, tokens, packed windows.

Every choice is the faster one for datatrove: its MinHash gets words from one regular expression
instead of a language's own word segmenter, no normalization before hashing, and as many tasks as
there are cores, forked from a process that has imported everything. Its pipelines are run one after
another because each reads what the one before wrote.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import orjson
from corpus_ours import SEED, SEQUENCE_LENGTH, language_spec
from corpus_text import TextFile

UNITS = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}\p{N}]+"
"""What our MinHash calls a unit, near enough."""
UNITS_PER_SHINGLE, BANDS, ROWS_PER_BAND = 3, 16, 8


@dataclass(frozen=True, kw_only=True)
class DatatroveTask:
    """One run."""

    slice: str
    """Folder of one file a task."""
    tokenizer: str
    folder: str
    near_duplicates: bool
    tasks: int


@dataclass(frozen=True, kw_only=True)
class DatatroveResult:
    """What one run took and gave."""

    seconds: float
    stages: dict[str, float]
    text_bytes: int
    tokens: int


def write_slice(files: list[TextFile], folder: Path, *, megabytes: float, tasks: int) -> Path:
    """The first documents of every file, cut to a size, as one file a task.

    Each line says its language, by which the formatter isolates it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = [file for file in files if file.unit == 0]
    share = megabytes * 1e6 / sum(file.text_bytes for file in first)
    outputs = [(folder / f"{task:03d}.jsonl").open("wb") for task in range(tasks)]
    for file in first:
        left = file.text_bytes * share
        with Path(file.path).open("rb") as lines:
            for number, line in enumerate(lines):
                document = orjson.loads(line) | {"language": file.language}
                outputs[number % tasks].write(orjson.dumps(document) + b"\n")
                left -= len(document["text"].encode())
                if left <= 0:
                    break
    for output in outputs:
        output.close()
    return folder


@cache
def _excluded(code: str) -> Any:
    import regex

    isolation = language_spec(code, ["-"]).isolation
    names = "".join(rf"\p{{{name}}}" for name in isolation.keep or isolation.remove)
    return regex.compile(f"[^{names}]+" if isolation.keep else f"[{names}]+")


def isolated(text: str, language: str) -> str:
    """What our isolation does to one text, with the ``regex`` module."""
    text = _excluded(language).sub("", normalize("NFC", text))
    return normalize("NFC", "\n".join(" ".join(line.split()) for line in text.split("\n"))).strip()


def isolate_documents(data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
    """A block of a pipeline: isolation, and what is too short after it goes."""
    import regex

    letter = regex.compile(r"\p{L}")
    for document in data:
        document.text = isolated(document.text, document.metadata["language"])
        if len(document.text) >= 10 and letter.search(document.text):
            yield document


def content_of(document: Any) -> bytes:
    """What exact duplicates are told by."""
    content: bytes = document.text.encode()
    return content


def hashed(shingle: str) -> int:
    """datatrove 0.10 hands its strings to xxhash as they are, which xxhash 4 refuses."""
    import xxhash

    return int(xxhash.xxh64_intdigest(shingle.encode()))


def run_datatrove(task: DatatroveTask) -> DatatroveResult:
    """One run in this process and its forks."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core a task
    from datatrove.executor import LocalPipelineExecutor

    folder, stages = Path(task.folder), {}
    for name, blocks, tasks in _pipelines(task, folder):
        executor = LocalPipelineExecutor(
            pipeline=blocks,
            tasks=tasks,
            workers=min(tasks, task.tasks),
            logging_dir=str(folder / "logs" / name),
            start_method="fork",
        )
        begin = time.perf_counter()
        executor.run()
        stages[name] = time.perf_counter() - begin
    tokens = sum(path.stat().st_size for path in (folder / "windows").glob("*.ds")) // 2
    return DatatroveResult(
        seconds=sum(stages.values()),
        stages=stages,
        text_bytes=sum(
            len(orjson.loads(line)["text"].encode())
            for path in Path(task.slice).glob("*.jsonl")
            for line in path.open("rb")
        ),
        tokens=tokens,
    )


def _pipelines(task: DatatroveTask, folder: Path) -> Iterator[tuple[str, list[Any], int]]:
    """Name, blocks and tasks of each pipeline in order."""
    from datatrove.pipeline.dedup import (
        ExactDedupFilter,
        ExactDedupSignature,
        ExactFindDedups,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import (
        DocumentTokenizer,
        DocumentTokenizerContextShuffler,
        DocumentTokenizerMerger,
    )
    from datatrove.pipeline.writers import JsonlWriter

    def below(name: str) -> str:
        return str(folder / name)

    def writer(name: str) -> Any:
        return JsonlWriter(below(name), output_filename="${rank}.jsonl", compression=None)

    exact = ExactDedupConfig(content_getter=content_of)
    tokenize = DocumentTokenizer(
        below("tokens"),
        str(Path(task.tokenizer) / "tokenizer.json"),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
        seed=SEED,
    )
    yield (
        "isolate",
        [
            JsonlReader(task.slice),
            isolate_documents,
            writer("isolated"),
            ExactDedupSignature(below("exact"), exact),
        ],
        task.tasks,
    )
    yield "find duplicates", [ExactFindDedups(below("exact"), below("exact-found"), exact)], 1
    distinct = [JsonlReader(below("isolated")), ExactDedupFilter(below("exact-found"), exact)]
    if task.near_duplicates:
        minhash = _minhash()
        signatures = MinhashDedupSignature(below("signatures"), minhash, _words())
        signatures._hash_func = hashed
        yield "signatures", [*distinct, writer("distinct"), signatures], task.tasks
        buckets = MinhashDedupBuckets(
            below("signatures"), below("buckets"), config=minhash, lines_to_buffer=1000
        )
        yield "buckets", [buckets], BANDS
        yield "cluster", [MinhashDedupCluster(below("buckets"), below("clusters"), minhash)], 1
        distinct = [JsonlReader(below("distinct")), MinhashDedupFilter(below("clusters"))]
    yield "tokenize", [*distinct, tokenize], task.tasks
    merge = DocumentTokenizerMerger(
        below("tokens"), below("merged"), "merged", seed=SEED, progress=False
    )
    yield "merge", [merge], 1
    shuffle = DocumentTokenizerContextShuffler(
        below("merged"), below("windows"), window_size=SEQUENCE_LENGTH, seed=SEED
    )
    yield "windows", [shuffle], 1


def _minhash() -> Any:
    from datatrove.pipeline.dedup import MinhashConfig
    from datatrove.utils.text import TextNormConfig

    as_it_is = TextNormConfig(
        lowercase=False,
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    )
    return MinhashConfig(
        n_grams=UNITS_PER_SHINGLE,
        num_buckets=BANDS,
        hashes_per_bucket=ROWS_PER_BAND,
        norm_config=as_it_is,
    )


def _words() -> Any:
    """A word tokenizer that is one regular expression for every language."""
    import regex
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Units(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            found: list[str] = regex.findall(UNITS, text)
            return found

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    return Units()


def main() -> None:
    """Measure what the first argument describes; the result goes where the second says."""
    content = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(sys.argv[2]).write_text(
        json.dumps(asdict(run_datatrove(DatatroveTask(**content)))), "utf-8"
    )


if __name__ == "__main__":
    main()
