"""Exhaustive scan: every document that the lexical judge accepts, by suffix arrays.

The suffix array tells where an answer stands, and where the question's salient terms stand as bare
strings. Only a document in which enough of them begin close to the answer is given to the judge.
Invariant: what is found is what judging every document for every question gives, because what is
asked for here is implied by what the judge asks for: a term of a text is a string of it, and a
character is at most four bytes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.counting.lexicon.suffix_arrays import Ints, Shard
from ccx_ray.frequency.judges.lexical import NEIGHBOURHOOD, LexicalJudge, normalized_answer
from ccx_ray.frequency.text.documents import DOCUMENTS, CorpusRows
from ccx_ray.frequency.text.questions import Cloze

_CHARACTER_BYTES = 4


def exhaustive_scan(
    lexicon: Lexicon,
    text_folder: Path,
    judge: LexicalJudge,
    clozes: Sequence[Cloze],
    *,
    part: str = DOCUMENTS,
) -> Iterator[dict[str, Any]]:
    """``scan_shard`` of every shard of a part."""
    for shard in lexicon.shards(part):
        yield from scan_shard(shard, text_folder, judge, clozes, part=part)


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
