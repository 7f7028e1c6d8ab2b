"""Whether a model ranks the options of a question alike in two languages, right or wrong.

RankC (Qi, Fernandez and Bisazza, EMNLP 2023) needs no right answer, so it also sees what is shared
between the languages without being true, and is blind to how much is known.

Invariant: item i of the two versions is the same question, its options in the same order; a
question that the study leaves out of one version is left out of both.
"""

from collections.abc import Sequence

import numpy as np

from ccx_ray.analysis.measures.answers import Answers
from ccx_ray.analysis.measures.rows import Row, last_steps
from ccx_ray.analysis.statistics.intervals import Floats, bootstrap_interval, resampling
from ccx_ray.evaluation.rank_consistency import rank_consistency_of
from ccx_ray.study.spec import StudySpec


def consistency_rows(study: StudySpec, answers: Answers) -> list[Row]:
    """RankC between the two versions of a culture's questions, mean over the questions, of the base
    and both conditions at every checkpoint, by the study's score.

    ``random`` is what two unrelated rankings give; ``seeds`` of the base are none.
    """
    rows = []
    both = answers.rows.groupby(["language", "run", "step", "question"])["probe"].transform("size")
    cells = answers.rows[both == 2].groupby(["language", "condition", "step"], sort=False)
    for (language, condition, step), cell in cells:
        is_target = cell["direction"] == "base-to-target"
        english, target = cell[~is_target], cell[is_target]
        seeds = english["seed"].unique().tolist()
        values: Floats = rank_consistency_of(
            answers.scores.take(english.index.to_numpy()),
            answers.scores.take(target.index.to_numpy()),
            study.evaluation.scoring,
        ).reshape(len(seeds), -1)
        interval = bootstrap_interval(
            values.mean(axis=0),
            **resampling(study.analysis, "consistency", language, condition, str(step)),
        )
        options = english["options"].tolist()[: values.shape[1]]
        is_base = condition == "base"
        rows.append(
            Row(
                language=language,
                condition=condition,
                step=int(step),
                questions=len(options),
                consistency=float(values.mean()),
                low=interval.low,
                high=interval.high,
                random=float(np.mean([random_consistency(count) for count in options])),
                seeds=() if is_base else tuple(seeds),
                seed_consistencies=() if is_base else tuple(values.mean(axis=1).tolist()),
            )
        )
    return rows


def random_consistency(options: int) -> float:
    """RankC of two unrelated rankings, on average over all of them, exactly.

    Of the first j options of two rankings of N in random order, j * j / N are expected to be the
    same, a share of j / N; RankC weighs these shares by softmax(N, N - 1, ..., 1). For four options
    that is 0.377.
    """
    places = np.arange(1, options + 1)
    weights = np.exp(-places.astype(np.float64))
    return float((weights * places).sum() / weights.sum() / options)


def last_consistencies(rows: Sequence[Row]) -> list[Row]:
    """The base, and each condition at the last checkpoint of its language."""
    return last_steps(rows, "language")
