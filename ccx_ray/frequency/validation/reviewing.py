"""Reviews that people filled in: kept with the study, and what they say of its estimate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.frequency.validation.review_import import read_review
from ccx_ray.frequency.validation.review_sheet import SAMPLE
from ccx_ray.frequency.validation.review_statistics import REVIEW, review_rows
from ccx_ray.storage.publishing import publish_bytes, publish_parquet


def keep_reviews(filled: Sequence[Path], validation: Path, reviews: Path) -> list[Path]:
    """Copy filled tables to ``<corpus>.csv`` below the study, each in place of an earlier one.

    Args:
        validation: folder of the step that drew the sheets.

    Raises:
        UserError: a file is no filled sheet of this study, or two are of one corpus.
    """
    sample = pq.read_table(validation / SAMPLE)
    read: dict[str, Path] = {}
    for path in filled:
        review = read_review(path, sample)
        if not review.answers:
            raise UserError(f"{path.name}: nothing is filled in; write yes, no or unclear in holds")
        if review.corpus in read:
            raise UserError(
                f"{path.name}: is of the same corpus as {read[review.corpus].name} "
                f"({review.corpus}); give one table a corpus"
            )
        read[review.corpus] = path
    reviews.mkdir(parents=True, exist_ok=True)
    kept = []
    for corpus, path in read.items():
        kept.append(reviews / f"{corpus}.csv")
        publish_bytes(kept[-1], path.read_bytes())
    return kept


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
