"""Facts planted in real text at known frequencies.

Invariant: how often a fact stands in the text is known. Only a question whose knowledge the lexical
judge finds nowhere in the sampled text is planted, and no planted sentence holds another fact.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.texts import sample_key
from ccx_ray.corpus.cleaning.text_folder import DOCUMENTS as SCHEMA
from ccx_ray.corpus.parts import write_part
from ccx_ray.frequency.judges.lexical import LexicalJudge
from ccx_ray.frequency.text.documents import DOCUMENTS, Document, read_documents, text_files
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.study.text_spec import BLANK

FREQUENCIES = (0, 1, 2, 4, 8, 16, 32, 64)
_READ_AT_ONCE = 256
# Where a sentence may be put: at blanks, and behind the stops of scripts that have none.
_BORDER = re.compile(r"\s+|[。！？；།༎༏༐༑᠃᠉]")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A question whose knowledge was planted."""

    culture: str
    question: int
    cloze: Cloze
    planted: int
    """Documents that hold it."""


@dataclass(frozen=True, kw_only=True)
class PlantedCorpus:
    """A sample of a real corpus with planted facts."""

    corpus: str
    text: Path
    """The text folder."""
    facts: tuple[Fact, ...]
    documents: int
    characters: int
    """Of the sample, before anything was planted."""
    frequencies: tuple[int, ...]
    """Those of ``FREQUENCIES`` for which there are enough documents."""
    known: int
    """Questions that were passed over, because the sample holds their knowledge already, or a
    planted sentence does."""


def plant_facts(
    corpus: str,
    text_folder: Path,
    clozes: Mapping[str, Sequence[Cloze]],
    folder: Path,
    *,
    facts: int,
    characters: int,
    salient_share: float,
    seed: int,
) -> PlantedCorpus:
    """Write a text folder of sampled documents, with ``facts`` facts in it or as many as there are.

    Args:
        clozes: culture -> questions in the language of the corpus; those without a blank are left
            out.
        folder: is made the text folder.
        characters: of the sample, at least, if the corpus has so many.
        salient_share: of the lexical judge that knows what stands in the sample.
    """
    sample = _sampled(text_folder, characters, seed)
    frequencies = tuple(number for number in FREQUENCIES if number <= len(sample))
    chosen: list[tuple[str, int, Cloze]] = []
    known = 0
    absent = _Absent(sample, salient_share)
    for culture, question, cloze in _in_seeded_order(clozes, seed):
        if len(chosen) == facts or not sample:
            break
        if absent.admits(cloze):
            chosen.append((culture, question, cloze))
        else:
            known += 1
    planted = tuple(
        Fact(
            culture=culture,
            question=question,
            cloze=cloze,
            planted=frequencies[place % len(frequencies)],
        )
        for place, (culture, question, cloze) in enumerate(chosen)
    )
    texts = _with_facts([document.text for document in sample], planted, corpus, seed)
    columns = {
        "id": [document.id for document in sample],
        "text": texts,
        "source": ["planted"] * len(texts),
    }
    (folder / DOCUMENTS).mkdir(parents=True, exist_ok=True)
    write_part(folder / DOCUMENTS, 0, pa.table(columns, schema=SCHEMA))
    return PlantedCorpus(
        corpus=corpus,
        text=folder,
        facts=planted,
        documents=len(sample),
        characters=sum(len(document.text) for document in sample),
        frequencies=frequencies,
        known=known,
    )


def sentence(cloze: Cloze) -> str:
    """The statement as a corpus has it, in NFC."""
    return unicodedata.normalize("NFC", cloze.statement)


class _Absent:
    """Which facts can be planted so that their frequency is known."""

    def __init__(self, sample: Sequence[Document], salient_share: float) -> None:
        self._sample = sample
        terms = Counter(term for document in sample for term in document.terms)
        self._judge = LexicalJudge(terms, documents=len(sample), salient_share=salient_share)
        self._chosen: list[tuple[Cloze, Document]] = []

    def admits(self, cloze: Cloze) -> bool:
        """Whether neither the sample nor an admitted sentence holds it, nor it an admitted fact."""
        own = Document(id="", text=sentence(cloze))
        others = (text for _, text in self._chosen)
        if self._holds(cloze, self._sample) or self._holds(cloze, others):
            return False
        if any(self._judge.verdict(other, own).holds for other, _ in self._chosen):
            return False
        self._chosen.append((cloze, own))
        return True

    def _holds(self, cloze: Cloze, documents: Iterable[Document]) -> bool:
        return any(self._judge.verdict(cloze, document).holds for document in documents)


def _sampled(text_folder: Path, characters: int, seed: int) -> list[Document]:
    """Documents in the order of their seeded hashes, until there are enough characters."""
    keys = np.array(
        [
            int.from_bytes(sample_key(seed, identity))
            for path in text_files(text_folder, DOCUMENTS)
            for identity in pq.read_table(path, columns=["id"])["id"].to_pylist()
        ],
        np.uint64,
    )
    order = np.argsort(keys, kind="stable").tolist()
    sample: list[Document] = []
    size = 0
    for start in range(0, len(order), _READ_AT_ONCE):
        rows = order[start : start + _READ_AT_ONCE]
        documents = read_documents(text_folder, rows)
        for row in rows:
            if size >= characters:
                return sample
            sample.append(documents[row])
            size += len(documents[row].text)
    return sample


def _in_seeded_order(
    clozes: Mapping[str, Sequence[Cloze]], seed: int
) -> Iterator[tuple[str, int, Cloze]]:
    asked = [
        (culture, question, cloze)
        for culture, of_culture in clozes.items()
        for question, cloze in enumerate(of_culture)
        if BLANK.search(cloze.question)
    ]
    yield from sorted(asked, key=lambda one: sample_key(seed, f"{one[0]}/{one[1]}"))


def _with_facts(texts: Sequence[str], facts: Sequence[Fact], corpus: str, seed: int) -> list[str]:
    """Every fact's sentence in as many texts as it says, each on a line of its own."""
    name = int.from_bytes(blake2b(corpus.encode(), digest_size=4).digest())
    generator = np.random.default_rng([seed, name])
    put: dict[int, list[tuple[int, str]]] = {}
    for fact in facts:
        for row in generator.choice(len(texts), fact.planted, replace=False).tolist():
            borders = [match.end() for match in _BORDER.finditer(texts[row])]
            borders = borders or [len(texts[row])]
            at = borders[int(generator.integers(len(borders)))]
            put.setdefault(row, []).append((at, sentence(fact.cloze)))
    return [_inserted(text, put.get(row, [])) for row, text in enumerate(texts)]


def _inserted(text: str, sentences: Sequence[tuple[int, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for at, statement in sorted(sentences):
        pieces += [text[done:at].rstrip("\n"), statement]
        done = at
    return "\n".join([*pieces, text[done:]]) if pieces else text
