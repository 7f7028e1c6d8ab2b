"""Precision and omission of the judge by people's answers, and corrected densities.

A person looked at some of the pairs that the judge accepted and at some of those that it refused.
The share of the first that hold (precision) and of the second (omission) are carried to all
retrieved pairs: corrected occurrences = accepted x precision + refused x omission. What was never
retrieved nobody has seen, and nothing here speaks of it. Both shares are of the whole corpus,
because one culture's share of 100 documents is too small for its own; a culture's row carries them
to the culture's own counts.

Intervals hold 95 %. They are drawn: what was not looked at is completed by the posterior under
Jeffreys' prior (a beta-binomial distribution), so that a stratum without a single error is not
taken for one that cannot have any, and one that was looked at wholly adds no error of sampling.
Invariant: no interval excludes its own estimate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.frequency.validation.agreement import cohens_kappa
from ccx_ray.frequency.validation.estimated import EVERY_CULTURE, rows_of
from ccx_ray.frequency.validation.review_import import Review, read_review
from ccx_ray.frequency.validation.review_sheet import SAMPLE
from ccx_ray.storage.publishing import publish_parquet
from ccx_ray.tracking.runs import flat_metrics

Floats = NDArray[np.float64]
Range = tuple[float | None, float | None, float | None]
"""An estimate and the ends of its interval; None where nothing is known."""
UNKNOWN: Range = (None, None, None)
DRAWS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Pairs of which the judge said the same."""

    pairs: int
    """All that were retrieved."""
    reviewed: int
    """Those of which a person said yes or no."""
    held: int
    """Those of which the person said yes."""

    @property
    def share(self) -> float | None:
        """Of the reviewed pairs, how many hold."""
        return self.held / self.reviewed if self.reviewed else None

    @property
    def estimate(self) -> float | None:
        """Of all pairs, how many hold; None if nobody looked at any."""
        if not self.pairs:
            return 0.0
        return None if self.share is None else self.pairs * self.share

    def draws(self, generator: np.random.Generator) -> Floats:
        """Of all pairs, how many may hold: ``[DRAWS]``."""
        rates = generator.beta(self.held + 0.5, self.reviewed - self.held + 0.5, DRAWS)
        return self.held + generator.binomial(self.pairs - self.reviewed, rates).astype(float)


_COUNTS = (
    "questions", "documents", "accepted", "refused", "drawn", "reviewed", "unclear", "unreviewed",
    "agreed", "accepted_reviewed", "accepted_held", "refused_reviewed", "refused_held",
)  # fmt: skip
_RANGES = ("precision", "omission", "kappa", "sample_kappa", "corrected_density")
_ENDS = {
    name: (name, f"{name.removesuffix('_density')}_low", f"{name.removesuffix('_density')}_high")
    for name in _RANGES
}
_METRICS = (
    "reviewed", "precision", "precision_low", "precision_high", "omission", "kappa", "density",
    "corrected_density", "corrected_low", "corrected_high",
)  # fmt: skip
REVIEW = pa.schema(
    [
        ("corpus", pa.string()),
        ("culture", pa.string()),
        *((name, pa.int64()) for name in _COUNTS),
        *((end, pa.float64()) for name in _RANGES for end in _ENDS[name]),
        ("density", pa.float64()),
    ]
)


def review(
    corpora: Mapping[str, Mapping[str, Path]],
    validation: Path,
    reviews: Path,
    folder: Path,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Write ``review.parquet`` of all kept reviews; without any it has no row.

    Args:
        corpora: corpus -> culture -> folder with what was found of its questions there.
        validation: folder of the step that drew the sheets.
        reviews: folder of the kept reviews, ``<corpus>.csv``.
    """
    sample = pq.read_table(validation / SAMPLE)
    rows: list[dict[str, Any]] = []
    for corpus, frequencies in corpora.items():
        path = reviews / f"{corpus}.csv"
        if path.is_file():
            rows += review_rows(corpus, frequencies, sample, read_review(path, sample), seed=seed)
    publish_parquet(folder / "review.parquet", pa.Table.from_pylist(rows, REVIEW))
    return rows


def review_metrics(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """For MLflow what is known, as ``review/ko/all/precision`` and the like."""
    return flat_metrics(
        {
            f"{row['corpus']}/{row['culture']}": {
                name: row[name] for name in _METRICS if row[name] is not None
            }
            for row in rows
        },
        "review/",
    )


def review_rows(
    corpus: str,
    frequencies: Mapping[str, Path],
    sample: pa.Table,
    review: Review,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``REVIEW`` of one corpus: one of all cultures, then one a culture.

    Args:
        frequencies: culture -> the folder of its ``questions.parquet``, of all cultures that were
            asked of the corpus.
        sample: ``review_sample.parquet``.
    """
    drawn = sample.filter(pc.equal(sample["corpus"], corpus)).to_pylist()
    questions = {
        culture: rows_of(corpus, folder, "questions") for culture, folder in frequencies.items()
    }
    totals = {culture: _totals(table) for culture, table in questions.items()}
    totals[EVERY_CULTURE] = _totals(pa.concat_tables(questions.values()))
    accepted, refused = (
        _stratum(drawn, review.answers, verdict, totals[EVERY_CULTURE]) for verdict in (True, False)
    )
    corrected = correct(accepted, refused, seed=seed)
    rows = []
    for culture in (EVERY_CULTURE, *frequencies):
        own = [pair for pair in drawn if culture in (EVERY_CULTURE, pair["culture"])]
        counts = totals[culture]
        pooled = culture == EVERY_CULTURE
        held = corrected["held"]
        if not pooled:
            of_culture = counts["accepted"], counts["refused"]
            held = carried_over(*of_culture, (accepted, refused), seed=seed)
        pairs = counts["questions"] * counts["documents"]
        ranges = {
            "precision": corrected["precision"],
            "omission": corrected["omission"],
            "kappa": corrected["kappa"] if pooled else UNKNOWN,
            "sample_kappa": corrected["sample_kappa"] if pooled else UNKNOWN,
            "corrected_density": _divided(held, pairs),
        }
        rows.append(
            {
                "corpus": corpus,
                "culture": culture,
                **counts,
                **_answer_counts(own, review.answers),
                **{
                    end: value
                    for name, values in ranges.items()
                    for end, value in zip(_ENDS[name], values, strict=True)
                },
                "density": counts["accepted"] / pairs if pairs else None,
            }
        )
    return rows


def _totals(table: pa.Table) -> dict[str, int]:
    """Questions, documents of the corpus, and retrieved pairs by the judge's verdict."""
    accepted = pc.sum(table["occurrences"]).as_py() or 0
    return {
        "questions": len(table),
        "documents": pc.max(table["documents"]).as_py() or 0,
        "accepted": accepted,
        "refused": (pc.sum(table["retrieved"]).as_py() or 0) - accepted,
    }


def _stratum(
    drawn: Sequence[Mapping[str, Any]],
    answers: Mapping[str, bool | None],
    verdict: bool,
    totals: Mapping[str, int],
) -> Stratum:
    said = [answers.get(pair["id"]) for pair in drawn if pair["verdict"] is verdict]
    return Stratum(
        pairs=totals["accepted" if verdict else "refused"],
        reviewed=sum(answer is not None for answer in said),
        held=sum(answer is True for answer in said),
    )


def _answer_counts(
    drawn: Sequence[Mapping[str, Any]], answers: Mapping[str, bool | None]
) -> dict[str, int]:
    counts = dict.fromkeys(_COUNTS[4:], 0)
    counts["drawn"] = len(drawn)
    for pair in drawn:
        if pair["id"] not in answers:
            counts["unreviewed"] += 1
            continue
        answer = answers[pair["id"]]
        if answer is None:
            counts["unclear"] += 1
            continue
        judged = "accepted" if pair["verdict"] else "refused"
        counts["reviewed"] += 1
        counts["agreed"] += answer is pair["verdict"]
        counts[f"{judged}_reviewed"] += 1
        counts[f"{judged}_held"] += answer
    return counts


def _divided(values: Range, pairs: int) -> Range:
    if not pairs or values[0] is None:
        return UNKNOWN
    one, low, high = (None if value is None else value / pairs for value in values)
    return one, low, high


def correct(accepted: Stratum, refused: Stratum, *, seed: int) -> dict[str, Range]:
    """The judge's errors, and the number of pairs that hold without them.

    Returns:
        ``precision`` with Wilson's interval: of this judge on such documents, not of these alone;
        ``omission``, the share of the refused pairs that hold, of all retrieved ones; ``kappa`` of
        person and judge over all retrieved pairs, the sample's answers weighted back;
        ``sample_kappa`` of the reviewed pairs as they are, half of them accepted ones; ``held``,
        retrieved pairs that hold.
    """
    generator = np.random.default_rng(seed)
    drawn = accepted.draws(generator), refused.draws(generator)
    estimates = accepted.estimate, refused.estimate
    held: Range = UNKNOWN
    kappa: Range = UNKNOWN
    omission: Range = UNKNOWN
    if estimates[0] is not None and estimates[1] is not None:
        held = _range(estimates[0] + estimates[1], drawn[0] + drawn[1])
        exact = _kappas(accepted, refused, *(np.array([one]) for one in estimates))[0]
        if not np.isnan(exact):
            kappa = _range(float(exact), _kappas(accepted, refused, *drawn))
    if refused.share is not None:
        omission = _range(refused.share, drawn[1] / refused.pairs)
    sample_kappa = cohens_kappa(
        accepted.held,
        accepted.reviewed - accepted.held,
        refused.held,
        refused.reviewed - refused.held,
    )
    return {
        "precision": _wilson(accepted),
        "omission": omission,
        "kappa": kappa,
        "sample_kappa": sample_kappa,
        "held": held,
    }


def carried_over(
    accepted: int, refused: int, pooled: tuple[Stratum, Stratum], *, seed: int
) -> Range:
    """Pairs of one culture that hold, by the precision and omission of the whole corpus.

    Args:
        accepted: pairs of the culture that the judge accepted.
        refused: pairs of the culture that it refused.
        pooled: the accepted and the refused pairs of all cultures.
    """
    generator = np.random.default_rng(seed)
    estimate, drawn = 0.0, np.zeros(DRAWS)
    for pairs, stratum in zip((accepted, refused), pooled, strict=True):
        draws = stratum.draws(generator)
        if not pairs:
            continue
        if stratum.share is None:
            return UNKNOWN
        estimate += pairs * stratum.share
        drawn += pairs * draws / stratum.pairs
    return _range(estimate, drawn)


def _kappas(accepted: Stratum, refused: Stratum, right: Floats, missed: Floats) -> Floats:
    """Cohen's kappa of all pairs, if so many accepted and so many refused ones hold.

    NaN where the judge or the person says the same of every pair.
    """
    whole = accepted.pairs + refused.pairs
    held = right + missed
    observed = (right + refused.pairs - missed) / whole
    by_chance = (accepted.pairs * held + refused.pairs * (whole - held)) / whole**2
    with np.errstate(divide="ignore", invalid="ignore"):
        kappas = (observed - by_chance) / (1 - by_chance)
    varies = (held > 0) & (held < whole) & (accepted.pairs > 0) & (refused.pairs > 0)
    return np.where(varies, kappas, np.nan)


def _wilson(stratum: Stratum) -> Range:
    from statsmodels.stats.proportion import proportion_confint

    if stratum.share is None:
        return UNKNOWN
    low, high = proportion_confint(
        stratum.held, stratum.reviewed, alpha=1 - CONFIDENCE, method="wilson"
    )
    return stratum.share, float(low), float(high)


def _range(estimate: float, drawn: Floats) -> Range:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return estimate, min(estimate, float(low)), max(estimate, float(high))
