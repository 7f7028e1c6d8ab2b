"""Facts planted in real text at known frequencies, and how often the estimate finds them.

Every retriever's documents are given to every judge, as the study does it; exact counts stand
beside them. Invariants: how often a fact stands in the text is known. Only a question whose
knowledge the lexical judge finds nowhere in the sampled text is planted, and no planted sentence
holds another fact. Nothing of this is told to what estimates: lexicon and index are built of a
planted text as of any other.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.texts import sample_key
from ccx_ray.corpus.cleaning.text_folder import DOCUMENTS as SCHEMA
from ccx_ray.corpus.parts import write_part
from ccx_ray.frequency.counting.exact_counts import (
    SHARD_COUNTS,
    corpus_counts,
    question_entities,
    scan_shard,
)
from ccx_ray.frequency.counting.lexicon import Lexicon, build_lexicon
from ccx_ray.frequency.judges.factory import OpenJudge, judge_name
from ccx_ray.frequency.judges.lexical import LexicalJudge, lexical_judge
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex, Hit
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.frequency.text.documents import DOCUMENTS, Document, read_documents, text_files
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import Search, retrievers_of
from ccx_ray.orchestration.tasks import RunTasks
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec
from ccx_ray.study.text_spec import BLANK

FREQUENCIES = (0, 1, 2, 4, 8, 16, 32, 64)
_READ_AT_ONCE = 256
# Where a sentence may be put: at blanks, and behind the stops of scripts that have none.
_BORDER = re.compile(r"\s+|[。！？；།༎༏༐༑᠃᠉]")
PLANTED = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "retriever", "judge")),
        *((name, pa.int32()) for name in ("fact", "planted", "estimated")),
    ]
)
EVERY_DOCUMENT = "every document"
"""The retriever of what is counted without retrieval."""
ANSWER, TOGETHER = "answer", "answer and entity"


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
    asked = [
        (culture, question, cloze)
        for culture, of_culture in clozes.items()
        for question, cloze in enumerate(of_culture)
        if BLANK.search(cloze.question)
    ]
    asked.sort(key=lambda one: sample_key(seed, f"{one[0]}/{one[1]}"))
    terms = Counter(term for document in sample for term in document.terms)
    judge = LexicalJudge(terms, documents=len(sample), salient_share=salient_share)
    planted: list[Fact] = []
    sentences: list[Document] = []
    known = 0
    for culture, question, cloze in asked:
        if len(planted) == facts or not sample:
            break
        own = Document(id="", text=sentence(cloze))
        # Neither the sample nor a planted sentence may hold it, nor its own a planted fact.
        if any(
            chain(
                (judge.verdict(cloze, document).holds for document in (*sample, *sentences)),
                (judge.verdict(fact.cloze, own).holds for fact in planted),
            )
        ):
            known += 1
            continue
        frequency = frequencies[len(planted) % len(frequencies)]
        planted.append(Fact(culture=culture, question=question, cloze=cloze, planted=frequency))
        sentences.append(own)
    columns = {
        "id": [document.id for document in sample],
        "text": _with_facts([document.text for document in sample], planted, corpus, seed),
        "source": ["planted"] * len(sample),
    }
    (folder / DOCUMENTS).mkdir(parents=True, exist_ok=True)
    write_part(folder / DOCUMENTS, 0, pa.table(columns, schema=SCHEMA))
    return PlantedCorpus(
        corpus=corpus,
        text=folder,
        facts=tuple(planted),
        documents=len(sample),
        characters=sum(len(document.text) for document in sample),
        frequencies=frequencies,
        known=known,
    )


def sentence(cloze: Cloze) -> str:
    """The statement as a corpus has it, in NFC."""
    return unicodedata.normalize("NFC", cloze.statement)


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


def _with_facts(texts: Sequence[str], facts: Sequence[Fact], corpus: str, seed: int) -> list[str]:
    """Every fact's sentence in as many texts as it says, each on a line of its own."""
    name = int.from_bytes(blake2b(corpus.encode(), digest_size=4).digest())
    generator = np.random.default_rng([seed, name])
    put: list[list[tuple[int, str]]] = [[] for _ in texts]
    for fact in facts:
        for row in generator.choice(len(texts), fact.planted, replace=False).tolist():
            borders = [match.end() for match in _BORDER.finditer(texts[row])]
            borders = borders or [len(texts[row])]
            at = borders[int(generator.integers(len(borders)))]
            put[row].append((at, sentence(fact.cloze)))
    return [_inserted(text, own) for text, own in zip(texts, put, strict=True)]


def _inserted(text: str, sentences: Sequence[tuple[int, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for at, statement in sorted(sentences):
        pieces += [text[done:at].rstrip("\n"), statement]
        done = at
    return "\n".join([*pieces, text[done:]])


def estimate_planted(
    planted: PlantedCorpus,
    spec: FrequencySpec,
    embedders: Mapping[str, tuple[EmbedderSpec, Path | None]],
    folder: Path,
    *,
    judges: Mapping[str, OpenJudge],
    run_tasks: RunTasks,
) -> list[dict[str, Any]]:
    """Rows of ``PLANTED``: one a fact, retriever and judge.

    Args:
        embedders: by name, each with the folder of its model if that is not in its spec.
        folder: for the lexicon and the indexes; what is finished of them is not done again.
        judges: by name.
    """
    clozes = [fact.cloze for fact in planted.facts]
    build_lexicon(planted.text, folder / "lexicon", run_tasks=run_tasks)
    lexicon = Lexicon(folder / "lexicon")
    retrievers: dict[str, Search] = {}
    for name, (embedder, model_folder) in embedders.items():
        index = folder / f"index-{name}"
        build_index(
            spec,
            embedder,
            text_folder=planted.text,
            folder=index,
            model_folder=model_folder,
            run_tasks=run_tasks,
        )
        opened = CorpusIndex(index, embedder, model_folder=model_folder)
        retrievers |= retrievers_of(opened, name)
    queries = [cloze.query(spec.query) for cloze in clozes]
    hits = {name: search(queries, spec.top_documents) for name, search in retrievers.items()}
    estimates = {
        (retriever, judge): counts
        for judge, open_judge in judges.items()
        for retriever, counts in _judged(planted, clozes, hits, open_judge(clozes, lexicon)).items()
    }
    exact = corpus_counts(lexicon, clozes, question_entities(lexicon, clozes))
    counted = dict(zip(SHARD_COUNTS, exact.T.tolist(), strict=True))
    scanning = lexical_judge(spec.scanning_judge, clozes, lexicon)
    found = [0] * len(clozes)
    for shard in lexicon.shards(DOCUMENTS):
        for row in scan_shard(shard, planted.text, scanning, clozes, part=DOCUMENTS):
            found[row["question"]] += 1
    estimates[EVERY_DOCUMENT, judge_name(spec.scanning_judge)] = found
    estimates[EVERY_DOCUMENT, TOGETHER] = counted["together_documents"]
    estimates[EVERY_DOCUMENT, ANSWER] = counted["answer_documents"]
    return [
        {
            "corpus": planted.corpus,
            "retriever": retriever,
            "judge": judge,
            "fact": number,
            "planted": fact.planted,
            "estimated": count,
        }
        for (retriever, judge), counts in estimates.items()
        for number, (fact, count) in enumerate(zip(planted.facts, counts, strict=True))
    ]


def _judged(
    planted: PlantedCorpus,
    clozes: Sequence[Cloze],
    hits: Mapping[str, list[list[Hit]]],
    judge: Judge,
) -> dict[str, list[int]]:
    """Retriever -> of every fact, how many of its documents the judge accepts.

    A document that several retrievers bring up is judged once, by the passage of the first.
    """
    pairs: dict[tuple[int, int], Hit] = {}
    for of_retriever in hits.values():
        for fact, found in enumerate(of_retriever):
            for hit in found:
                pairs.setdefault((fact, hit.document), hit)
    documents = read_documents(planted.text, {row for _, row in pairs})
    requests = [
        Request(clozes[fact], documents[row], hit.passage_start, hit.passage_length)
        for (fact, row), hit in pairs.items()
    ]
    verdicts = zip(pairs, judge.judge(requests), strict=True)
    holds = {pair: bool(verdict.holds) for pair, verdict in verdicts}
    return {
        name: [sum(holds[fact, hit.document] for hit in own) for fact, own in enumerate(found)]
        for name, found in hits.items()
    }


def planted_summary(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the rows say by corpus, retriever and judge, for ``validation.json``.

    ``spearman`` is None where nothing varies. ``exact`` counts facts that were estimated at their
    frequency, and ``means`` gives the mean estimate of every planted frequency.
    """
    keys = ["corpus", "retriever", "judge"]
    groups = pd.DataFrame(rows, columns=PLANTED.names).groupby(keys, sort=False)
    return [
        {
            **dict(zip(keys, group, strict=True)),
            "facts": len(own),
            "spearman": rank_correlation(own["planted"], own["estimated"]),
            "exact": int((own["planted"] == own["estimated"]).sum()),
            "means": {
                str(level): float(mean)
                for level, mean in own.groupby("planted")["estimated"].mean().items()
            },
        }
        for group, own in groups
    ]


def rank_correlation(known: Sequence[int], found: Sequence[int]) -> float | None:
    """Spearman's, with ties at their mean rank; None where one side does not vary."""
    from scipy.stats import spearmanr

    if len(set(known)) < 2 or len(set(found)) < 2:
        return None
    return float(spearmanr(known, found).statistic)
