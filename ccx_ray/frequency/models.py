"""The embedders and judges that a study names: identities, checks, and how its steps open them.

A model in a folder enters an identity by the content of its files and never by its path.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ccx_ray.corpus.intervention_steps import Statement
from ccx_ray.errors import UserError
from ccx_ray.frequency.judges import SHIPPED_PROMPT
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.orchestration.tasks import RunTasks, run_here
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.study.frequency_spec import (
    OWN_BASE,
    EmbedderSpec,
    EndpointJudgeSpec,
    HiddenStatesSpec,
    JudgeSpec,
    LexicalJudgeSpec,
    LocalJudgeSpec,
    NgramEmbedderSpec,
)
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec

if TYPE_CHECKING:
    from ccx_ray.frequency.judges.factory import OpenJudge
    from ccx_ray.frequency.text.questions import Cloze

VERDICTS = "verdicts"
"""Below the study's folder: what models have judged, whichever step asks the same again."""


Named = TypeVar("Named")
_FOLDER_SETTINGS = {"sentence_transformers": "folder", "hidden_states": "model"}
"""Kind -> what names the folder of its model."""


def check_frequency(study: StudySpec, root: Path) -> None:
    """Find what is wrong with embedders and judges, without loading a model or sending anything."""
    from ccx_ray.frequency.judges.factory import check_judge, judge_name
    from ccx_ray.frequency.retrieval.embedders import check_embedder
    from ccx_ray.frequency.retrieval.index_types import choose_index

    inputs = InputFiles(root)
    embedders, judges = embedders_of(study), judges_of(study)
    for field, embedder in embedders.items():
        if isinstance(embedder, NgramEmbedderSpec):
            choose_index(study.frequency.index, passages=0, dimensions=embedder.dimensions)
        if not _is_own_base(embedder):  # whose folder comes to be in this study
            folder = _model_path(embedder, inputs, field)
            check_embedder(embedder, field, model_folder=folder)
    _refuse_equal_names({field: embedder.name for field, embedder in embedders.items()})
    for field, judge in judges.items():
        check_judge(judge, study.runtime.judge, root, field)
    _refuse_equal_names({field: judge_name(judge) for field, judge in judges.items()})


def embedder_identity(spec: EmbedderSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides the vectors of a text."""
    identity = spec.model_dump()
    setting = _FOLDER_SETTINGS.get(spec.kind)
    if setting and not _is_own_base(spec):
        identity[setting] = inputs.folder(getattr(spec, setting), f"{field}.{setting}")
    return identity


def judge_identity(spec: JudgeSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides a verdict."""
    if isinstance(spec, LexicalJudgeSpec):
        return spec.model_dump()
    identity = spec.model_dump()
    if isinstance(spec, LocalJudgeSpec):
        identity["folder"] = inputs.folder(spec.folder, f"{field}.folder")
    identity["prompt"] = (
        file_sha256(SHIPPED_PROMPT)
        if spec.prompt is None
        else inputs.hash(spec.prompt, f"{field}.prompt")
    )
    return identity


def embedders_of(study: StudySpec) -> dict[str, EmbedderSpec]:
    """Field -> embedder: the study's own, and those that it is compared with."""
    return _by_field("embedder", study.frequency.embedder, study.frequency.validation.embedders)


def judges_of(study: StudySpec) -> dict[str, JudgeSpec]:
    """Field -> judge: the study's own, and those that it is compared with."""
    return _by_field("judge", study.frequency.judge, study.frequency.validation.judges)


def _by_field(name: str, own: Named, compared: Iterable[Named]) -> dict[str, Named]:
    others = {f"frequency.validation.{name}s.{place}": one for place, one in enumerate(compared)}
    return {f"frequency.{name}": own, **others}


def own_base_of(embedders: Iterable[EmbedderSpec], base: Step) -> dict[str, Step]:
    """The base where one of the embedders is made of it; it is opened when a query is embedded."""
    return {"base": base} if any(map(_is_own_base, embedders)) else {}


def model_folder(
    study: StudySpec,
    spec: EmbedderSpec,
    root: Path,
    work: StepWork,
    field: str = "frequency.embedder",
) -> Path | None:
    """Where the embedder's model lies; None for one without."""
    from ccx_ray.training.checkpoints import checkpoint_folder

    if _is_own_base(spec):
        return checkpoint_folder(work.inputs("base")["base"], study.base.steps)
    return _model_path(spec, InputFiles(root), field)


def clozes_of(
    study: StudySpec, language: LanguageSpec, root: Path
) -> "dict[str, tuple[Cloze, ...]]":
    """Language of the text -> the culture's questions in it."""
    from ccx_ray.evaluation.probes import load_culture
    from ccx_ray.frequency.text.questions import Cloze

    probes = load_culture(language, root, base=study.base_language.code)
    return {
        code: tuple(Cloze(question=item.question, answer=item.answer) for item in probe.items)
        for code, probe in probes.items()
    }


def statements_of(
    study: StudySpec, root: Path, language: LanguageSpec
) -> dict[str, list[Statement]]:
    """Language code -> the items of a culture's probe as sentences that a text could hold."""
    from ccx_ray.evaluation.probes import ProbeItem, load_culture
    from ccx_ray.frequency.text.questions import Cloze

    def statement(item: ProbeItem) -> Statement:
        cloze = Cloze(question=item.question, answer=item.answer)
        fault = "the answer is no option" if item.gold < 0 else ""
        fault = fault if item.blanks else "no blank"
        return Statement(answer=item.answer, sentence=cloze.statement, fault=fault)

    probes = load_culture(language, root, base=study.base_language.code)
    return {code: [statement(item) for item in probe.items] for code, probe in probes.items()}


def tasks_of(study: StudySpec, work: StepWork, *specs: EmbedderSpec | JudgeSpec) -> RunTasks:
    """Runs tasks that use these embedders and judges, with ``runtime.judge.gpus`` for a model."""
    if any(isinstance(spec, EndpointJudgeSpec) for spec in specs):
        return run_here  # it waits for answers; a place on the cluster would stand idle
    plain = all(isinstance(spec, NgramEmbedderSpec | LexicalJudgeSpec) for spec in specs)
    gpus = 0.0 if plain else study.runtime.judge.gpus
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task, gpus=gpus)


def judge_opener(
    study: StudySpec, spec: JudgeSpec, field: str, root: Path, work: StepWork
) -> "OpenJudge":
    """Opens a judge where its tasks run."""
    from ccx_ray.frequency.judges.factory import open_judge

    return partial(
        open_judge,
        spec,
        study.runtime.judge,
        root=root,
        cache_folder=work.study_folder / VERDICTS,
        # Names the verdicts of a judge, whichever study asks.
        fingerprint=fingerprint(judge_identity(spec, InputFiles(root), field)),
        run=work.services.run_id,
    )


def _is_own_base(spec: EmbedderSpec | JudgeSpec) -> bool:
    return isinstance(spec, HiddenStatesSpec) and spec.model == OWN_BASE


def _model_path(spec: EmbedderSpec, inputs: InputFiles, field: str) -> Path | None:
    """The folder that a study file names for an embedder; None for one without a model."""
    setting = _FOLDER_SETTINGS.get(spec.kind)
    return inputs.resolve_folder(getattr(spec, setting), f"{field}.{setting}") if setting else None


def _refuse_equal_names(names: Mapping[str, str]) -> None:
    """Tables tell embedders and judges apart by name; of two alike one would be lost."""
    first: dict[str, str] = {}
    for field, name in names.items():
        if first.setdefault(name, field) != field:
            raise UserError(
                f"{field}: has the name {name!r} in tables, like {first[name]}; compare "
                "another one, or rename its folder or prompt"
            )
