"""Near-duplicates: which documents go, in five scripts, whatever the blocks and the process."""

import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import regex

from ccx_ray.corpus.cleaning.near_duplicates import PERMUTATIONS, near_duplicates, signatures

THRESHOLD = 0.8
LANGUAGES = ("en", "ko", "zh", "bo", "mn")
PROJECT = Path(__file__).parents[2]
UNIT = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}\p{Cf}--\p{Han}]+", regex.VERSION1)
SENTENCE = regex.compile(r"[^.!?。！？།᠃\n]+[.!?。！？།᠃\n]*\s*")


def documents(language: str, *, least_units: int, count: int) -> list[str]:
    """Distinct bundled documents, cut to 4,000 characters."""
    with gzip.open(PROJECT / f"data/mono/{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = dict.fromkeys(json.loads(line)["text"][:4000] for line in lines)
    return [text for text in texts if len(UNIT.findall(text)) >= least_units][:count]


def shingles(text: str) -> set[tuple[str, ...]]:
    """As the documentation defines them, by another implementation."""
    units = UNIT.findall(text)
    return {tuple(units[i : i + 3]) for i in range(len(units) - 2)}


def jaccard(one: str, two: str) -> float:
    a, b = shingles(one), shingles(two)
    return len(a & b) / len(a | b)


def edited(text: str, randomness: random.Random) -> str:
    """With sentences shuffled, one sentence replaced, or some characters dropped."""
    sentences = SENTENCE.findall(text)
    match randomness.randrange(3):
        case 0:
            randomness.shuffle(sentences)
        case 1:
            sentences[randomness.randrange(len(sentences))] = text[: len(text) // 10]
        case _:
            share = randomness.choice((0.002, 0.01, 0.03))
            return "".join(c for c in text if randomness.random() > share)
    return "".join(sentences)


def near(rows: np.ndarray, threshold: float = THRESHOLD) -> list[int]:
    """Of one block in which every document is in the running."""
    found = near_duplicates([rows], [np.ones(len(rows), np.bool_)], threshold)
    return [int(place) for place in found]


def random_signatures(count: int, seed: int = 0) -> np.ndarray:
    """Documents that have nothing in common."""
    values = np.random.default_rng(seed).integers(0, 2**32 - 1, (count, PERMUTATIONS))
    return values.astype(np.uint32)


@pytest.mark.parametrize("language", LANGUAGES)
def test_equal_slots_estimate_the_jaccard_similarity(language: str) -> None:
    randomness = random.Random(0)
    texts = documents(language, least_units=30, count=150)
    copies = [edited(text, randomness) for text in texts]
    estimate = (signatures(texts) == signatures(copies)).mean(axis=1)
    error = estimate - [jaccard(*pair) for pair in zip(texts, copies, strict=True)]
    assert len(texts) >= 20
    assert np.sqrt((error**2).mean()) < 0.05, "the theory says 0.035 at 0.8, 0.044 at 0.5"
    assert abs(error.mean()) < 0.015
    assert np.abs(error).max() < 0.2


@pytest.mark.parametrize("language", LANGUAGES)
def test_planted_copies_go_and_nothing_else(language: str) -> None:
    randomness = random.Random(1)
    texts = documents(language, least_units=30, count=300)
    copies = [edited(text, randomness) for text in texts]
    found = near(signatures([*texts, *copies]))[len(texts) :]
    # The bundled text holds near-duplicates itself: to be found, any similar original will do.
    similar = np.array([jaccard(*pair) for pair in zip(texts, copies, strict=True)])
    hit = np.array(found) >= 0
    assert (similar >= 0.88).sum() >= 10
    assert hit[similar >= 0.88].all()
    if (similar >= THRESHOLD).sum():
        assert hit[similar >= THRESHOLD].mean() > 0.9
    for original, copy in zip(found, copies, strict=True):
        assert original < 0 or jaccard([*texts, *copies][original], copy) > 0.68


def test_unrelated_documents_stay() -> None:
    texts = [text for code in LANGUAGES for text in documents(code, least_units=30, count=300)]
    for number, original in enumerate(near(signatures(texts))):
        assert original < 0 or jaccard(texts[original], texts[number]) > 0.68


def test_layout_and_punctuation_make_no_difference() -> None:
    texts = ["One text, laid out thus: a line.", "One text\n\nlaid out — thus a  line"]
    texts += ["བོད་ཀྱི་ལོ་རྒྱུས་ཡིན།", "བོད་ཀྱི་ལོ་རྒྱུས་ཡིན"]
    texts += ["其他文本，如此。", "其他 文本 如此"]
    assert near(signatures(texts)) == [-1, 0, -1, 2, -1, 4]


def test_fewer_than_three_units_are_never_near() -> None:
    texts = ["two words", "two words", "", "", "...", "...", "中文", "中文", "བོད་ཡིག", "བོད་ཡིག"]
    assert near(signatures(texts)) == [-1] * len(texts)
    assert near(signatures(["now three words"] * 2 + texts)) == [-1, 0] + [-1] * len(texts)
    assert near(signatures([])) == []


def test_a_signature_is_of_its_document_alone() -> None:
    long_text = " ".join(f"word{number * number}" for number in range(40_000))
    texts = [text for code in LANGUAGES for text in documents(code, least_units=1, count=150)]
    texts[100:100] = ["", long_text, "三个字", "中" * 200_000]
    together = signatures(texts)
    for place in [0, 1, *range(95, 110), 300, len(texts) - 1]:
        assert np.array_equal(together[place], signatures([texts[place]])[0])


def test_a_long_document_is_hashed_whole() -> None:
    """Longer than what is hashed at once, and begun elsewhere: the cuts must leave no trace."""
    words = [f"word{number * number}" for number in range(40_000)]
    texts = [" ".join(words), "some words come before " + " ".join(words), " ".join(words[:20_000])]
    one, two, half = signatures(texts)
    assert (one == two).mean() > 0.98
    assert 0.35 < (one == half).mean() < 0.65


def test_the_first_kept_one_wins() -> None:
    """A ~ B, B ~ C, A !~ C: A and C stay. D is near both and named after the first."""
    a = random_signatures(1)[0]
    b, c, d = a.copy(), a.copy(), a.copy()
    b[:20] += 1
    c[:40] += 1
    d[:20] += 1
    d[100:104] += 1
    assert near(np.stack([a, b, c, d])) == [-1, 0, -1, 0]
    assert near(np.stack([c, d, b, a])) == [-1, 0, 0, -1]


def test_who_is_out_of_the_running_neither_drops_nor_is_dropped() -> None:
    rows = np.repeat(random_signatures(1), 4, axis=0)
    stands = np.array([False, True, False, True])
    assert near_duplicates([rows], [stands], THRESHOLD).tolist() == [-1, -1, -1, 1]


def families(seed: int) -> np.ndarray:
    """300 documents of 12 families, of every similarity around the threshold."""
    random_state = np.random.default_rng(seed)
    rows = random_signatures(12, seed)[random_state.integers(0, 12, 300)]
    changed = random_state.random(rows.shape) < random_state.uniform(0, 0.25, (300, 1))
    return np.where(changed, random_signatures(300, seed + 1000), rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_outcome_is_that_of_one_after_another(seed: int) -> None:
    rows = families(seed)
    expected: list[int] = []
    for number, row in enumerate(rows):
        kept = [earlier for earlier in range(number) if expected[earlier] < 0]
        bands = (rows[kept] == row).reshape(len(kept), 16, 8).all(axis=2).any(axis=1)
        equal = (rows[kept] == row).mean(axis=1) >= THRESHOLD
        expected.append(next((k for k, hit in zip(kept, bands & equal, strict=True) if hit), -1))
    assert 100 < sum(place >= 0 for place in expected) < 288
    assert near(rows) == expected


@pytest.mark.parametrize("cuts", [[], [1], [0, 0, 150], [37, 38, 39, 299], list(range(0, 300, 7))])
def test_blocks_make_no_difference(cuts: list[int]) -> None:
    rows, stands = families(0), np.arange(300) % 9 > 0
    whole = near_duplicates([rows], [stands], THRESHOLD)
    parts = near_duplicates(np.split(rows, cuts), np.split(stands, cuts), THRESHOLD)
    assert np.array_equal(whole, parts)


def test_processes_and_threads_make_no_difference() -> None:
    program = (
        "import hashlib; from ccx_ray.corpus.cleaning.near_duplicates import signatures;"
        "from tests.unit.test_near_duplicates import documents, LANGUAGES;"
        "t = [x for c in LANGUAGES for x in documents(c, least_units=1, count=400)];"
        "print(hashlib.sha256(signatures(t).tobytes()).hexdigest())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={"PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    ]
    assert digests[0] == digests[1] != ""


def test_crowds_are_no_trouble() -> None:
    """20,000 equal documents, and 20,000 that share a band's key and nothing else."""
    equal = signatures(["The same words stand on every page of this site."] * 20_000)
    apart = random_signatures(20_000)
    apart[:, :8] = 7
    start = time.perf_counter()
    found = near_duplicates([equal, apart], [np.ones(20_000, np.bool_)] * 2, THRESHOLD)
    assert time.perf_counter() - start < 10
    assert found.tolist() == [-1] + [0] * 19_999 + [-1] * 20_000


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_any_threshold_parts_what_is_above_from_what_is_below(threshold: float) -> None:
    least = int(np.ceil(threshold * PERMUTATIONS))
    rows = random_signatures(600)
    slots = np.random.default_rng(1).random((200, PERMUTATIONS)).argsort(axis=1)
    above = np.where(slots < least + 2, rows[:200], rows[200:400])
    below = np.where(slots < least - 1, rows[:200], rows[400:])
    found = near(np.concatenate([rows[:200], above, below]), threshold)
    assert np.mean(np.array(found[200:400]) == np.arange(200)) >= 0.9
    assert found[400:] == [-1] * 200
