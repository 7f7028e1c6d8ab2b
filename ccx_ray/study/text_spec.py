"""Study file: languages, sources of text, isolation, cleaning, held-out text, tokenizer, audit."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Format = Literal["jsonl", "parquet", "mediawiki", "wikipedia", "mc2", "tmx", "moses", "tsv"]


class Spec(BaseModel):
    """Base of every part: frozen, strict about types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _several(value: Any) -> Any:
    """A plain string in a study file is a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


License = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Licenses = Annotated[tuple[License, ...], BeforeValidator(_several)]
"""Several where the records of one file have different ones."""


class SourceSpec(Spec):
    """A source of text. A plain string in a study file is its ``path``.

    Exactly one of ``path`` and ``dataset`` is given.
    """

    path: str = ""
    """A file, a glob, or a URI of an object store (``s3://``, ``gs://``, ``abfs://``); relative to
    the study file."""
    dataset: str = ""
    """A data set of the Hugging Face hub, such as ``wikimedia/wikipedia``."""
    config: str | None = None
    """The configuration of the data set, such as ``20231101.en``."""
    split: str = "train"
    """The split of the data set."""
    revision: str | None = None
    """The commit of the data set."""
    format: Format | None = None
    """Format (default: by the extension of the file name)."""
    id_field: str | None = None
    """Field, column or attribute of the record's id (default: that of the format)."""
    text_field: str | None = None
    """Field of a document's text."""
    english_field: str | None = None
    """Field of the English sentence of a pair, or its language code in a TMX file."""
    target_field: str | None = None
    """The same for the target sentence."""
    target_path: str | None = None
    """``moses``: the file with the target sentences, line by line."""
    word_templates: dict[str, str] | None = None
    """``mediawiki``: further templates whose words are kept, by name. ``{단위: "{1} {2}"}`` shows
    the first two arguments, ``{name}`` a named one. An empty text removes a template."""
    license: Licenses = ()
    """Licence of the text by its SPDX identifier (``CC-BY-SA-4.0``), or a list of several. Only
    ``jobs/export.py`` reads it."""

    @model_validator(mode="before")
    @classmethod
    def from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        if bool(self.path) == bool(self.dataset):
            raise ValueError("give exactly one of path and dataset")
        if self.dataset and not self.revision:
            raise ValueError(f"the data set {self.dataset} needs a revision, the commit to read")
        if (self.format == "moses") != (self.target_path is not None):
            raise ValueError("format moses needs target_path, and target_path needs format moses")
        for name, shown in (self.word_templates or {}).items():
            if not re.fullmatch(r"([^{}]|\{[^{}]+\})*", shown):
                raise ValueError(
                    f"word_templates.{name}: {shown!r} has an unmatched brace; write {{1}} for the "
                    "first argument, {name} for a named one"
                )
        return self

    @property
    def label(self) -> str:
        """Name of the source in error messages."""
        return self.path or f"{self.dataset}@{self.revision}"


Sources = Annotated[tuple[SourceSpec, ...], Field(min_length=1)]


class IsolationSpec(Spec):
    """How text in other languages is removed from the text of one language.

    ``script``: by the Unicode *Script* property (UAX #24). Give exactly one of ``keep``, which
    removes every character of another script, and ``remove``, which removes the characters of the
    named scripts. Common and Inherited must be named to be kept.

    ``language``: by language identification, for languages that share a script. Lines or documents
    in another language are removed. ``keep`` or ``remove`` may be added.
    """

    strategy: Literal["script", "language"] = "script"
    """By Unicode script, or by language identification."""
    keep: tuple[str, ...] = ()
    """Scripts to keep, by their Unicode names, such as ``[Latin, Common, Inherited]``; all others
    are removed."""
    remove: tuple[str, ...] = ()
    """Scripts to remove, such as ``[Latin]``; all others are kept."""
    level: Literal["line", "document"] = "line"
    """``language``: the unit that is identified and removed."""
    against: tuple[LanguageCode, ...] = ("en",)
    """``language``: the languages to distinguish the text from."""
    confidence: Share = 0.5
    """``language``: lowest probability of the text's own language for which it is kept."""

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.keep and self.remove:
            raise ValueError("give exactly one of keep and remove, not both")
        if self.strategy == "script" and not (self.keep or self.remove):
            raise ValueError("give exactly one of keep and remove, as a list of script names")
        if self.strategy == "language" and not self.against:
            raise ValueError("strategy language needs against: the languages to separate from")
        return self


ENGLISH_ISOLATION = IsolationSpec(keep=("Latin", "Common", "Inherited"))
"""Isolation of English text, in the base's corpus and in parallel sentences."""


class BaseLanguageSpec(Spec):
    """The language of the base model."""

    code: LanguageCode
    """ISO 639 code of two or three letters."""
    name: str
    """Name in tables and figures."""
    monolingual: Sources
    """Sources of monolingual text."""
    isolation: IsolationSpec = ENGLISH_ISOLATION
    """How other scripts or languages are removed from its text."""
    note: str = ""
    """A known weakness of this language's data; the report states it with the results."""


BLANK = re.compile("_+")
"""The blank of a cloze question: every run of underscores."""


class ProbeFiles(Spec):
    """The two files of one culture's cloze questions; item i of both is the same question."""

    english: str
    """The file in the base language."""
    target: str
    """The file in the target language."""
    license: Licenses = ()
    """Of the questions, as of a source of text."""


class LanguageSpec(BaseLanguageSpec):
    """A target language of continual pretraining."""

    parallel: Sources
    """Sources of pairs of a sentence and its translation."""
    probes: ProbeFiles
    """The cloze questions about this language's culture."""
    isolation: IsolationSpec = IsolationSpec(remove=("Latin",))
    """How its text is kept free of other scripts or languages."""


class CleaningSpec(Spec):
    """What is removed from every corpus. Removed records are counted by reason and stored."""

    minimum_characters: PositiveInt = 10
    """Shortest monolingual document after isolation; each sentence of a pair needs one letter."""
    near_duplicates: Annotated[float, Field(gt=0, lt=1)] | None = 0.8
    """Similarity (Jaccard of shingles, by MinHash) to an earlier document from which a monolingual
    document is removed; null keeps all. Exact duplicates are always removed."""
    record_megabytes: PositiveInt = 32
    """Largest record; a larger one is rejected unread."""
    broken_files: Literal["stop", "keep"] = "stop"
    """If a file cannot be read to its end: stop the study, or keep the records before the fault."""


class HeldOutSpec(Spec):
    """Documents of every language that no training reads.

    A model may answer a culture's questions better because knowledge moved between its languages,
    or because it got better at the language. Perplexity on unseen text distinguishes the two.
    """

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of a language's characters; 0: no held-out documents and no perplexity."""
    characters: PositiveInt = 100_000
    """Upper limit in characters, because every checkpoint reads all of them."""
    seed: Count = 0
    """Seed of the choice of documents."""


class AuditSpec(Spec):
    """Samples and limits of the audit. A limit is the largest allowed value."""

    sample_documents: PositiveInt = 1000
    """Documents of every corpus on a page to read."""
    seed: Count = 0
    """Seed of the sample."""
    forbidden_characters: Count = 0
    """Limit: characters of an excluded script in a corpus."""
    rejected_share: Share = 0.5
    """Limit: share of a corpus's records that are rejected."""
    contaminated_share: Share = 0.05
    """Limit: share of a culture's questions whose wording or filled sentence is in a corpus."""
    shared_documents_share: Share = 0.01
    """Limit: share of a corpus's documents that are also in another corpus."""
    translations_share: Share = 0.001
    """Limit: share of the rows without bridges, and of a corpus's documents, that contain a
    sentence and its translation, matched by content."""
    token_difference_share: Share = 0.001
    """Limit: difference between the conditions in number of tokens, as a share."""

    def identity(self) -> dict[str, object]:
        """The fields that decide the figures; the limits do not change them."""
        return self.model_dump(include={"sample_documents", "seed"})


class TokenizerSpec(Spec):
    """Byte-level BPE with the Qwen2 pre-tokenizer, trained on the study's own text, or a tokenizer
    of Hugging Face."""

    vocabulary_size: Annotated[int, Field(ge=300)]
    """Number of tokens, special ones included; a pretrained tokenizer must have this number."""
    megabytes_per_language: Annotated[float, Field(gt=0)] = 2.0
    """Text of each language for learning the merges; equal, so that no language dominates."""
    pretrained: str | None = None
    """Folder or hub name of a Hugging Face tokenizer; nothing is learnt then."""
    revision: str | None = None
    """Commit of a tokenizer on the hub."""
