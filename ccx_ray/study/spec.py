"""The study file as typed, frozen values.

Everything here except ``RuntimeSpec`` is identity: it decides the numbers. ``RuntimeSpec`` says
where and on what the study runs, and no fingerprint ever contains it.
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
"""How the halves of the pairs stand: together, apart, or each beside the translation of another
sentence."""
StudyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class BaseSpec(TrainingSpec):
    """Pretraining of the base model on the base language alone."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """One base for each; the trials' seeds start from them in turn: the first from the first."""


class MixtureSpec(Spec):
    """What the rows of a trial hold, as shares; the rest is monolingual text of the target."""

    parallel: Share = 0.5
    """Parallel sentences, together or apart."""
    replay: Share = 0.0
    """Documents of the base language, seen again against forgetting. The paper names none."""

    @model_validator(mode="after")
    def at_most_all(self) -> Self:
        if self.parallel + self.replay > 1:
            raise ValueError(f"parallel {self.parallel} and replay {self.replay} are more than 1")
        return self


class TrialsSpec(TrainingSpec):
    """The grid of continual-pretraining trials: languages x conditions x seeds."""

    languages: tuple[LanguageCode, ...] | None = None
    """Languages of the grid; all of the study's when absent. The others stay in the tokenizer."""
    conditions: tuple[Condition, ...] = Field(default=("bridge", "nobridge"), min_length=1)
    """How the halves of the pairs stand in the rows; ``bridge`` and ``nobridge`` are needed for
    transfer, ``deranged`` is a further control."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1), min_length=1)
    """One trial for each language, condition and seed. Three or more are needed for a claim beyond
    these trainings."""
    mixture: MixtureSpec = MixtureSpec()
    """Shares of parallel text and of replayed base-language text."""
    pair_order: Literal["english-first", "random"] = "random"
    """Which half of a pair comes first in a bridge document. The paper leaves it open."""

    @property
    def streams(self) -> tuple[Condition, ...]:
        """The conditions whose streams are made: the two that transfer is the difference of, and
        ``deranged`` where it is named."""
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
"""How the options of a question are compared; ``evaluation/results.py`` defines each."""
QualityKind = Literal[
    "no_blank",
    "several_blanks",
    "repeated_option",
    "answer_absent",
    "identical_sentences",
    "surrounding_space",
]
"""What may be odd about a question; ``evaluation/probes.py: quality`` finds it."""


class EvaluationSpec(Spec):
    """Which of the stored scores the analysis reads, and which questions.

    Every checkpoint is scored in every way on every question, so a change here repeats the
    analysis alone.
    """

    scoring: ScoreType = "reference"
    """How the options of a question are compared; the glossary defines each score."""
    exclude: tuple[QualityKind, ...] = ()
    """Questions to leave out, by what is odd about them; none, as published, by default."""


Direction = Literal["base-to-target", "target-to-base"]
Headline = Literal["last", "area"]
"""The one statistic a language and direction: transfer at the last checkpoint, or the area between
the curves of bridge and no-bridge, as a mean over the training."""
Sign = Literal["positive", "zero", "negative"]


class ExpectedSpec(Spec):
    """The sign that transfer of one language is expected to have in each direction."""

    base_to_target: Sign | None = None
    """From the base language to the target language; null: nothing is declared."""
    target_to_base: Sign | None = None
    """From the target language to the base language; null: nothing is declared."""

    def of(self, direction: Direction) -> str:
        """The sign of a direction; empty where none is declared."""
        is_base_first = direction == "base-to-target"
        return (self.base_to_target if is_base_first else self.target_to_base) or ""


class AnalysisSpec(Spec):
    """What is declared before the first trial, and the intervals and tests of the report."""

    headline: Headline = "last"
    """The one statistic of each language and direction: transfer at the last checkpoint, or the
    mean distance of the two accuracy curves over the training."""
    expected: dict[LanguageCode, ExpectedSpec] = Field(default_factory=dict)
    """Language -> the sign that its transfer is expected to have."""
    bootstrap_samples: PositiveInt = 2000
    """Resamples of the questions for each interval over questions alone."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of all intervals."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the bootstrap."""


class EvaluationRuntime(Spec):
    """On what checkpoints are scored."""

    evaluators: PositiveInt = 1
    """Processes that score checkpoints at the same time."""
    cpus_per_evaluator: Annotated[float, Field(gt=0)] = 0.5
    """Logical CPUs that each takes of a node."""
    gpus_per_evaluator: Annotated[float, Field(ge=0)] = 0.0
    """GPUs that each takes; a fraction shares one."""
    threads_per_evaluator: PositiveInt = 1
    """Threads of torch in each."""
    tokens_per_batch: PositiveInt = 2048
    """Padded tokens of one forward pass; 2,048 was fastest on one core with the laptop model."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often the evaluator of one checkpoint may die and the evaluation be begun anew."""
    max_preemptions: Annotated[int, Field(ge=0)] = 100
    """How often it may die with its node; counted apart from failures."""

    @property
    def demand(self) -> dict[str, float]:
        """What each evaluator takes of a node; it is not there for trainings."""
        return {"CPU": self.cpus_per_evaluator, "GPU": self.gpus_per_evaluator}


class DataRuntime(Spec):
    """How text is processed and how streams are read."""

    cpus_per_task: Annotated[float, Field(gt=0)] = 0.5
    """Logical CPUs of each task that reads, cleans, tokenizes or packs text."""
    reader: Literal["direct", "ray"] = "direct"
    """Ray Data prefetches from remote storage; the direct Parquet reader has no start-up cost."""


class CostSpec(Spec):
    """What ``--dry-run`` computes GPU hours and cost with."""

    device: str = "H100 SXM"
    """The name that the plan shows."""
    peak_tflops: Annotated[float, Field(gt=0)] = 989.5
    """Of one device, in the precision of the training."""
    memory_gib: Annotated[float, Field(gt=0)] = 80.0
    """Of one device; a training that cannot fit is refused."""
    model_flops_utilization: Annotated[float, Field(gt=0, le=1)] = 0.4
    """The share of the peak that a training is assumed to reach."""
    dollars_per_device_hour: Annotated[float, Field(ge=0)] = 3.0
    """Price of one device for one hour."""


class AssumedSpreadsSpec(Spec):
    """Standard deviations of a question's difference between conditions, as shares, that
    ``--dry-run`` assumes.

    They lie between those measured in the laptop study (0.01, 0.07, 0.23) and in the control study
    (0.07, 0.15, 0.45); no larger model has been measured.
    """

    trainings: Annotated[float, Field(ge=0, le=1)] = 0.03
    """Between trainings, of what is common to all questions."""
    questions: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Between questions, of what is common to all trainings."""
    rest: Annotated[float, Field(ge=0, le=1)] = 0.45
    """Of what is left: a question in a training."""


class RuntimeSpec(Spec):
    """Where and on what the study runs; never part of a fingerprint."""

    storage: str = "storage"
    """A local folder for all results, or one that every node of the cluster mounts."""
    tracking_uri: str | None = None
    """An MLflow server; SQLite in the storage folder when absent."""
    checkpoint_storage: str | None = None
    """A folder or an object store (``s3://``, ``gs://``, ``abfs://``) for checkpoints and states to
    resume from; in the steps' own folders when absent."""
    data: DataRuntime = DataRuntime()
    """Tasks that process text, and the reader of streams."""
    base: TrainingRuntime = TrainingRuntime()
    """Machines of the base's training."""
    trials: TrainingRuntime = TrainingRuntime()
    """Machines of each trial's training."""
    evaluation: EvaluationRuntime = EvaluationRuntime()
    """Machines of the evaluations."""
    judge: JudgeRuntime = JudgeRuntime()
    """Address and limits of an endpoint judge; GPUs of a local one."""
    cost: CostSpec = CostSpec()
    """What the plan of ``--dry-run`` computes hours, cost and memory with."""
    assumed_spreads: AssumedSpreadsSpec = AssumedSpreadsSpec()
    """What the plan of ``--dry-run`` computes the smallest visible transfer with."""


class StudySpec(Spec):
    """A whole study."""

    name: StudyName
    """The study's folder in the storage and its experiment in MLflow."""
    description: str
    """What the study asks, in a sentence or two; the report shows it."""
    base_language: BaseLanguageSpec
    """The language that the base model is pretrained on."""
    languages: tuple[LanguageSpec, ...] = Field(min_length=1)
    """The target languages: each has text, parallel sentences and questions."""
    world: WorldSpec | None = None
    """What makes the text, the pairs and the questions of a control study; the languages name no
    files then."""
    control: StudyName | None = None
    """A study with a planted world, in the same storage, whose verdicts the report shows."""
    cleaning: CleaningSpec = CleaningSpec()
    """Which documents are dropped."""
    held_out: HeldOutSpec = HeldOutSpec()
    """Documents that no training sees, for perplexity."""
    tokenizer: TokenizerSpec
    """The tokenizer: learnt from the study's text, or a published one."""
    model: ModelSpec
    """The model: the name of a preset, or its sizes."""
    sequence_length: Annotated[int, Field(ge=8)]
    """Tokens in one row of a stream; at most ``model.max_positions``."""
    base: BaseSpec
    """Pretraining of the base model."""
    trials: TrialsSpec
    """The grid of trials and how each is trained."""
    interventions: tuple[InterventionSpec, ...] = ()
    """Sentences that are planted into text at chosen frequencies."""
    audit: AuditSpec = AuditSpec()
    """Sample size and limits of the audit."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Which scores and questions the report uses."""
    frequency: FrequencySpec = FrequencySpec()
    """How knowledge is looked for and counted in the corpora."""
    analysis: AnalysisSpec = AnalysisSpec()
    """The declared headline, intervals and tests of the report."""
    runtime: RuntimeSpec = RuntimeSpec()
    """Where and on what the study runs; it never changes a result."""

    @model_validator(mode="after")
    def parts_agree(self) -> Self:
        codes = [self.base_language.code, *(language.code for language in self.languages)]
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        if repeated:
            raise ValueError(f"languages name {', '.join(repeated)} more than once")
        if self.control is not None and self.world is not None:
            raise ValueError(
                f"control {self.control!r} stands beside world: a study that plants a world is its "
                "own control; leave control out"
            )
        if self.control == self.name:
            raise ValueError(f"control {self.control!r} is this study itself; name another one")
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
