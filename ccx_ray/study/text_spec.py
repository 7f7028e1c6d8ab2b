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
    """Text to be read. A plain string in a study file is the ``path`` of one.

    Exactly one of ``path`` and ``dataset``.
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
    """The commit of the data set; without one, it is not known what was read."""
    format: Format | None = None
    """By the file's name when absent."""
    id_field: str | None = None
    """Field, column or attribute of the record's id; the format's own when absent."""
    text_field: str | None = None
    """Field of a document's text."""
    english_field: str | None = None
    """Field of the English half of a pair, or the language code of a TMX file."""
    target_field: str | None = None
    """The same of the other half."""
    target_path: str | None = None
    """``moses``: the file whose lines are the other halves of the lines of ``path``."""
    word_templates: dict[str, str] | None = None
    """``mediawiki``: templates whose words stay in the text, by name, beside those known by
    default: ``{단위: "{1} {2}"}`` shows the first two arguments, ``{name}`` a named one; an empty
    text drops a template."""
    license: Licenses = ()
    """Of the text, as SPDX spells it where it is listed there (``CC-BY-SA-4.0``), or a list of
    several; ``jobs/export.py`` states it, and no result depends on it."""

    @model_validator(mode="before")
    @classmethod
    def from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        if bool(self.path) == bool(self.dataset):
            raise ValueError("give exactly one of path and dataset")
        if self.dataset and not self.revision:
            raise ValueError(
                f"the data set {self.dataset} needs a revision, the commit that is to be read"
            )
        if (self.format == "moses") != (self.target_path is not None):
            raise ValueError("format moses and target_path go together: one file a language")
        for name, shown in (self.word_templates or {}).items():
            if not re.fullmatch(r"([^{}]|\{[^{}]+\})*", shown):
                raise ValueError(
                    f"word_templates.{name}: {shown!r} has a brace without its other half; write "
                    "{1} for the first argument, {name} for a named one"
                )
        return self

    @property
    def label(self) -> str:
        """What an error message calls it."""
        return self.path or f"{self.dataset}@{self.revision}"


Sources = Annotated[tuple[SourceSpec, ...], Field(min_length=1)]


class IsolationSpec(Spec):
    """How the text of one language is kept free of another.

    ``script``: by the Unicode *Script* property (UAX #24). Exactly one of ``keep``, which drops
    every character of another script, and ``remove``, which drops the characters of the named
    scripts. Common and Inherited must be named to be kept.

    ``language``: by language identification, for languages that share a script; lines or documents
    in another language are dropped. ``keep`` or ``remove`` may isolate the script beside it.
    """

    strategy: Literal["script", "language"] = "script"
    """By Unicode script, or by language identification."""
    keep: tuple[str, ...] = ()
    """Scripts to keep, by their Unicode names, such as ``[Latin, Common, Inherited]``; all others
    are removed."""
    remove: tuple[str, ...] = ()
    """Scripts to remove, such as ``[Latin]``; all others stay."""
    level: Literal["line", "document"] = "line"
    """``language``: what is judged and dropped as a whole."""
    against: tuple[LanguageCode, ...] = ("en",)
    """``language``: the languages that the text is told from."""
    confidence: Share = 0.5
    """``language``: the least probability of the text's own language among all of them."""

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.keep and self.remove:
            raise ValueError("give exactly one of keep and remove, not both")
        if self.strategy == "script" and not (self.keep or self.remove):
            raise ValueError("give exactly one of keep and remove, as a list of script names")
        if self.strategy == "language" and not self.against:
            raise ValueError("strategy language needs the languages to tell the text from: against")
        return self


ENGLISH_ISOLATION = IsolationSpec(keep=("Latin", "Common", "Inherited"))
"""What English text keeps, in the base's corpus and in parallel text alike."""


class BaseLanguageSpec(Spec):
    """The language of the base model."""

    code: LanguageCode
    """ISO 639 code of two or three letters."""
    name: str
    """The name that tables and figures show."""
    monolingual: Sources
    """Where its text is read from."""
    isolation: IsolationSpec = ENGLISH_ISOLATION
    """How its text is kept free of other scripts or languages."""
    note: str = ""
    """A known weakness of this language's data; the report states it beside the results."""


BLANK = re.compile("_+")
"""What an option of a cloze question fills: every run of underscores."""


class ProbeFiles(Spec):
    """The two versions of one culture's cloze questions; item i of both is the same question."""

    english: str
    """The file in the base language."""
    target: str
    """The file in the target language."""
    license: Licenses = ()
    """Of the questions, as of a source of text."""


class LanguageSpec(BaseLanguageSpec):
    """A target language of continual pretraining."""

    parallel: Sources
    """Where the pairs of a sentence and its translation are read from."""
    probes: ProbeFiles
    """The cloze questions about this language's culture."""
    isolation: IsolationSpec = IsolationSpec(remove=("Latin",))
    """How its text is kept free of other scripts or languages."""


class CleaningSpec(Spec):
    """What is dropped from every corpus, counted by reason and kept readable."""

    minimum_characters: PositiveInt = 10
    """Of a monolingual document after isolation; the halves of a pair need only a letter."""
    near_duplicates: Annotated[float, Field(gt=0, lt=1)] | None = 0.8
    """Monolingual documents at least this similar (Jaccard of their shingles, by MinHash) to an
    earlier one are dropped; null keeps them. Exact duplicates always go."""
    record_megabytes: PositiveInt = 32
    """A longer record is rejected unread."""
    broken_files: Literal["stop", "keep"] = "stop"
    """A file that cannot be read to its end: stop the study, or keep what came before the break."""


class HeldOutSpec(Spec):
    """Documents of every language that no training stream ever shows.

    A model may answer a culture's questions better because knowledge moved between its languages,
    or because it got better at the language. Perplexity on text that it has not seen tells the
    two apart.
    """

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Of a language's characters; 0 holds nothing out, and no perplexity is measured."""
    characters: PositiveInt = 100_000
    """At most so many, however large the corpus: every checkpoint reads all of them."""
    seed: Count = 0
    """Of the choice of documents."""


class AuditSpec(Spec):
    """The audit of what is trained on: how much is shown, and what is too much."""

    sample_documents: PositiveInt = 1000
    """Of every corpus, on a page to read."""
    seed: Count = 0
    """Of the sample."""
    forbidden_characters: Count = 0
    """Most characters of an excluded script that a corpus may hold."""
    rejected_share: Share = 0.5
    """Largest share of a corpus's records that may be rejected."""
    contaminated_share: Share = 0.05
    """Largest share of a culture's questions whose wording or filled sentence may stand in a
    corpus."""
    shared_documents_share: Share = 0.01
    """Largest share of a corpus's documents that may stand in another corpus too."""
    translations_share: Share = 0.001
    """Largest share of the rows without bridges, and of a corpus's documents, that may hold a
    sentence and its translation, told by content."""
    token_difference_share: Share = 0.001
    """Largest difference of the conditions' tokens."""

    def identity(self) -> dict[str, object]:
        """What decides the figures; the thresholds only judge them."""
        return self.model_dump(include={"sample_documents", "seed"})


class TokenizerSpec(Spec):
    """Byte-level BPE with the Qwen2 pre-tokenizer, trained on the study's own text, or a tokenizer
    of Hugging Face."""

    vocabulary_size: Annotated[int, Field(ge=300)]
    """Of all tokens, the special ones too; of a pretrained tokenizer what it must come to."""
    megabytes_per_language: Annotated[float, Field(gt=0)] = 2.0
    """Text of each language that the merges are learnt from, so that none dominates."""
    pretrained: str | None = None
    """The folder of a Hugging Face tokenizer, or its name on the hub; nothing is learnt then."""
    revision: str | None = None
    """The commit of a tokenizer on the hub."""
