"""Scoring models that no study made, in this process: what ``jobs/evaluate.py`` does.

Invariant: the JSON holds the scores of every question, so its accuracies can be computed again.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from ccx_ray.evaluation.models import choose_device, load_causal_model
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.ranking import RankedItem


def score_files(
    model_folder: Path, probes: Sequence[tuple[Path, Probe]], *, tokens_per_batch: int
) -> dict[str, Any]:
    """Score probe files with a progress bar; returns the content of ``OUT.json``.

    Raises:
        UserError: the model cannot be opened, or a question is too long for it.
    """
    from ccx_ray.evaluation.scoring import score_probe

    console = Console(stderr=True)
    model = load_causal_model(model_folder, choose_device())
    console.print(
        f"{model_folder}: {model.network.num_parameters():,} parameters, device {model.device}, "
        f"precision {str(model.network.dtype).removeprefix('torch.')}",
        highlight=False,
        soft_wrap=True,
    )
    content = []
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        for path, probe in probes:
            bar = progress.add_task(path.name, total=probe.sentences)
            ranked = score_probe(
                model,
                probe,
                tokens_per_batch=tokens_per_batch,
                on_scored=partial(progress.advance, bar),
            )
            content.append(_probe_content(path, [one.ranked() for one in ranked]))
    return {"model": str(model_folder), "scoring": "reference", "probes": content}


def print_accuracies(content: dict[str, Any]) -> None:
    """The table at the end of the job."""
    table = Table(box=None, pad_edge=False)
    table.add_column("probe file")
    for column in ("questions", "correct", "accuracy", "tied", "with ties wrong"):
        table.add_column(column, justify="right")
    for probe in content["probes"]:
        table.add_row(
            Path(probe["file"]).name,
            f"{probe['questions']:,}",
            f"{probe['correct']:,}",
            f"{probe['accuracy']:.1%}",
            f"{sum(item['tied'] for item in probe['items']):,}",
            f"{probe['accuracy_ties_wrong']:.1%}",
        )
    Console().print(table)


def _probe_content(path: Path, ranked: Sequence[RankedItem]) -> dict[str, Any]:
    correct = sum(item.correct for item in ranked)
    return {
        "file": str(path),
        "questions": len(ranked),
        "correct": correct,
        "accuracy": correct / len(ranked),
        "accuracy_ties_wrong": sum(item.correct and not item.tied for item in ranked) / len(ranked),
        "items": [
            {
                "index": index,
                "scores": list(item.scores),
                "ranking": list(item.ranking),
                "correct": item.correct,
                "tied": item.tied,
            }
            for index, item in enumerate(ranked)
        ],
    }
