"""The questions of one language, prepared to be found in any amount of text.

Invariant: what is prepared is a function of the questions and of the corpus's isolation, so every
task of an audit looks for the same.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccx_ray.corpus.audit.code_points import Hashes, Ints, batch_of, points_of_scripts
from ccx_ray.corpus.audit.inputs import ProbeSide
from ccx_ray.corpus.audit.normal_form import GramHashes, Units, normal_text, units_of
from ccx_ray.corpus.cleaning.scripts import isolate
from ccx_ray.study.text_spec import BLANK, IsolationSpec

GRAM = 8
"""Units of an n-gram. A sentence of fewer is one gram of all its units, ..."""
LEAST_GRAM = 3
"""... and one of fewer than these has none, and is not looked for to the letter either."""
WORDING_LETTERS = 40
"""Least length of a question's longest part between blanks that is looked for by itself. Han
characters count fourfold and Hangul syllables twofold, as they say about as much more."""
ANCHORS = (8, 4, 2, 1)
"""Units by which a wording is found: as many as stand between its first and its last one, which
may be pieces of longer words in a text."""
FILTER_SHARE = 2**6
"""Entries of a filter for each hash in it: one in as many of all others passes."""
LARGEST_FILTER = 2**22

FILLED, WORDING = 0, 1


class Needle(NamedTuple):
    """A wording that is looked for to the letter."""

    question: int
    """Position among all questions of the index."""
    kind: int
    """``FILLED`` or ``WORDING``."""
    text: str
    """In normal form."""


class HashSet(NamedTuple):
    """Hashes of runs of units, behind a filter that turns almost everything else away."""

    size: int
    """Units of each run."""
    hashes: Hashes
    """Rising, each once."""
    maybe: npt.NDArray[np.bool_]
    shift: np.uint64
    """Bits of a hash that the filter does not look at."""

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Positions whose hash is in the set, and which of the set it is."""
        candidates = np.flatnonzero(self.maybe[hashes >> self.shift])
        places = np.searchsorted(self.hashes, hashes[candidates])
        places[places == len(self.hashes)] = 0
        found = self.hashes[places] == hashes[candidates]
        return candidates[found], places[found].astype(np.int64)


class Grams(NamedTuple):
    """All n-grams of one n."""

    known: HashSet
    spelled: list[tuple[str, ...]]
    """Each gram's units."""
    first: int
    """Number of the first of them among the grams of all n."""


class Anchors(NamedTuple):
    """The runs of one size that lead to needles."""

    known: HashSet
    needles: list[list[Needle]]


class ProbeIndex(NamedTuple):
    """What ``contamination.scan`` looks for."""

    anchors: tuple[Anchors, ...]
    grams: tuple[Grams, ...]
    owners: dict[int, tuple[int, ...]]
    """Gram -> the questions whose filled sentence holds it."""
    sizes: Ints
    """[questions] distinct grams of the filled sentence."""
    has_wording: npt.NDArray[np.bool_]
    """[questions] whether a part of the question is long enough to be looked for."""


@lru_cache(maxsize=16)
def probe_index(sides: tuple[ProbeSide, ...], isolation: IsolationSpec) -> ProbeIndex:
    """Prepare the questions of one language for corpora that are isolated in one way.

    What isolation takes out of the corpus is taken out of the questions too.
    """
    questions = [question for side in sides for question in side.questions]
    filled = _prepared([question.filled for question in questions], isolation)
    parts = _prepared([_longest_part(question.question) for question in questions], isolation)
    has_wording = np.array([_letters(part) >= WORDING_LETTERS for part in parts], bool)
    needles = [Needle(i, FILLED, text) for i, text in enumerate(filled)]
    needles += [Needle(i, WORDING, part) for i, part in enumerate(parts) if has_wording[i]]
    return ProbeIndex(_anchors(needles), *_grams(filled), has_wording)


def _hash_set(size: int, hashes: Sequence[int]) -> HashSet:
    rising = np.array(sorted(hashes), np.uint64)
    entries = min(LARGEST_FILTER, FILTER_SHARE * len(rising))
    bits = max(10, int(np.ceil(np.log2(entries))))
    maybe, shift = np.zeros(2**bits, bool), np.uint64(64 - bits)
    maybe[rising >> shift] = True
    return HashSet(size, rising, maybe, shift)


def _prepared(texts: Sequence[str], isolation: IsolationSpec) -> list[str]:
    """The texts in normal form, isolated as the corpus is."""
    batch = batch_of(isolate(pa.array(texts, pa.string()), isolation).text)
    spans = zip(batch.starts, batch.ends, strict=True)
    return [normal_text(batch.points[start:end]) for start, end in spans]


def _longest_part(question: str) -> str:
    return max(map(str.strip, BLANK.split(question)), key=_letters)


def _letters(text: str) -> int:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    more = (
        _members(script)[points].sum() * weight for script, weight in (("Han", 3), ("Hangul", 1))
    )
    return len(points) + int(sum(more))


@lru_cache
def _members(script: str) -> npt.NDArray[np.bool_]:
    return points_of_scripts([script])


class _Runs(NamedTuple):
    """The units of some texts, text by text."""

    units: Units
    first: list[int]
    """[texts] number of its first unit."""
    number: list[int]
    """[texts] how many units it has."""

    def hashes(self, text: int, size: int, margin: int = 0) -> list[int]:
        """Of every run of ``size`` units but for ``margin`` units at both ends."""
        begin, end = self.first[text] + margin, self.first[text] + self.number[text] - margin
        return [int(hash_) for hash_ in GramHashes(self.units.hashes[begin:end]).of(size)]


def _runs(texts: Sequence[str]) -> _Runs:
    units = units_of(batch_of(pa.array(texts, pa.string())))
    owners = units.owners(np.arange(len(units.starts)))
    number = np.bincount(owners, minlength=len(texts))
    return _Runs(units, (np.cumsum(number) - number).tolist(), number.tolist())


def _anchors(needles: Sequence[Needle]) -> tuple[Anchors, ...]:
    runs = _runs([needle.text for needle in needles])
    # size -> needle -> its runs of this size
    by_size: dict[int, dict[int, list[int]]] = {size: {} for size in ANCHORS}
    for number in range(len(needles)):
        inner = runs.number[number] - 2
        size = next((size for size in ANCHORS if size <= inner), None)
        if size is not None:
            by_size[size][number] = runs.hashes(number, size, margin=1)
    anchors = []
    for size, members in by_size.items():
        # The run that the fewest other needles share is likely to be rare in text too.
        common = Counter(hash_ for hashes in members.values() for hash_ in hashes)
        chosen: dict[int, list[Needle]] = {}
        for number, hashes in members.items():
            rarest = min(hashes, key=lambda hash_: (common[hash_], hash_))
            chosen.setdefault(rarest, []).append(needles[number])
        if chosen:
            leads = [chosen[hash_] for hash_ in sorted(chosen)]
            anchors.append(Anchors(_hash_set(size, list(chosen)), leads))
    return tuple(anchors)


def _grams(filled: Sequence[str]) -> tuple[tuple[Grams, ...], dict[int, tuple[int, ...]], Ints]:
    runs = _runs(filled)
    # n -> hash -> (its units, its questions)
    by_size: dict[int, dict[int, tuple[tuple[str, ...], list[int]]]] = {}
    sizes = np.zeros(len(filled), np.int64)
    for question, number in enumerate(runs.number):
        if number < LEAST_GRAM:
            continue
        size = min(GRAM, number)
        hashes = runs.hashes(question, size)
        for place, hash_ in enumerate(hashes):
            spelled = runs.units.spelled(runs.first[question] + place, size)
            by_size.setdefault(size, {}).setdefault(hash_, (spelled, []))[1].append(question)
        sizes[question] = len(set(hashes))
    grams: list[Grams] = []
    owners: dict[int, tuple[int, ...]] = {}
    for size, known in sorted(by_size.items()):
        members, first = [known[hash_] for hash_ in sorted(known)], len(owners)
        grams.append(Grams(_hash_set(size, list(known)), [units for units, _ in members], first))
        owners |= {first + i: tuple(sorted(set(whose))) for i, (_, whose) in enumerate(members)}
    return tuple(grams), owners, sizes
