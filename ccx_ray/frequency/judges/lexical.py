"""The lexical judge: the answer, and near it enough of the question's rare terms.

Its verdict points at the evidence in the document's own characters, so that a person can check it.
It sees words, not meaning: a paraphrase is absent, and the right words in the wrong relation count.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

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
from ccx_ray.study.frequency_spec import LexicalJudgeSpec
from ccx_ray.study.text_spec import BLANK

if TYPE_CHECKING:
    from ccx_ray.frequency.counting.lexicon import Lexicon

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
        self._document_frequencies, self._documents = document_frequencies, documents
        self._salient_share = salient_share
        self.salient_terms = cache(self._salient_terms)

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order."""
        return [self.verdict(request.cloze, request.document) for request in requests]

    def verdict(self, cloze: Cloze, document: Document) -> Verdict:
        """Whether this document holds the knowledge."""
        answer, salient = normalized_answer(cloze.answer), self.salient_terms(cloze)
        needed = self.terms_needed(cloze)
        refusal = ""
        if not answer:
            refusal = "the answer has no letter"
        elif not salient:
            refusal = "no salient term of the question is in the corpus"
        # The plain search is a hundred times faster than the pattern and mostly says no.
        elif answer not in document.normalized:
            refusal = "answer absent"
        elif len(salient & document.terms) < needed:
            refusal = "too few salient terms in the document"
        if refusal:
            return Verdict(holds=False, reason=refusal)
        best: re.Match[str] | None = None
        most = -1
        for found in answer_pattern(answer).finditer(document.normalized):
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

    def terms_needed(self, cloze: Cloze) -> float:
        """How many of its salient terms must stand near the answer."""
        return self._salient_share * len(self.salient_terms(cloze))

    def _salient_terms(self, cloze: Cloze) -> frozenset[str]:
        """The rare terms of the question; the answer's own terms are left out."""
        frequencies = {t: self._document_frequencies.get(t, 0) for t in question_terms(cloze)}
        known = frozenset(t for t, count in frequencies.items() if count or not may_be_no_word(t))
        most = COMMON_SHARE * self._documents
        return frozenset(term for term in known if frequencies[term] <= most) or known


def lexical_judge(
    spec: LexicalJudgeSpec, clozes: Sequence[Cloze], lexicon: "Lexicon"
) -> LexicalJudge:
    """The judge of a spec, for questions asked of one corpus."""
    frequencies = lexicon.document_frequencies(
        {t for cloze in clozes for t in question_terms(cloze)}
    )
    return LexicalJudge(frequencies, documents=lexicon.documents, salient_share=spec.salient_share)


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
    writing = _writing_of(answer[0])
    left = f"(?<!{writing})" if writing else ""
    if answer[0].isdecimal():
        left = r"(?<!\d)(?<!\d )"
    return re.compile(left + re.escape(answer) + _right_border(answer))


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
