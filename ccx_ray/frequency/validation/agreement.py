"""Agreement of judges on the same documents: counts and Cohen's kappa.

Few retrieved documents hold anything, so a plain sample would compare refusals. Half of the pairs
are those that the study's judge accepted, as far as there are so many; the numbers are therefore of
this sample, not of all that was retrieved. Invariant: the pairs depend on the seed and on what was
retrieved alone, and every judge sees the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.validation.estimated import EVERY_CULTURE, EstimatedCorpus, half_accepted

AGREEMENT = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "culture", "judge", "other")),
        *((name, pa.int64()) for name in ("pairs", "both", "only_judge", "only_other", "neither")),
        *((name, pa.float64()) for name in ("kappa", "low", "high")),
    ]
)
DOCUMENTS_AT_ONCE = 512
Booleans = NDArray[np.bool_]


def compare_judges(
    estimated: EstimatedCorpus,
    judge: str,
    others: Mapping[str, Judge],
    *,
    pairs: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``AGREEMENT``: one a pair of judges, over all cultures and for each.

    Args:
        judge: name of the study's judge, whose verdicts are those of ``retrieved.parquet``.
        others: the judges that are compared with it and with each other, by name.
        pairs: of question and document, at most.
    """
    sample = half_accepted(estimated, size=pairs, seed=seed)
    verdicts = {judge: [bool(pair["verdict"]) for pair in sample]}
    verdicts |= {name: list(_verdicts(estimated, other, sample)) for name, other in others.items()}
    cultures = [pair["culture"] for pair in sample]
    rows = []
    for one, other in combinations(verdicts, 2):
        for culture in (EVERY_CULTURE, *estimated.clozes):
            chosen = [culture in (EVERY_CULTURE, of_pair) for of_pair in cultures]
            key = {"corpus": estimated.corpus, "culture": culture, "judge": one, "other": other}
            said, said_other = (np.array(verdicts[name], bool)[chosen] for name in (one, other))
            rows.append({**key, **agreement(said, said_other)})
    return rows


def agreement(one: Booleans, other: Booleans) -> dict[str, Any]:
    """The two-by-two counts and Cohen's kappa with its asymptotic 95 % interval.

    ``kappa`` is None where a judge says the same of every pair: it would be 0 whatever the other
    one says. The interval has no width where the judges never differ.
    """
    both, only_one = int((one & other).sum()), int((one & ~other).sum())
    only_other, neither = int((~one & other).sum()), int((~one & ~other).sum())
    counts = {
        "pairs": len(one),
        "both": both,
        "only_judge": only_one,
        "only_other": only_other,
        "neither": neither,
    }
    kappa, low, high = cohens_kappa(both, only_one, only_other, neither)
    return {**counts, "kappa": kappa, "low": low, "high": high}


def cohens_kappa(
    both: float, only_one: float, only_other: float, neither: float
) -> tuple[float | None, float | None, float | None]:
    """Kappa and the ends of its asymptotic 95 % interval; None where a rater never varies."""
    from statsmodels.stats.inter_rater import cohens_kappa as kappa_of

    table = np.array([[both, only_one], [only_other, neither]], float)
    if not table.sum(axis=0).all() or not table.sum(axis=1).all():
        return None, None, None
    result = kappa_of(table)
    ends = np.clip([result.kappa_low, result.kappa_upp], -1.0, 1.0)
    return float(result.kappa), float(ends[0]), float(ends[1])


def _verdicts(
    estimated: EstimatedCorpus, judge: Judge, pairs: Sequence[Mapping[str, Any]]
) -> Iterator[bool]:
    for start in range(0, len(pairs), DOCUMENTS_AT_ONCE):
        some = pairs[start : start + DOCUMENTS_AT_ONCE]
        documents = read_documents(estimated.text, {pair["row"] for pair in some})
        requests = [
            Request(
                cloze=estimated.cloze(pair),
                document=documents[pair["row"]],
                passage_start=pair["passage_start"],
                passage_length=pair["passage_length"],
            )
            for pair in some
        ]
        yield from (verdict.holds for verdict in judge.judge(requests))
