"""Whether the probing questions stand in the text that is trained on, over every text.

For every question and corpus: is its wording there to the letter (the sentence with the right
answer in the blank, or the longest part of the question itself), and which share of the sentence's
8-grams stands in one text, and in all of them together. Every hit of a hash is verified.

Invariant: parts can be scanned in any cut and merged in any order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.audit.code_points import Batch, Ints
from ccx_ray.corpus.audit.inputs import ProbeSide
from ccx_ray.corpus.audit.normal_form import (
    Units,
    gram_hashes,
    normalized,
    units_of,
    window_hashes,
)
from ccx_ray.corpus.audit.probe_index import FILLED, Grams, Needle, ProbeIndex

SCHEMA = pa.schema(
    [
        ("culture", pa.string()),
        ("side", pa.string()),
        ("question", pa.int32()),
        ("corpus", pa.string()),
        ("exact", pa.bool_()),
        ("exact_documents", pa.int64()),
        ("filled_documents", pa.int64()),
        ("wording_documents", pa.int64()),
        ("overlap", pa.float64()),
        ("overlap_anywhere", pa.float64()),
        ("documents_with_overlap", pa.int64()),
        ("example", pa.string()),
    ]
)


@dataclass(kw_only=True)
class Hits:
    """Where one question was met in one corpus."""

    filled: int = 0
    """Texts that hold the filled sentence."""
    wording: int = 0
    """Texts that hold the question's longest part."""
    exact: int = 0
    """Texts that hold one of them, or both."""
    exact_example: str | None = None
    """The first id of such a text, in the order of ids."""
    grams: int = 0
    """Most distinct n-grams of the sentence that stand in one text."""
    grams_example: str | None = None
    """The first id of such a text."""
    texts: int = 0
    """Texts that hold at least one of the n-grams."""
    anywhere: set[int] = field(default_factory=set)
    """The n-grams that stand in any text."""

    def add(self, other: "Hits") -> None:
        """Count other texts too."""
        self.filled += other.filled
        self.wording += other.wording
        self.exact += other.exact
        self.texts += other.texts
        self.anywhere |= other.anywhere
        self.exact_example = _first(self.exact_example, other.exact_example)
        if other.grams > self.grams:
            self.grams, self.grams_example = other.grams, other.grams_example
        elif other.grams == self.grams:
            self.grams_example = _first(self.grams_example, other.grams_example)


Contamination = dict[int, Hits]
"""The questions of a ``ProbeIndex`` that were met at all."""


def merge_hits(into: Contamination, other: Contamination) -> None:
    """Count the texts of another part too."""
    for question, hits in other.items():
        into.setdefault(question, Hits()).add(hits)


def scan(batch: Batch, ids: list[str], index: ProbeIndex) -> Contamination:
    """Look for every question in every text of a batch."""
    texts = normalized(batch)
    found: Contamination = {}
    _find_wordings(texts, ids, index, found)
    units = units_of(texts)
    # (text, gram) pairs, each once.
    met = [_find_grams(units, grams) for grams in index.grams]
    for text, grams in _by_text(np.concatenate([np.zeros((0, 2), np.int64), *met])):
        whose: dict[int, set[int]] = {}
        for gram in grams:
            for question in index.owners[gram]:
                whose.setdefault(question, set()).add(gram)
        for question, held in whose.items():
            hits = Hits(grams=len(held), grams_example=ids[text], texts=1, anywhere=held)
            found.setdefault(question, Hits()).add(hits)
    return found


def _find_wordings(texts: Batch, ids: list[str], index: ProbeIndex, found: Contamination) -> None:
    standing: dict[tuple[int, int], set[int]] = {}
    for known, needles in index.windows:
        positions, which = known.find(window_hashes(texts.points, known.size))
        owners = texts.owners(positions)
        for position, text, number in zip(positions, owners, which, strict=True):
            for needle in needles[number]:
                if _stands(needle, texts, int(position), int(text)):
                    standing.setdefault((int(text), needle.question), set()).add(needle.kind)
    for (text, question), kinds in standing.items():
        hits = Hits(exact=1, exact_example=ids[text], filled=FILLED in kinds)
        hits.wording = len(kinds) - hits.filled
        found.setdefault(question, Hits()).add(hits)


def _stands(needle: Needle, texts: Batch, position: int, text: int) -> bool:
    first = position - needle.anchor
    last = first + len(needle.points)
    inside = texts.starts[text] <= first and last <= texts.ends[text]
    return bool(inside and np.array_equal(texts.points[first:last], needle.points))


def _find_grams(units: Units, grams: Grams) -> Ints:
    """[met, 2] text and gram."""
    size = grams.known.size
    positions, which = grams.known.find(gram_hashes(units.hashes, size))
    first = units.batch.owners(units.starts[positions])
    last = units.batch.owners(units.starts[positions + size - 1])
    met = [
        (text, grams.first + gram)
        for position, gram, text, end in zip(
            positions.tolist(), which.tolist(), first.tolist(), last.tolist(), strict=True
        )
        if text == end and units.spelled(position, size) == grams.spelled[gram]
    ]
    return np.array(sorted(set(met)), np.int64).reshape(-1, 2)


def _by_text(met: Ints) -> Iterable[tuple[int, list[int]]]:
    by_text: dict[int, list[int]] = {}
    for text, gram in met.tolist():
        by_text.setdefault(text, []).append(gram)
    return by_text.items()


def _first(one: str | None, other: str | None) -> str | None:
    return min((id_ for id_ in (one, other) if id_ is not None), default=None)


def contamination_table(
    corpus: str, sides: tuple[ProbeSide, ...], index: ProbeIndex, found: Contamination
) -> pa.Table:
    """One row a question, met or not; see ``docs/data-format.md``."""
    rows = []
    places = ((side, question) for side in sides for question in side.questions)
    for number, (side, question) in enumerate(places):
        hits, size = found.get(number, Hits()), int(index.sizes[number])
        rows.append(
            {
                "culture": side.culture,
                "side": side.language,
                "question": question.number,
                "corpus": corpus,
                "exact": hits.exact > 0,
                "exact_documents": hits.exact,
                "filled_documents": hits.filled,
                "wording_documents": hits.wording if index.has_wording[number] else None,
                "overlap": hits.grams / size if size else None,
                "overlap_anywhere": len(hits.anywhere) / size if size else None,
                "documents_with_overlap": hits.texts,
                "example": hits.exact_example or hits.grams_example,
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)
