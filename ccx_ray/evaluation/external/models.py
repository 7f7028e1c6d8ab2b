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

from ccx_ray.evaluation.external.harness_export import harness_accuracies
from ccx_ray.evaluation.models import CausalModel, Precision, load_causal_model
from ccx_ray.evaluation.probes import Probe, quality
from ccx_ray.evaluation.rank_consistency import consistency_of_pairs
from ccx_ray.evaluation.results import ScoredItem, accuracies, probe_results
from ccx_ray.evaluation.sentences import EncodedProbe, encode_probe
from ccx_ray.study.spec import ScoreType


def score_files(
    model_folder: Path,
    probes: Sequence[tuple[Path, Probe]],
    *,
    scoring: ScoreType,
    device: str,
    precision: Precision,
    tokens_per_batch: int,
    lenient: bool,
    parallel: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Score probe files with a progress bar; returns the content of ``OUT.json``.

    Args:
        lenient: leave out what the model cannot be asked, and list it.
        parallel: which pairs of files to compare the rankings of, by their places.

    Raises:
        UserError: the model cannot be opened, or a question is too long for it.
    """
    console = Console(stderr=True)
    model = load_causal_model(model_folder, device, precision)
    console.print(_description(model), highlight=False, soft_wrap=True)
    # All are encoded before the first is scored, so that a wrong question costs seconds.
    encoded = [
        encode_probe(model, probe, alone=scoring == "mutual_information", lenient=lenient)
        for _, probe in probes
    ]
    for (path, _), one in zip(probes, encoded, strict=True):
        for item in one.probe.left_out:
            console.print(
                f"{path}, item {item.index} left out: {item.reason}",
                highlight=False,
                soft_wrap=True,
            )
    scored = _score(console, model, encoded, scoring=scoring, tokens_per_batch=tokens_per_batch)
    tables = [
        probe_results("", 0, one.probe.name, items)
        for one, items in zip(encoded, scored, strict=True)
    ]
    files = [path for path, _ in probes]
    content = {
        "model": str(model_folder),
        "scoring": scoring,
        "device": device,
        "precision": precision,
        "probes": [
            _probe_content(path, one.probe, items, rows, scoring)
            for path, one, items, rows in zip(files, encoded, scored, tables, strict=True)
        ],
    }
    if parallel:
        content["consistency"] = consistency_of_pairs(files, tables, parallel, scoring)
    return content


def _description(model: CausalModel) -> str:
    precision = str(model.network.dtype).removeprefix("torch.")
    inexact = " (inexact: choices may differ from those in float32)"
    return (
        f"{model.folder}: {model.network.num_parameters():,} parameters, device {model.device}, "
        f"precision {precision}{'' if precision == 'float32' else inexact}"
    )


def _score(
    console: Console,
    model: CausalModel,
    encoded: Sequence[EncodedProbe],
    *,
    scoring: ScoreType,
    tokens_per_batch: int,
) -> list[list[ScoredItem]]:
    from ccx_ray.evaluation.scoring import score_encoded

    scored = []
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        for one in encoded:
            task = any(item.context is not None for item in one.probe.items)
            bar = progress.add_task(Path(one.probe.name).name, total=one.probe.sentences)
            scored.append(
                score_encoded(
                    model,
                    one,
                    tokens_per_batch=tokens_per_batch,
                    kinds=(scoring, "option_sum", "option_per_byte") if task else (scoring,),
                    on_scored=partial(progress.advance, bar),
                )
            )
    return scored


def _probe_content(
    path: Path, probe: Probe, scored: Sequence[ScoredItem], rows: pa.Table, scoring: ScoreType
) -> dict[str, Any]:
    kinds = Counter(kind for item in probe.items for kind in quality(item))
    content = {
        "file": str(path),
        "questions": len(scored),
        # correct, accuracy, with ties wrong and shared, standard_error, tied, by_gold_position
        **accuracies(rows, scoring),
        "quality": dict(kinds),
        "left_out": [{"index": one.index, "reason": one.reason} for one in probe.left_out],
    }
    if any(item.context is not None for item in probe.items):
        content["lm_evaluation_harness"] = harness_accuracies(scored)
    return content | {"items": [_item_content(one, scoring) for one in scored]}


def _item_content(one: ScoredItem, scoring: ScoreType) -> dict[str, Any]:
    ranked = one.ranked(scoring)
    return {
        "index": one.index,
        "scores": list(ranked.scores),
        "ranking": list(ranked.ranking),
        "correct": ranked.correct,
        "tied": ranked.tied,
        "quality": list(quality(one.item)),
    }
