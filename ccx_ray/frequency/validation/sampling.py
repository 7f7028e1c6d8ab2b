"""Which retrieved pairs of question and document are looked at once more.

Invariant: a sample depends on the seed and on what was retrieved alone; among the pairs that the
judge accepted, and among those that it refused, every pair has the same chance, so that shares of a
stratum need no weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ccx_ray.corpus.audit.sampling import sample_key
from ccx_ray.frequency.validation.estimated import EstimatedCorpus


def half_accepted(estimated: EstimatedCorpus, *, size: int, seed: int) -> list[dict[str, Any]]:
    """Rows of ``retrieved.parquet``, accepted and refused ones mixed by the seed.

    Half are accepted ones, or as many as there are, and the rest refused ones; only where these do
    not suffice there are more accepted ones.
    """
    pairs = estimated.retrieved().to_pylist()
    accepted = [pair for pair in pairs if pair["verdict"]]
    refused = [pair for pair in pairs if not pair["verdict"]]
    taken = min(len(accepted), max(size // 2, size - len(refused)))
    drawn = [
        *_spread(accepted, taken, seed),
        *_spread(refused, min(len(refused), size - taken), seed),
    ]
    return sorted(drawn, key=lambda pair: sample_key(seed, f"order/{_name(pair)}"))


def _spread(pairs: Sequence[dict[str, Any]], size: int, seed: int) -> list[dict[str, Any]]:
    """A systematic sample over the cultures: in each of them its share of the pairs, by chance."""
    if not size:
        return []
    ordered = sorted(
        pairs, key=lambda pair: (pair["culture"], sample_key(seed, _name(pair)), _name(pair))
    )
    start = int.from_bytes(sample_key(seed, f"start/{_name(ordered[0])}")) / 2**64
    return [ordered[int((start + place) * len(ordered) / size)] for place in range(size)]


def _name(pair: Mapping[str, Any]) -> str:
    return "/".join(str(pair[key]) for key in ("corpus", "culture", "question", "document"))
