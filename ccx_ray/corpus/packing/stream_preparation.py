"""The steps that make streams: plan, pack and write their rows, finish their folders, check them.

Invariants: a stream does not depend on how the tasks were run; what is finished when a driver is
killed is not done again; the description of a stream is written last, so a folder that has one is
whole.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ccx_ray.corpus.packing.conditions import check_conditions
from ccx_ray.corpus.packing.heldout import check_held_out, held_out_numbers
from ccx_ray.corpus.packing.mixing import plan_base, plan_trial
from ccx_ray.corpus.packing.rows import (
    ROW_GROUP_SIZE,
    StreamPlan,
    file_numbers,
    rows_per_file,
    write_rows,
)
from ccx_ray.corpus.packing.stream import DESCRIPTION, REPLAYED_DOCUMENTS
from ccx_ray.corpus.parts import read_language
from ccx_ray.corpus.tokenizing.encoding import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import DOCUMENTS, TokenCorpus
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json, writing_aside
from ccx_ray.study.spec import MixtureSpec


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


def finish_stream(
    plan: StreamPlan,
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    folder: Path,
    files: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write what makes the rows a stream, and give its counts.

    Args:
        files: what ``write_rows`` returned, in the order of the files.
    """
    files = list(files)
    tokens: Counter[str] = Counter()
    for file in files:
        tokens.update(file["counts"])
    _link(corpus.folder / DOCUMENTS, folder / DOCUMENTS)
    if corpus.replay is not None:
        _link(corpus.replay / DOCUMENTS, folder / REPLAYED_DOCUMENTS)
    identity = {
        "rows": len(plan.order),
        "sequence_length": plan.sequence_length,
        "seed": plan.seed,
        "row_group_size": ROW_GROUP_SIZE,
        "eos_id": vocabulary.eos_id,
        "pad_id": vocabulary.pad_id,
        "vocabulary_size": vocabulary.size,
    }
    content = {**identity, "files": [file["sha256"] for file in files]}
    counts = {**plan.counts, "tokens": dict(tokens)}
    publish_json(
        folder / DESCRIPTION,
        {
            **identity,
            "rows_per_file": rows_per_file(plan.sequence_length),
            "fingerprint": fingerprint(content),
            "counts": counts,
        },
    )
    return {"rows": len(plan.order), **counts}


def _link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no hard links."""
    with writing_aside(target) as path:
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
