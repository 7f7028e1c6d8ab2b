"""How good the models are at the languages, so that transfer can be told from proficiency.

A bridge may help on questions because knowledge moves, or because the model merely reads the
language better. Bits per byte of held-out text measure the latter: they need no question, and
compare models on texts of any script.

Invariant: the two conditions are compared document by document within a seed, seeds pooled by the
mean; documents are the unit of every standard error and interval.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ccx_ray.analysis.measures.answers import by_run, paired
from ccx_ray.analysis.measures.rows import BASE_RUN, Row, last_steps
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    bootstrap_ratio_interval,
    ratio_standard_error,
    resampling,
)
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

STEP_FILE = re.compile(r"^perplexity-\d+\.parquet$")


def read_held_out(
    study: StudySpec, trials: Sequence[Trial], evaluations: Mapping[str, Path]
) -> pd.DataFrame:
    """What the evaluations measured on held-out text; empty where none was held out.

    Returns:
        One row for every document of a ``text`` (its language) under the base's last checkpoint and
        under every trial and step, with ``tokens``, ``bytes`` and ``nats``. In the order of the
        report: the base, then by ``language`` (of the trial; of the base's rows, of the text),
        ``condition``, ``text``, ``step`` and ``run``.
    """
    from ccx_ray.evaluation.perplexity import SCHEMA, read_perplexity

    files = [path for folder in evaluations.values() for path in sorted(folder.iterdir())]
    tables = [read_perplexity(path) for path in files if STEP_FILE.match(path.name)]
    read = pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pandas()
    read = read.rename(columns={"trial": "run", "language": "text"})
    base = read[read["run"] == BASE_RUN]
    base = base[base["step"] == base.groupby("text")["step"].transform("max")]
    base = base.assign(language=base["text"], condition=BASE_RUN, seed=-1, step=0)
    cells = list(dict.fromkeys((trial.language, trial.condition) for trial in trials))
    order = [
        (trial.name, trial.language, trial.condition, trial.seed, cells.index(cell), place)
        for place, trial in enumerate(trials)
        for cell in [(trial.language, trial.condition)]
    ]
    columns = ["run", "language", "condition", "seed", "cell", "place"]
    others = read.merge(pd.DataFrame(order, columns=columns), on="run")
    others["in_base_language"] = others["text"] == study.base_language.code
    others = others[others["in_base_language"] | (others["text"] == others["language"])]
    others = others.sort_values(["cell", "in_base_language", "step", "place"])
    return pd.concat([base, others], ignore_index=True)[list(base.columns)]


def proficiency_rows(held_out: pd.DataFrame) -> list[Row]:
    """Perplexity (per token) and bits per byte of the base on every language, then of every trial
    and (``seed`` None) over the seeds on both of its languages."""
    rows = []
    names = ["language", "condition", "text", "step"]
    for (language, condition, text, step), cell in held_out.groupby(names, sort=False):
        seeds = [(int(seed), one) for seed, one in cell.groupby("seed", sort=False)]
        for seed, one in (*(seeds if condition != BASE_RUN else ()), (None, cell)):
            bits, of_one = _bits(one).mean(axis=0), one[: len(one) // one["run"].nunique()]
            tokens, sizes = of_one["tokens"].sum(), of_one["bytes"].to_numpy(np.float64)
            rows.append(
                Row(
                    language=language,
                    condition=condition,
                    seed=seed,
                    step=int(step),
                    text=text,
                    documents=len(of_one),
                    tokens=int(tokens),
                    bytes=int(sizes.sum()),
                    perplexity=math.exp(bits.sum() * math.log(2) / tokens),
                    bits_per_byte=float(bits.sum() / sizes.sum()),
                    standard_error=ratio_standard_error(bits, sizes),
                )
            )
    return rows


def proficiency_differences(study: StudySpec, held_out: pd.DataFrame) -> list[Row]:
    """Bits per byte under bridge minus no-bridge for every language, text and checkpoint that both
    were measured at; below 0 the bridge model is better. ``direction`` is the one whose questions
    are asked in the language of the text."""
    rows = []
    names = ["language", "text", "step"]
    for (language, text, step), cell in paired(held_out, *names).groupby(names, sort=False):
        by_seed = cell.sort_values("seed", kind="stable")
        bridge = _bits(by_seed[by_seed["condition"] == "bridge"])
        nobridge = _bits(by_seed[by_seed["condition"] == "nobridge"])
        differences = bridge - nobridge  # bits a document, [S, D]
        sizes = by_seed["bytes"].to_numpy(np.float64)[: differences.shape[1]]
        interval = bootstrap_ratio_interval(
            differences.mean(axis=0),
            sizes,
            **resampling(study.analysis, "proficiency", language, text, str(step)),
        )
        size = sizes.sum()
        rows.append(
            Row(
                language=language,
                direction="base-to-target" if text == language else "target-to-base",
                text=text,
                step=int(step),
                documents=len(sizes),
                seeds=tuple(by_seed["seed"].unique().tolist()),
                bridge=float(bridge.mean(axis=0).sum() / size),
                nobridge=float(nobridge.mean(axis=0).sum() / size),
                difference=float(differences.mean(axis=0).sum() / size),
                low=interval.low,
                high=interval.high,
                seed_differences=tuple((differences.sum(axis=1) / size).tolist()),
            )
        )
    return rows


def last_differences(rows: Sequence[Row]) -> list[Row]:
    """Every language and text at its last checkpoint."""
    return last_steps(rows, "language", "direction")


def last_proficiencies(rows: Sequence[Row]) -> list[Row]:
    """Over the seeds: the base, and each condition at the last checkpoint of its language."""
    pooled = last_steps(rows, "language")
    return [row for row in pooled if row.seed is None]


def _bits(rows: pd.DataFrame) -> Floats:
    """Bits of every document under each run, [R, D]."""
    documents = by_run(rows, "document")
    assert (documents == documents[0]).all(), "other held-out documents"
    return by_run(rows, "nats") / math.log(2)
