"""Text of any size for the measurements of the corpus stage, made from the bundled real text.

The bundled text is cut into sentences; a document is 10 to 60 sentences of one language drawn at
random, one in ten repeats an earlier document under another id, one in twenty repeats one with one
sentence changed. What this text lacks is variety: all of it spells the same 11 MB of sentences, so
the caches of every tokenizer do better on it than on text that goes on saying new things.

Invariants: a document is a function of the seed, its language and its number, whoever writes it; a
smaller size is the beginning of a larger one.
"""

import gzip
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import orjson

LANGUAGES = {"en": 0.2475, "ko": 0.2475, "zh": 0.2475, "bo": 0.2475, "mn": 0.01}
"""Language -> share of the bytes; there is too little Mongolian to fill more."""
SENTENCE_END = {
    "en": r"(?<=[.!?])\s+|\n+",
    "ko": r"(?<=[.!?])\s+|\n+",
    "zh": r"(?<=[。！？])|\n+",
    "bo": r"(?<=།)\s+|\n+",
    "mn": r"(?<=[᠃:])\s+|\n+",
}
BETWEEN_SENTENCES = {"en": " ", "ko": " ", "zh": "", "bo": " ", "mn": " "}
SENTENCES_PER_PARAGRAPH = 5
FEWEST, MOST = 10, 60
EXACT_REPEATS, NEAR_REPEATS = 0.10, 0.05
BUNDLED = Path(__file__).parent.parent / "data" / "mono"


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """One file of one language."""

    language: str
    unit: int
    """All files of one unit together have the smallest size that is asked for."""
    path: str
    documents: int
    text_bytes: int
    """UTF-8 of the texts alone."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkText:
    """The files in order; the first units of every language make a smaller text."""

    folder: Path
    files: tuple[TextFile, ...]
    unit_megabytes: int

    def of_size(self, megabytes: int) -> list[TextFile]:
        """The files of a smaller text, which is a multiple of ``unit_megabytes``."""
        assert megabytes % self.unit_megabytes == 0, "sizes are multiples of the unit"
        return [file for file in self.files if file.unit < megabytes // self.unit_megabytes]


def make_text(
    folder: Path, *, megabytes: int, unit_megabytes: int, seed: int, processors: int
) -> BenchmarkText:
    """Write the text.

    Args:
        megabytes: of all languages together, a multiple of ``unit_megabytes``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    units = [
        (folder, language, unit, unit_megabytes, seed)
        for unit in range(megabytes // unit_megabytes)
        for language in LANGUAGES
    ]
    with ProcessPoolExecutor(processors) as pool:
        files = tuple(pool.map(_write_file, *zip(*units, strict=True)))
    return BenchmarkText(folder=folder, files=files, unit_megabytes=unit_megabytes)


def bundled_texts(language: str) -> list[str]:
    """The bundled documents of a language."""
    with gzip.open(BUNDLED / f"{language}.jsonl.gz") as lines:
        return [orjson.loads(line)["text"] for line in lines]


@cache
def sentences(language: str) -> Sequence[str]:
    """The sentences of the bundled text, each once."""
    ends = re.compile(SENTENCE_END[language])
    parts = (part.strip() for text in bundled_texts(language) for part in ends.split(text))
    return list(dict.fromkeys(part for part in parts if part))


class _Documents:
    """The documents of one language."""

    def __init__(self, language: str, seed: int) -> None:
        self._sentences = sentences(language)
        self._between = BETWEEN_SENTENCES[language]
        self._key = (seed, list(LANGUAGES).index(language))
        lengths = [len(text.encode()) for text in self._sentences]
        mean = sum(lengths) / len(lengths) + len(self._between)
        self.mean_bytes = mean * (FEWEST + MOST) / 2

    def text(self, number: int) -> str:
        chosen = [self._sentences[sentence] for sentence in self._chosen(number)]
        paragraphs = range(0, len(chosen), SENTENCES_PER_PARAGRAPH)
        return "\n".join(
            self._between.join(chosen[at : at + SENTENCES_PER_PARAGRAPH]) for at in paragraphs
        )

    def _chosen(self, number: int) -> list[int]:
        random = np.random.default_rng((*self._key, number))
        repeats = random.random()
        if number and repeats < EXACT_REPEATS + NEAR_REPEATS:
            chosen = self._chosen(int(random.integers(number)))
            if repeats >= EXACT_REPEATS:
                place = random.integers(len(chosen))
                chosen[place] = int(random.integers(len(self._sentences)))
            return chosen
        size = random.integers(FEWEST, MOST + 1)
        drawn: list[int] = random.integers(len(self._sentences), size=size).tolist()
        return drawn


def _write_file(folder: Path, language: str, unit: int, unit_megabytes: int, seed: int) -> TextFile:
    documents = _Documents(language, seed)
    count = round(LANGUAGES[language] * unit_megabytes * 1e6 / documents.mean_bytes)
    path = folder / f"{language}-{unit:04d}.jsonl"
    text_bytes = 0
    with path.open("wb") as file:
        for number in range(unit * count, (unit + 1) * count):
            text = documents.text(number)
            line = {"id": f"{language}-{number}", "text": text, "source": f"made:{language}"}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            text_bytes += len(text.encode())
    return TextFile(
        language=language, unit=unit, path=str(path), documents=count, text_bytes=text_bytes
    )
