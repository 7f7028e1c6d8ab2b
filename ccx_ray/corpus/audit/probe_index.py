"""The questions of one language, prepared to be found in any amount of text.

Invariant: what is prepared is a function of the questions and of the corpus's isolation, so every
task of an audit looks for the same.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccx_ray.corpus.audit.code_points import (
    Batch,
    Hashes,
    Ints,
    Points,
    batch_of,
    points_of_scripts,
)
from ccx_ray.corpus.audit.inputs import ProbeSide
from ccx_ray.corpus.audit.normal_form import (
    gram_hashes,
    normalized,
    units_of,
    window_hashes,
)
from ccx_ray.corpus.scripts import isolate
from ccx_ray.study.text_spec import IsolationSpec

GRAM = 8
"""Units of an n-gram. A sentence of fewer is one gram of all its units, ..."""
LEAST_GRAM = 3
"""... and one of fewer than these has none."""
WORDING_LETTERS = 40
"""Least length of a question's longest part between blanks that is looked for by itself. Han
characters count fourfold and Hangul syllables twofold, as they say about as much more."""
WINDOWS = (16, 6)
"""Characters by which a wording is found: the longer window that fits into it."""
FILTER_BITS = 22
BLANK = re.compile("_+")

FILLED, WORDING = 0, 1


class Needle(NamedTuple):
    """A wording that is looked for character by character."""

    question: int
    """Position among all questions of the index."""
    kind: int
    """``FILLED`` or ``WORDING``."""
    points: Points
    anchor: int
    """Where in it the window stands by which it is found."""


class HashSet(NamedTuple):
    """Hashes that are looked for, behind a filter that turns almost everything else away."""

    size: int
    """Characters or units that each covers."""
    hashes: Hashes
    """Rising, each once."""
    maybe: npt.NDArray[np.bool_]

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Positions whose hash is in the set, and which of the set it is."""
        candidates = np.flatnonzero(self.maybe[hashes >> np.uint64(64 - FILTER_BITS)])
        places = np.searchsorted(self.hashes, hashes[candidates])
        places[places == len(self.hashes)] = 0
        found = self.hashes[places] == hashes[candidates]
        return candidates[found], places[found].astype(np.int64)


class Grams(NamedTuple):
    """All n-grams of one n, and whose they are."""

    known: HashSet
    spelled: list[tuple[str, ...]]
    """Each gram's units."""
    first: int
    """Number of the first gram of this n among the grams of all n."""


class Windows(NamedTuple):
    """The windows of one size, and the needles that each leads to."""

    known: HashSet
    needles: list[list[Needle]]


class ProbeIndex(NamedTuple):
    """What ``contamination.scan`` looks for."""

    windows: tuple[Windows, ...]
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
    parts = [_longest_part(question.question) for question in questions]
    wordings = _prepared(parts, isolation)
    letters = [_letters(wordings.points[a:b]) for a, b in zip(*wordings[1:], strict=True)]
    has_wording = np.array(letters, np.int64) >= WORDING_LETTERS
    wanted = [(i, FILLED, filled.points[a:b]) for i, (a, b) in _spans(filled)]
    wanted += [(i, WORDING, wordings.points[a:b]) for i, (a, b) in _spans(wordings) if letters[i]
               >= WORDING_LETTERS]  # fmt: skip
    grams, owners, sizes = _grams(filled)
    return ProbeIndex(_windows(wanted), grams, owners, sizes, has_wording)


def hash_set(size: int, hashes: Hashes) -> HashSet:
    """A set of hashes, each covering ``size`` characters or units."""
    maybe = np.zeros(2**FILTER_BITS, bool)
    maybe[hashes >> np.uint64(64 - FILTER_BITS)] = True
    return HashSet(size, hashes, maybe)


def _prepared(texts: list[str], isolation: IsolationSpec) -> Batch:
    isolated = isolate(pa.array(texts, pa.string()), isolation).text.to_pylist()
    return normalized(batch_of(pa.array([text.strip() for text in isolated], pa.string())))


def _spans(batch: Batch) -> list[tuple[int, tuple[int, int]]]:
    """Number and span of every text that is long enough to be found."""
    spans = zip(batch.starts.tolist(), batch.ends.tolist(), strict=True)
    return [(i, span) for i, span in enumerate(spans) if span[1] - span[0] >= min(WINDOWS)]


def _longest_part(question: str) -> str:
    return max(BLANK.split(question), key=lambda part: _letters(_points(part.strip()))).strip()


def _points(text: str) -> Points:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _letters(points: Points) -> int:
    weights = {"Han": 3, "Hangul": 1}
    more = (w * _members(script)[points].sum() for script, w in weights.items())
    return len(points) + int(sum(more))


@lru_cache
def _members(script: str) -> npt.NDArray[np.bool_]:
    return points_of_scripts([script])


def _windows(wanted: list[tuple[int, int, Points]]) -> tuple[Windows, ...]:
    found: list[Windows] = []
    for place, size in enumerate(WINDOWS):
        longer = WINDOWS[place - 1] if place else np.inf
        here = [needle for needle in wanted if size <= len(needle[2]) < longer]
        hashes = [window_hashes(points, size) for _, _, points in here]
        if not here:
            continue
        # Of a wording's windows, the one that the fewest others share is the rarest in text too.
        common = dict(zip(*np.unique(np.concatenate(hashes), return_counts=True), strict=True))
        by_hash: dict[int, list[Needle]] = {}
        for (question, kind, points), own in zip(here, hashes, strict=True):
            anchor = min(range(len(own)), key=lambda i: (common[own[i]], int(own[i])))
            by_hash.setdefault(int(own[anchor]), []).append(Needle(question, kind, points, anchor))
        rising = np.array(sorted(by_hash), np.uint64)
        found.append(Windows(hash_set(size, rising), [by_hash[int(h)] for h in rising]))
    return tuple(found)


def _grams(filled: Batch) -> tuple[tuple[Grams, ...], dict[int, tuple[int, ...]], Ints]:
    units = units_of(filled)
    owner = units.batch.owners(units.starts)
    number = np.bincount(owner, minlength=len(filled.starts))
    begin = np.cumsum(number) - number
    # n -> hash -> (its units, its questions)
    by_size: dict[int, dict[int, tuple[tuple[str, ...], set[int]]]] = {}
    sizes = np.zeros(len(number), np.int64)
    for question, length in enumerate(number.tolist()):
        if length < LEAST_GRAM:
            continue
        size, first = min(GRAM, length), int(begin[question])
        hashes = gram_hashes(units.hashes[first : first + length], size).tolist()
        for i, key in enumerate(hashes):
            spelled = units.spelled(first + i, size)
            by_size.setdefault(size, {}).setdefault(key, (spelled, set()))[1].add(question)
        sizes[question] = len(set(hashes))
    grams: list[Grams] = []
    owners: dict[int, tuple[int, ...]] = {}
    first = 0
    for size, known in sorted(by_size.items()):
        rising = np.array(sorted(known), np.uint64)
        of_size = [known[int(key)] for key in rising]
        grams.append(Grams(hash_set(size, rising), [spelled for spelled, _ in of_size], first))
        owners |= {first + i: tuple(sorted(whose)) for i, (_, whose) in enumerate(of_size)}
        first += len(rising)
    return tuple(grams), owners, sizes
