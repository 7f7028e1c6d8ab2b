"""Text of any size for the frequency benchmarks: sentences of the bundled corpora recombined.

Whole paragraphs would stand in a million documents a hundred times each, and which of a hundred
equal ones is found means nothing. Sentences drawn anew for every document make passages that
differ.
"""

import gzip
import json
import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.parts import write_part
from ccx_ray.frequency.text.questions import Cloze

DATA = Path(__file__).resolve().parents[1] / "data"
LANGUAGES = ("en", "zh", "ko", "bo", "mn")
CULTURES = ("ko", "zh", "bo", "mn")
DOCUMENTS_OF_A_PART = 65_536
SENTENCES = (1, 12)
"""Of a document, evenly drawn."""
_END = re.compile(r"(?<=[.!?。！？།])\s+|\n+|(?<=[。！？])")


def sentences(language: str) -> list[str]:
    """Every sentence of 20 to 400 characters of a bundled corpus, once."""
    with gzip.open(DATA / f"mono/{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    found = (part.strip() for text in texts for part in _END.split(text))
    return list(dict.fromkeys(part for part in found if 20 <= len(part) <= 400))


def write_text(folder: Path, documents: int, seed: int = 0) -> int:
    """A text folder of so many documents, each of one language; its characters.

    A language has the share of the documents that it has of the characters.
    """
    bundled = [sentences(language) for language in LANGUAGES]
    sizes = [sum(map(len, some)) for some in bundled]
    generator = np.random.default_rng(seed)
    (folder / "documents").mkdir(parents=True)
    characters = 0
    for number, start in enumerate(range(0, documents, DOCUMENTS_OF_A_PART)):
        count = min(DOCUMENTS_OF_A_PART, documents - start)
        languages = generator.choice(len(LANGUAGES), count, p=np.array(sizes) / sum(sizes))
        lengths = generator.integers(SENTENCES[0], SENTENCES[1] + 1, count)
        draws = generator.random(int(lengths.sum()))
        texts = []
        for language, end, length in zip(languages, accumulate(lengths), lengths, strict=True):
            own = bundled[language]
            chosen = (draws[end - length : end] * len(own)).astype(int)
            texts.append(" ".join(own[place] for place in chosen))
        characters += sum(map(len, texts))
        ids = [f"d{row}" for row in range(start, start + count)]
        write_part(folder / "documents", number, pa.table({"id": ids, "text": texts}))
    return characters


def questions(count: int, seed: int = 1) -> list[str]:
    """Filled questions of the bundled probes, of every language alike."""
    statements = []
    for culture in CULTURES:
        for language in ("en", culture):
            path = DATA / f"probes/{culture}-culture-cloze_{language}.json"
            items = json.loads(path.read_text("utf-8"))
            clozes = [Cloze(question=item["question"], answer=item["answer"]) for item in items]
            statements.append([cloze.statement for cloze in clozes])
    generator = np.random.default_rng(seed)
    shuffled = [[own[i] for i in generator.permutation(len(own))] for own in statements]
    return [own[i] for i in range(max(map(len, shuffled))) for own in shuffled if i < len(own)][
        :count
    ]
