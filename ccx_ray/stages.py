"""What each kind of step does: a call of its stage, with the folders upstream and the spec's part.

Every method here is an action of the runner: it gets a ``StepWork`` and returns counts for the
completion marker. Heavy libraries are imported by the stages that are really run.
"""

import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ccx_ray.frequency_metrics import analysis_metrics
from ccx_ray.frequency_stage import FrequencyActions
from ccx_ray.orchestration.cluster import evaluator_demands
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.provenance import capture_provenance
from ccx_ray.orchestration.runner import Action, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.orchestration.tasks import RunTasks, step_progress
from ccx_ray.storage.remote_folders import remote_storage_uri
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.steps import study_graph
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import Trial, trial_grid
from ccx_ray.tracking.runs import Tracking

if TYPE_CHECKING:
    from ccx_ray.corpus.audit.inputs import ProbeSide
    from ccx_ray.evaluation.scheduler import EvaluationScheduler


class StageActions:
    """The actions of one driver process; holds the evaluators that all checkpoints share."""

    def __init__(
        self,
        *,
        study: StudySpec,
        root: Path,
        tracking: Tracking,
        folders: StepFolders,
        reruns: Mapping[str, int],
    ) -> None:
        self._study = study
        self._root = root
        self._tracking = tracking
        self._reruns = reruns
        self._trials = {f"trial-{trial.name}": trial for trial in trial_grid(study)}
        self._scratch = tempfile.TemporaryDirectory(prefix="ccx-ray-evaluation-")
        self._scheduler: EvaluationScheduler | None = None
        self._frequency = FrequencyActions(
            study=study,
            root=root,
            tracking=tracking,
            folders=folders,
            run_tasks=self._run_tasks,
            run_on_gpu=self._tasks(gpus_per_task=study.runtime.judge.gpus),
        )

    def __enter__(self) -> Self:
        from ccx_ray.evaluation.scheduler import EvaluationScheduler

        self._scheduler = EvaluationScheduler(
            self._study.runtime.evaluation, Path(self._scratch.name)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._scheduler is not None:
            self._scheduler.close()
        self._scratch.cleanup()

    def by_kind(self) -> dict[str, Action]:
        return {
            "text": self.text,
            "heldout": self.heldout,
            "tokenizer": self.tokenizer,
            "tokens": self.tokens,
            "stream": self.stream,
            "audit": self.audit,
            "training": self.training,
            "evaluation": self.evaluation,
            **self._frequency.by_kind(),
            "analysis": self.analysis,
        }

    @property
    def _cpus(self) -> float:
        return self._study.runtime.data.cpus_per_task

    @property
    def _checkpoint_storage(self) -> str | None:
        storage = self._study.runtime.checkpoint_storage
        return remote_storage_uri(storage) if storage else None

    @property
    def _run_tasks(self) -> RunTasks:
        return self._tasks()

    def _tasks(self, *, gpus_per_task: float = 0.0) -> RunTasks:
        from ccx_ray.orchestration.ray_tasks import run_tasks

        return partial(run_tasks, cpus_per_task=self._cpus, gpus_per_task=gpus_per_task)

    def text(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.preparation import isolate_text

        code = work.step.name.removeprefix("text-")
        base = self._study.base_language
        language = base if code == base.code else self._study.language(code)
        work.watch(lambda: step_progress(work.folder))
        return isolate_text(
            language,
            self._root,
            work.folder,
            cleaning=self._study.cleaning,
            run_tasks=self._run_tasks,
        )

    def heldout(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.packing.heldout import hold_out

        text, *others = map(work.folder_of, work.step.upstream)
        return hold_out(text, others or [text], self._study.held_out, work.folder)

    def tokenizer(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.tokenizing.tokenizer import adopt_tokenizer, train_tokenizer

        if self._study.tokenizer.pretrained is not None:
            return adopt_tokenizer(self._study.tokenizer, self._root, work.folder)
        texts = {step.name.removeprefix("text-"): step for step in work.step.upstream}
        folders = {code: work.folder_of(step) for code, step in texts.items()}
        return train_tokenizer(self._study.tokenizer, folders, work.folder)

    def tokens(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.preparation import tokenize_text

        text, tokenizer = map(work.folder_of, work.step.upstream)
        work.watch(lambda: step_progress(work.folder))
        return tokenize_text(text, tokenizer, work.folder, run_tasks=self._run_tasks)

    def stream(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.packing.heldout import HELD_OUT
        from ccx_ray.corpus.preparation import prepare_base_stream, prepare_trial_streams

        by_kind: dict[str, list[Path]] = {"heldout": []}
        for step in work.step.upstream:
            by_kind.setdefault(step.kind, []).append(work.folder_of(step))
        (tokens, *replay), (tokenizer,) = by_kind["tokens"], by_kind["tokenizer"]
        files = [folder / HELD_OUT for folder in by_kind["heldout"]]
        held_out, replay_held_out = (*files, None, None)[:2]
        work.watch(lambda: step_progress(work.folder))
        if work.step.name == "stream-base":
            return prepare_base_stream(
                tokens,
                tokenizer,
                work.folder,
                sequence_length=self._study.sequence_length,
                seed=self._study.base.seed,
                held_out=held_out,
                run_tasks=self._run_tasks,
            )
        trials = self._study.trials
        return prepare_trial_streams(
            tokens,
            replay[0] if replay else None,
            tokenizer,
            work.folder,
            sequence_length=self._study.sequence_length,
            seed=int(str(work.step.identity["seed"])),
            rows=trials.steps * trials.sequences_per_step,
            mixture=trials.mixture,
            pair_order=trials.pair_order,
            held_out=held_out,
            replay_held_out=replay_held_out,
            run_tasks=self._run_tasks,
        )

    def audit(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.audit.auditing import audit
        from ccx_ray.corpus.audit.inputs import AuditedLanguage, AuditedStream, AuditInputs
        from ccx_ray.corpus.audit.verdicts import metrics

        study = self._study
        isolations = {lang.code: lang.isolation for lang in (study.base_language, *study.languages)}
        texts = [step for step in work.step.upstream if step.kind == "text"]
        streams = [step for step in work.step.upstream if step.kind == "stream"]
        seeds = {f"stream-{t.language}-s{t.seed}": t for t in self._trials.values()}
        inputs = AuditInputs(
            languages=tuple(
                AuditedLanguage(
                    code=code,
                    folder=work.folder_of(step),
                    isolation=isolations[code],
                    base=study.base_language.code,
                    counts=work.marker_of(step)["counts"],
                )
                for step in texts
                for code in [step.name.removeprefix("text-")]
            ),
            streams=tuple(
                AuditedStream(
                    language=seeds[step.name].language,
                    seed=seeds[step.name].seed,
                    folder=work.folder_of(step),
                    tokens=work.folder_of(step.upstream[0]),
                )
                for step in streams
            ),
            probes=tuple(
                side for language in study.trial_languages for side in self._probe_sides(language)
            ),
        )
        work.watch(lambda: step_progress(work.folder))
        figures = audit(
            inputs, study.audit, work.folder, title=study.name, run_tasks=self._run_tasks
        )
        run = self._tracking.open_run(name="audit", kind="audit", fingerprint=work.step.fingerprint)
        log = self._tracking.metrics(run)
        log.log(0, metrics(figures))
        log.close()
        self._tracking.log_artifacts(run, work.folder)
        self._tracking.finish(run)
        return {"figures": len(metrics(figures))}

    def training(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.training.checkpoints import checkpoint_folder
        from ccx_ray.training.run import TrainingRun
        from ccx_ray.training.trainer import train

        study, trial = self._study, self._trials.get(work.step.name)
        upstream = {step.kind: step for step in work.step.upstream}
        stream_folder = work.folder_of(upstream["stream"])
        initial_model = None
        if trial is not None:
            base = work.folder_of(upstream["training"])
            initial_model = checkpoint_folder(base, study.base.steps)
            stream_folder = stream_folder / trial.condition
        run = self._open_training_run(work.step, trial)
        work.watch(lambda: _training_progress(work.folder))
        try:
            counts = train(
                TrainingRun(
                    name=trial.name if trial else "base",
                    fingerprint=work.step.fingerprint,
                    folder=work.folder,
                    stream_folder=stream_folder,
                    tokenizer_folder=work.folder_of(upstream["tokenizer"]),
                    training=study.trials if trial else study.base,
                    model=study.model,
                    initial_model=initial_model,
                    seed=trial.seed if trial else study.base.seed,
                    runtime=study.runtime.trials if trial else study.runtime.base,
                    reader=study.runtime.data.reader,
                    tracking_uri=self._tracking.uri,
                    mlflow_run_id=run,
                    checkpoint_storage=self._checkpoint_storage,
                ),
                reserved=evaluator_demands(study.runtime.evaluation),
            )
        except Exception:
            self._tracking.finish(run, failed=True)
            raise
        self._tracking.finish(run)
        return counts

    def evaluation(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.packing.heldout import HELD_OUT
        from ccx_ray.evaluation.following import FollowedRun, evaluate_run

        assert self._scheduler is not None
        (training,) = work.step.follows
        trial = self._trials.get(training.name)
        languages = (self._study.language(trial.language),) if trial else self._study.languages
        run = FollowedRun(
            name=trial.name if trial else "base",
            kind=_run_kind(trial),
            fingerprint=training.fingerprint,
            folder=work.folder_of(training),
            steps=(self._study.trials if trial else self._study.base).checkpoint_steps,
            probes=tuple(pair for language in languages for pair in self._probe_files(language)),
            held_out=tuple(
                (step.name.removeprefix("heldout-"), work.folder_of(step) / HELD_OUT)
                for step in work.step.upstream
            ),
            sequence_length=self._study.sequence_length,
        )
        return evaluate_run(run, work, self._scheduler, self._tracking)

    def analysis(self, work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.analysis.measures.inputs import AnalysisInputs
        from ccx_ray.analysis.report.writing import analyse

        steps = {step.name: step for step in work.step.upstream}
        evaluations = {s.name.removeprefix("evaluate-"): s for s in steps.values() if s.follows}
        trainings = {run: step.follows[0] for run, step in evaluations.items()}
        frequency = {
            kind: {
                step.name.removeprefix(f"{kind}-"): work.folder_of(step)
                for step in steps.values()
                if step.kind == kind
            }
            for kind in ("frequency", "exposure")
        }
        graph = work.runner.graph
        summary = analyse(
            AnalysisInputs(
                study=self._study,
                trials=tuple(self._trials.values()),
                evaluations={run: work.folder_of(step) for run, step in evaluations.items()},
                frequencies=frequency["frequency"],
                exposures=frequency["exposure"],
                validation=work.folder_of(steps["validation"]),
                review=work.folder_of(steps["review"]),
                trainings={run: work.folder_of(step) for run, step in trainings.items()},
                markers={
                    step.name: work.marker_of(step)
                    for step in graph.steps.values()
                    if step.name != work.step.name
                },
                audit=work.folder_of(steps["audit"]),
            ),
            work.folder,
        )
        self._track_analysis(work, summary)
        return summary

    def _probe_files(self, language: LanguageSpec) -> tuple[tuple[str, Path], tuple[str, Path]]:
        """``((name, English file), (name, target file))`` of a culture."""
        base, inputs = self._study.base_language.code, InputFiles(self._root)
        field = f"languages.{language.code}.probes"
        return (
            (f"{language.code}-{base}", inputs.resolve(language.probes.english, field)),
            (f"{language.code}-{language.code}", inputs.resolve(language.probes.target, field)),
        )

    def _probe_sides(self, language: LanguageSpec) -> "list[ProbeSide]":
        """The questions of a culture as the audit looks for them: with the answer filled in."""
        from ccx_ray.corpus.audit.inputs import probe_side
        from ccx_ray.evaluation.probes import load_culture

        codes = (self._study.base_language.code, language.code)
        return [
            probe_side(language.code, code, [(i.question, i.fill(i.answer)) for i in probe.items])
            for code, probe in zip(codes, load_culture(language, self._root), strict=True)
        ]

    def _open_training_run(self, step: Step, trial: Trial | None) -> str:
        spec = self._study.trials if trial else self._study.base
        tags = {"mlflow.source.git.commit": capture_provenance()["commit"] or "unknown"}
        parameters = {
            "steps": spec.steps,
            "tokens_per_step": spec.sequences_per_step * self._study.sequence_length,
            "learning_rate": spec.optimizer.learning_rate,
            **{f"model.{key}": value for key, value in self._study.model.model_dump().items()},
        }
        if trial is not None:
            tags |= {
                "ccx.language": trial.language,
                "ccx.condition": trial.condition,
                "ccx.seed": str(trial.seed),
            }
            parameters |= {
                "language": trial.language,
                "condition": trial.condition,
                "seed": trial.seed,
                "mixture": self._study.trials.mixture.model_dump(),
            }
        run = self._tracking.open_run(
            name=trial.name if trial else "base",
            kind=_run_kind(trial),
            fingerprint=step.fingerprint,
            tags=tags,
            parameters=parameters,
        )
        if trial is not None and self._reruns.get(trial.name):
            self._supersede(trial, run)
        return run

    def _supersede(self, trial: Trial, run: str) -> None:
        """Mark the run that a rerun replaces; it stays in MLflow with all that it logged."""
        before = {**self._reruns, trial.name: self._reruns[trial.name] - 1}
        earlier = study_graph(self._study, InputFiles(self._root), before)[f"trial-{trial.name}"]
        old = self._tracking.find_run("trial", earlier.fingerprint)
        if old is not None:
            self._tracking.tag(old, {"ccx.superseded_by": run})

    def _track_analysis(self, work: StepWork, summary: Mapping[str, Any]) -> None:
        run = self._tracking.open_run(
            name="analysis", kind="analysis", fingerprint=work.step.fingerprint
        )
        log = self._tracking.metrics(run)
        for cell in summary["transfer"]:
            direction = cell["direction"].replace(" → ", "-to-")
            log.log(cell["step"], {f"transfer/{cell['language']}/{direction}": cell["transfer"]})
        log.log(0, analysis_metrics(summary))
        log.close()
        self._tracking.log_artifacts(run, work.folder)
        self._tracking.log_text(run, self._study.model_dump_json(indent=2), "study.json")
        self._tracking.finish(run)


def _run_kind(trial: Trial | None) -> str:
    return "trial" if trial else "base"


def _training_progress(folder: Path) -> tuple[int, int, str] | None:
    try:
        state = json.loads((folder / "progress.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    note = f"loss {state['loss']:.3f}, {state['tokens_per_second']:,.0f} tokens/s"
    return state["step"], state["steps"], note
