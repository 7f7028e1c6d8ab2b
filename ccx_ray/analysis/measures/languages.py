"""How good the models are at the languages, and whether two languages are answered alike.

A bridge may help on questions because knowledge moves, or because the model merely reads the
language better. Bits per byte of held-out text measure the latter: they need no question, and
compare models on texts of any script. RankC (Qi, Fernandez and Bisazza, EMNLP 2023) compares how a
model ranks the options of a question in two languages. It needs no right answer, so it also sees
what is shared between the languages without being true, and is blind to how much is known.

Invariants: the two conditions are compared document by document within a seed, seeds pooled by the
mean; documents are the unit of every standard error and interval of bits per byte. Item i of the
two versions of a culture's questions is the same question, its options in the same order; a
question that the study leaves out of one version is left out of both.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ccx_ray.analysis.measures.transfer import Answers, by_run, cells, clusters_of, paired
from ccx_ray.analysis.statistics import (
    Floats,
    bootstrap_interval,
    bootstrap_ratio_interval,
    ratio_standard_error,
    resampling,
)
from ccx_ray.analysis.tables import BASE_RUN, Row
from ccx_ray.evaluation.rank_consistency import rank_consistency_of
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
    order = pd.DataFrame(
        [(trial.name, trial.language, trial.condition, trial.seed) for trial in trials],
        columns=["run", "language", "condition", "seed"],
    )
    order["cell"] = order.groupby(["language", "condition"], sort=False).ngroup()
    others = read.merge(order.assign(place=order.index), on="run")
    others["in_base_language"] = others["text"] == study.base_language.code
    others = others[others["in_base_language"] | (others["text"] == others["language"])]
    others = others.sort_values(["cell", "in_base_language", "step", "place"])
    return pd.concat([base, others], ignore_index=True)[list(base.columns)]


def proficiency_rows(held_out: pd.DataFrame) -> Iterator[Row]:
    """Perplexity (per token) and bits per byte of the base on every language, then of every trial
    and (``seed`` None) over the seeds on both of its languages."""
    for place, cell in cells(held_out, "language", "condition", "text", "step"):
        language, condition, text, step = place.values()
        seeds = [(int(seed), one) for seed, one in cell.groupby("seed", sort=False)]
        for seed, one in (*(seeds if condition != BASE_RUN else ()), (None, cell)):
            bits, of_one = bits_by_run(one).mean(axis=0), one[: len(one) // one["run"].nunique()]
            tokens, sizes = of_one["tokens"].sum(), of_one["bytes"].to_numpy(np.float64)
            yield Row(
                language=language,
                condition=condition,
                seed=seed,
                step=step,
                text=text,
                documents=len(of_one),
                tokens=int(tokens),
                bytes=int(sizes.sum()),
                perplexity=math.exp(bits.sum() * math.log(2) / tokens),
                bits_per_byte=float(bits.sum() / sizes.sum()),
                standard_error=ratio_standard_error(bits, sizes),
            )


def proficiency_differences(study: StudySpec, held_out: pd.DataFrame) -> Iterator[Row]:
    """Bits per byte under bridge minus no-bridge for every language, text and checkpoint that both
    were measured at; below 0 the bridge model is better. ``direction`` is the one whose questions
    are asked in the language of the text."""
    names = ("language", "text", "step")
    for place, cell in cells(paired(held_out, *names), *names):
        language, text, step = place.values()
        by_seed = cell.sort_values("seed", kind="stable")
        bridge = bits_by_run(by_seed[by_seed["condition"] == "bridge"])
        nobridge = bits_by_run(by_seed[by_seed["condition"] == "nobridge"])
        differences = bridge - nobridge  # bits a document, [S, D]
        sizes = by_seed["bytes"].to_numpy(np.float64)[: differences.shape[1]]
        resample = resampling(study.analysis, "proficiency", language, text, str(step))
        interval = bootstrap_ratio_interval(differences.mean(axis=0), sizes, resample)
        size = sizes.sum()
        yield Row(
            language=language,
            direction="base-to-target" if text == language else "target-to-base",
            text=text,
            step=step,
            documents=len(sizes),
            seeds=tuple(by_seed["seed"].unique().tolist()),
            bridge=float(bridge.mean(axis=0).sum() / size),
            nobridge=float(nobridge.mean(axis=0).sum() / size),
            difference=float(differences.mean(axis=0).sum() / size),
            **interval._asdict(),
            seed_differences=tuple((differences.sum(axis=1) / size).tolist()),
        )


def bits_by_run(rows: pd.DataFrame) -> Floats:
    """Bits of every document under each run, [R, D]."""
    documents = by_run(rows, "document")
    assert (documents == documents[0]).all(), "other held-out documents"
    return by_run(rows, "nats") / math.log(2)


def consistency_rows(study: StudySpec, answers: Answers) -> Iterator[Row]:
    """RankC between the two versions of a culture's questions, mean over the questions, of the base
    and both conditions at every checkpoint, by the study's score.

    ``random`` is what two unrelated rankings give; ``seeds`` of the base are none.
    """
    both = answers.rows.groupby(["language", "run", "step", "question"])["probe"].transform("size")
    for place, cell in cells(answers.rows[both == 2], "language", "condition", "step"):
        language, condition, step = place.values()
        is_target = cell["direction"] == "base-to-target"
        english, target = cell[~is_target], cell[is_target]
        seeds = english["seed"].unique().tolist()
        values: Floats = rank_consistency_of(
            answers.scores.take(english.index.to_numpy()),
            answers.scores.take(target.index.to_numpy()),
            study.evaluation.scoring,
        ).reshape(len(seeds), -1)
        resample = resampling(study.analysis, "consistency", language, condition, str(step))
        options, clusters = english["options"].tolist()[: values.shape[1]], clusters_of(english)
        is_base = condition == BASE_RUN
        yield Row(
            **place,
            questions=len(options),
            clusters=len(set(clusters)),
            consistency=float(values.mean()),
            **bootstrap_interval([values.mean(axis=0)], resample, [clusters])._asdict(),
            random=float(np.mean([random_consistency(count) for count in options])),
            seeds=() if is_base else tuple(seeds),
            seed_consistencies=() if is_base else tuple(values.mean(axis=1).tolist()),
        )


def random_consistency(options: int) -> float:
    """RankC of two unrelated rankings, on average over all of them, exactly.

    Of the first j options of two rankings of N in random order, j * j / N are expected to be the
    same, a share of j / N; RankC weighs these shares by softmax(N, N - 1, ..., 1). For four options
    that is 0.377.
    """
    places = np.arange(1, options + 1)
    weights = np.exp(-places.astype(np.float64))
    return float((weights * places).sum() / weights.sum() / options)
