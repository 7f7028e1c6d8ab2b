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

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.frequency.validation.estimated import EVERY_CULTURE, rows_of
from ccx_ray.frequency.validation.review_import import read_review
from ccx_ray.frequency.validation.review_sheet import SAMPLE
from ccx_ray.frequency.validation.validating import cohens_kappa
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
            rows += review_rows(
                corpus, frequencies, sample, read_review(path, sample)[1], seed=seed
            )
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
    answers: Mapping[str, bool | None],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``REVIEW`` of one corpus: one of all cultures, then one a culture.

    Args:
        frequencies: culture -> the folder of its ``questions.parquet``, of all cultures that were
            asked of the corpus.
        sample: ``review_sample.parquet``.
        answers: of people, see ``read_review``.
    """
    drawn = sample.filter(pc.equal(sample["corpus"], corpus)).to_pylist()
    tables = {code: rows_of(corpus, folder, "questions") for code, folder in frequencies.items()}
    tables = {EVERY_CULTURE: pa.concat_tables(tables.values()), **tables}
    counts: dict[str, dict[str, int]] = {}
    for culture, table in tables.items():
        own = [pair for pair in drawn if culture in (EVERY_CULTURE, pair["culture"])]
        counts[culture] = {**_totals(table), **_answer_counts(own, answers)}
    every = counts[EVERY_CULTURE]
    accepted, refused = (
        Stratum(pairs=every[said], reviewed=every[f"{said}_reviewed"], held=every[f"{said}_held"])
        for said in ("accepted", "refused")
    )
    corrected = correct(accepted, refused, seed=seed)
    of_culture = {**corrected, "kappa": UNKNOWN, "sample_kappa": UNKNOWN}
    rows = []
    for culture, own_counts in counts.items():
        said = own_counts["accepted"], own_counts["refused"]
        ranges = corrected
        if culture != EVERY_CULTURE:
            ranges = {**of_culture, "held": carried_over(*said, (accepted, refused), seed=seed)}
        pairs = own_counts["questions"] * own_counts["documents"]
        ranges = {**ranges, "corrected_density": _divided(ranges["held"], pairs)}
        rows.append(
            {
                "corpus": corpus,
                "culture": culture,
                **own_counts,
                **{
                    end: value
                    for name, ends in _ENDS.items()
                    for end, value in zip(ends, ranges[name], strict=True)
                },
                "density": said[0] / pairs if pairs else None,
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


def _answer_counts(
    drawn: Sequence[Mapping[str, Any]], answers: Mapping[str, bool | None]
) -> dict[str, int]:
    """Drawn pairs by what the judge and a person said of them."""
    said = Counter((pair["verdict"], answers.get(pair["id"], "nothing")) for pair in drawn)
    reviewed = {verdict: said[verdict, True] + said[verdict, False] for verdict in (True, False)}
    return {
        "drawn": len(drawn),
        "reviewed": sum(reviewed.values()),
        "unclear": said[True, None] + said[False, None],
        "unreviewed": said[True, "nothing"] + said[False, "nothing"],
        "agreed": said[True, True] + said[False, False],
        "accepted_reviewed": reviewed[True],
        "accepted_held": said[True, True],
        "refused_reviewed": reviewed[False],
        "refused_held": said[False, True],
    }


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
    from statsmodels.stats.proportion import proportion_confint

    generator = np.random.default_rng(seed)
    right, missed = accepted.draws(generator), refused.draws(generator)
    estimates = accepted.estimate, refused.estimate
    found = dict.fromkeys(("precision", "omission", "kappa", "sample_kappa", "held"), UNKNOWN)
    if accepted.share is not None:
        low, high = proportion_confint(
            accepted.held, accepted.reviewed, alpha=1 - CONFIDENCE, method="wilson"
        )
        found["precision"] = accepted.share, float(low), float(high)
    if refused.share is not None:
        found["omission"] = _range(refused.share, missed / refused.pairs)
    if estimates[0] is not None and estimates[1] is not None:
        found["held"] = _range(estimates[0] + estimates[1], right + missed)
        exact = _kappas(accepted, refused, *(np.array([one]) for one in estimates))[0]
        if not np.isnan(exact):
            found["kappa"] = _range(float(exact), _kappas(accepted, refused, right, missed))
    found["sample_kappa"] = cohens_kappa(
        *(accepted.held, accepted.reviewed - accepted.held),
        *(refused.held, refused.reviewed - refused.held),
    )
    return found


def carried_over(
    accepted: int, refused: int, pooled: tuple[Stratum, Stratum], *, seed: int
) -> Range:
    """Pairs of one culture that hold, by the precision and omission of the whole corpus.

    Args:
        accepted: pairs of the culture that the judge accepted; ``refused`` that it refused.
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


def _range(estimate: float, drawn: Floats) -> Range:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return estimate, min(estimate, float(low)), max(estimate, float(high))
