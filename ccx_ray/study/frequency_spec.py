"""Study file: retrieval, judges, counting and their validation (``frequency``).

Everything here except ``JudgeRuntime`` decides results and is part of the fingerprints.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ccx_ray.study.text_spec import Count, PositiveInt, Share, Spec

QueryForm = Literal["filled", "question_and_answer"]
"""``filled``: the question with the answer in its blank; otherwise question, then answer."""
RetrieverName = Literal["vectors", "bm25", "hybrid"]
IndexType = Literal["flat", "hnsw", "ivfpq"]


def _of_kind(default: str) -> BeforeValidator:
    """Read ``ngram`` as ``{kind: ngram}``, and a mapping without a kind as the default kind."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": default, **value} if isinstance(value, dict) else value

    return BeforeValidator(read)


class NgramEmbedderSpec(Spec):
    """TF-IDF of character n-grams, projected to few dimensions. It needs no download."""

    kind: Literal["ngram"] = "ngram"
    """Character n-grams."""
    dimensions: PositiveInt = 256
    """Dimensions of each vector."""
    projection: Literal["random", "fitted"] = "random"
    """Random, or fitted: the leading singular vectors of a sample of the corpus."""
    seed: Count = 0
    """Seed of the projection."""

    @property
    def name(self) -> str:
        usual = NgramEmbedderSpec(seed=self.seed)
        return "ngram" if self == usual else f"ngram {self.projection} {self.dimensions}"


class SentenceTransformersSpec(Spec):
    """A sentence embedding model in a sentence-transformers folder."""

    kind: Literal["sentence_transformers"]
    """A sentence embedding model."""
    folder: str
    """The folder, as ``SentenceTransformer.save`` writes it."""

    @property
    def name(self) -> str:
        return Path(self.folder).name


OWN_BASE = "base"
"""Value of an embedder's ``model`` for the last checkpoint of the study's own base."""


class HiddenStatesSpec(Spec):
    """Mean-pooled hidden states of the last layer of a causal model."""

    kind: Literal["hidden_states"]
    """A causal model."""
    model: str = OWN_BASE
    """``base`` for the last checkpoint of the study's own base, or a Hugging Face folder."""

    @property
    def name(self) -> str:
        return f"hidden states of {Path(self.model).name}"


EmbedderSpec = Annotated[
    NgramEmbedderSpec | SentenceTransformersSpec | HiddenStatesSpec,
    Field(discriminator="kind"),
    _of_kind("ngram"),
]


class LexicalJudgeSpec(Spec):
    """Word matching: the answer, and near it enough of the question's salient terms."""

    kind: Literal["lexical"] = "lexical"
    """Matches words, without a model."""
    salient_share: Share = 0.5
    """Share of a question's salient terms that must be near the answer."""


class EndpointJudgeSpec(Spec):
    """A model behind an OpenAI-compatible endpoint; ``runtime.judge`` has its address."""

    kind: Literal["endpoint"]
    """A model behind an endpoint."""
    model: str
    """Name of the model at the endpoint."""
    prompt: str | None = None
    """File with ``{question}``, ``{answer}`` and ``{document}`` (default: the shipped prompt)."""
    window_characters: PositiveInt = 4000
    """Characters of a document that the model is shown, around the retrieved passage."""


class LocalJudgeSpec(Spec):
    """A causal model in a Hugging Face folder, with the same prompt."""

    kind: Literal["local"]
    """A model that runs in the study's own tasks."""
    folder: str
    """A Hugging Face folder with model and tokenizer."""
    prompt: str | None = None
    """File with ``{question}``, ``{answer}`` and ``{document}`` (default: the shipped prompt)."""
    window_characters: PositiveInt = 4000
    """Characters of a document that the model is shown, around the retrieved passage."""


JudgeSpec = Annotated[
    LexicalJudgeSpec | EndpointJudgeSpec | LocalJudgeSpec,
    Field(discriminator="kind"),
    _of_kind("lexical"),
]


class ValidationSpec(Spec):
    """Tests of the frequency estimate."""

    embedders: tuple[EmbedderSpec, ...] = ()
    """Embedders to compare with the study's own; each needs an index of every corpus."""
    judges: tuple[JudgeSpec, ...] = ()
    """Judges to compare with the study's own on a sample of retrieved documents."""
    judged_pairs: PositiveInt = 500
    """Pairs of question and document per corpus for comparing judges."""
    planted_facts: Count = 60
    """Facts planted into a sample of every corpus at frequencies 0, 1, 2, 4, ... 64; 0: none."""
    planted_characters: PositiveInt = 1_000_000
    """Size of that sample in characters."""
    reviewed_documents: PositiveInt = 100
    """Retrieved documents per language on a sheet for human review."""
    seed: Count = 0
    """Seed of planted facts and review sheets."""


def retriever_name(retriever: RetrieverName, embedder: str) -> str:
    """Name in tables of a retriever with an embedder of this name."""
    return {"vectors": embedder, "bm25": "bm25", "hybrid": f"{embedder}+bm25"}[retriever]


class FrequencySpec(Spec):
    """Retrieval of documents for each question, and the judge of their knowledge."""

    top_documents: PositiveInt = 50
    """Documents that are retrieved for each question and judged."""
    query: QueryForm = "filled"
    """Query: the question with the answer in its blank, or the question and then the answer."""
    retriever: RetrieverName = "hybrid"
    """Vectors, words (BM25), or both with their ranks fused."""
    embedder: EmbedderSpec = NgramEmbedderSpec()
    """Model of the vectors; a plain name is a kind with its defaults."""
    passage_characters: PositiveInt = 1000
    """Length of the passages that documents are split into for the index."""
    index: Literal["auto", "flat", "hnsw", "ivfpq"] = "auto"
    """Type of FAISS index. Auto chooses by the number of passages of a shard; ``index.json``
    records the choice."""
    shard_passages: PositiveInt = 250_000
    """Largest number of passages in one FAISS index, so that a corpus need not fit into memory."""
    judge: JudgeSpec = LexicalJudgeSpec()
    """Method that decides whether a document contains the knowledge; a plain name is a kind with
    its defaults."""
    validation: ValidationSpec = ValidationSpec()
    """Tests of the estimate."""

    @property
    def retriever_name(self) -> str:
        """Name in tables of the study's own retriever."""
        return retriever_name(self.retriever, self.embedder.name)

    @property
    def scanning_judge(self) -> LexicalJudgeSpec:
        """The lexical judge of the scan of every document; a model would be too slow."""
        return self.judge if isinstance(self.judge, LexicalJudgeSpec) else LexicalJudgeSpec()

    def index_identity(self) -> dict[str, object]:
        """The fields that decide the index of a corpus, besides its embedder."""
        return self.model_dump(include={"passage_characters", "index", "shard_passages"})

    def estimate_identity(self) -> dict[str, object]:
        """The fields that decide the queries to the indexes, besides the judge."""
        return self.model_dump(include={"top_documents", "query", "retriever"})


class JudgeRuntime(Spec):
    """Address and limits of an endpoint judge; GPUs of a local one."""

    url: str | None = None
    """Address of the endpoint, including ``/v1``."""
    key_variable: Annotated[str, Field(min_length=1)] = "OPENAI_API_KEY"
    """Environment variable with the key. The key is never written to a file."""
    concurrency: PositiveInt = 8
    """Concurrent requests."""
    pairs_per_request: PositiveInt = 1
    """Documents of one question that one request judges."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Timeout of one request."""
    max_retries: Count = 6
    """Retries of one request, with growing pauses, before the step fails. Received verdicts are
    kept. An unreadable answer is requested again equally often."""
    answer_tokens: PositiveInt = 1000
    """Limit of the answer about one document, reasoning included. A quoted Tibetan sentence needs
    several hundred tokens, a reasoning model some thousands."""
    unreadable_share: Share = 0.5
    """Largest share of pairs without a readable answer; above it the step fails. Such pairs have no
    verdict and are counted."""
    max_requests: PositiveInt | None = None
    """Limit of requests in one run of the driver, retries included."""
    max_dollars: Annotated[float, Field(ge=0)] | None = None
    """Limit of the cost, from the prices below and the tokens that the endpoint reports."""
    dollars_per_million_input_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Price of input tokens."""
    dollars_per_million_output_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Price of output tokens."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of a local judge's task, and of an embedding model."""
