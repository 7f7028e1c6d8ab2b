"""Cultural density of a culture's questions in the two corpora, and how the ways to count agree.

Invariant: question i is the same question in both corpora, so their ratio is bootstrapped by
drawing questions with both their densities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ccx_ray.analysis.measures.occurrences import (
    ESTIMATE,
    EXACT_MEASURES,
    Counted,
    Measure,
    Occurrences,
)
from ccx_ray.analysis.measures.question_transfer import mean
from ccx_ray.analysis.statistics.intervals import (
    bootstrap_interval,
    bootstrap_ratio_interval,
    seeded_generator,
    unless_constant,
)
from ccx_ray.analysis.statistics.rank_correlation import spearman, spearman_interval
from ccx_ray.study.spec import AnalysisSpec


@dataclass(frozen=True, kw_only=True)
class DensityRow:
    """Mean cultural density of one culture's questions in the two corpora, by one way to count.

    ``low`` and ``high`` are the ends of a bootstrap interval over questions, NaN where all have the
    same count. Occurrences are the
    densities times the documents of the corpus, and so are their intervals.
    """

    culture: str
    measure: Measure
    questions: int
    base_documents: int
    target_documents: int
    base_density: float
    base_density_low: float
    base_density_high: float
    target_density: float
    target_density_low: float
    target_density_high: float
    ratio: float
    """Target over base; NaN where the base corpus holds none."""
    ratio_low: float
    ratio_high: float
    """Infinite where so few questions are found in the base corpus that there is no bound."""
    base_found: int
    """Questions that at least one document of the base corpus holds."""
    target_found: int
    base_occurrences: float
    """Mean occurrences a question."""
    base_occurrences_low: float
    base_occurrences_high: float
    target_occurrences: float
    target_occurrences_low: float
    target_occurrences_high: float


@dataclass(frozen=True, kw_only=True)
class EstimateRow:
    """How the estimate by retrieval ranks questions beside an exact count in one corpus."""

    culture: str
    corpus: str
    measure: Measure
    """The exact count."""
    questions: int
    estimated: float
    """Mean occurrences by retrieval and judge."""
    exact: float
    """Mean of the exact count."""
    more: int
    """Questions of which retrieval and judge found more than the exact count."""
    fewer: int
    correlation: float
    """Spearman's; NaN where either count is the same for all questions."""
    low: float
    high: float


def density_rows(
    spec: AnalysisSpec,
    cultures: Sequence[str],
    base: str,
    counted: Counted,
    measures: Sequence[Measure] = (ESTIMATE,),
) -> list[DensityRow]:
    """Densities of the cultures that were counted in both corpora."""
    rows = []
    for culture in cultures:
        in_base, in_target = counted.get((culture, base)), counted.get((culture, culture))
        if in_base is not None and in_target is not None:
            assert np.array_equal(in_base.question, in_target.question), f"{culture}: questions"
            for measure in measures:
                if measure in in_base.counts and measure in in_target.counts:
                    rows.append(_density_row(spec, culture, measure, in_base, in_target))
    return rows


def _density_row(
    spec: AnalysisSpec,
    culture: str,
    measure: Measure,
    in_base: Occurrences,
    in_target: Occurrences,
) -> DensityRow:
    fields: dict[str, float] = {}
    for side, corpus in (("base", in_base), ("target", in_target)):
        counts = corpus.counts[measure].astype(np.float64)
        # The same draws whichever corpus, as the two are paired by question.
        found = bootstrap_interval(
            counts,
            samples=spec.bootstrap_samples,
            confidence=spec.confidence,
            generator=seeded_generator(spec.seed, "density", culture, measure),
        )
        found = unless_constant(found, counts)
        ends = {"": mean(counts), "_low": found.low, "_high": found.high}
        documents = corpus.documents or float("nan")
        fields |= {f"{side}_occurrences{end}": value for end, value in ends.items()}
        fields |= {f"{side}_density{end}": value / documents for end, value in ends.items()}
    ratio = bootstrap_ratio_interval(
        in_target.density(measure),
        in_base.density(measure),
        samples=spec.bootstrap_samples,
        confidence=spec.confidence,
        generator=seeded_generator(spec.seed, "density", culture, measure),
    )
    ratio = unless_constant(ratio, in_target.density(measure))
    base_density, target_density = fields["base_density"], fields["target_density"]
    return DensityRow(
        culture=culture,
        measure=measure,
        questions=len(in_base.question),
        base_documents=in_base.documents,
        target_documents=in_target.documents,
        ratio=target_density / base_density if base_density > 0 else float("nan"),
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        base_found=int((in_base.counts[measure] > 0).sum()),
        target_found=int((in_target.counts[measure] > 0).sum()),
        **fields,
    )


def estimate_rows(spec: AnalysisSpec, counted: Counted) -> list[EstimateRow]:
    """The estimate by retrieval beside every exact count, by culture and corpus."""
    rows = []
    for (culture, corpus), occurrences in counted.items():
        estimated = occurrences.counts[ESTIMATE].astype(np.float64)
        for measure in (one for one in EXACT_MEASURES if one in occurrences.counts):
            exact = occurrences.counts[measure].astype(np.float64)
            interval = spearman_interval(
                [(estimated, exact)],
                samples=spec.bootstrap_samples,
                confidence=spec.confidence,
                generator=seeded_generator(spec.seed, "estimate", culture, corpus, measure),
            )
            rows.append(
                EstimateRow(
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
