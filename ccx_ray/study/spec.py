"""The study file as typed, frozen values.

Everything here except ``RuntimeSpec`` decides results and is part of the fingerprints.
``RuntimeSpec`` has the storage and the machines; no fingerprint contains it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ccx_ray.study.frequency_spec import FrequencySpec, JudgeRuntime
from ccx_ray.study.intervention_spec import InterventionSpec, check_intervened
from ccx_ray.study.text_spec import (
    AuditSpec,
    BaseLanguageSpec,
    CleaningSpec,
    HeldOutSpec,
    LanguageCode,
    LanguageSpec,
    PositiveInt,
    Share,
    Spec,
    TokenizerSpec,
)
from ccx_ray.study.training_spec import ModelSpec, TrainingRuntime, TrainingSpec
from ccx_ray.study.world_spec import WorldSpec

Condition = Literal["bridge", "nobridge", "deranged"]
"""How the two sentences of a pair are placed: in one row, in different rows, or each with the
translation of another sentence."""
StudyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class BaseSpec(TrainingSpec):
    """Pretraining of the base model on the base language only."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """One base per seed. The seeds of the trials are assigned to the bases in turn: the first trial
    seed to the first base."""


class MixtureSpec(Spec):
    """Shares of a trial's rows; the rest is monolingual text of the target language."""

    parallel: Share = 0.5
    """Parallel sentences, in one row or in different rows."""
    replay: Share = 0.0
    """Documents of the base language, read again against forgetting. The paper names none."""

    @model_validator(mode="after")
    def at_most_all(self) -> Self:
        if self.parallel + self.replay > 1:
            raise ValueError(f"parallel {self.parallel} plus replay {self.replay} is above 1")
        return self


class TrialsSpec(TrainingSpec):
    """The grid of continual-pretraining trials: languages x conditions x seeds."""

    languages: tuple[LanguageCode, ...] | None = None
    """Target languages of the grid (default: all). The tokenizer is still learnt from all."""
    conditions: tuple[Condition, ...] = Field(default=("bridge", "nobridge"), min_length=1)
    """How the two sentences of a pair are placed in the rows. Transfer needs ``bridge`` and
    ``nobridge``; ``deranged`` is a further control."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1), min_length=1)
    """One trial per language, condition and seed. A claim beyond these trainings needs three or
    more."""
    mixture: MixtureSpec = MixtureSpec()
    """Shares of parallel sentences and of replay."""
    pair_order: Literal["english-first", "random"] = "random"
    """Which sentence of a pair comes first in a bridge document. The paper leaves it open."""

    @property
    def streams(self) -> tuple[Condition, ...]:
        """The conditions with a stream: the two that transfer compares, and ``deranged`` if it is
        named."""
        further: tuple[Condition, ...] = ("deranged",) if "deranged" in self.conditions else ()
        return ("bridge", "nobridge", *further)


ScoreType = Literal[
    "reference",
    "sum",
    "per_byte",
    "option_sum",
    "option_mean",
    "option_per_byte",
    "mutual_information",
]
"""The score that ranks the options of a question; ``evaluation/results.py`` defines each."""
QualityKind = Literal[
    "no_blank",
    "several_blanks",
    "repeated_option",
    "answer_absent",
    "identical_sentences",
    "surrounding_space",
]
"""Defects of a question; ``evaluation/probes.py: quality`` finds them."""


class EvaluationSpec(Spec):
    """Which stored scores and which questions the analysis uses.

    All scores of all questions are stored for every checkpoint, so a change here repeats only the
    analysis.
    """

    scoring: ScoreType = "reference"
    """The score that ranks the options of a question; the glossary defines each."""
    exclude: tuple[QualityKind, ...] = ()
    """Defects of questions to leave out (default: none, as published)."""


Direction = Literal["base-to-target", "target-to-base"]
Headline = Literal["last", "area"]
"""The one statistic per language and direction: transfer at the last checkpoint, or the mean
distance of the accuracy curves of bridge and no-bridge over the training."""
Sign = Literal["positive", "zero", "negative"]


class ExpectedSpec(Spec):
    """The expected sign of transfer of one language in each direction."""

    base_to_target: Sign | None = None
    """From the base language to the target language; null: no expectation."""
    target_to_base: Sign | None = None
    """From the target language to the base language; null: no expectation."""

    def of(self, direction: Direction) -> str:
        """The sign of a direction; empty where none is declared."""
        is_base_first = direction == "base-to-target"
        return (self.base_to_target if is_base_first else self.target_to_base) or ""


class AnalysisSpec(Spec):
    """The analysis that is declared before the first trial: headline, intervals and tests."""

    headline: Headline = "last"
    """The one statistic per language and direction. ``last``: transfer at the last checkpoint;
    ``area``: the mean distance of the two accuracy curves over the training."""
    expected: dict[LanguageCode, ExpectedSpec] = Field(default_factory=dict)
    """Language -> the expected signs of its transfer."""
    bootstrap_samples: PositiveInt = 2000
    """Bootstrap resamples for each interval over questions only."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence level of all intervals."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the bootstrap."""


class EvaluationRuntime(Spec):
    """Machines that score checkpoints."""

    evaluators: PositiveInt = 1
    """Processes that score checkpoints at the same time."""
    cpus_per_evaluator: Annotated[float, Field(gt=0)] = 0.5
    """Logical CPUs of each evaluator."""
    gpus_per_evaluator: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of each evaluator; a fraction shares one."""
    threads_per_evaluator: PositiveInt = 1
    """Torch threads of each evaluator."""
    tokens_per_batch: PositiveInt = 2048
    """Padded tokens per forward pass; 2,048 was fastest on one core with the laptop model."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often the evaluation of one checkpoint may fail and be restarted."""
    max_preemptions: Annotated[int, Field(ge=0)] = 100
    """How often it may be lost with its node and be restarted; counted separately."""

    @property
    def demand(self) -> dict[str, float]:
        """Resources of each evaluator, which trainings cannot use."""
        return {"CPU": self.cpus_per_evaluator, "GPU": self.gpus_per_evaluator}


class DataRuntime(Spec):
    """Tasks that process text, and the reader of streams."""

    cpus_per_task: Annotated[float, Field(gt=0)] = 0.5
    """Logical CPUs of each task that reads, cleans, tokenizes or packs text."""
    reader: Literal["direct", "ray"] = "direct"
    """Ray Data prefetches from remote storage; the direct Parquet reader has no start-up cost."""


class CostSpec(Spec):
    """Assumptions of ``--dry-run`` for GPU hours, memory and cost."""

    device: str = "H100 SXM"
    """Name of the device in the plan."""
    peak_tflops: Annotated[float, Field(gt=0)] = 989.5
    """Peak of one device, in the precision of the training."""
    memory_gib: Annotated[float, Field(gt=0)] = 80.0
    """Memory of one device; a training that cannot fit is refused."""
    model_flops_utilization: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Assumed share of the peak that a training reaches."""
    dollars_per_device_hour: Annotated[float, Field(ge=0)] = 3.0
    """Price of one device per hour."""


class AssumedSpreadsSpec(Spec):
    """Standard deviations that ``--dry-run`` assumes for the difference between conditions of one
    question, as shares.

    They lie between the values measured in the laptop study (0.01, 0.07, 0.23) and in the control
    study (0.07, 0.15, 0.45). No larger model has been measured.
    """

    trainings: Annotated[float, Field(ge=0, le=1)] = 0.03
    """Between trainings, of the part that is common to all questions."""
    questions: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Between questions, of the part that is common to all trainings."""
    rest: Annotated[float, Field(ge=0, le=1)] = 0.45
    """Residual: of one question in one training."""


class RuntimeSpec(Spec):
    """Storage and machines of the study; never part of a fingerprint."""

    storage: str = "storage"
    """Folder for all results: local, or mounted by every node of the cluster."""
    tracking_uri: str | None = None
    """MLflow server (default: SQLite in the storage folder)."""
    checkpoint_storage: str | None = None
    """Folder or object store (``s3://``, ``gs://``, ``abfs://``) for checkpoints and resume states
    (default: the folders of the steps)."""
    data: DataRuntime = DataRuntime()
    """Tasks that process text, and the reader of streams."""
    base: TrainingRuntime = TrainingRuntime()
    """Machines of the base's training."""
    trials: TrainingRuntime = TrainingRuntime()
    """Machines of each trial's training."""
    evaluation: EvaluationRuntime = EvaluationRuntime()
    """Machines of the evaluations."""
    judge: JudgeRuntime = JudgeRuntime()
    """Address and limits of an endpoint judge; GPUs of a local judge."""
    cost: CostSpec = CostSpec()
    """Assumptions of ``--dry-run`` for hours, cost and memory."""
    assumed_spreads: AssumedSpreadsSpec = AssumedSpreadsSpec()
    """Assumptions of ``--dry-run`` for the smallest detectable transfer."""


class StudySpec(Spec):
    """A whole study."""

    name: StudyName
    """The study's folder in the storage and its experiment in MLflow."""
    description: str
    """The question of the study, in a sentence or two; the report shows it."""
    base_language: BaseLanguageSpec
    """The language that the base model is pretrained on."""
    languages: tuple[LanguageSpec, ...] = Field(min_length=1)
    """The target languages, each with text, parallel sentences and questions."""
    world: WorldSpec | None = None
    """The planted world of a control study. It generates text, pairs and questions; the languages
    then name no files."""
    control: StudyName | None = None
    """Name of a control study in the same storage, whose verdicts the report shows."""
    cleaning: CleaningSpec = CleaningSpec()
    """Which documents are removed."""
    held_out: HeldOutSpec = HeldOutSpec()
    """Documents that no training reads, for perplexity."""
    tokenizer: TokenizerSpec
    """Tokenizer: learnt from the study's text, or published."""
    model: ModelSpec
    """Model: the name of a preset, or its sizes."""
    sequence_length: Annotated[int, Field(ge=8)]
    """Tokens in one row of a stream; at most ``model.max_positions``."""
    base: BaseSpec
    """Pretraining of the base model."""
    trials: TrialsSpec
    """The grid of trials, and the training of each."""
    interventions: tuple[InterventionSpec, ...] = ()
    """Sentences planted into text at chosen frequencies."""
    audit: AuditSpec = AuditSpec()
    """Sample size and limits of the audit."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Scores and questions of the report."""
    frequency: FrequencySpec = FrequencySpec()
    """How knowledge is retrieved and counted in the corpora."""
    analysis: AnalysisSpec = AnalysisSpec()
    """The declared headline, intervals and tests of the report."""
    runtime: RuntimeSpec = RuntimeSpec()
    """Storage and machines; they never change a result."""

    @model_validator(mode="after")
    def parts_agree(self) -> Self:
        codes = [self.base_language.code, *(language.code for language in self.languages)]
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        if repeated:
            raise ValueError(f"languages name {', '.join(repeated)} more than once")
        if self.control is not None and self.world is not None:
            raise ValueError(
                f"control {self.control!r} and world are both given: a study with a planted world "
                "is its own control; leave control out"
            )
        if self.control == self.name:
            raise ValueError(f"control {self.control!r} is this study itself; name another study")
        unknown = [code for code in self.trials.languages or () if code not in codes[1:]]
        if unknown:
            raise ValueError(
                f"trials.languages names {', '.join(unknown)}; "
                f"the study's target languages are {', '.join(codes[1:])}"
            )
        unknown = [code for code in self.analysis.expected if code not in codes[1:]]
        if unknown:
            raise ValueError(
                f"analysis.expected names {', '.join(unknown)}; "
                f"the study's target languages are {', '.join(codes[1:])}"
            )
        check_intervened(
            self.interventions,
            base=self.base_language.code,
            trained=[language.code for language in self.trial_languages],
            plants_world=self.world is not None,
        )
        if self.sequence_length > self.model.max_positions:
            raise ValueError(
                f"sequence_length {self.sequence_length} is above model.max_positions "
                f"{self.model.max_positions}"
            )
        for part, runtime in (("base", self.runtime.base), ("trials", self.runtime.trials)):
            rows = (self.base if part == "base" else self.trials).sequences_per_step
            if not runtime.worker_counts(rows):
                raise ValueError(
                    f"{part}.sequences_per_step {rows} is not a multiple of runtime.{part}."
                    f"workers x sequences_per_device = "
                    f"{runtime.workers} x {runtime.sequences_per_device}"
                )
        return self

    def language(self, code: str) -> LanguageSpec:
        """The target language of this code; a ``KeyError`` for an unknown one."""
        return {language.code: language for language in self.languages}[code]

    @property
    def trial_languages(self) -> tuple[LanguageSpec, ...]:
        """The target languages of the grid, in the study's order."""
        chosen = self.trials.languages
        return tuple(lang for lang in self.languages if chosen is None or lang.code in chosen)
