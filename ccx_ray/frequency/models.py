"""The embedders and judges that a study names: identities, checks, and how its steps open them.

A model in a folder enters an identity by the content of its files and never by its path.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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
    SentenceTransformersSpec,
)
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec

if TYPE_CHECKING:
    from ccx_ray.frequency.estimation import OpenJudge
    from ccx_ray.frequency.text.questions import Cloze

VERDICTS = "verdicts"
"""Below the study's folder: what models have judged, whichever step asks the same again."""


def check_frequency(study: StudySpec, root: Path) -> None:
    """Find what is wrong with embedders and judges, without loading a model or sending anything.

    Raises:
        UserError: the first mistake.
    """
    from ccx_ray.frequency.judges.factory import check_judge, judge_name
    from ccx_ray.frequency.retrieval.embedding.factory import check_embedder
    from ccx_ray.frequency.retrieval.index_types import choose_index

    inputs = InputFiles(root)
    for field, embedder in embedders_of(study).items():
        if isinstance(embedder, NgramEmbedderSpec):
            choose_index(study.frequency.index, passages=0, dimensions=embedder.dimensions)
        if isinstance(embedder, HiddenStatesSpec) and embedder.model == OWN_BASE:
            continue  # its folder comes to be in this study
        folder = _model_path(embedder, inputs, field)
        check_embedder(embedder, field, model_folder=folder)
    _refuse_equal_names({field: one.name for field, one in embedders_of(study).items()})
    for field, judge in judges_of(study).items():
        check_judge(judge, study.runtime.judge, root, field)
    _refuse_equal_names({field: judge_name(judge) for field, judge in judges_of(study).items()})


def embedder_identity(spec: EmbedderSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides the vectors of a text.

    Raises:
        UserError: there is no such folder.
    """
    identity = spec.model_dump()
    if isinstance(spec, SentenceTransformersSpec):
        identity["folder"] = inputs.folder(spec.folder, f"{field}.folder")
    elif isinstance(spec, HiddenStatesSpec) and spec.model != OWN_BASE:
        identity["model"] = inputs.folder(spec.model, f"{field}.model")
    return identity


def judge_identity(spec: JudgeSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides a verdict.

    Raises:
        UserError: there is no such file or folder.
    """
    identity = spec.model_dump()
    if isinstance(spec, LexicalJudgeSpec):
        return identity
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
    compared = study.frequency.validation.embedders
    return {"frequency.embedder": study.frequency.embedder} | {
        f"frequency.validation.embedders.{number}": embedder
        for number, embedder in enumerate(compared)
    }


def judges_of(study: StudySpec) -> dict[str, JudgeSpec]:
    """Field -> judge: the study's own, and those that it is compared with."""
    compared = study.frequency.validation.judges
    return {"frequency.judge": study.frequency.judge} | {
        f"frequency.validation.judges.{number}": judge for number, judge in enumerate(compared)
    }


def own_base_of(embedders: Iterable[EmbedderSpec], base: Step) -> dict[str, Step]:
    """The base where one of the embedders is made of it; it is opened when a query is embedded."""
    own = any(isinstance(one, HiddenStatesSpec) and one.model == OWN_BASE for one in embedders)
    return {"base": base} if own else {}


def model_folder(
    study: StudySpec,
    spec: EmbedderSpec,
    root: Path,
    work: StepWork,
    field: str = "frequency.embedder",
) -> Path | None:
    """Where the embedder's model lies; None for one without."""
    from ccx_ray.training.checkpoints import checkpoint_folder

    if isinstance(spec, HiddenStatesSpec) and spec.model == OWN_BASE:
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


def plain_tasks(study: StudySpec, work: StepWork) -> RunTasks:
    """Runs tasks without a model on the cluster."""
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task)


def _model_tasks(study: StudySpec, work: StepWork) -> RunTasks:
    """Tasks of a model, each with ``runtime.judge.gpus``."""
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task, gpus=study.runtime.judge.gpus)


def embedding_tasks(study: StudySpec, work: StepWork, *specs: EmbedderSpec) -> RunTasks:
    """Runs tasks that embed with these embedders, on GPUs where one is a model."""
    plain = all(isinstance(spec, NgramEmbedderSpec) for spec in specs)
    return plain_tasks(study, work) if plain else _model_tasks(study, work)


def judge_tasks(study: StudySpec, work: StepWork, *specs: JudgeSpec) -> RunTasks:
    """Runs tasks that ask these judges."""
    if any(isinstance(spec, EndpointJudgeSpec) for spec in specs):
        return run_here  # it waits for answers; a place on the cluster would stand idle
    models = any(isinstance(spec, LocalJudgeSpec) for spec in specs)
    return _model_tasks(study, work) if models else plain_tasks(study, work)


def judge_opener(
    study: StudySpec, spec: JudgeSpec, field: str, root: Path, work: StepWork
) -> "OpenJudge":
    """Opens a judge where its tasks run."""
    from ccx_ray.frequency.estimation import open_corpus_judge

    return partial(
        open_corpus_judge,
        spec,
        study.runtime.judge,
        root=root,
        cache_folder=work.study_folder / VERDICTS,
        # Names the verdicts of a judge, whichever study asks.
        fingerprint=fingerprint(judge_identity(spec, InputFiles(root), field)),
        run=work.services.run_id,
    )


def _model_path(spec: EmbedderSpec, inputs: InputFiles, field: str) -> Path | None:
    """The folder that a study file names for an embedder; None for one without a model."""
    if isinstance(spec, SentenceTransformersSpec):
        return inputs.resolve_folder(spec.folder, f"{field}.folder")
    if isinstance(spec, HiddenStatesSpec):
        return inputs.resolve_folder(spec.model, f"{field}.model")
    return None


def _refuse_equal_names(names: Mapping[str, str]) -> None:
    """Tables tell embedders and judges apart by name; of two alike one would be lost."""
    first: dict[str, str] = {}
    for field, name in names.items():
        if first.setdefault(name, field) != field:
            raise UserError(
                f"{field}: is called {name!r} in tables, as {first[name]} is; compare with "
                "another, or give its folder or prompt another name"
            )
