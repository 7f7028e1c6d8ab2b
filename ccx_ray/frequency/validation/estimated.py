"""What a study found in one corpus, read for its validation, and samples of retrieved pairs.

Invariants: a question's number is its place among the clozes of its culture, and a row is a row of
the corpus's documents. A sample depends on the seed and on what was retrieved alone; among the
pairs that the judge accepted, and among those that it refused, every pair has the same chance, so
that shares of a stratum need no weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.texts import sample_key
from ccx_ray.frequency.text.documents import DOCUMENTS
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.study.frequency_spec import RetrieverName, retriever_name

if TYPE_CHECKING:
    from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex, Hit

EVERY_CULTURE = "all"

Search = Callable[[Sequence[str], int], list[list["Hit"]]]
"""Of every query the best documents, at most so many."""


@dataclass(frozen=True, kw_only=True)
class EstimatedCorpus:
    """One corpus, and the cultures whose questions were asked of it."""

    corpus: str
    text: Path
    """The text folder."""
    clozes: Mapping[str, Sequence[Cloze]]
    """Culture -> its questions in the language of the corpus."""
    frequencies: Mapping[str, Path]
    """Culture -> the folder with its ``questions``, ``retrieved`` and ``exhaustive.parquet``."""

    def retrieved(self) -> pa.Table:
        """Every retrieved pair of question and document, over all cultures."""
        return pa.concat_tables(
            [rows_of(self.corpus, folder, "retrieved") for folder in self.frequencies.values()]
        )

    def supports(self, culture: str) -> dict[int, set[int]]:
        """Question -> the documents' rows that an exhaustive lexical scan accepts, if any."""
        rows: dict[int, set[int]] = {}
        for found in rows_of(self.corpus, self.frequencies[culture], "exhaustive").to_pylist():
            if found["part"] == DOCUMENTS:
                rows.setdefault(found["question"], set()).add(found["row"])
        return rows

    def cloze(self, pair: Mapping[str, Any]) -> Cloze:
        """The question of a row of any of the tables."""
        return self.clozes[str(pair["culture"])][int(pair["question"])]


def rows_of(corpus: str, frequency_folder: Path, name: str) -> pa.Table:
    """The rows of ``<name>.parquet`` that are of one corpus, in their order."""
    table = pq.read_table(frequency_folder / f"{name}.parquet")
    return table.filter(pc.equal(table["corpus"], corpus))


def retrievers_of(index: "CorpusIndex", embedder: str) -> dict[str, Search]:
    """All retrievers of the index of this embedder by the names under which they are reported."""
    names: tuple[RetrieverName, ...] = get_args(RetrieverName)
    return {retriever_name(name, embedder): partial(index.search, retriever=name) for name in names}


def half_accepted(estimated: EstimatedCorpus, *, size: int, seed: int) -> list[dict[str, Any]]:
    """Rows of ``retrieved.parquet`` with a verdict, accepted and refused ones mixed by the seed.

    Half are accepted ones, or as many as there are, and the rest refused ones; only where these do
    not suffice there are more accepted ones.
    """
    pairs = estimated.retrieved().to_pylist()
    accepted = [pair for pair in pairs if pair["verdict"]]
    refused = [pair for pair in pairs if pair["verdict"] is False]
    taken = min(len(accepted), max(size // 2, size - len(refused)))
    left = min(len(refused), size - taken)
    drawn = [*_spread(accepted, taken, seed), *_spread(refused, left, seed)]
    return sorted(drawn, key=lambda pair: sample_key(seed, f"order/{_name(pair)}"))


def _spread(pairs: Sequence[dict[str, Any]], size: int, seed: int) -> list[dict[str, Any]]:
    """A systematic sample over the cultures: in each of them its share of the pairs, by chance."""
    if not size:
        return []
    ordered = sorted(pairs, key=lambda p: (p["culture"], sample_key(seed, _name(p)), _name(p)))
    start = int.from_bytes(sample_key(seed, f"start/{_name(ordered[0])}")) / 2**64
    return [ordered[int((start + place) * len(ordered) / size)] for place in range(size)]


def _name(pair: Mapping[str, Any]) -> str:
    return "/".join(str(pair[key]) for key in ("corpus", "culture", "question", "document"))
