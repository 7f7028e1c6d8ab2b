"""How often a question's answer and its entity stand in a corpus, counted and not estimated.

Beside the frequency that retrieval and a judge estimate stand what other work counts: the answer as
a string (infini-gram), and documents that hold question and answer together (Kandpal et al. 2023;
wimbd). The term that stands for the question is written beside its counts, so that it can be
looked at; see ``entities``.

Invariant: documents are monolingual ones, and a count is exact however many shards there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ccx_ray.frequency.counting.entities import Entities
from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.counting.lexicon.suffix_arrays import Ints, Shard
from ccx_ray.frequency.judges.lexical import answer_pattern, normalized_answer, question_terms
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.frequency.text.text_parts import DOCUMENTS

_MARGIN = 32
"""Bytes on either side of an answer that ``answer_pattern`` may look at: 4 syllables of particles
and what follows them."""


@dataclass(frozen=True, kw_only=True)
class ExactCounts:
    """Of one question in one corpus; zeros where the answer has no letter."""

    answer_strings: int = 0
    """Occurrences of the normalised answer, inside other words too."""
    answer_documents: int = 0
    """Documents in which it stands as words of its own."""
    entity: str = ""
    """Empty where the corpus knows no term of the question."""
    entity_documents: int = 0
    together_documents: int = 0
    """Documents that hold both, the answer as words of its own."""


def exact_counts(lexicon: Lexicon, clozes: Sequence[Cloze]) -> list[ExactCounts]:
    """The counts of every question, in their order."""
    terms = [question_terms(cloze) for cloze in clozes]
    frequencies = lexicon.document_frequencies(term for own in terms for term in own)
    entities = Entities(lexicon)
    counts = []
    for own in terms:
        entity = entities.entity(own, frequencies)
        known = frequencies[entity] if entity else 0
        counts.append(ExactCounts(entity=entity, entity_documents=known))
    for shard in lexicon.shards(DOCUMENTS):
        for question, cloze in enumerate(clozes):
            counts[question] = _with_shard(counts[question], shard, cloze)
    return counts


def own_word_rows(shard: Shard, answer: str) -> Ints:
    """Rows of the shard in which a normalised answer stands as words of its own, rising."""
    positions = shard.find(answer)
    if not len(positions):
        return positions
    pattern = answer_pattern(answer)
    after = len(answer.encode()) + _MARGIN
    found: list[int] = []
    for position, row in zip(positions.tolist(), shard.rows_at(positions).tolist(), strict=True):
        if not found or found[-1] != row:
            excerpt, place = shard.excerpt(position, before=_MARGIN, after=after)
            if pattern.match(excerpt, place):
                found.append(row)
    return np.array(found, np.int64)


def _with_shard(counts: ExactCounts, shard: Shard, cloze: Cloze) -> ExactCounts:
    answer = normalized_answer(cloze.answer)
    rows = own_word_rows(shard, answer)
    return replace(
        counts,
        answer_strings=counts.answer_strings + shard.count(answer),
        answer_documents=counts.answer_documents + len(rows),
        together_documents=counts.together_documents + _holding(shard, rows, counts.entity),
    )


def _holding(shard: Shard, rows: Ints, term: str) -> int:
    """In how many of the rows a term stands, as a term and not only as a string."""
    if not len(rows):
        return 0
    positions = shard.find(term)
    row_of = shard.rows_at(positions)
    among = np.isin(row_of, rows)
    found: set[int] = set()
    for position, row in zip(positions[among].tolist(), row_of[among].tolist(), strict=True):
        if row not in found and term in terms_of(shard.around(position)):
            found.add(row)
    return len(found)
