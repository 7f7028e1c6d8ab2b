"""The lexical judge: the answer, and near it enough of the question's rare terms.

Its verdict points at the evidence in the document's own characters, so that a person can check it.
It sees words, not meaning: a paraphrase is absent, and the right words in the wrong relation count.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ccx_ray.frequency.judges.verdict import Request, Verdict
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.normalization import NARROW_NO_BREAK_SPACE, TSHEG, normalize
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.terms import (
    COPULAS,
    HAN,
    HANGUL,
    PARTICLES,
    TIBETAN,
    is_lone_unit,
    may_be_no_word,
    terms_of,
)
from ccx_ray.study.text_spec import BLANK

COMMON_SHARE = 0.1
"""A term in more than this share of the documents says nothing about a question."""
NEIGHBOURHOOD = 500
"""Characters on either side of the answer in which the salient terms must stand. Whole documents
are too lax a frame: in a country profile of 50,000 characters "4" and most words occur."""

# A case suffix of traditional Mongolian at the end of an answer belongs to the question's grammar.
_CASE_SUFFIX = re.compile(f"(?:{NARROW_NO_BREAK_SPACE}\\S+)+$")
# Tibetan particles that join the last syllable of a word without a tsheg.
_JOINED_PARTICLES = "འི|འིས|འང|འམ|འོ|འུ"


class LexicalJudge:
    """Somewhere in the document the answer must stand close to the question's salient terms.

    Salient are the question's terms that at most ``COMMON_SHARE`` of the corpus holds, or all of
    them if none is that rare. A word that the corpus lacks counts as missing; a bigram, or a lone
    character or syllable, that it lacks is dropped: they are cut out without knowing where words
    begin, and most that are unknown are no words.
    """

    def __init__(
        self, document_frequencies: Mapping[str, int], *, documents: int, salient_share: float
    ) -> None:
        """
        Args:
            document_frequencies: term -> in how many documents of the corpus it occurs.
            documents: of the corpus.
            salient_share: of a question's salient terms that a document must hold.
        """
        self._document_frequencies = document_frequencies
        self._documents = documents
        self._salient_share = salient_share
        self._salient: dict[Cloze, frozenset[str]] = {}

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order."""
        return [self.verdict(request.cloze, request.document) for request in requests]

    def verdict(self, cloze: Cloze, document: Document) -> Verdict:
        """Whether this document holds the knowledge."""
        answer = normalized_answer(cloze.answer)
        if not answer:
            return Verdict(holds=False, reason="the answer has no letter")
        salient = self.salient_terms(cloze)
        if not salient:
            reason = "the corpus knows no salient term of the question"
            return Verdict(holds=False, reason=reason)
        return self._verdict(answer, answer_pattern(answer), salient, document)

    def salient_terms(self, cloze: Cloze) -> frozenset[str]:
        """The rare terms of the question; the answer's own terms are left out."""
        if cloze not in self._salient:
            self._salient[cloze] = self._find_salient_terms(cloze)
        return self._salient[cloze]

    def terms_needed(self, cloze: Cloze) -> float:
        """How many of its salient terms must stand near the answer."""
        return self._salient_share * len(self.salient_terms(cloze))

    def _find_salient_terms(self, cloze: Cloze) -> frozenset[str]:
        frequencies = {
            term: self._document_frequencies.get(term, 0) for term in question_terms(cloze)
        }
        known = {term for term, count in frequencies.items() if count or not may_be_no_word(term)}
        most = COMMON_SHARE * self._documents
        return frozenset(term for term in known if frequencies[term] <= most) or frozenset(known)

    def _verdict(
        self, answer: str, pattern: re.Pattern[str], salient: frozenset[str], document: Document
    ) -> Verdict:
        # The plain search is a hundred times faster than the pattern and mostly says no.
        if answer not in document.normalized:
            return Verdict(holds=False, reason="answer absent")
        needed = self._salient_share * len(salient)
        if len(salient & document.terms) < needed:
            return Verdict(holds=False, reason="too few salient terms in the document")
        best: re.Match[str] | None = None
        most = -1
        for found in pattern.finditer(document.normalized):
            start = max(0, found.start() - NEIGHBOURHOOD)
            near = document.normalized[start : found.end() + NEIGHBOURHOOD]
            held = len(salient.intersection(terms_of(near)))
            if held > most:
                best, most = found, held
        if best is None:
            return Verdict(holds=False, reason="answer only inside other words")
        start, length = document.original_span(best.start(), best.end())
        return Verdict(
            holds=most >= needed,
            reason=f"{most} of {len(salient)} salient terms near the answer",
            evidence_start=start,
            evidence_length=length,
        )


def question_terms(cloze: Cloze) -> frozenset[str]:
    """The terms of a question without its answer's: what a judge needs the frequencies of."""
    parts = [list(terms_of(normalize(part))) for part in BLANK.split(cloze.question)]
    counts = Counter(term for part in parts for term in part)
    # What touches a blank is written together with the answer: no document has it by itself.
    beside = [*(part[-1] for part in parts[:-1] if part), *(part[0] for part in parts[1:] if part)]
    counts.subtract(term for term in beside if is_lone_unit(term))
    return frozenset(+counts) - frozenset(terms_of(normalize(cloze.answer)))


@lru_cache(maxsize=4096)
def normalized_answer(answer: str) -> str:
    """The answer as it is looked for: normal form, without a closing Mongolian case suffix."""
    return normalize(_CASE_SUFFIX.sub("", answer.strip()) or answer).strip(f" {TSHEG}")


@lru_cache(maxsize=4096)
def answer_pattern(answer: str) -> re.Pattern[str]:
    """Where a normalised answer stands as words of its own.

    Chinese is written without borders and has none to ask for; a Korean word may go on with
    particles, one of a single syllable with particles or its verb alone; a Tibetan word may take a
    joined particle, ར and ས only if it has several syllables (ལྷ་སར is "in Lhasa", ལར is another
    word); a number is no part of another (79 is not in 79.7, whose point is a blank here);
    elsewhere the answer must begin and end where a word does.
    """
    return re.compile(_left_border(answer[0]) + re.escape(answer) + _right_border(answer))


def _left_border(first: str) -> str:
    if first.isdecimal():
        return r"(?<!\d)(?<!\d )"
    writing = _writing_of(first)
    return f"(?<!{writing})" if writing else ""


def _right_border(answer: str) -> str:
    if answer[-1].isdecimal():
        return r"(?! ?\d)"
    writing = _writing_of(answer[-1])
    if not writing:
        return ""
    border = f"(?!{writing})"
    if re.match(f"[{TIBETAN}]", answer[-1]):
        particles = f"{_JOINED_PARTICLES}|ར|ས" if TSHEG in answer else _JOINED_PARTICLES
        return f"(?=(?:{particles})?{border})"
    if re.match(f"[{HANGUL}]", answer[-1]):
        if len(answer) > 1:
            return ""
        return f"(?=(?:{'|'.join((*COPULAS, *PARTICLES))})*{border})"
    return border


def _writing_of(character: str) -> str:
    """The characters that continue a word with this one at its edge; empty if none do."""
    if re.match(f"[{HAN}]", character):
        return ""
    for block in (TIBETAN, HANGUL):
        if re.match(f"[{block}]", character):
            return f"[{block}]"
    return f"[^ {TSHEG}0-9{HAN}{TIBETAN}{HANGUL}]"
