"""Every document that the lexical judge accepts, found without reading a corpus for each question.

The suffix array tells where an answer stands, and where the question's salient terms stand as bare
strings. Only a document in which enough of them begin close to the answer is given to the judge.
Invariant: the holders are those of judging every document for every question, because what is
asked for here is implied by what the judge asks for: a term of a text is a string of it, and a
character is at most four bytes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.counting.lexicon.suffix_arrays import Ints, Shard
from ccx_ray.frequency.judges.lexical import NEIGHBOURHOOD, LexicalJudge, normalized_answer
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.text_parts import DOCUMENTS, read_texts

_CHARACTER_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A text of a corpus that holds the knowledge of a question, and where."""

    question: int
    row: int
    """Of the part of the text folder."""
    document: str
    """Its id; of a half that of the pair."""
    evidence_start: int
    """In characters of the text as it stands in the corpus."""
    evidence_length: int


def exhaustive_holders(
    lexicon: Lexicon,
    text_folder: Path,
    judge: LexicalJudge,
    clozes: Sequence[Cloze],
    *,
    part: str = DOCUMENTS,
) -> Iterator[Holder]:
    """Every text of a part that holds the knowledge of one of the questions.

    Args:
        lexicon: of the text folder.
        judge: with the document frequencies of the corpus that it should judge by.
        clozes: a holder's ``question`` is the place in them.

    Yields:
        by shards, rows and then questions, all rising.
    """
    for number in range(lexicon.shard_count(part)):
        yield from shard_holders(lexicon.shard(part, number), text_folder, judge, clozes, part=part)


def shard_holders(
    shard: Shard,
    text_folder: Path,
    judge: LexicalJudge,
    clozes: Sequence[Cloze],
    *,
    part: str,
) -> Iterator[Holder]:
    """The same of one shard, as a task of its own.

    Memory: the places of all salient terms in the shard, and one row group of texts.
    """
    asked: defaultdict[int, list[int]] = defaultdict(list)
    find = cache(shard.find)
    for question, cloze in enumerate(clozes):
        for row in _candidates(shard, find, judge, cloze).tolist():
            asked[row + shard.first_row].append(question)
    for row, document in read_texts(text_folder, part, sorted(asked)):
        for question in asked[row]:
            verdict = judge.verdict(clozes[question], document)
            if verdict.holds:
                yield Holder(
                    question=question,
                    row=row,
                    document=document.id,
                    evidence_start=verdict.evidence_start,
                    evidence_length=verdict.evidence_length,
                )


def holders_by_question(holders: Sequence[Holder], questions: int) -> Ints:
    """[questions] how many texts hold the knowledge of each."""
    return np.bincount([holder.question for holder in holders], minlength=questions)


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
