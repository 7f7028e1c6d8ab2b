"""Whether the probing questions stand in the text that is trained on, over every text.

For every question and corpus: is its wording there to the letter (the sentence with the right
answer in the blank, or the longest part of the question itself), and which share of the sentence's
8-grams stands in one text, and in all of them together.

N-grams are found by a trie over the numbers of their units, walked for all places of a batch at
once; a wording by a run of its units, and then in the normal form of the text.

Questions are looked for with letter case and white space levelled. A *unit* is a word; in scripts
without blanks between words (Han, Kana, Thai, ...) a character; in Tibetan a syllable, because the
tsheg is punctuation. Punctuation and blanks (also U+202F) end a unit; format characters and
variation selectors, which choose a glyph, count for nothing. Case folding is Unicode's simple one,
a character for a character.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.audit.figures import ContaminationFigures
from ccx_ray.corpus.audit.inputs import Column, Findings, ProbeSide
from ccx_ray.corpus.audit.texts import (
    Batch,
    Ints,
    Points,
    as_text,
    batch_of,
    points_of,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.cleaning.scripts import CODE_POINTS, isolate, script_of
from ccx_ray.study.text_spec import BLANK, IsolationSpec

GRAM = 8
"""Units of an n-gram. A sentence of fewer is one gram of all its units, ..."""
LEAST_GRAM = 3
"""... and one of fewer than these has none, and is not looked for to the letter either."""
WORDING_LETTERS = 40
"""Least length of a question's longest part between blanks that is looked for by itself. Han
characters count fourfold and Hangul syllables twofold, as they say about as much more."""
MORE_LETTERS = {"Han": 3, "Hangul": 1}
FOUND_QUESTIONS = 10
FILTER = 2**20

BORDER, LETTER, WHOLE, IGNORED = range(4)
"""What a character is to a unit: its end, a piece of it, one by itself, nothing."""

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Yi")
VARIATION_SELECTORS = (0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10))
MONGOLIAN_VOWEL_SEPARATOR = 0x180E
"""Stands within a word."""

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

Run = tuple[str, ...]
"""Units one behind the other, at most ``GRAM``."""


class Units(NamedTuple):
    """The units of some texts, in order."""

    words: pa.StringArray
    """[units] letter case folded."""
    texts: Ints
    """[units] the number of the text that each stands in, rising."""


def normal_text(text: str) -> str:
    """A text with simple case folding, every run of white space as one blank, none at its ends,
    and without the characters that count for nothing."""
    points = points_of(text)
    kept = points[_kinds()[points] != IGNORED]
    return " ".join(as_text(_folding()[kept]).split())


def units_of(batch: Batch) -> Units:
    """The units of all texts of a batch."""
    kinds, points, ends = _kinds()[batch.points], batch.points, batch.ends
    ignored = kinds == IGNORED
    if ignored.any():
        ends = ends - np.concatenate([[0], np.cumsum(ignored)])[ends]
        kinds, points = kinds[~ignored], points[~ignored]
    begins = kinds != BORDER
    letter = kinds == LETTER
    continued = np.zeros(len(kinds), bool)
    continued[1:] = letter[1:] & letter[:-1]
    continued[ends[ends < len(kinds)]] = False  # a word ends with its text
    inside = begins.copy()
    begins &= ~continued
    per_text = np.diff(np.searchsorted(np.flatnonzero(begins), ends), prepend=0)
    letters = as_text(_folding()[points[inside]]).encode()
    # The bytes of a character after its first are 0b10xxxxxx.
    first_bytes = np.flatnonzero((np.frombuffer(letters, np.uint8) & 0xC0) != 0x80)
    places = np.append(first_bytes[begins[inside]], len(letters)).astype(np.int32)
    words = pa.StringArray.from_buffers(
        len(places) - 1, pa.py_buffer(places), pa.py_buffer(letters)
    )
    return Units(words, np.repeat(np.arange(len(ends)), per_text))


@cache
def _folding() -> Points:
    """[0x110000] the simple case folding of every code point."""
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    for code in range(CODE_POINTS):
        character = chr(code)
        folded = character.casefold()
        if folded != character:
            folded = folded if len(folded) == 1 else character.lower()
            table[code] = ord(folded) if len(folded) == 1 else code
    return table


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """[0x110000] ``BORDER``, ``LETTER``, ``WHOLE`` or ``IGNORED``."""
    kinds = {"L": LETTER, "M": LETTER, "N": LETTER, "Cf": IGNORED}
    categories = map(unicodedata.category, map(chr, range(CODE_POINTS)))
    table = np.fromiter((kinds.get(c, kinds.get(c[0], BORDER)) for c in categories), np.uint8)
    table[(table == LETTER) & scripts_among(UNSPACED)[script_numbers()]] = WHOLE
    table[list(VARIATION_SELECTORS)] = IGNORED
    table[0xE0100:0xE01F0] = IGNORED
    table[MONGOLIAN_VOWEL_SEPARATOR] = LETTER
    return table


class Wording(NamedTuple):
    """What is looked for to the letter."""

    question: int
    kind: str
    """``filled`` or ``wording``."""
    text: str
    """In normal form."""


class Level(NamedTuple):
    """The nodes of a trie at one depth."""

    edges: Ints
    """[nodes] rising: the parent's number times the size of the vocabulary, plus the unit."""
    maybe: npt.NDArray[np.bool_]
    """Whether an edge may exist, by its low bits: turns almost everything away in one look."""
    ending: Ints
    """[nodes] number of the run that ends here, or -1."""


class RunTrie:
    """Finds every place of some runs of units; a run's number is its place among them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._vocabulary = pa.array(sorted({unit for run in runs for unit in run}), pa.string())
        number = {unit: i for i, unit in enumerate(self._vocabulary.to_pylist())}
        sizes = np.array([len(run) for run in runs], np.int64)
        units = np.zeros((len(runs), GRAM), np.int64)
        for row, run in enumerate(runs):
            units[row, : len(run)] = [number[unit] for unit in run]
        # The first unit of a run is the number of its node; behind all others stands "no unit".
        node, self._levels = units[:, 0].copy(), list[Level]()
        self._begins = np.isin(np.arange(len(number) + 1), node)
        for depth in range(sizes.max(initial=0)):
            deeper, edges = sizes > depth, np.arange(len(number))
            if depth:
                edges, node[deeper] = np.unique(
                    node[deeper] * len(number) + units[deeper, depth], return_inverse=True
                )
            maybe, ending = np.zeros(FILTER, bool), np.full(len(edges), -1)
            maybe[edges % FILTER] = True
            (last,) = np.nonzero(sizes == depth + 1)
            ending[node[last]] = last
            self._levels.append(Level(edges, maybe, ending))

    def find(self, units: Units) -> Iterator[tuple[int, int]]:
        """(text, number of the run) of every place of a run within one text."""
        # Behind the last unit as many that are no unit, so that no place reaches beyond the end.
        number = pc.index_in(units.words, self._vocabulary).fill_null(-1).to_numpy()
        number = np.append(number, np.full(GRAM, -1))
        texts = np.append(units.texts, np.full(GRAM, -1))
        place = np.flatnonzero(self._begins[number])
        node = number[place]
        for depth, level in enumerate(self._levels):
            if depth:
                unit = number[place + depth]
                edge = node * len(self._vocabulary) + unit
                passed = np.flatnonzero(level.maybe[edge % FILTER] & (unit >= 0))
                place, edge = place[passed], edge[passed]
                node = np.searchsorted(level.edges, edge).clip(max=len(level.edges) - 1)
                known = (level.edges[node] == edge) & (texts[place + depth] == texts[place])
                place, node = place[known], node[known]
            (ends,) = np.nonzero(level.ending[node] >= 0)
            runs = level.ending[node[ends]]
            yield from zip(texts[place[ends]].tolist(), runs.tolist(), strict=True)


class ProbeIndex(NamedTuple):
    """The questions of one language, prepared to be found in any amount of text."""

    trie: RunTrie
    owners: list[set[int]]
    """[runs] the questions whose filled sentence holds this n-gram."""
    wordings: list[list[Wording]]
    """[runs] the wordings in which this run stands between the first unit and the last, which may
    be pieces of longer words in a text."""
    grams: list[set[int]]
    """[questions] the distinct n-grams of the filled sentence."""
    has_wording: list[bool]
    """[questions] whether a part of the question is long enough to be looked for."""


@lru_cache(maxsize=16)
def probe_index(sides: tuple[ProbeSide, ...], isolation: IsolationSpec) -> ProbeIndex:
    """Prepare the questions of one language for corpora that are isolated in one way.

    What isolation takes out of the corpus is taken out of the questions too.
    """
    questions = [question for side in sides for question in side.questions]
    filled = _prepared([question.filled for question in questions], isolation)
    longest = (max(map(str.strip, BLANK.split(q.question)), key=_letters) for q in questions)
    parts = _prepared(list(longest), isolation)
    has_wording = [_letters(part) >= WORDING_LETTERS for part in parts]
    wordings = [Wording(i, "filled", text) for i, text in enumerate(filled)]
    wordings += [Wording(i, "wording", part) for i, part in enumerate(parts) if has_wording[i]]
    owners: defaultdict[Run, set[int]] = defaultdict(set)
    for question, units in enumerate(_runs(filled)):
        size = min(GRAM, len(units))
        if size >= LEAST_GRAM:
            for first in range(len(units) - size + 1):
                owners[units[first : first + size]].add(question)
    inner: defaultdict[Run, list[Wording]] = defaultdict(list)
    for wording, units in zip(wordings, _runs([w.text for w in wordings]), strict=True):
        if len(units) >= LEAST_GRAM:
            inner[units[1:-1][:GRAM]].append(wording)
    runs = list(dict.fromkeys([*owners, *inner]))
    grams: list[set[int]] = [set() for _ in questions]
    for number, run in enumerate(runs):
        for question in owners.get(run, ()):
            grams[question].add(number)
    return ProbeIndex(
        RunTrie(runs),
        [owners.get(run, set()) for run in runs],
        [inner.get(run, []) for run in runs],
        grams,
        has_wording,
    )


def _prepared(texts: Sequence[str], isolation: IsolationSpec) -> list[str]:
    """The texts in normal form, isolated as the corpus is."""
    return list(map(normal_text, isolate(pa.array(texts, pa.string()), isolation).text.to_pylist()))


def _letters(part: str) -> int:
    return len(part) + sum(MORE_LETTERS.get(script_of(character), 0) for character in part)


def _runs(texts: Sequence[str]) -> list[Run]:
    """[texts] all units of each."""
    units = units_of(batch_of(texts))
    bounds = np.searchsorted(units.texts, np.arange(len(texts) + 1))
    words = units.words.to_pylist()
    return [tuple(words[first:last]) for first, last in pairwise(bounds.tolist())]


def count_questions(
    found: Findings, corpus: str, batch: Batch, ids: Sequence[str], index: ProbeIndex
) -> None:
    """Look for every question in every text of a batch."""
    grams: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    candidates: defaultdict[int, set[Wording]] = defaultdict(set)
    for text, run in index.trie.find(units_of(batch)):
        for question in index.owners[run]:
            grams[text, question].add(run)
        candidates[text].update(index.wordings[run])
    exact: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for text, wordings in candidates.items():
        content = normal_text(batch.texts[text]) if wordings else ""
        for wording in wordings:
            if wording.text in content:
                exact[text, wording.question].add(wording.kind)
    for (text, question), kinds in exact.items():
        found.counts.update(("question", corpus, question, kind) for kind in ("exact", *kinds))
        found.keep(("exact", corpus, question), [(ids[text],)], 1)
    for (text, question), runs in grams.items():
        found.counts["question", corpus, question, "overlapping"] += 1
        found.keep(("overlap", corpus, question), [(-len(runs), ids[text])], 1)
        found.counts.update(("n-gram", corpus, run) for run in runs)


def question_rows(
    found: Findings, column: Column, sides: Sequence[ProbeSide], index: ProbeIndex
) -> list[dict[str, Any]]:
    """One row a question, found or not, of ``contamination.parquet``; see ``SCHEMA``."""
    rows = []
    corpus, counts = column.corpus, found.counts
    places = ((side, question) for side in sides for question in side.questions)
    for number, (side, question) in enumerate(places):
        grams = index.grams[number]
        exact = found.kept(("exact", corpus, number))
        ((most, most_id),) = found.kept(("overlap", corpus, number)) or [(0, None)]
        anywhere = sum(counts["n-gram", corpus, gram] > 0 for gram in grams)
        documents = {
            kind: counts["question", corpus, number, kind]
            for kind in ("exact", "filled", "wording", "overlapping")
        }
        rows.append(
            {
                "culture": side.culture,
                "side": side.language,
                "question": question.number,
                "corpus": corpus,
                "exact": documents["exact"] > 0,
                "exact_documents": documents["exact"],
                "filled_documents": documents["filled"],
                "wording_documents": documents["wording"] if index.has_wording[number] else None,
                "overlap": -most / len(grams) if grams else None,
                "overlap_anywhere": anywhere / len(grams) if grams else None,
                "documents_with_overlap": documents["overlapping"],
                "example": exact[0][0] if exact else most_id,
            }
        )
    return rows


def contamination_figures(
    rows: Sequence[dict[str, Any]], side: ProbeSide, corpus: str
) -> ContaminationFigures:
    """The figures of one culture's questions in one corpus, from their rows."""
    filled = {question.number: question.filled for question in side.questions}
    overlaps = [row["overlap"] or 0.0 for row in rows]
    met = [row for row in rows if row["exact"] or row["overlap"]]
    met.sort(key=lambda row: (-row["exact"], -(row["overlap"] or 0.0), row["question"]))
    return ContaminationFigures(
        culture=side.culture,
        side=side.language,
        corpus=corpus,
        questions=len(rows),
        exact=sum(row["exact"] for row in rows),
        filled=sum(row["filled_documents"] > 0 for row in rows),
        wording=sum((row["wording_documents"] or 0) > 0 for row in rows),
        overlapping=sum(overlap > 0 for overlap in overlaps),
        half_overlapping=sum(overlap >= 0.5 for overlap in overlaps),
        whole_overlapping=sum(overlap == 1 for overlap in overlaps),
        found=[
            {
                "question": row["question"],
                "filled": filled[row["question"]],
                "exact_documents": row["exact_documents"],
                "overlap": row["overlap"],
                "document": row["example"],
            }
            for row in met[:FOUND_QUESTIONS]
        ],
    )
