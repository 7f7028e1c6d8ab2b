"""The corpus stage on Ray Data: isolation, tokenization, streams. All that computes is elsewhere.

Invariant: a result does not depend on how many tasks ran, where, or in which order they ended.
Tasks read and write the step's folder, which every node mounts.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import ray.data
from ray.exceptions import RayTaskError

from ccx_ray.corpus.conditions import check_conditions
from ccx_ray.corpus.isolation import SourceFile, isolated_tables
from ccx_ray.corpus.mixing import StreamPlan, plan_base, plan_trial
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.stream import Batch, Stream
from ccx_ray.corpus.stream_folder import file_numbers, finish_stream, write_rows
from ccx_ray.corpus.text_folder import TextFolder
from ccx_ray.corpus.tokenizer import Encoder, Vocabulary
from ccx_ray.corpus.tokens import (
    COLUMNS,
    ENGLISH,
    TokenCorpus,
    read_language,
    tokenize_part,
    write_language,
)
from ccx_ray.errors import UserError
from ccx_ray.study.spec import BaseLanguageSpec, IsolationSpec, LanguageSpec
from ccx_ray.study.steps import InputFiles

ENGLISH_ISOLATION = IsolationSpec(keep=("Latin", "Common", "Inherited"))
"""Of the English side of pairs, whatever the base language's own."""
TASKS_PER_PREFETCH = 1024
"""Reading tasks of one Ray Data execution; the next one starts when it is used up."""
CPUS_OF_A_READER = 0.1
"""Reading waits for storage and must not compete with the training that it feeds."""


def isolate_text(
    language: BaseLanguageSpec | LanguageSpec, root: Path, folder: Path, *, cpus_per_task: float
) -> dict[str, Any]:
    """Read a language's raw text, isolate its scripts, drop exact duplicates.

    Writes ``documents``, ``pairs`` (of a target language) and ``rejected`` into ``folder``, each as
    Parquet parts; see ``text_folder``. The English side of a pair keeps Latin, the target side is
    isolated as the language says.

    Args:
        root: folder that relative source paths start from.

    Returns:
        counts of records, bytes and characters in and out, rejected records by reason, and removed
        characters by script.

    Raises:
        UserError: a file cannot be read, or nothing of a field's files is left.
    """
    sources = _source_files(language, root)
    write_language(folder, language.code)
    with TextFolder(folder, pairs=isinstance(language, LanguageSpec)) as text:
        for table in _in_order(
            len(sources), lambda number: isolated_tables(sources[number]), cpus_per_task
        ):
            text.add(table)
    counts = text.counts()
    for kind, field in (("documents", "monolingual"), ("pairs", "parallel")):
        if kind in counts and not counts[kind]["kept"]:
            raise UserError(
                f"languages.{language.code}.{field}: of {counts[kind]['read']} records none is "
                f"left; give JSON Lines with the text fields "
                f"{' and '.join(next(s.text_fields for s in sources if s.kind == kind))}"
            )
    return counts


def tokenize_text(
    text_folder: Path, tokenizer_folder: Path, folder: Path, *, cpus_per_task: float
) -> dict[str, Any]:
    """Write the token ids of a text folder's documents and pairs; see ``tokens``.

    Returns:
        counts of documents, pairs, and tokens by column.
    """
    write_language(folder, read_language(text_folder))
    parts = [
        (part, folder / kind, number)
        for kind in COLUMNS
        for number, part in enumerate(part_files(text_folder / kind))
    ]
    for _, target, _ in parts:
        target.mkdir(exist_ok=True)

    def tokenize(number: int) -> dict[str, int]:
        return tokenize_part(parts[number][0], Encoder(tokenizer_folder), *parts[number][1:])

    counts: Counter[str] = Counter()
    for part_counts in _results(len(parts), tokenize, cpus_per_task):
        counts.update(part_counts)
    return dict(counts)


def prepare_base_stream(
    tokens_folder: Path,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    cpus_per_task: float,
) -> dict[str, Any]:
    """Write the stream of the base model: every document once; see ``mixing``."""
    corpus, vocabulary = TokenCorpus.open(tokens_folder), Vocabulary(tokenizer_folder)
    plan = plan_base(corpus, vocabulary, sequence_length=sequence_length, seed=seed)
    counts = _write_streams({folder: plan}, corpus, vocabulary, cpus_per_task)
    return counts[folder]


def prepare_trial_streams(
    tokens_folder: Path,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    rows: int,
    parallel_share: float,
    pair_order: Literal["english-first", "random"],
    cpus_per_task: float,
) -> dict[str, Any]:
    """Write and check the two streams of a language and seed, ``bridge`` and ``nobridge``.

    Returns:
        counts by condition, and the ``difference`` of their parallel tokens, which is 0.

    Raises:
        UserError: see ``mixing.plan_trial``.
        ConditionsDifferError: the written streams break an invariant; see ``conditions``.
    """
    corpus, vocabulary = TokenCorpus.open(tokens_folder), Vocabulary(tokenizer_folder)
    plans = plan_trial(
        corpus,
        vocabulary,
        language=read_language(tokens_folder),
        sequence_length=sequence_length,
        seed=seed,
        rows=rows,
        parallel_share=parallel_share,
        pair_order=pair_order,
    )
    folders = {folder / condition: plan for condition, plan in plans.items()}
    for stream_folder in folders:
        stream_folder.mkdir()
    written = _write_streams(folders, corpus, vocabulary, cpus_per_task)
    check_conditions(folder / "bridge", folder / "nobridge", corpus)
    counts = {stream_folder.name: count for stream_folder, count in written.items()}
    tokens = [counts[condition]["parallel_tokens"] for condition in ("bridge", "nobridge")]
    return {**counts, "difference": tokens[0] - tokens[1]}


def prefetch(stream: Stream, *, begin: int, stride: int, rows: int, steps: int) -> Iterator[Batch]:
    """Batches of ``rows`` global rows at ``begin``, ``begin + stride``, ... for ever, read ahead.

    Args:
        steps: batches of one task.
    """

    folder, length = stream.folder, stream.sequence_length

    def read(number: int, first: int) -> Iterator[pa.Table]:
        local = Stream.open(folder)
        begins = (first + (number * steps + step) * stride for step in range(steps))
        wanted = [local.physical_rows(at, at + rows) for at in begins]
        ids = local.read(np.concatenate(wanted))
        yield pa.table({"ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), length)})

    while True:
        for table in _in_order(TASKS_PER_PREFETCH, partial(read, first=begin), CPUS_OF_A_READER):
            flat = table["ids"].combine_chunks().flatten().to_numpy()
            yield from flat.reshape(-1, rows, length)
        begin += TASKS_PER_PREFETCH * steps * stride


def _source_files(language: BaseLanguageSpec | LanguageSpec, root: Path) -> list[SourceFile]:
    inputs = InputFiles(root)
    field = f"languages.{language.code}"
    sources = [
        SourceFile(
            path=inputs.resolve(name, f"{field}.monolingual"),
            kind="documents",
            text_fields=("text",),
            isolations=(language.isolation,),
        )
        for name in language.monolingual
    ]
    if isinstance(language, LanguageSpec):
        sources += [
            SourceFile(
                path=inputs.resolve(name, f"{field}.parallel"),
                kind="pairs",
                text_fields=(ENGLISH, language.code),
                isolations=(ENGLISH_ISOLATION, language.isolation),
            )
            for name in language.parallel
        ]
    return sources


def _write_streams(
    plans: Mapping[Path, StreamPlan],
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    cpus_per_task: float,
) -> dict[Path, dict[str, Any]]:
    tasks = [(folder, number) for folder, plan in plans.items() for number in file_numbers(plan)]

    def write(task: int) -> dict[str, Any]:
        folder, number = tasks[task]
        return write_rows(plans[folder], corpus, vocabulary, folder, number)

    files: dict[Path, list[dict[str, Any]]] = {folder: [] for folder in plans}
    for (folder, _), file in zip(tasks, _results(len(tasks), write, cpus_per_task), strict=True):
        files[folder].append(file)
    return {
        folder: finish_stream(plan, corpus, vocabulary, folder, files[folder])
        for folder, plan in plans.items()
    }


def _results(
    tasks: int, function: Callable[[int], dict[str, Any]], cpus_per_task: float
) -> Iterator[dict[str, Any]]:
    """What ``function`` returns for every task number, in their order."""

    def as_table(number: int) -> Iterator[pa.Table]:
        yield pa.table({"result": [json.dumps(function(number))]})

    for table in _in_order(tasks, as_table, cpus_per_task):
        yield from map(json.loads, table["result"].to_pylist())


def _in_order(
    tasks: int, function: Callable[[int], Iterator[pa.Table]], cpus_per_task: float
) -> Iterator[pa.Table]:
    """The tables that ``function`` yields for every task number, in their order.

    One plain Ray Data task a number over items that are there already: a reading operator would
    want a CPU of its own, which trials that train at the same time do not leave.
    """

    def run(batch: dict[str, Any]) -> Iterator[pa.Table]:
        for number in batch["item"].tolist():
            yield from function(number)

    numbers = ray.data.from_items(list(range(tasks)), override_num_blocks=tasks)
    tables = numbers.map_batches(run, batch_size=None, num_cpus=cpus_per_task)
    tables.context.execution_options.preserve_order = True
    tables.context.print_on_execution_start = False
    try:
        yield from tables.iter_batches(batch_size=None, batch_format="pyarrow")
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
