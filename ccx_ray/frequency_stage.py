"""What each frequency step does: lexicons, indexes, estimates, exposure, and what tests them.

The counterpart of ``stages.py`` for this stage: every method is an action of the runner.
"""

import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import load_culture
from ccx_ray.frequency.text.text_parts import DOCUMENTS, ENGLISH, TARGET
from ccx_ray.frequency_metrics import review_metrics, validation_metrics
from ccx_ray.orchestration.runner import Action, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.orchestration.tasks import RunTasks, run_here, step_progress
from ccx_ray.storage.publishing import publish_parquet
from ccx_ray.study.frequency_spec import (
    EmbedderSpec,
    EndpointJudgeSpec,
    HiddenStatesSpec,
    JudgeSpec,
    LocalJudgeSpec,
    NgramEmbedderSpec,
    SentenceTransformersSpec,
)
from ccx_ray.study.frequency_steps import OWN_BASE, judge_fingerprint, other_index, reviews_folder
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import trial_grid
from ccx_ray.tracking.runs import Tracking, flat_metrics

if TYPE_CHECKING:
    from ccx_ray.frequency.estimation import AskedCorpus, OpenJudge
    from ccx_ray.frequency.text.questions import Cloze
    from ccx_ray.frequency.validation.estimated import EstimatedCorpus
    from ccx_ray.frequency.validation.validating import TestedCorpus

VERDICTS = "verdicts"
"""Below the study's folder: what models have judged, whichever step asks the same again."""


class FrequencyActions:
    """The frequency actions of one driver process."""

    def __init__(
        self,
        *,
        study: StudySpec,
        root: Path,
        tracking: Tracking,
        folders: StepFolders,
        run_tasks: RunTasks,
        run_on_gpu: RunTasks,
    ) -> None:
        """
        Args:
            run_on_gpu: runs tasks of a model, each with ``runtime.judge.gpus``.
        """
        self._study = study
        self._root = root
        self._tracking = tracking
        self._study_folder = folders.root
        self._run_tasks = run_tasks
        self._run_on_gpu = run_on_gpu
        self._run = uuid.uuid4().hex
        """Names this run of the driver to the caps of an endpoint."""

    def by_kind(self) -> dict[str, Action]:
        return {
            "lexicon": self.lexicon,
            "index": self.index,
            "frequency": self.frequency,
            "exposure": self.exposure,
            "validation": self.validation,
            "review": self.review,
        }

    def lexicon(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.counting.lexicon.building import build_lexicon

        (text,) = map(work.folder_of, work.step.upstream)
        work.watch(lambda: step_progress(work.folder))
        return build_lexicon(text, work.folder, run_tasks=self._run_tasks)

    def index(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.retrieval.index_building import build_index

        spec = self._study.frequency
        name = work.step.name.partition("-")[0]
        by_name = {other_index(n): other for n, other in enumerate(spec.validation.embedders)}
        embedder = by_name.get(name, spec.embedder)
        work.watch(lambda: step_progress(work.folder))
        return build_index(
            spec,
            embedder,
            text_folder=work.folder_of(work.step.upstream[0]),
            folder=work.folder,
            model_folder=self._model_folder(embedder, work),
            run_tasks=self._embedding_runner(embedder),
        )

    def frequency(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.estimation import estimate_frequency

        spec, code = self._study.frequency, work.step.name.removeprefix("frequency-")
        work.watch(lambda: step_progress(work.folder))
        counts = estimate_frequency(
            spec,
            self._asked_corpora(work, code),
            work.folder,
            open_judge=self._judge_opener(spec.judge, "frequency.judge"),
            run_tasks=self._embedding_runner(spec.embedder),
            run_judge=self._judge_runner(spec.judge),
        )
        self._track(work, "frequency", flat_metrics(counts, "frequency/"))
        return counts

    def _asked_corpora(self, work: StepWork, culture: str) -> "list[AskedCorpus]":
        """The culture's questions in English and in its own language."""
        from ccx_ray.frequency.estimation import AskedCorpus, ScannedPart

        folders = _folders(work)
        base = self._study.base_language.code
        clozes = self._clozes(self._study.language(culture))

        def scanned(code: str, part: str) -> ScannedPart:
            text, lexicon = folders[f"text-{code}"], folders[f"lexicon-{code}"]
            return ScannedPart(part=part, text=text, lexicon=lexicon)

        return [
            AskedCorpus(
                culture=culture,
                corpus=code,
                clozes=clozes[code],
                index=folders[f"index-{code}"],
                model_folder=self._model_folder(self._study.frequency.embedder, work),
                scanned=(scanned(code, DOCUMENTS), scanned(culture, half)),
            )
            for code, half in ((base, ENGLISH), (culture, TARGET))
        ]

    def exposure(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.counting.exposure import Training, exposure_table

        study, folders = self._study, _folders(work)
        code, base = work.step.name.removeprefix("exposure-"), study.base_language.code
        frequency = folders[f"frequency-{code}"]
        language = study.language(code)
        trials = [trial for trial in trial_grid(study) if trial.language == code]
        table = exposure_table(
            culture=code,
            base_language=base,
            questions=len(load_culture(language, self._root)[0].items),
            holders=pq.read_table(frequency / "exhaustive.parquet"),
            retrieved=pq.read_table(frequency / "retrieved.parquet"),
            base_text=folders[f"text-{base}"],
            text=folders[f"text-{code}"],
            base=Training(
                stream=folders["stream-base"], rows_per_step=study.base.sequences_per_step
            ),
            base_steps=study.base.steps,
            trials={
                trial.name: Training(
                    stream=folders[f"stream-{code}-s{trial.seed}"] / trial.condition,
                    rows_per_step=study.trials.sequences_per_step,
                )
                for trial in trials
            },
            steps=study.trials.checkpoint_steps,
        )
        publish_parquet(work.folder / "exposure.parquet", table)
        run = self._tracking.open_run(
            name=work.step.name, kind="exposure", fingerprint=work.step.fingerprint
        )
        log = self._tracking.metrics(run)
        means = table.group_by(["trial", "step", "language"]).aggregate([("exposure", "mean")])
        for row in means.to_pylist():
            name = f"exposure/{row['trial']}/{row['language']}"
            log.log(row["step"], {name: row["exposure_mean"]})
        log.close()
        self._tracking.log_artifacts(run, work.folder)
        self._tracking.finish(run)
        return {"rows": len(table)}

    def validation(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.judges.opening import judge_name
        from ccx_ray.frequency.validation.validating import validate

        spec = self._study.frequency
        judges = {"frequency.judge": spec.judge} | {
            f"frequency.validation.judges.{number}": judge
            for number, judge in enumerate(spec.validation.judges)
        }
        work.watch(lambda: step_progress(work.folder))
        summary = validate(
            spec,
            [self._tested_corpus(work, code) for code in self._corpora],
            work.folder,
            title=self._study.name,
            judges={
                judge_name(judge): self._judge_opener(judge, field)
                for field, judge in judges.items()
            },
            run_tasks=self._embedding_runner(spec.embedder, *spec.validation.embedders),
            run_judges=self._judge_runner(*judges.values()),
        )
        self._track(work, "validation", validation_metrics(work.folder))
        return summary

    def review(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.frequency.validation.reviewing import review

        validation = next(step for step in work.step.upstream if step.kind == "validation")
        rows = review(
            {code: self._frequencies_in(work, code) for code in self._corpora},
            work.folder_of(validation),
            reviews_folder(self._study_folder, validation),
            work.folder,
            seed=self._study.frequency.validation.seed,
        )
        self._track(work, "review", review_metrics(rows))
        return {"rows": len(rows)}

    @property
    def _corpora(self) -> list[str]:
        study = self._study
        return [study.base_language.code, *(lang.code for lang in study.trial_languages)]

    def _estimated_corpus(self, work: StepWork, corpus: str) -> "EstimatedCorpus":
        """A corpus and what was found there."""
        from ccx_ray.frequency.validation.estimated import EstimatedCorpus

        frequencies = self._frequencies_in(work, corpus)
        return EstimatedCorpus(
            corpus=corpus,
            text=work.folder_of(work.runner.graph[f"text-{corpus}"]),
            clozes={code: self._clozes(self._study.language(code))[corpus] for code in frequencies},
            frequencies=frequencies,
        )

    def _frequencies_in(self, work: StepWork, corpus: str) -> dict[str, Path]:
        """Culture -> its frequencies, of all cultures that were asked of a corpus."""
        graph, base = work.runner.graph, self._study.base_language.code
        return {
            lang.code: work.folder_of(graph[f"frequency-{lang.code}"])
            for lang in self._study.trial_languages
            if corpus in (base, lang.code)
        }

    def _tested_corpus(self, work: StepWork, corpus: str) -> "TestedCorpus":
        from ccx_ray.frequency.validation.validating import TestedCorpus, TestedIndex

        spec, folders = self._study.frequency, _folders(work)
        names = ["index", *map(other_index, range(len(spec.validation.embedders)))]
        embedders = (spec.embedder, *spec.validation.embedders)
        return TestedCorpus(
            estimated=self._estimated_corpus(work, corpus),
            lexicon=folders[f"lexicon-{corpus}"],
            indexes=tuple(
                TestedIndex(
                    embedder=embedder,
                    folder=folders[f"{name}-{corpus}"],
                    model_folder=self._model_folder(embedder, work),
                )
                for name, embedder in zip(names, embedders, strict=True)
            ),
        )

    def _clozes(self, language: LanguageSpec) -> "dict[str, tuple[Cloze, ...]]":
        """Language of the text -> the culture's questions in it."""
        from ccx_ray.frequency.text.questions import Cloze

        codes = (self._study.base_language.code, language.code)
        return {
            code: tuple(Cloze(question=item.question, answer=item.answer) for item in probe.items)
            for code, probe in zip(codes, load_culture(language, self._root), strict=True)
        }

    def _model_folder(self, spec: EmbedderSpec, work: StepWork) -> Path | None:
        """Where the embedder's model lies; None for one without."""
        from ccx_ray.training.checkpoints import checkpoint_folder

        if isinstance(spec, NgramEmbedderSpec):
            return None
        if isinstance(spec, SentenceTransformersSpec):
            return InputFiles(self._root).resolve_folder(spec.folder, "frequency.embedder.folder")
        if spec.model != OWN_BASE:
            return InputFiles(self._root).resolve_folder(spec.model, "frequency.embedder.model")
        graph = work.runner.graph
        return checkpoint_folder(work.folder_of(graph["base"]), self._study.base.steps)

    def _embedding_runner(self, *specs: EmbedderSpec) -> RunTasks:
        plain = all(isinstance(spec, NgramEmbedderSpec) for spec in specs)
        return self._run_tasks if plain else self._run_on_gpu

    def _judge_runner(self, *specs: JudgeSpec) -> RunTasks:
        if any(isinstance(spec, EndpointJudgeSpec) for spec in specs):
            return run_here  # it waits for answers; a place on the cluster would stand idle
        models = any(isinstance(spec, LocalJudgeSpec) for spec in specs)
        return self._run_on_gpu if models else self._run_tasks

    def _judge_opener(self, spec: JudgeSpec, field: str) -> "OpenJudge":
        from ccx_ray.frequency.estimation import open_corpus_judge

        return partial(
            open_corpus_judge,
            spec,
            self._study.runtime.judge,
            root=self._root,
            cache_folder=self._study_folder / VERDICTS,
            fingerprint=judge_fingerprint(spec, InputFiles(self._root), field),
            run=self._run,
        )

    def _track(self, work: StepWork, kind: str, metrics: Mapping[str, float]) -> None:
        run = self._tracking.open_run(
            name=work.step.name, kind=kind, fingerprint=work.step.fingerprint
        )
        log = self._tracking.metrics(run)
        log.log(0, metrics)
        log.close()
        self._tracking.log_artifacts(run, work.folder)
        self._tracking.finish(run)


def _folders(work: StepWork) -> dict[str, Path]:
    """Name -> folder of every step upstream."""
    return {step.name: work.folder_of(step) for step in work.step.upstream}


def check_frequency(study: StudySpec, root: Path) -> None:
    """Find what is wrong with embedders and judges, without loading a model or sending anything.

    Raises:
        UserError: the first mistake.
    """
    from ccx_ray.frequency.judges.opening import check_judge, judge_name
    from ccx_ray.frequency.retrieval.embedding.opening import check_embedder
    from ccx_ray.frequency.retrieval.index_types import choose_index

    spec, inputs = study.frequency, InputFiles(root)
    compared = spec.validation
    embedders = {"frequency.embedder": spec.embedder} | {
        f"frequency.validation.embedders.{n}": other for n, other in enumerate(compared.embedders)
    }
    for field, embedder in embedders.items():
        model_folder = None
        if isinstance(embedder, NgramEmbedderSpec):
            choose_index(spec.index, passages=0, dimensions=embedder.dimensions)
        if isinstance(embedder, SentenceTransformersSpec):
            model_folder = inputs.resolve_folder(embedder.folder, f"{field}.folder")
        elif isinstance(embedder, HiddenStatesSpec) and embedder.model != OWN_BASE:
            model_folder = inputs.resolve_folder(embedder.model, f"{field}.model")
        elif isinstance(embedder, HiddenStatesSpec):
            continue  # its folder comes to be in this study
        check_embedder(embedder, field, model_folder=model_folder)
    _check_names({field: one.name for field, one in embedders.items()})
    judges = {"frequency.judge": spec.judge} | {
        f"frequency.validation.judges.{n}": other for n, other in enumerate(compared.judges)
    }
    for field, judge in judges.items():
        check_judge(judge, study.runtime.judge, root, field)
    _check_names({field: judge_name(judge) for field, judge in judges.items()})


def _check_names(names: Mapping[str, str]) -> None:
    """Tables tell embedders and judges apart by name; of two alike one would be lost."""
    first: dict[str, str] = {}
    for field, name in names.items():
        if first.setdefault(name, field) != field:
            raise UserError(
                f"{field}: is called {name!r} in tables, as {first[name]} is; compare with "
                "another, or give its folder or prompt another name"
            )
