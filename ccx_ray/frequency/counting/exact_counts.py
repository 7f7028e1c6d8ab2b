"""Exact counts by suffix arrays: answers, entities, and every text that the lexical judge accepts.

Beside the frequency that retrieval and a judge estimate stand what other work counts: the answer as
a string (infini-gram), and documents that hold question and answer together (Kandpal et al. 2023;
wimbd). The term that stands for the question is written beside its counts, so that it can be
looked at.

That entity is the question's rarest term that the corpus knows, because no entity linker knows five
scripts. Bigrams of Chinese and Tibetan are cut without knowing where words begin, and the rarest of
a question nearly always straddles two words: so a bigram must stand together more often than
chance. Of 19 Chinese questions looked at, the rarest bigram was a word in 5, the rarest cohesive
one in 14.

The exhaustive scan gives the judge only a document in which enough of the question's salient terms
begin, as bare strings, close to the answer.

Invariants: documents are monolingual ones, and a count is exact however many shards there are. What
the scan finds is what judging every document for every question gives, because what is asked for
here is implied by what the judge asks for: a term of a text is a string of it, and a character is
at most four bytes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.counting.suffix_arrays import Ints, Shard
from ccx_ray.frequency.judges.lexical import (
    NEIGHBOURHOOD,
    LexicalJudge,
    answer_pattern,
    normalized_answer,
    question_terms,
)
from ccx_ray.frequency.text.documents import DOCUMENTS, CorpusRows
from ccx_ray.frequency.text.normalization import TSHEG
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.terms import is_bigram, terms_of

COHESION = 10
"""How many times as often as chance the halves of a bigram must stand together."""
SHARD_COUNTS = ("answer_strings", "answer_documents", "together_documents")
"""Occurrences of the normalised answer, inside other words too; documents in which it stands as
words of its own; those of them that hold the entity. Zeros where the answer has no letter."""
_MARGIN = 32
"""Bytes on either side of an answer that ``answer_pattern`` may look at: 4 syllables of particles
and what follows them."""


class Entity(NamedTuple):
    """The term that stands for a question in one corpus."""

    term: str
    """Empty where the corpus knows no term of the question."""
    documents: int
    """That hold it."""


def question_entities(lexicon: Lexicon, clozes: Sequence[Cloze]) -> list[Entity]:
    """The entity of every question: its term in the fewest documents of those that any holds.

    A number is taken only where there is no other term: a year or an amount is rare, and no entity.
    Of equally rare terms words come before bigrams, then the first by code points. A bigram that is
    not cohesive is taken only where there is nothing else.
    """
    terms = [question_terms(cloze) for cloze in clozes]
    frequencies = lexicon.document_frequencies(term for own in terms for term in own)
    count = cache(partial(lexicon.count_strings, DOCUMENTS))
    characters = lexicon.characters(DOCUMENTS)

    def rank(term: str) -> tuple[bool, int, bool, str]:
        return term.isdecimal(), frequencies[term], is_bigram(term), term

    def is_cohesive(bigram: str) -> bool:
        tibetan = TSHEG in bigram
        first, second = bigram.split(TSHEG) if tibetan else list(bigram)
        units = count(TSHEG) if tibetan else characters
        return count(bigram) >= COHESION * (count(first) * count(second) / units)

    def entity(own: Iterable[str]) -> str:
        known = sorted((term for term in own if frequencies[term]), key=rank)
        likely = (term for term in known if not is_bigram(term) or is_cohesive(term))
        return next(likely, next(iter(known), ""))

    return [Entity(term, frequencies.get(term, 0)) for term in map(entity, terms)]


def shard_counts(shard: Shard, clozes: Sequence[Cloze], entities: Sequence[Entity]) -> Ints:
    """[questions, ``SHARD_COUNTS``] in one shard; a corpus has the sum over its shards."""
    counts = np.zeros((len(clozes), len(SHARD_COUNTS)), np.int64)
    # Questions may share their answers: those of a planted world have 48 for 1,536 questions.
    rows_with = lru_cache(maxsize=64)(partial(_own_word_rows, shard))
    for own, cloze, entity in zip(counts, clozes, entities, strict=True):
        answer = normalized_answer(cloze.answer)
        rows = rows_with(answer)
        own[:] = shard.count(answer), len(rows), _documents_with(shard, rows, entity.term)
    return counts


def corpus_counts(lexicon: Lexicon, clozes: Sequence[Cloze], entities: Sequence[Entity]) -> Ints:
    """[questions, ``SHARD_COUNTS``] in all shards."""
    nothing = np.zeros((len(clozes), len(SHARD_COUNTS)), np.int64)
    shards = lexicon.shards(DOCUMENTS)
    return sum((shard_counts(shard, clozes, entities) for shard in shards), start=nothing)


def _own_word_rows(shard: Shard, answer: str) -> Ints:
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


def _documents_with(shard: Shard, rows: Ints, term: str) -> int:
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


_CHARACTER_BYTES = 4


def scan_shard(
    shard: Shard, text_folder: Path, judge: LexicalJudge, clozes: Sequence[Cloze], *, part: str
) -> Iterator[dict[str, Any]]:
    """Every text of a shard that supports the answer to one of the questions, and where.

    Args:
        text_folder: that the lexicon is of.
        judge: with the document frequencies of the corpus that it should judge by.

    Yields:
        ``question``, its place among the clozes; ``row`` of the part; ``document``, its id;
        ``evidence_start`` and ``evidence_length`` in characters of the text as it stands in the
        corpus. By rows and then questions, both rising.

    Memory: the places of all salient terms in the shard, and one row group of texts.
    """
    asked: defaultdict[int, list[int]] = defaultdict(list)
    find = cache(shard.find)
    for question, cloze in enumerate(clozes):
        for row in _candidates(shard, find, judge, cloze).tolist():
            asked[row + shard.first_row].append(question)
    for row, document in CorpusRows(text_folder, part).documents(sorted(asked)):
        for question in asked[row]:
            verdict = judge.verdict(clozes[question], document)
            if verdict.holds:
                yield {
                    "question": question,
                    "row": row,
                    "document": document.id,
                    "evidence_start": verdict.evidence_start,
                    "evidence_length": verdict.evidence_length,
                }


def _candidates(
    shard: Shard, find: Callable[[str], Ints], judge: LexicalJudge, cloze: Cloze
) -> Ints:
    """Rows of the shard that the judge may accept."""
    answer = normalized_answer(cloze.answer)
    salient = judge.salient_terms(cloze)
    answers = find(answer if salient else "")
    rows = shard.rows_at(answers)
    # Of the text around an answer, what belongs to its own row.
    reach = _CHARACTER_BYTES * NEIGHBOURHOOD
    begins = np.maximum(shard.starts[rows], answers - reach)
    ends = np.minimum(shard.starts[rows + 1], answers + len(answer.encode()) + reach)
    near = np.zeros(len(answers), np.int64)
    for term in salient:
        near += np.diff(np.searchsorted(find(term), np.stack([begins, ends])), axis=0)[0] > 0
    return np.unique(rows[near >= judge.terms_needed(cloze)])
