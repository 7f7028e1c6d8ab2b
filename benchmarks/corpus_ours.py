"""The corpus stage itself, as the jobs run it: raw files to text, tokens and a stream a language.

Run as a program, it measures one run in a process of its own and prints the result as JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from corpus_text import BUNDLED, LANGUAGES, TextFile

from ccx_ray.orchestration.tasks import RunTasks, WorkLog, run_here
from ccx_ray.study.text_spec import (
    ENGLISH_ISOLATION,
    BaseLanguageSpec,
    CleaningSpec,
    IsolationSpec,
    SourceSpec,
)

SEQUENCE_LENGTH = 512
SEED = 0
LANGUAGES_AT_ONCE = 2
"""As many data steps as a study runs beside one another."""
NEAR_DUPLICATES = CleaningSpec().near_duplicates


@dataclass(frozen=True, kw_only=True)
class OursTask:
    """One run: which text, where to, and how."""

    files: tuple[TextFile, ...]
    tokenizer: str
    folder: str
    near_duplicates: float | None
    processors: int
    """Of the Ray cluster; 0 runs everything one after the other in one process, without Ray."""


@dataclass(frozen=True, kw_only=True)
class OursResult:
    """What one run took and gave."""

    seconds: float
    start_seconds: float
    """To start the cluster and its worker processes' first task; not part of ``seconds``."""
    text_bytes: int
    tokens: int = 0
    rows: int = 0

    @property
    def megabytes(self) -> float:
        return self.text_bytes / 1e6


def language_spec(code: str, paths: Sequence[str]) -> BaseLanguageSpec:
    """A language's own isolation over some files; it needs no parallel text here."""
    return BaseLanguageSpec(
        code=code,
        name=code,
        monolingual=tuple(SourceSpec(path=path) for path in paths),
        isolation=ENGLISH_ISOLATION if code == "en" else IsolationSpec(remove=("Latin",)),
    )


def by_language(files: Sequence[TextFile]) -> dict[str, list[str]]:
    """Language -> its files in order."""
    paths: dict[str, list[str]] = {}
    for file in files:
        paths.setdefault(file.language, []).append(file.path)
    return paths


def train_benchmark_tokenizer(folder: Path, root: Path, vocabulary_size: int) -> Path:
    """A tokenizer of the bundled text, made as a study makes its own."""
    from ccx_ray.corpus.cleaning.text_folder import isolate_text
    from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
    from ccx_ray.study.text_spec import TokenizerSpec

    tokenizer = folder / "tokenizer"
    texts = {code: folder / f"bundled-{code}" for code in LANGUAGES}
    for code, text in texts.items():
        text.mkdir(parents=True, exist_ok=True)
        language = language_spec(code, [str(BUNDLED / f"{code}.jsonl.gz")])
        cleaning = CleaningSpec(near_duplicates=None)
        isolate_text(language, root, text, base=language, cleaning=cleaning, run_tasks=run_here)
    tokenizer.mkdir(exist_ok=True)
    train_tokenizer(TokenizerSpec(vocabulary_size=vocabulary_size), texts, tokenizer)
    return tokenizer


def prepare_language(
    code: str, paths: Sequence[str], task: OursTask, run_tasks: RunTasks
) -> tuple[int, int]:
    """Raw files to a stream; its tokens and rows."""
    from ccx_ray.corpus.cleaning.text_folder import isolate_text
    from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream
    from ccx_ray.corpus.tokenizing.tokens import tokenize_text

    text, tokens, stream = (
        Path(task.folder) / code / name for name in ("text", "tokens", "stream")
    )
    for folder in (text, tokens, stream):
        folder.mkdir(parents=True)
    tokenizer = Path(task.tokenizer)
    cleaning = CleaningSpec(near_duplicates=task.near_duplicates)
    language = language_spec(code, paths)
    isolate_text(language, Path.cwd(), text, base=language, cleaning=cleaning, run_tasks=run_tasks)
    tokenized = tokenize_text(text, tokenizer, tokens, run_tasks=run_tasks)
    packed = prepare_base_stream(
        tokens, tokenizer, stream, sequence_length=SEQUENCE_LENGTH, seed=SEED, run_tasks=run_tasks
    )
    return tokenized["text_tokens"], packed["rows"]


def run_ours(task: OursTask) -> OursResult:
    """One run in this process."""
    if task.processors:
        from ccx_ray.orchestration.cluster import local_cluster

        start = time.perf_counter()
        with local_cluster(task.processors):
            from ccx_ray.orchestration.ray_tasks import run_tasks

            on_ray: RunTasks = partial(run_tasks, cpus_per_task=1)
            warm = Path(task.folder) / "warm"
            warm.mkdir(parents=True)
            # The first execution starts the worker processes, which a study does once.
            on_ray(WorkLog(warm, "warm"), task.processors, lambda number: {"number": number})
            return _measured(task, on_ray, time.perf_counter() - start)
    return _measured(task, run_here, 0.0)


def _measured(task: OursTask, run_tasks: RunTasks, start_seconds: float) -> OursResult:
    from ccx_ray.corpus.packing import stream_preparation  # noqa: F401  (its import is no part of the work)

    paths = by_language(task.files)
    at_once = LANGUAGES_AT_ONCE if task.processors else 1
    begin = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        results = list(
            pool.map(lambda code: prepare_language(code, paths[code], task, run_tasks), paths)
        )
    seconds = time.perf_counter() - begin
    return OursResult(
        seconds=seconds,
        start_seconds=start_seconds,
        text_bytes=sum(file.text_bytes for file in task.files),
        tokens=sum(tokens for tokens, _ in results),
        rows=sum(rows for _, rows in results),
    )


def main() -> None:
    """Measure what the first argument describes; the result goes where the second says."""
    content = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    content["files"] = tuple(TextFile(**file) for file in content["files"])
    result = run_ours(OursTask(**content))
    Path(sys.argv[2]).write_text(json.dumps(asdict(result)), "utf-8")


if __name__ == "__main__":
    main()
