"""Scoring models that no study made, in this process: what ``jobs/evaluate.py`` does.

Invariant: the JSON holds the scores of every question, so its accuracies can be computed again, and
names every item that was left out.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from ccx_ray.evaluation.external.harness import harness_accuracies
from ccx_ray.evaluation.models import Precision, load_causal_model
from ccx_ray.evaluation.prefix import PrefixRule, choose_prefix
from ccx_ray.evaluation.probes import Probe, quality
from ccx_ray.evaluation.rank_consistency import consistency_of_pairs
from ccx_ray.evaluation.results import ScoredItem, accuracies, probe_results
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from ccx_ray.study.spec import ScoreType


def score_files(
    model_folder: Path,
    probes: Sequence[tuple[Path, Probe]],
    *,
    scoring: ScoreType,
    prefix: PrefixRule,
    device: str,
    precision: Precision,
    tokens_per_batch: int,
    lenient: bool,
    parallel: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Score probe files with a progress bar; returns the content of ``OUT.json``.

    Args:
        lenient: leave out what the model cannot be asked, and list it.
        prefix: what stands before every sentence of a cloze question.
        parallel: which pairs of files to compare the rankings of, by their places.

    Raises:
        UserError: the model cannot be opened, or a question is too long for it.
    """
    console = Console(stderr=True)
    tell = partial(console.print, highlight=False, soft_wrap=True)
    model = load_causal_model(model_folder, device, precision)
    name = str(model.network.dtype).removeprefix("torch.")
    inexact = " (inexact: choices may differ from those in float32)"
    tell(
        f"{model.folder}: {model.network.num_parameters():,} parameters, device {model.device}, "
        f"precision {name}{'' if name == 'float32' else inexact}"
    )
    before = choose_prefix(model, prefix, scoring)
    # All are encoded before the first is scored, so that a wrong question costs seconds.
    encoded = [
        encode_probe(
            model, probe, prefix=before, alone=scoring == "mutual_information", lenient=lenient
        )
        for _, probe in probes
    ]
    token = None if before.token is None else model.tokenizer.decode([before.token])
    spelled = "none" if token is None else repr(token)
    if not all(_is_task(probe) for _, probe in probes):
        tell(f"token before each sentence: {spelled} ({before.reason}; --prefix {prefix})")
    for (path, _), one in zip(probes, encoded, strict=True):
        for item in one.probe.left_out:
            tell(f"{path}, item {item.index} left out: {item.reason}")
        for note in one.probe.notes:
            tell(f"warning: {path}, {note}")
    tables: list[pa.Table] = []
    contents: list[dict[str, Any]] = []
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        for (path, _), one in zip(probes, encoded, strict=True):
            bar = progress.add_task(path.name, total=one.probe.sentences)
            harness: tuple[ScoreType, ...] = ("option_sum", "option_per_byte")
            scored = score_encoded(
                model,
                one,
                tokens_per_batch=tokens_per_batch,
                kinds=(scoring, *(harness if _is_task(one.probe) else ())),
                on_scored=partial(progress.advance, bar),
            )
            tables.append(probe_results("", 0, one.probe.name, scored))
            contents.append(_probe_content(path, one.probe, scored, tables[-1], scoring))
    found = {
        "model": str(model_folder),
        "scoring": scoring,
        "device": device,
        "precision": precision,
        "prefix": {
            "rule": prefix,
            "token": token,
            "id": before.token,
            "reason": before.reason,
        },
        "probes": contents,
    }
    if parallel:
        files = [path for path, _ in probes]
        found["consistency"] = consistency_of_pairs(files, tables, parallel, scoring)
    return found


def _probe_content(
    path: Path, probe: Probe, scored: Sequence[ScoredItem], rows: pa.Table, scoring: ScoreType
) -> dict[str, Any]:
    content = {
        "file": str(path),
        "questions": rows.num_rows,
        # correct, accuracy, with ties wrong and shared, standard_error, tied, by_gold_position
        **accuracies(rows, scoring),
        "quality": dict(Counter(kind for item in probe.items for kind in quality(item))),
        "left_out": [{"index": one.index, "reason": one.reason} for one in probe.left_out],
    }
    if _is_task(probe):
        content["lm_evaluation_harness"] = harness_accuracies(scored)
    items = []
    for one in scored:
        ranked = one.ranked(scoring)
        items.append(
            {
                "index": one.index,
                "scores": list(ranked.scores),
                "ranking": list(ranked.ranking),
                "correct": ranked.correct,
                "tied": ranked.tied,
                "quality": list(quality(one.item)),
            }
        )
    return {**content, "items": items}


def _is_task(probe: Probe) -> bool:
    return any(item.context is not None for item in probe.items)
