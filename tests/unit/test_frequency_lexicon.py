"""The lexicon against plain counting in the normalised texts, with one shard and with many."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccx_ray.frequency.counting.lexicon import SHARD_BYTES, Lexicon, build_lexicon
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.orchestration.tasks import WorkLog, run_here
from tests.lexicon_corpus import bundled_documents, bundled_pairs, lexicon_of, write_text

PARTS = ("documents", "english", "target")


@pytest.fixture(scope="module", params=["ko", "zh", "bo", "mn"])
def texts(request: pytest.FixtureRequest, project: Path) -> dict[str, list[str]]:
    """Real documents and halves of pairs, by part."""
    pairs = bundled_pairs(project, request.param, 100)
    return {
        "documents": bundled_documents(project, request.param, 60),
        "english": [english for english, _ in pairs],
        "target": [target for _, target in pairs],
    }


@pytest.fixture(scope="module", params=[1, 3000, SHARD_BYTES])
def lexicon(
    request: pytest.FixtureRequest,
    texts: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Lexicon:
    folder = tmp_path_factory.mktemp("lexicon")
    pairs = list(zip(texts["english"], texts["target"], strict=True))
    text = write_text(folder / "text", texts["documents"], pairs)
    return lexicon_of(text, folder / "lexicon", shard_bytes=request.param)


def places(text: str, wanted: str) -> list[int]:
    """Bytes before each occurrence, overlapping ones too."""
    content, string, found = text.encode(), wanted.encode(), []
    at = content.find(string)
    while at >= 0:
        found.append(at)
        at = content.find(string, at + 1)
    return found


def some_strings(normalized: list[str]) -> list[str]:
    """Pieces of the texts, single characters too; and what stands nowhere."""
    drawn = random.Random(0)
    pieces = [normalized[0][:5], normalized[-1][-5:], "no such string", "\u180e", " "]
    for size in (1, 1, 2, 3, 7, 20):
        text = drawn.choice([text for text in normalized if len(text) > size])
        start = drawn.randrange(len(text) - size)
        pieces.append(text[start : start + size])
    return pieces


def rows(lexicon: Lexicon, part: str) -> int:
    return sum(shard.rows for shard in lexicon.shards(part))


def occurrences(lexicon: Lexicon, part: str, wanted: str) -> list[tuple[int, int]]:
    """Row and bytes of its text before every occurrence."""
    return [
        (shard.first_row + row, position - int(shard.starts[row]))
        for shard in lexicon.shards(part)
        for position in shard.find(wanted).tolist()
        for row in shard.rows_at(np.array([position])).tolist()
    ]


def test_every_occurrence_of_a_string_is_found(
    lexicon: Lexicon, texts: dict[str, list[str]]
) -> None:
    assert lexicon.documents == rows(lexicon, "documents") == 60
    for part in PARTS:
        normalized = list(map(normalize, texts[part]))
        for wanted in some_strings(normalized):
            expected = [
                (row, at) for row, text in enumerate(normalized) for at in places(text, wanted)
            ]
            assert occurrences(lexicon, part, wanted) == expected
            assert lexicon.count_strings(part, wanted) == len(expected)


def test_a_row_gives_its_normal_form(lexicon: Lexicon, texts: dict[str, list[str]]) -> None:
    for part in PARTS:
        assert rows(lexicon, part) == len(texts[part])
        for row in (0, 1, 17, len(texts[part]) - 1):
            shard = [one for one in lexicon.shards(part) if one.first_row <= row][-1]
            assert shard.normalized(row - shard.first_row) == normalize(texts[part][row])


def test_document_frequencies_are_those_of_counting(
    lexicon: Lexicon, texts: dict[str, list[str]]
) -> None:
    counts = Counter(term for text in texts["documents"] for term in set(terms_of(normalize(text))))
    assert lexicon.document_frequencies(counts) == counts
    asked = [*list(counts)[:3], "no such term"]
    expected = {term: counts[term] for term in asked}
    assert lexicon.document_frequencies([*asked, *asked]) == expected
    assert lexicon.document_frequencies([]) == {}


def test_no_string_reaches_into_the_next_row(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", ["seoul is", "a city", "aaa"])
    lexicon = lexicon_of(text, tmp_path / "lexicon", shard_bytes=SHARD_BYTES)
    assert sorted(path.name for path in (tmp_path / "lexicon").iterdir() if path.is_dir()) == [
        ".work", "documents", "terms"
    ]  # fmt: skip
    assert lexicon.count_strings("documents", "is a") == 0
    assert lexicon.count_strings("documents", "isa") == 0
    assert occurrences(lexicon, "documents", "aa") == [(2, 0), (2, 1)]
    assert lexicon.count_strings("documents", "") == len(occurrences(lexicon, "documents", "")) == 0


def test_a_corpus_without_documents_knows_nothing(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", [], [])
    lexicon = lexicon_of(text, tmp_path / "lexicon")
    for part in PARTS:
        assert rows(lexicon, part) == lexicon.count_strings(part, "a") == 0
        assert occurrences(lexicon, part, "a") == []
    assert lexicon.document_frequencies(["a"]) == {"a": 0}


def test_an_empty_document_is_a_row(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", ["", "one", "..."])
    lexicon = lexicon_of(text, tmp_path / "lexicon")
    texts = [
        shard.normalized(row) for shard in lexicon.shards("documents") for row in range(shard.rows)
    ]
    assert texts == ["", "one", " "]
    assert occurrences(lexicon, "documents", "one") == [(1, 0)]


def test_a_killed_build_goes_on_and_gives_the_same_files(tmp_path: Path, project: Path) -> None:
    text = write_text(tmp_path / "text", bundled_documents(project, "zh", 60), [("a", "一")] * 40)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    counts = build_lexicon(text, whole, run_tasks=run_here, shard_bytes=1)
    assert [counts[part]["shards"] for part in PARTS] == [4, 4, 4]
    # The twelve shards, then four partitions of the terms.
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            build_lexicon(text, resumed, run_tasks=killed_after(3), shard_bytes=1)
        assert not (resumed / "lexicon.json").exists()
    assert build_lexicon(text, resumed, run_tasks=run_here, shard_bytes=1) == counts
    assert contents(resumed) == contents(whole)


def killed_after(tasks: int) -> Callable[..., list[dict[str, Any]]]:
    """Runs so many tasks that were not finished before, of all stages, and dies."""
    left = tasks

    def run(
        log: WorkLog, number: int, function: Callable[[int], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        def counted(task: int) -> dict[str, Any]:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return function(task)

        return run_here(log, number, counted)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    named = ((str(path.relative_to(folder)), path) for path in files)
    return {name: path.read_bytes() for name, path in named if not name.startswith(".work")}
