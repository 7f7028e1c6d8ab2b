"""The rows of ``review.parquet``: what people's answers say of every corpus and culture.

Precision and omission are of the whole corpus, because one culture's share of 100 documents is too
small for its own; a culture's row carries them to the culture's own counts. ``review_sample``
draws every pair of a stratum with the same chance, so answers need no weights within one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.frequency.validation.corrected_density import (
    UNKNOWN,
    Range,
    Stratum,
    carried_over,
    correct,
)
from ccx_ray.frequency.validation.estimated import EVERY_CULTURE, rows_of
from ccx_ray.frequency.validation.review_import import Review

_COUNTS = (
    "questions", "documents", "accepted", "refused", "drawn", "reviewed", "unclear", "unreviewed",
    "agreed", "accepted_reviewed", "accepted_held", "refused_reviewed", "refused_held",
)  # fmt: skip
_RANGES = ("precision", "omission", "kappa", "sample_kappa", "corrected_density")
_ENDS = {
    name: (name, f"{name.removesuffix('_density')}_low", f"{name.removesuffix('_density')}_high")
    for name in _RANGES
}
REVIEW = pa.schema(
    [
        ("corpus", pa.string()),
        ("culture", pa.string()),
        *((name, pa.int64()) for name in _COUNTS),
        *((end, pa.float64()) for name in _RANGES for end in _ENDS[name]),
        ("density", pa.float64()),
    ]
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
        held = (
            corrected.held
            if pooled
            else carried_over(counts["accepted"], counts["refused"], (accepted, refused), seed=seed)
        )
        pairs = counts["questions"] * counts["documents"]
        ranges = {
            "precision": corrected.precision,
            "omission": corrected.omission,
            "kappa": corrected.kappa if pooled else UNKNOWN,
            "sample_kappa": corrected.sample_kappa if pooled else UNKNOWN,
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
