"""Cultural density of a culture's questions in the two corpora, and how the ways to count agree.

Invariant: question i is the same question in both corpora, so their ratio is bootstrapped by
drawing questions with both their densities.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.question_transfer import ESTIMATE, EXACT_MEASURES, Measure
from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.statistics.intervals import (
    bootstrap_interval,
    bootstrap_ratio_interval,
    mean,
    resampling,
    spearman,
    spearman_interval,
    unless_constant,
)
from ccx_ray.study.spec import AnalysisSpec


def density_rows(
    spec: AnalysisSpec,
    cultures: Sequence[str],
    base: str,
    occurrences: pd.DataFrame,
    measures: Sequence[Measure] = (ESTIMATE,),
) -> list[Row]:
    """Mean density of the questions of each culture that was counted in both corpora."""
    counted = {
        place: rows.sort_values("question")
        for place, rows in occurrences.groupby(["culture", "corpus"])
    }
    rows = []
    for culture in cultures:
        found = counted.get((culture, base)), counted.get((culture, culture))
        if found[0] is not None and found[1] is not None:
            rows += [
                _density_row(spec, culture, measure, *found)
                for measure in measures
                if found[0][measure].notna().all() and found[1][measure].notna().all()
            ]
    return rows


def _density_row(
    spec: AnalysisSpec,
    culture: str,
    measure: Measure,
    in_base: pd.DataFrame,
    in_target: pd.DataFrame,
) -> Row:
    """Densities are occurrences over the documents of the corpus, and so are their intervals, NaN
    where all questions have the same count. ``ratio`` is target over base, NaN where the base
    corpus holds none; ``ratio_high`` infinite where so few are found in it that there is no
    bound."""
    assert np.array_equal(in_base["question"], in_target["question"]), f"{culture}: questions"
    densities, columns = {}, {}
    for side, corpus in (("base", in_base), ("target", in_target)):
        counts = corpus[measure].to_numpy(np.float64)
        documents = int(corpus["documents"].iloc[0]) or float("nan")
        # The same draws whichever corpus, as the two are paired by question.
        found = bootstrap_interval(counts, **resampling(spec, "density", culture, measure))
        found = unless_constant(found, counts)
        densities[side] = counts / documents
        for ending, value in (("", mean(counts)), ("_low", found.low), ("_high", found.high)):
            columns[f"{side}_occurrences{ending}"] = value
            columns[f"{side}_density{ending}"] = value / documents
    ratio = bootstrap_ratio_interval(
        densities["target"], densities["base"], **resampling(spec, "density", culture, measure)
    )
    ratio = unless_constant(ratio, densities["target"])
    base, target = columns["base_density"], columns["target_density"]
    return Row(
        culture=culture,
        measure=measure,
        questions=len(in_base),
        base_documents=int(in_base["documents"].iloc[0]),
        target_documents=int(in_target["documents"].iloc[0]),
        **{name: value for name, value in columns.items() if "density" in name},
        ratio=target / base if base > 0 else float("nan"),
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        base_found=int((densities["base"] > 0).sum()),  # questions
        target_found=int((densities["target"] > 0).sum()),
        **{name: value for name, value in columns.items() if "occurrences" in name},
    )


def estimate_rows(spec: AnalysisSpec, occurrences: pd.DataFrame) -> list[Row]:
    """The estimate by retrieval and judge beside every exact count (``measure``), by culture and
    corpus: means, the questions of which it found ``more`` or ``fewer``, and Spearman's
    ``correlation``, NaN where either count is the same for all questions."""
    rows = []
    for (culture, corpus), found in occurrences.groupby(["culture", "corpus"], sort=False):
        counts = found.sort_values("question")
        estimated = counts[ESTIMATE].to_numpy(np.float64)
        for measure in (one for one in EXACT_MEASURES if counts[one].notna().all()):
            exact = counts[measure].to_numpy(np.float64)
            interval = spearman_interval(
                [(estimated, exact)], **resampling(spec, "estimate", culture, corpus, measure)
            )
            rows.append(
                Row(
                    culture=culture,
                    corpus=corpus,
                    measure=measure,
                    questions=len(estimated),
                    estimated=mean(estimated),
                    exact=mean(exact),
                    more=int((estimated > exact).sum()),
                    fewer=int((estimated < exact).sum()),
                    correlation=spearman([(estimated, exact)]),
                    low=interval.low,
                    high=interval.high,
                )
            )
    return rows
