"""Study file: retrieval, judges, counting and their validation (``frequency``).

Everything here except ``JudgeRuntime`` is identity: it decides the numbers.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ccx_ray.study.text_spec import Count, PositiveInt, Share, Spec

QueryForm = Literal["filled", "question_and_answer"]
"""``filled``: the question with the answer in its blank; else the question, then the answer."""
RetrieverName = Literal["vectors", "bm25", "hybrid"]
IndexType = Literal["flat", "hnsw", "ivfpq"]


def _of_kind(default: str) -> BeforeValidator:
    """``ngram`` for ``{kind: ngram}``; a mapping without a kind is of the default one."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": default, **value} if isinstance(value, dict) else value

    return BeforeValidator(read)


class NgramEmbedderSpec(Spec):
    """TF-IDF of character n-grams, projected to few dimensions; needs no download."""

    kind: Literal["ngram"] = "ngram"
    """Character n-grams."""
    dimensions: PositiveInt = 256
    """Of each vector."""
    projection: Literal["random", "fitted"] = "random"
    """Fitted: the leading singular vectors of a sample of the corpus."""
    seed: Count = 0
    """Of the projection."""

    @property
    def name(self) -> str:
        usual = NgramEmbedderSpec(seed=self.seed)
        return "ngram" if self == usual else f"ngram {self.projection} {self.dimensions}"


class SentenceTransformersSpec(Spec):
    """A sentence-transformers folder."""

    kind: Literal["sentence_transformers"]
    """A sentence embedding model."""
    folder: str
    """As ``SentenceTransformer.save`` writes it."""

    @property
    def name(self) -> str:
        return Path(self.folder).name


OWN_BASE = "base"
"""As ``model`` of an embedder: the last checkpoint of the study's own base."""


class HiddenStatesSpec(Spec):
    """Mean-pooled hidden states of the last layer of a causal model."""

    kind: Literal["hidden_states"]
    """A causal model."""
    model: str = OWN_BASE
    """``base``: the study's own base at its last checkpoint; else a Hugging Face folder."""

    @property
    def name(self) -> str:
        return f"hidden states of {Path(self.model).name}"


EmbedderSpec = Annotated[
    NgramEmbedderSpec | SentenceTransformersSpec | HiddenStatesSpec,
    Field(discriminator="kind"),
    _of_kind("ngram"),
]


class LexicalJudgeSpec(Spec):
    """The answer, and close to it enough of the question's salient terms."""

    kind: Literal["lexical"] = "lexical"
    """Compares words; asks no model."""
    salient_share: Share = 0.5
    """Of a question's salient terms that must stand near the answer."""


class EndpointJudgeSpec(Spec):
    """A model behind an OpenAI-compatible endpoint; where that is, ``runtime.judge`` says."""

    kind: Literal["endpoint"]
    """A model behind an endpoint."""
    model: str
    """The endpoint's own name of the model."""
    prompt: str | None = None
    """A file with ``{question}``, ``{answer}`` and ``{document}``; the shipped one when absent."""
    window_characters: PositiveInt = 4000
    """Of a longer document, what stands around the retrieved passage is shown."""


class LocalJudgeSpec(Spec):
    """A causal model in a Hugging Face folder, asked by the same prompt."""

    kind: Literal["local"]
    """A model that runs in the study's own tasks."""
    folder: str
    """A Hugging Face folder with model and tokenizer."""
    prompt: str | None = None
    """A file with ``{question}``, ``{answer}`` and ``{document}``; the shipped one when absent."""
    window_characters: PositiveInt = 4000
    """Of a longer document, what stands around the retrieved passage is shown."""


JudgeSpec = Annotated[
    LexicalJudgeSpec | EndpointJudgeSpec | LocalJudgeSpec,
    Field(discriminator="kind"),
    _of_kind("lexical"),
]


class ValidationSpec(Spec):
    """How the estimate itself is tested."""

    embedders: tuple[EmbedderSpec, ...] = ()
    """Compared with the study's own; each costs an index of every corpus."""
    judges: tuple[JudgeSpec, ...] = ()
    """Compared with the study's own on a sample of what was retrieved."""
    judged_pairs: PositiveInt = 500
    """Pairs of question and document a corpus on which judges are compared."""
    planted_facts: Count = 60
    """Written into a sample of every corpus at frequencies 0, 1, 2, 4, ... 64; 0 writes none."""
    planted_characters: PositiveInt = 1_000_000
    """Of every corpus, into which they are written."""
    reviewed_documents: PositiveInt = 100
    """Retrieved documents a language on a review sheet for people."""
    seed: Count = 0
    """Of planted facts and of review sheets."""


def retriever_name(retriever: RetrieverName, embedder: str) -> str:
    """What a retriever over an embedder of this name is called in tables."""
    return {"vectors": embedder, "bm25": "bm25", "hybrid": f"{embedder}+bm25"}[retriever]


class FrequencySpec(Spec):
    """Retrieval and judgement of the documents that hold a question's knowledge."""

    top_documents: PositiveInt = 50
    """Documents that are retrieved for each question and then judged."""
    query: QueryForm = "filled"
    """What is searched for: the question with the answer in its blank, or the question and then the
    answer."""
    retriever: RetrieverName = "hybrid"
    """Vectors, words (BM25), or both with their ranks fused."""
    embedder: EmbedderSpec = NgramEmbedderSpec()
    """What makes the vectors; a plain name is a kind with its defaults."""
    passage_characters: PositiveInt = 1000
    """Length of the passages that documents are cut into before they are embedded."""
    index: Literal["auto", "flat", "hnsw", "ivfpq"] = "auto"
    """Auto chooses by the number of passages of a shard; ``index.json`` says what it chose."""
    shard_passages: PositiveInt = 250_000
    """At most so many passages stand in one FAISS index, so that a corpus never has to fit into
    memory."""
    judge: JudgeSpec = LexicalJudgeSpec()
    """What decides whether a document holds the knowledge; a plain name is a kind with its
    defaults."""
    validation: ValidationSpec = ValidationSpec()
    """How the estimate itself is tested."""

    @property
    def retriever_name(self) -> str:
        """What the study's own retriever is called in tables."""
        return retriever_name(self.retriever, self.embedder.name)

    @property
    def scanning_judge(self) -> LexicalJudgeSpec:
        """The judge that reads every document: nobody but the lexical one can."""
        return self.judge if isinstance(self.judge, LexicalJudgeSpec) else LexicalJudgeSpec()

    def index_identity(self) -> dict[str, object]:
        """What decides the index of a corpus, beside its embedder."""
        return self.model_dump(include={"passage_characters", "index", "shard_passages"})

    def estimate_identity(self) -> dict[str, object]:
        """What decides what is asked of the indexes, beside the judge."""
        return self.model_dump(include={"top_documents", "query", "retriever"})


class JudgeRuntime(Spec):
    """Where an endpoint judge is reached, and how much may be asked of it; or on what a local one
    runs."""

    url: str | None = None
    """Of the endpoint, up to and with ``/v1``."""
    key_variable: Annotated[str, Field(min_length=1)] = "OPENAI_API_KEY"
    """The environment variable that holds the key; the key itself is never written anywhere."""
    concurrency: PositiveInt = 8
    """Requests on their way at once."""
    pairs_per_request: PositiveInt = 1
    """Documents of one question that are judged by one request."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """For one request."""
    max_retries: Count = 6
    """Of one request, with growing pauses, before the step fails; what was judged is kept. An
    answer that cannot be read is asked for again as often."""
    answer_tokens: PositiveInt = 1000
    """At most, of the answer about one document, thoughts included: a quoted sentence of Tibetan
    takes several hundred, a model that thinks before it answers some thousands."""
    unreadable_share: Share = 0.5
    """More pairs without a readable answer stop the step; fewer have no verdict, and are counted
    and kept."""
    max_requests: PositiveInt | None = None
    """At most so many requests, retries included, in one run of the driver."""
    max_dollars: Annotated[float, Field(ge=0)] | None = None
    """At most so much, by the prices below and the tokens that the endpoint reports."""
    dollars_per_million_input_tokens: Annotated[float, Field(ge=0)] = 0.0
    """The endpoint's price of what it reads."""
    dollars_per_million_output_tokens: Annotated[float, Field(ge=0)] = 0.0
    """The endpoint's price of what it writes."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """Of a local judge's task and of an embedder that is a model."""
