"""The steps before training: raw text to isolated text, to tokens, to streams.

Each step is a few rounds of tasks that do not depend on one another; who runs them is the caller's
choice. Invariants: a result does not depend on how the tasks were run; what is finished when a
driver is killed is not done again.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ccx_ray.corpus.cleaning.blocks import read_repeated, write_repeated
from ccx_ray.corpus.cleaning.isolation import isolate_shard
from ccx_ray.corpus.cleaning.text_folder import Part, repetitions, settle_part, text_counts
from ccx_ray.corpus.packing.conditions import check_conditions
from ccx_ray.corpus.packing.heldout import check_held_out, held_out_numbers
from ccx_ray.corpus.packing.mixing import StreamPlan, plan_base, plan_trial
from ccx_ray.corpus.packing.stream_folder import file_numbers, finish_stream, write_rows
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.reading.sources import source_shards
from ccx_ray.corpus.reading.text_sources import Kind, text_sources
from ccx_ray.corpus.tokenizing.encoding import open_encoder
from ccx_ray.corpus.tokenizing.tokens import (
    COLUMNS,
    TokenCorpus,
    read_base_language,
    read_language,
    tokenize_part,
    write_documents,
    write_language,
)
from ccx_ray.corpus.tokenizing.vocabulary import Vocabulary
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.study.spec import MixtureSpec
from ccx_ray.study.text_spec import (
    BaseLanguageSpec,
    CleaningSpec,
    LanguageSpec,
)

logger = logging.getLogger(__name__)


def isolate_text(
    language: BaseLanguageSpec | LanguageSpec,
    root: Path,
    folder: Path,
    *,
    base: BaseLanguageSpec,
    cleaning: CleaningSpec,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Read a language's raw text, isolate it, drop what is repeated.

    Writes ``documents``, ``pairs`` (of a target language) and ``rejected`` into ``folder``, each as
    Parquet parts; see ``text_folder``. Each side of a pair is
    isolated as its language says. Two passes: the first isolates every shard into blocks; then the
    keys of all rows, and they alone, are compared; the second writes the parts.

    Args:
        root: folder that relative source paths start from.
        base: the base language, which the first halves of pairs are in.

    Returns:
        counts of records, bytes and characters in and out, rejected records by reason, and removed
        characters by script.

    Raises:
        UserError: a file cannot be read, or nothing of a field's files is left.
    """
    sources = text_sources(language, base)
    shards = [
        (source, shard)
        for source, field in sources
        for shard in source_shards(source.spec, sides=source.sides, root=root, field=field)
    ]
    log = WorkLog(folder, "isolate")
    blocks = log.scratch / "blocks"
    blocks.mkdir(parents=True, exist_ok=True)

    def isolate(number: int) -> dict[str, Any]:
        source, shard = shards[number]
        return isolate_shard(source, shard, cleaning, blocks, f"block-{number:05d}")

    isolated = run_tasks(log, len(shards), isolate)
    parts: list[Part] = []
    numbers: Counter[Kind] = Counter()
    for (source, shard), result in zip(shards, isolated, strict=True):
        for block in result["blocks"]:
            parts.append(
                Part(
                    kind=source.kind,
                    block=block["name"],
                    number=numbers[source.kind],
                    rejected_number=len(parts),
                    shard=shard,
                )
            )
            numbers[source.kind] += 1
    kinds: list[Kind] = ["documents"]
    if isinstance(language, LanguageSpec):
        kinds.append("pairs")
    for kind in kinds:
        own = [part for part in parts if part.kind == kind]
        similarity = cleaning.near_duplicates if kind == "documents" else None
        for part, table in zip(own, repetitions(blocks, own, similarity), strict=True):
            write_repeated(blocks, part.block, table)
    for name in (*kinds, "rejected"):
        (folder / name).mkdir(exist_ok=True)

    def settle(number: int) -> dict[str, Any]:
        part = parts[number]
        return settle_part(part, blocks, read_repeated(blocks, part.block), folder)

    settled = run_tasks(WorkLog(folder, "write"), len(parts), settle)
    write_language(folder, language.code, base.code)
    counts = text_counts(kinds, isolated, list(zip(parts, settled, strict=True)))
    for source, field in sources:
        if not counts[source.kind]["kept"]:
            raise UserError(
                f"{field}: of {counts[source.kind]['read']} records none is left "
                f"({_reasons(counts[source.kind]['rejected'])}); give text with the fields "
                f"{' and '.join(source.sides)}"
            )
    return counts


def tokenize_text(
    text_folder: Path, tokenizer_folder: Path, folder: Path, *, run_tasks: RunTasks
) -> dict[str, Any]:
    """Write the token ids of a text folder's documents and pairs; see ``tokens``.

    Returns:
        counts of documents, pairs, and tokens by column; the parts that the fast tokenizer could
        not encode.
    """
    write_language(folder, read_language(text_folder), read_base_language(text_folder))
    parts = [
        (part, folder / kind, number)
        for kind in COLUMNS
        for number, part in enumerate(part_files(text_folder / kind))
    ]
    for _, target, _ in parts:
        target.mkdir(exist_ok=True)

    def tokenize(number: int) -> dict[str, Any]:
        return tokenize_part(parts[number][0], open_encoder(tokenizer_folder), *parts[number][1:])

    counts: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    log = WorkLog(folder, "tokenize")
    for result in run_tasks(log, len(parts), tokenize):
        if reason := result.pop("fallback"):
            fallbacks[reason] += 1
        counts.update(result)
    write_documents(folder)
    for reason, number in fallbacks.items():
        logger.warning("%d of %d parts were tokenized slowly: %s", number, len(parts), reason)
    return {**counts, "parts_tokenized_slowly": fallbacks.total()}


def prepare_base_stream(
    tokens_folder: Path,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    held_out: Path | None = None,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Write the stream of the base model: every document once; see ``mixing``.

    Args:
        held_out: the documents that it must not show; see ``heldout``.

    Raises:
        HeldOutShownError: the written stream shows one.
    """
    corpus = TokenCorpus.open(tokens_folder, held_out=held_out_numbers(held_out))
    vocabulary = Vocabulary(tokenizer_folder)
    plan = plan_base(corpus, vocabulary, sequence_length=sequence_length, seed=seed)
    log = WorkLog(folder, "pack")
    counts = _write_streams({folder: plan}, corpus, vocabulary, log, run_tasks)[folder]
    if held_out is not None:
        check_held_out(folder, {read_language(tokens_folder): held_out})
    return counts


def prepare_trial_streams(
    tokens_folder: Path,
    replay_folder: Path | None,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    rows: int,
    mixture: MixtureSpec,
    pair_order: Literal["english-first", "random"],
    held_out: Path | None = None,
    replay_held_out: Path | None = None,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Write and check the two streams of a language and seed, ``bridge`` and ``nobridge``.

    Args:
        replay_folder: the base language's tokens, where the mixture replays them.
        held_out: the documents that the streams must not show; see ``heldout``.
        replay_held_out: the same of the base language.

    Returns:
        counts by condition, and the ``difference`` of their parallel tokens, which is 0.

    Raises:
        UserError: see ``mixing.plan_trial``.
        ConditionsDifferError: the written streams break an invariant; see ``conditions``.
        HeldOutShownError: one of them shows a held-out document.
    """
    corpus = TokenCorpus.open(
        tokens_folder,
        replay=replay_folder,
        held_out=held_out_numbers(held_out),
        replay_held_out=held_out_numbers(replay_held_out),
    )
    vocabulary = Vocabulary(tokenizer_folder)
    language = read_language(tokens_folder)
    plans = plan_trial(
        corpus,
        vocabulary,
        language=language,
        sequence_length=sequence_length,
        seed=seed,
        rows=rows,
        mixture=mixture,
        pair_order=pair_order,
    )
    folders = {folder / condition: plan for condition, plan in plans.items()}
    for stream_folder in folders:
        stream_folder.mkdir(exist_ok=True)
    log = WorkLog(folder, "pack")
    written = _write_streams(folders, corpus, vocabulary, log, run_tasks)
    check_conditions(folder / "bridge", folder / "nobridge", corpus)
    forbidden = {language: held_out} if held_out is not None else {}
    if replay_folder is not None and replay_held_out is not None:
        forbidden[read_language(replay_folder)] = replay_held_out
    for stream_folder in folders:
        check_held_out(stream_folder, forbidden)
    counts = {stream_folder.name: count for stream_folder, count in written.items()}
    tokens = [counts[condition]["parallel_tokens"] for condition in ("bridge", "nobridge")]
    return {**counts, "difference": tokens[0] - tokens[1]}


def _write_streams(
    plans: Mapping[Path, StreamPlan],
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    log: WorkLog,
    run_tasks: RunTasks,
) -> dict[Path, dict[str, Any]]:
    tasks = [(folder, number) for folder, plan in plans.items() for number in file_numbers(plan)]

    def write(task: int) -> dict[str, Any]:
        folder, number = tasks[task]
        return write_rows(plans[folder], corpus, vocabulary, folder, number)

    files: dict[Path, list[dict[str, Any]]] = {folder: [] for folder in plans}
    results = run_tasks(log, len(tasks), write)
    for (folder, _), file in zip(tasks, results, strict=True):
        files[folder].append(file)
    return {
        folder: finish_stream(plan, corpus, vocabulary, folder, files[folder])
        for folder, plan in plans.items()
    }


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in rejected.items()) or "none read"
