"""A tokenizer, tokens and streams of real bundled text, made by the plain functions without Ray."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ccx_ray.corpus.isolation import SourceFile, isolated_tables
from ccx_ray.corpus.mixing import plan_trial
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.stream import Stream
from ccx_ray.corpus.stream_folder import file_numbers, finish_stream, write_rows
from ccx_ray.corpus.text_folder import TextFolder
from ccx_ray.corpus.tokenizer import Encoder, Vocabulary, train_tokenizer
from ccx_ray.corpus.tokens import COLUMNS, TokenCorpus, tokenize_part, write_language
from ccx_ray.study.spec import IsolationSpec, TokenizerSpec

KEEP_LATIN = IsolationSpec(keep=("Latin", "Common", "Inherited"))
REMOVE_LATIN = IsolationSpec(remove=("Latin",))


def document_source(project: Path, language: str) -> SourceFile:
    return SourceFile(
        path=project / f"data/mono/{language}.jsonl.gz",
        kind="documents",
        text_fields=("text",),
        isolations=(KEEP_LATIN if language == "en" else REMOVE_LATIN,),
    )


def pair_source(project: Path, language: str) -> SourceFile:
    return SourceFile(
        path=project / f"data/parallel/en-{language}.jsonl.gz",
        kind="pairs",
        text_fields=("en", language),
        isolations=(KEEP_LATIN, REMOVE_LATIN),
    )


@dataclass(frozen=True, kw_only=True)
class SmallCorpus:
    """The folders of one target language."""

    text: Path
    tokenizer: Path
    tokens: Path

    def streams(self, folder: Path, **changes: Any) -> dict[str, Stream]:
        """``bridge`` and ``nobridge``, 96 rows of 64 tokens where ``changes`` do not say."""
        corpus, vocabulary = TokenCorpus.open(self.tokens), Vocabulary(self.tokenizer)
        default = {
            "language": "ko",
            "sequence_length": 64,
            "seed": 0,
            "rows": 96,
            "parallel_share": 0.5,
            "pair_order": "random",
        }
        for condition, plan in plan_trial(corpus, vocabulary, **{**default, **changes}).items():
            (folder / condition).mkdir(parents=True)
            files = [
                write_rows(plan, corpus, vocabulary, folder / condition, number)
                for number in file_numbers(plan)
            ]
            finish_stream(plan, corpus, vocabulary, folder / condition, files)
        return {name: Stream.open(folder / name) for name in ("bridge", "nobridge")}


def small_corpus(
    project: Path, folder: Path, language: str, *, documents: int, pairs: int
) -> SmallCorpus:
    """The first documents and pairs of a bundled language."""
    small = SmallCorpus(
        text=folder / "text", tokenizer=folder / "tokenizer", tokens=folder / "tokens"
    )
    for path in (small.text, small.tokenizer, small.tokens):
        path.mkdir(parents=True)
        write_language(path, language)
    with TextFolder(small.text, pairs=True) as text:
        for source, size in ((document_source, documents), (pair_source, pairs)):
            for table in islice(isolated_tables(source(project, language)), 1):
                text.add(table.slice(0, size))
    spec = TokenizerSpec(vocabulary_size=600, megabytes_per_language=0.2)
    train_tokenizer(spec, {language: small.text}, small.tokenizer)
    encoder = Encoder(small.tokenizer)
    for kind in COLUMNS:
        (small.tokens / kind).mkdir()
        for number, part in enumerate(part_files(small.text / kind)):
            tokenize_part(part, encoder, small.tokens / kind, number)
    return small
